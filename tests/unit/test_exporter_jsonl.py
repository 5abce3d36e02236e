"""The JSON Lines exporter."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from touchtrail_collector.api import Column, Dataset
from touchtrail_collector.testing import check_exporter
from touchtrail_plugins.exporters.jsonl import touchtrail_exporters

(EXPORTER,) = touchtrail_exporters()


def export(columns: Sequence[Column], rows: list[tuple[Any, ...]], **options: str) -> bytes:
    file = io.BytesIO()
    written = EXPORTER.write(Dataset(name="orders", columns=tuple(columns), rows=iter(rows)), file, options)
    assert written == len(rows)
    return file.getvalue()


def read(data: bytes) -> list[dict[str, Any]]:
    # Not splitlines(): it also splits at U+2028, which JSON may hold as it is.
    return [json.loads(line) for line in data.decode().split("\n")[:-1]]


def test_the_exporter_passes_the_conformance_kit() -> None:
    check_exporter(EXPORTER, read=read)


def test_a_row_is_an_object_in_the_order_of_the_columns() -> None:
    columns = (
        Column("order_id"),
        Column("at", "time"),
        Column("net", "money"),
        Column("currency"),
        Column("paid", "boolean"),
        Column("pieces", "integer"),
        Column("share", "real"),
    )
    rows = [("Ä-1", 1_795_255_200_123, -12_990, "EUR", 1, 3, 0.5), ("B", None, 5, "KWD", None, None, None)]
    assert export(columns, rows).decode() == (
        '{"order_id":"Ä-1","at":"2026-11-21T10:00:00.123Z","net":"-129.90","currency":"EUR","paid":true,'
        '"pieces":3,"share":0.5}\n'
        '{"order_id":"B","at":null,"net":"0.005","currency":"KWD","paid":null,"pieces":null,"share":null}\n'
    )


@given(st.lists(st.tuples(st.text() | st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False))))
def test_any_row_comes_back(rows: list[tuple[Any, ...]]) -> None:
    columns = (Column("a"), Column("b", "integer"), Column("c", "real"))
    finite = [(text, whole, real if abs(real) != float("inf") else None) for text, whole, real in rows]
    assert read(export(columns, rows)) == [dict(zip("abc", row, strict=True)) for row in finite]


def test_text_no_encoding_can_hold_does_not_end_the_export() -> None:
    assert read(export((Column("a"),), [("ü\ud800",)])) == [{"a": "ü?"}]


def test_an_option_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="none named 'indent'"):
        export((Column("a"),), [], indent="2")


def test_money_without_a_currency_column_is_refused() -> None:
    with pytest.raises(ValueError, match="orders: column 'net' is money"):
        export((Column("net", "money"),), [(1,)])
