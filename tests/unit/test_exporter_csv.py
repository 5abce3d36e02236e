"""The CSV exporter: what a spreadsheet reads, and what it must never run."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from touchtrail_collector.api import Column, Dataset
from touchtrail_collector.testing import check_exporter
from touchtrail_plugins.exporters.csv import touchtrail_exporters

(EXPORTER,) = touchtrail_exporters()
ORDERS = (Column("order_id"), Column("placed_at", "time"), Column("net", "money"), Column("currency"))


def export(columns: Sequence[Column], rows: list[tuple[Any, ...]], **options: str) -> bytes:
    file = io.BytesIO()
    written = EXPORTER.write(Dataset(name="orders", columns=tuple(columns), rows=iter(rows)), file, options)
    assert written == len(rows)
    return file.getvalue()


def read(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline=""), strict=True))


def test_the_exporter_passes_the_conformance_kit() -> None:
    check_exporter(EXPORTER, read=read)


def test_orders_are_written_as_people_read_them() -> None:
    rows = [("A-1", 1_795_255_200_123, 12_990, "EUR"), ("A-2", 0, -5, "KWD"), ("A-3", None, None, None)]
    assert export(ORDERS, rows).decode() == (
        "order_id,placed_at,net,currency\r\n"
        "A-1,2026-11-21T10:00:00.123Z,129.90,EUR\r\n"
        "A-2,1970-01-01T00:00:00.000Z,-0.005,KWD\r\n"
        "A-3,,,\r\n"
    )


def test_german_excel_gets_a_mark_semicolons_and_decimal_commas() -> None:
    columns = (*ORDERS, Column("share", "real"))
    data = export(columns, [("Ä;1", 0, -12_990, "EUR", 0.25)], delimiter=";", bom="yes", decimal="comma")
    assert data == (
        b"\xef\xbb\xbforder_id;placed_at;net;currency;share\r\n"
        b'"\xc3\x84;1";1970-01-01T00:00:00.000Z;-129,90;EUR;0,25\r\n'
    )


def test_a_decimal_comma_beside_a_comma_between_cells_is_quoted() -> None:
    assert export(ORDERS[2:], [(150, "EUR")], decimal="comma").endswith(b'"1,50",EUR\r\n')


def test_a_yen_has_no_decimals() -> None:
    assert export(ORDERS[2:], [(150, "JPY")]).endswith(b"150,JPY\r\n")


CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|\r(?!\n)")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"], ids=["equals", "plus", "minus", "at", "tab", "cr"])
@pytest.mark.parametrize("kind", ["text", "integer", "real", "boolean", "time", "money"])
def test_text_that_a_spreadsheet_would_run_is_neutralised_in_every_column(start: str, kind: Any) -> None:
    data = export((Column("cell", kind), Column("currency")), [(f"{start}cmd|' /C calc'!A0", "EUR")])
    assert read(data)[0]["cell"] == "'" + start.replace("\r", "\\u000d") + "cmd|' /C calc'!A0"


def test_a_column_name_is_neutralised_too() -> None:
    assert export((Column("=SUM(A1)"),), []) == b"'=SUM(A1)\r\n"


@pytest.mark.parametrize(
    ("kind", "value", "cell"),
    [
        ("integer", -5, "-5"),
        ("integer", 2**63, "9223372036854775808"),
        ("real", -0.5, "-0.5"),
        ("real", 3, "3"),
        ("real", float("nan"), ""),
        ("real", float("-inf"), ""),
        ("boolean", 1, "true"),
        ("boolean", False, "false"),
        ("money", -1, "-0.01"),
        ("text", 7, "7"),
    ],
)
def test_values_of_their_kind_stay_what_they_are(kind: Any, value: Any, cell: str) -> None:
    assert read(export((Column("cell", kind), Column("currency")), [(value, "EUR")]))[0]["cell"] == cell


@given(st.lists(st.tuples(st.text(), st.text())))
def test_any_text_comes_back_with_its_control_characters_to_be_seen(rows: list[tuple[str, str]]) -> None:
    back = read(export((Column("a"), Column("b")), rows))
    expected = [{"a": written(a), "b": written(b)} for a, b in rows]
    assert back == expected


def written(text: str) -> str:
    shown = CONTROL.sub(lambda sign: f"\\u{ord(sign[0]):04x}", text)
    return "'" + shown if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else shown


@pytest.mark.parametrize(
    "sign", ["\0", "\a", "\x1b", "\r", "\x7f", "\x85", "\x9b", "\u202a", "\u202e", "\u2066", "\u2069"]
)
def test_nothing_in_a_cell_or_a_columns_name_steers_a_terminal(sign: str) -> None:
    data = export((Column(f"a{sign}"),), [(f"x{sign}[2J",)]).decode()
    assert data == f"a\\u{ord(sign):04x}\r\nx\\u{ord(sign):04x}[2J\r\n"


def test_json_in_a_cell_stays_the_same_json() -> None:
    given = {"title": "\x1b[2J \x9b2J \u202etxt.exe \x7f\r\n\t"}
    (row,) = read(export((Column("body"),), [(msgspec.json.encode(given).decode(),)]))
    assert msgspec.json.decode(row["body"]) == given


def test_tabs_ends_of_lines_and_joined_signs_stay() -> None:
    for text in ("a\tb", "a\nb", "a\r\nb", "\N{WOMAN}\u200d\N{ROCKET}", "م\u200cن", "\u2028"):
        assert read(export((Column("a"),), [(text,)]))[0]["a"] == text


def test_text_no_encoding_can_hold_does_not_end_the_export() -> None:
    assert export((Column("a"),), [("x\ud800",)]) == b"a\r\nx?\r\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sep": ";"}, "no option 'sep'; it has delimiter, bom and decimal"),
        ({"delimiter": ""}, "the word tab"),
        ({"delimiter": ";;"}, "one character"),
        ({"delimiter": "\n"}, "one character"),
        ({"delimiter": "3"}, "one character"),
        ({"bom": "maybe"}, "bom=maybe: give no or yes"),
        ({"decimal": ","}, "decimal=,: give point or comma"),
    ],
)
def test_a_wrong_option_names_what_there_is(options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        export(ORDERS, [], **options)


def test_the_word_tab_means_a_tab() -> None:
    assert export((Column("a"), Column("b")), [(1, 2)], delimiter="tab") == b"a\tb\r\n1\t2\r\n"


def test_money_without_a_currency_column_is_refused() -> None:
    with pytest.raises(ValueError, match="orders: column 'net' is money, but no column is named 'currency'"):
        export((Column("net", "money"),), [(1,)])


def test_a_failing_row_leaves_the_callers_file_open_with_what_came_before() -> None:
    def rows() -> Any:
        yield ("one",)
        raise OSError("the reader failed")

    file = io.BytesIO()
    with pytest.raises(OSError, match="the reader failed"):
        EXPORTER.write(Dataset(name="d", columns=(Column("a"),), rows=rows()), file, {})
    assert file.getvalue() == b"a\r\none\r\n"
