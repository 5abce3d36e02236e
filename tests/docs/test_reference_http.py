"""Every path and every error code stands in collector/README.md, and nothing else does."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from starlette.routing import Route

from reference_page import COLLECTOR, PACKAGES, ROOT, names_in, read_rows, read_sections
from touchtrail_collector.host import PluginHost
from touchtrail_collector.services.collector import Collector
from touchtrail_collector.settings import Settings, StoreSettings
from touchtrail_collector.web.app import create_app
from touchtrail_collector.web.errors import CODES
from touchtrail_collector.web.operation import Entry

MAKERS = {
    "HttpError": 1, "bad_body": 0, "BodyUnreadable": 0, "EventRejected": 0, "Fault": 0, "ItemError": 0, "RejectRow": 2,
    "NotReady": 0, "SourceReject": 0, "StillRejected": 1, "refusal": 0, "failure": 1,
}  # fmt: skip
"""What makes an error that leaves the collector, and at which place of its arguments the code stands."""


class Made(NamedTuple):
    """One place in the source that makes an error. ``codes`` is empty where the code is handed on from elsewhere."""

    where: str
    maker: str
    codes: set[str]


@pytest.fixture(scope="module")
def sections() -> dict[str, str]:
    return read_sections(COLLECTOR)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    """Return the table of paths of a collector without plugins."""
    settings = Settings(store=StoreSettings(db=tmp_path_factory.mktemp("table") / "shop.db"))
    collector = Collector(settings, PluginHost.of({}), starts_projector=False)
    try:
        return list(create_app(collector).state.table)
    finally:
        collector.close()


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str]]:
    """Return method and path of every route of a collector without plugins."""
    settings = Settings(store=StoreSettings(db=tmp_path_factory.mktemp("routes") / "shop.db"))
    collector = Collector(settings, PluginHost.of({}), starts_projector=False)
    try:
        app = create_app(collector)
    finally:
        collector.close()
    assert all(isinstance(route, Route) for route in app.routes)
    found = [route for route in app.routes if isinstance(route, Route)]
    return {(method, route.path) for route in found for method in route.methods or ()}


def test_the_table_lists_exactly_the_routes_there_are(sections: dict[str, str], routes: set[tuple[str, str]]) -> None:
    documented = {(row[0], names_in(row[1])[0]) for row in read_rows(sections["HTTP"])}
    # HEAD comes with every GET, OPTIONS with CORS, which the text under the table explains.
    assert documented == {(method, path) for method, path in routes if method not in ("HEAD", "OPTIONS")}
    assert "CORS" in sections["HTTP"]


def made_errors() -> Iterator[Made]:
    """Yield every error the source makes."""
    for package in PACKAGES[1:]:
        for path in sorted(package.rglob("*.py")):
            if "testing" not in path.parts:
                yield from made_in(path)


def made_in(path: Path) -> Iterator[Made]:
    tree = ast.parse(path.read_text("utf-8"))
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Module):
            continue
        for call in own_calls(function):
            name = call.func.id if isinstance(call.func, ast.Name) else None
            if name in MAKERS:
                where = f"{path.relative_to(ROOT)}:{call.lineno}"
                yield Made(where, name, codes_of(code_argument(call, MAKERS[name]), function, where))


def own_calls(function: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls of a function, those of functions inside it left out."""
    for node in ast.iter_child_nodes(function):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.Call):
            yield node
        yield from own_calls(node)


def code_argument(call: ast.Call, place: int) -> ast.expr:
    named = [keyword.value for keyword in call.keywords if keyword.arg == "code"]
    return named[0] if named else call.args[place]


def codes_of(code: ast.expr, function: ast.AST, where: str) -> set[str]:
    """Return the codes an expression can be; fail where that cannot be told."""
    if isinstance(code, ast.Constant):
        return {str(code.value)}
    if isinstance(code, ast.Attribute):
        return set()  # `error.code`: made elsewhere, and found there
    if isinstance(code, ast.IfExp):
        return codes_of(code.body, function, where) | codes_of(code.orelse, function, where)
    if isinstance(code, ast.Dict):
        return set().union(*(codes_of(value, function, where) for value in code.values))
    if isinstance(code, ast.Call) and isinstance(code.func, ast.Attribute) and code.func.attr == "get":
        return codes_of(code.func.value, function, where) | codes_of(code.args[1], function, where)
    if isinstance(code, ast.Name):
        assigned = [
            node.value
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and any(is_name(target, code.id) for target in node.targets)
        ]
        is_parameter = isinstance(function, ast.FunctionDef) and code.id in {arg.arg for arg in function.args.args}
        if assigned or is_parameter:
            return set().union(*(codes_of(value, function, where) for value in assigned))
    pytest.fail(f"{where}: the code is worked out in a way this test cannot follow; write it out")


def is_name(target: ast.expr, name: str) -> bool:
    return isinstance(target, ast.Name) and target.id == name


def documented_codes(section: str, column: int) -> set[str]:
    return {names_in(row[column])[0] for row in read_rows(section)}


def test_exactly_the_codes_that_the_source_makes_are_documented(sections: dict[str, str]) -> None:
    made: dict[str, str] = {}
    for error in made_errors():
        made.update(dict.fromkeys(error.codes, error.where))
    documented = documented_codes(sections["HTTP errors"], 1) | documented_codes(sections["Reject codes"], 0)
    assert len(made) > 20
    assert {code: where for code, where in made.items() if code not in documented} == {}
    assert documented - set(made) == set()


def test_every_status_is_documented_with_exactly_its_codes(sections: dict[str, str]) -> None:
    rows = read_rows(sections["HTTP errors"])
    documented = {(int(row[0]), names_in(row[1])[0]) for row in rows if row[0] != "other"}
    others = {(401, "unauthorized")}  # of plugins
    assert documented == {(status, code) for status, codes in CODES.items() for code in codes} | others
    assert all(row[2] and row[3] for row in rows)
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)


def test_every_path_is_documented_with_who_may_use_it(sections: dict[str, str], table: list[Entry]) -> None:
    classes = {
        "write_key": "write key", "read_token": "read token or session", "anyone": "anyone on the bound address",
        "admin_token": "other `touchtrail` commands of the same user on this machine",
        "sign_in": "one-time link or password", "session": "session",
    }  # fmt: skip
    documented = {(row[0], names_in(row[1])[0]): row[2] for row in read_rows(sections["HTTP"])}
    assert documented == {(entry.method, entry.path): classes[entry.access] for entry in table}


def test_what_a_request_is_answered_and_what_an_event_is_rejected_with_stand_in_their_own_table(
    sections: dict[str, str],
) -> None:
    of_requests = {"HttpError", "NotReady", "bad_body", "BodyUnreadable"}
    requests: set[str] = set()
    events: set[str] = set()
    for error in made_errors():
        if "touchtrail_plugins" not in error.where:
            (requests if error.maker in of_requests else events).update(error.codes)
    assert requests <= documented_codes(sections["HTTP errors"], 1)
    assert events <= documented_codes(sections["Reject codes"], 0)
