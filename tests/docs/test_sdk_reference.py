"""The SDK's reference says what the code does: options, events, reasons, and its examples run."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import touchtrail
from docs.sdk_reference import README, fill
from sdk_sink import running_sink
from touchtrail import Options, events
from touchtrail._worker import Health

SDK = Path(touchtrail.__file__).parent


def test_the_tables_in_the_reference_are_those_of_the_code() -> None:
    text = README.read_text()
    assert text == fill(text), "run: python tests/docs/sdk_reference.py"


def test_every_option_event_and_count_is_in_the_reference() -> None:
    text = README.read_text()
    names = [*Options.__struct_fields__, *events.VOCABULARY, *Health.__struct_fields__, *touchtrail.__all__]
    assert [name for name in names if f"`{name}`" not in text] == []


def test_every_reason_for_a_refused_or_dropped_event_is_in_the_reference() -> None:
    reasons: set[str] = set()
    for module in SDK.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in (
                "EventRefusedError", "_on_loss",
            ):  # fmt: skip
                parts = ast.walk(node.args[0])
                reasons |= {part.value for part in parts if isinstance(part, ast.Constant) and part.value}
    text = README.read_text()
    assert len(reasons) > 12
    assert sorted(reason for reason in reasons if f"`{reason}`" not in text) == []


def test_the_examples_in_the_reference_run(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    # What the web frameworks need around their blocks stands in examples/web, which has tests of its own.
    before, web, after = re.split(r"(?m)^## (?:Web frameworks|Testing your shop)$", README.read_text())
    for block in re.findall(r"```python\n(.*?)```", web, re.DOTALL):
        compile(block, str(README), "exec")
    blocks = re.findall(r"```python\n(.*?)```", before + after, re.DOTALL)
    assert len(blocks) == 4
    names: dict[str, Any] = {}
    with running_sink() as sink:
        for block in blocks:
            code = block.replace("http://127.0.0.1:8377", sink.url)
            exec(compile(code, str(README), "exec"), names)
    assert sorted(event["name"] for event in sink.events.values()) == [
        "customer_identified",
        "gift_wrapped",
        "product_viewed",
    ]


def test_every_public_thing_has_a_docstring() -> None:
    bare = [
        f"{name}.{member}"
        for name in ("Client", "AsyncClient", "Money", "Options", "Context", "Page")
        for member, value in vars(getattr(touchtrail, name)).items()
        if callable(value) and not member.startswith("_") and not value.__doc__
    ]
    assert bare == []
    assert all(kind.__doc__ for kind in events.VOCABULARY.values())
