"""`/openapi.json`: the table of paths as OpenAPI.

Source: OpenAPI 3.1.1 (spec.openapis.org), schemas in JSON Schema 2020-12.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final

from touchtrail import __version__
from touchtrail.events import Event

from .access import Access
from .errors import CODES, ErrorBody
from .openapi_examples import ANSWERS, PARAMETERS, REQUESTS
from .openapi_schema import Schema, make_parameters, make_schemas
from .operation import Entry, Operation

ANY_PATH: Final = (400, 408, 421, 429, 431, 500, 503)
"""What any path may answer: no HTTP, too slow, another's name, too many, too large, a fault of ours, no room."""

ERRORS_OF: Final[Mapping[Access, tuple[int, ...]]] = {
    "anyone": (),
    "write_key": (401, 403),
    "read_token": (401, 403),
    "admin_token": (401,),
    "source": (403,),
    "sign_in": (),
    "session": (401, 403),
}
SECURITY: Final[Mapping[Access, list[dict[str, list[str]]]]] = {
    "anyone": [],
    "write_key": [{"write_key": []}, {"write_key_in_query": []}],
    "read_token": [{"read_token": []}, {"session": []}],
    "admin_token": [{"admin_token": []}],
    "source": [],
    "sign_in": [],
    "session": [{"session": []}],
}
SCHEMES: Final = {
    "write_key": {"type": "http", "scheme": "bearer", "description": "`touchtrail keys create --source NAME`"},
    "write_key_in_query": {"type": "apiKey", "in": "query", "name": "key", "description": "For beacons."},
    "read_token": {"type": "http", "scheme": "bearer", "description": "`touchtrail keys create --read`"},
    "admin_token": {"type": "http", "scheme": "bearer", "description": "Of the lock file, for its owner's commands."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "touchtrail_session",
        "description": "From `/sign-in`. Over TLS the name begins with `__Host-`; it ends with `_` and the port where "
        "the address has one. What changes something shows `X-CSRF-Token` besides, and comes from the same origin.",
    },
}
DESCRIPTION: Final = (
    "Takes events and answers reports. Every error is JSON with `code`, `message` and, where one is at fault, `field`; "
    "unknown paths get 404 `not_found`, other methods 405 `method_not_allowed` with `Allow`. GET paths answer HEAD "
    "too, and every path OPTIONS with `Allow`; those that take events tell browsers besides that pages may send there."
)
HEADERS: Final[Mapping[int, Schema]] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    429: {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 1}}},
    503: {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 1}}},
}


def describe(entries: Iterable[Entry], event_types: Mapping[str, type[Event]]) -> Schema:
    """Return the description of a table of paths.

    Args:
        event_types: the vocabulary with what plugins add to it.
    """
    entries = list(entries)
    schemas, components = make_schemas(types_of(entries), event_types)
    paths: dict[str, Schema] = {}
    for entry in entries:
        for operation in entry.operations:
            path = re.sub(r":\w+\}", "}", operation.path)
            paths.setdefault(path, {})[entry.method.lower()] = describe_operation(entry, operation, path, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "touchtrail collector", "version": __version__, "description": DESCRIPTION},
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": {f"Error{status}": describe_error(status, schemas[ErrorBody]) for status in CODES},
            "securitySchemes": SCHEMES,
        },
    }


def types_of(entries: Iterable[Entry]) -> Iterator[Any]:
    """Yield every type whose schema is needed."""
    yield ErrorBody
    for entry in entries:
        for operation in entry.operations:
            yield from operation.request
            yield from operation.other_answers.values()
            if operation.answer is not None:
                yield operation.answer


def describe_operation(entry: Entry, operation: Operation, path: str, schemas: Mapping[Any, Schema]) -> Schema:
    """Return one method of one path."""
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"\{(\w+)\}", path)
    ]
    if operation.parameters is not None:
        parameters += make_parameters(operation.parameters, PARAMETERS)
    described: Schema = {
        "operationId": f"{entry.method.lower()}{re.sub(r'[^a-zA-Z0-9]+', '_', path)}",
        "summary": operation.summary,
        "tags": [operation.tag],
        "security": SECURITY[entry.access],
        "x-access": entry.access,
        "parameters": parameters,
        "responses": describe_answers(entry, operation, path, schemas),
    }
    if operation.request:
        choices = [schemas[kind] for kind in operation.request]
        content: Schema = {"schema": choices[0] if len(choices) == 1 else {"anyOf": choices}}
        if path in REQUESTS:
            content["examples"] = REQUESTS[path]
        described["requestBody"] = {"required": True, "content": dict.fromkeys(operation.request_types, content)}
    elif operation.follows_protocol and entry.method == "POST":
        described["requestBody"] = {"content": {"*/*": {}}}
    return described


def describe_answers(entry: Entry, operation: Operation, path: str, schemas: Mapping[Any, Schema]) -> Schema:
    """Return what a method of a path may answer, by status."""
    answers: Schema = {}
    for status in sorted({*ANY_PATH, *ERRORS_OF[entry.access], *operation.errors}):
        answers[str(status)] = {"$ref": f"#/components/responses/Error{status}"}
    for status in operation.pages:
        answers[str(status)] = described_page(status, schemas[ErrorBody])
    for status, kind in operation.other_answers.items():
        either = {"anyOf": [schemas[kind], error_schema(status, schemas[ErrorBody])]}
        answers[str(status)] = described_answer(status, {"application/json": {"schema": either}})
    if operation.follows_protocol:
        return {"200": {"description": "As the vendor answers."}, "default": {"description": "As the vendor answers."}}
    content: Schema = {"schema": {"type": "string"} if operation.answer is None else schemas[operation.answer]}
    if path in ANSWERS:
        content["examples"] = ANSWERS[path]
    return {"200": described_answer(200, {operation.media_type: content})} | answers


def describe_error(status: int, body: Schema) -> Schema:
    """Return the answer of a status that is an error."""
    example = {"code": CODES[status][0], "message": "what is wrong, and what to do"}
    return described_answer(status, {"application/json": {"schema": error_schema(status, body), "example": example}})


def described_page(status: int, body: Schema) -> Schema:
    """Return what readers of pages get: the error as a page, or where to go on."""
    if status not in CODES:
        location = {"Location": {"required": True, "schema": {"type": "string"}}}
        return {"description": HTTPStatus(status).phrase, "headers": location}
    content = {"application/json": {"schema": error_schema(status, body)}, "text/html": {"schema": {"type": "string"}}}
    return described_answer(status, content)


def error_schema(status: int, body: Schema) -> Schema:
    """Return the schema of a status's errors: the codes there are of it."""
    return {"allOf": [body, {"properties": {"code": {"enum": list(CODES[status])}}}]}


def described_answer(status: int, content: Schema) -> Schema:
    """Return an answer with the headers of its status."""
    answer: Schema = {"description": HTTPStatus(status).phrase, "content": content}
    if status in HEADERS:
        answer["headers"] = HEADERS[status]
    return answer
