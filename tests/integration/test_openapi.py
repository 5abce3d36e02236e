"""`/openapi.json` is valid, says exactly what is served, and its examples are answered as it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import msgspec
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.routing import Route

from in_process_http import Application
from shop_events import wire_event
from signed_in import signed_in
from touchtrail.events import VOCABULARY
from touchtrail_collector.domain.event import WireEvent
from touchtrail_collector.host import PluginHost
from touchtrail_collector.services.admin import OPERATIONS, run_operation
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.services.reports import REPORTS
from touchtrail_collector.web.app import create_app
from touchtrail_collector.web.errors import CODES
from touchtrail_plugins.channels import default
from touchtrail_plugins.models import linear
from touchtrail_plugins.sources import segment

Document = dict[str, Any]


@pytest.fixture
def app(open_collector: Callable[..., Collector]) -> Application:
    collector = open_collector(
        host=PluginHost.of({"channel.default": default, "source.segment": segment, "model.linear": linear})
    )
    return Application(collector, run_operation(collector, "create_key", {"source": "web"})["key"])


@pytest.fixture
def document(app: Application) -> Document:
    answer = app.ask("GET", "/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    return answer.json()


def operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


def validator(document: Document, schema: Document) -> Draft202012Validator:
    """Return a validator in which references into the document are found."""
    return Draft202012Validator(schema | {"components": document["components"]})


def test_it_is_valid_openapi(document: Document) -> None:
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names)) > 40


def test_the_check_finds_what_is_wrong(document: Document) -> None:
    document["paths"]["/v1/events"]["post"]["responses"]["200"]["content"]["application/json"]["schema"] = {
        "type": "nonsense"
    }
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) != []


def test_every_route_is_described_and_every_description_is_served(app: Application, document: Document) -> None:
    served = set()
    for route in create_app(app.collector).routes:
        assert isinstance(route, Route)
        paths = {route.path}
        for placeholder, values in (("{name}", REPORTS), ("{operation}", OPERATIONS)):
            paths = {
                path.replace(placeholder, value)
                for path in paths
                for value in (values if placeholder in path else [""])
            }
        served |= {
            (path, method) for path in paths for method in route.methods or () if method not in ("HEAD", "OPTIONS")
        }
    assert {(path, method) for path, method, _ in operations(document)} == served


def test_every_operation_says_who_may_and_what_it_may_answer(document: Document) -> None:
    for path, _, operation in operations(document):
        access = operation["x-access"]
        assert set(operation["responses"]) >= {"200"}
        if access == "source":
            assert "default" in operation["responses"]
            continue
        assert set(operation["responses"]) >= {"400", "408", "421", "429", "431", "500", "503"}, path
        assert bool(operation["security"]) == (access not in ("anyone", "sign_in"))
        assert ("401" in operation["responses"]) == (access != "anyone")
        assert ("413" in operation["responses"]) == ("requestBody" in operation)
    for status in (429, 503):
        assert "Retry-After" in document["components"]["responses"][f"Error{status}"]["headers"]


def test_every_error_code_is_in_it(document: Document) -> None:
    found = {
        int(name.removeprefix("Error")): set(
            answer["content"]["application/json"]["schema"]["allOf"][1]["properties"]["code"]["enum"]
        )
        for name, answer in document["components"]["responses"].items()
    }
    assert found == {status: set(codes) for status, codes in CODES.items()}


def test_a_reports_parameters_are_those_it_reads(document: Document) -> None:
    for name, entry in REPORTS.items():
        described = document["paths"][f"/api/v1/reports/{name}"]["get"]["parameters"]
        assert [parameter["name"] for parameter in described] == [
            field.name for field in msgspec.structs.fields(entry.parameters)
        ]


def test_an_event_is_described_field_by_field_with_the_properties_of_its_name(document: Document) -> None:
    event = document["components"]["schemas"]["Event"]
    assert list(event["properties"]) == [field.name for field in msgspec.structs.fields(WireEvent)]
    assert [part["if"]["properties"]["name"]["const"] for part in event["allOf"]] == list(VOCABULARY)
    check = validator(document, {"$ref": "#/components/schemas/Event"})
    placed = wire_event("1", "order_placed", properties={"order_id": "1", "currency": "EUR", "total": 12.5})
    assert check.is_valid(placed)
    assert check.is_valid(wire_event("1", "my_own", properties={"anything": [1]}))
    for wrong in (
        wire_event("1", "order_placed", properties={"order_id": "1", "currency": "EUR", "totl": "1"}),
        wire_event("1", "order_placed", properties={"order_id": "1"}),
        wire_event("1", "order placed"), wire_event("", "x"), wire_event("1", colour="red"), {"name": "x"},
    ):  # fmt: skip
        assert not check.is_valid(wrong)


@pytest.mark.parametrize("path", ["/v1/events", "/v1/events/validate"])
def test_what_the_description_calls_right_is_taken_and_what_it_calls_wrong_is_not(
    app: Application, document: Document, path: str
) -> None:
    check = validator(document, document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"])
    good, bad = wire_event("1"), {"events": 5}
    assert check.is_valid({"events": [good]})
    assert app.post({"events": [good]}, path).status_code == 200
    assert not check.is_valid(bad)
    assert app.post(bad, path).status_code == 400


def test_every_example_is_answered_as_the_description_says(app: Application, document: Document) -> None:
    keys = {
        "write_key": app.key,
        "read_token": run_operation(app.collector, "create_key", {})["key"],
        "admin_token": app.collector.admin_token,
    }
    sent = compared = 0
    for path, method, operation in operations(document):
        headers = {"authorization": f"Bearer {keys[operation['x-access']]}"} if operation["x-access"] in keys else {}
        if operation["x-access"] == "session":
            headers = signed_in(app.collector)
        content = operation["responses"]["200"].get("content", {})
        for name, request in requests_of(operation):
            answer = app.ask(method, path, headers=headers, **request)
            assert answer.status_code == 200, (path, name, answer.text)
            compared += check_answer(document, content, answer, name)
            sent += 1
    assert (sent, compared) >= (20, 10)
    assert set(document["components"]["schemas"]) > {"Ack", "Event", "Batch", "ErrorBody", "OverviewReport"}


def requests_of(operation: Document) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the named requests of an operation: a body each, or all parameters that have an example."""
    if operation["x-access"] == "source":
        return
    if "requestBody" in operation:
        content = operation["requestBody"]["content"].get("application/json", {})
        for name, example in content.get("examples", {}).items():
            yield name, {"json": example["value"]}
        return
    examples = {
        parameter["name"]: parameter["example"] for parameter in operation["parameters"] if "example" in parameter
    }
    for name in operation["responses"]["200"]["content"].get("application/json", {}).get("examples", {"plain": {}}):
        yield name, {"params": examples}


def check_answer(document: Document, content: Document, answer: httpx.Response, name: str) -> int:
    """Hold an answer to its schema and to the example of its name; return how many examples there were."""
    if "application/json" not in content:
        return 0
    described = content["application/json"]
    assert [error.message for error in validator(document, described["schema"]).iter_errors(answer.json())] == []
    example = described.get("examples", {}).get(name)
    if example is None:
        return 0
    assert answer.json() == example["value"]
    return 1
