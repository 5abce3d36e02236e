"""Repairs by rule: what is renamed, set and dropped, and that nothing else changes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from touchtrail_collector.domain.repair import Repair, RepairError

LINES: dict[str, Any] = {"lines": [{"price": 1, "sku": "a"}, {"sku": "b"}, {"price": 3}]}


def repaired(event: Any, reject_id: int = 7, **rules: Any) -> Any:
    return msgspec.json.decode(Repair(**rules).apply(msgspec.json.encode(event), reject_id))


@pytest.mark.parametrize(
    ("event", "rules", "expected"),
    [
        pytest.param({"a": 1}, {"rename": {"a": "b"}}, {"b": 1}, id="rename"),
        pytest.param({"a": 1}, {"rename": {"x": "b"}}, {"a": 1}, id="nothing to rename"),
        pytest.param({"sku": 1}, {"rename": {"sku": "properties.sku"}}, {"properties": {"sku": 1}}, id="into a new object"),
        pytest.param({"p": {"x": 1, "y": 2}}, {"rename": {"p.x": "x"}}, {"p": {"y": 2}, "x": 1}, id="out of an object"),
        pytest.param(
            LINES, {"rename": {"lines[*].price": "lines[*].unit_price"}},
            {"lines": [{"unit_price": 1, "sku": "a"}, {"sku": "b"}, {"unit_price": 3}]}, id="in each line",
        ),
        pytest.param({"a.b": 1}, {"rename": {"a.b": "c"}}, {"c": 1}, id="a name with a dot"),
        pytest.param({"a": {"b[0]": 1}}, {"drop": ["a.b[0]"]}, {"a": {}}, id="a name with a bracket"),
        pytest.param({}, {"set": {"event_id": "replay-{id}"}}, {"event_id": "replay-7"}, id="the reject's number"),
        pytest.param({"a": 1}, {"set": {"a": 2, "b.c": None}}, {"a": 2, "b": {"c": None}}, id="set"),
        pytest.param({"p": None}, {"set": {"p.c": "EUR"}}, {"p": {"c": "EUR"}}, id="set inside null"),
        pytest.param(LINES, {"set": {"lines[*].n": 1}}, {"lines": [line | {"n": 1} for line in LINES["lines"]]}, id="set in each"),
        pytest.param(LINES, {"drop": ["lines[1]"]}, {"lines": [LINES["lines"][0], LINES["lines"][2]]}, id="drop one of a list"),
        pytest.param(LINES, {"drop": ["lines[*]"]}, {"lines": []}, id="drop each"),
        pytest.param({"a": 1}, {"drop": ["b", "a.c", "a[0]"]}, {"a": 1}, id="nothing to drop"),
        pytest.param({"a": 1}, {"rename": {"a": "b"}, "set": {"b": 2}, "drop": ["b"]}, {}, id="in this order"),
    ],
)  # fmt: skip
def test_rules_change_what_they_name_and_nothing_else(event: Any, rules: Any, expected: Any) -> None:
    assert repaired(event, **rules) == expected


@pytest.mark.parametrize(
    ("body", "rules", "hint"),
    [
        pytest.param(b'{"a":1,"b":2}', {"rename": {"a": "b"}}, "b is there already", id="onto another"),
        pytest.param(b"{", {"drop": ["a"]}, "no JSON", id="no JSON"),
        pytest.param(b"\xff", {"drop": ["a"]}, "no JSON", id="no text"),
        pytest.param(b'{"a":1}', {"set": {"a.b": 1}}, "no object", id="inside a number"),
        pytest.param(b'{"a":1}', {"set": {"lines[0].b": 1}}, "no array", id="no array"),
        pytest.param(b"[1]", {"set": {"a": 1}}, "no object", id="no object"),
    ],
)
def test_a_rule_that_does_not_fit_says_so(body: bytes, rules: Any, hint: str) -> None:
    with pytest.raises(RepairError, match=hint):
        Repair(**rules).apply(body, 1)


PATHS = st.text("ab.[]*01", max_size=8).filter(bool)
VALUES = st.recursive(
    st.none() | st.integers(0, 3) | st.text("ab.[0]", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab.[0]", max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(VALUES, PATHS, PATHS)
def test_any_rule_on_anything_ends_with_json_or_says_why_not(event: Any, old: str, new: str) -> None:
    ended = []
    for repair in (Repair(rename={old: new}), Repair(set={old: 1}), Repair(drop=[old])):
        try:
            ended.append(repair.apply(msgspec.json.encode(event), 7))
        except RepairError as error:
            ended.append(msgspec.json.encode(str(error)))
    assert len([msgspec.json.decode(one) for one in ended]) == 3
