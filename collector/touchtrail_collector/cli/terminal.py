"""Texts that senders wrote, as they may be shown: what a terminal would obey is written out."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import msgspec

# What moves a terminal's cursor or turns its text round. Source: ECMA-48; Unicode TR 36, section 2.7.
CONTROLS = "\x7f-\x9f\u202a-\u202e\u2066-\u2069"
JSON_CONTROL = re.compile(f"[{CONTROLS}]")
# Tabs and ends of lines are a part of CSV.
CSV_CONTROL = re.compile(rf"[\x00-\x08\x0b\x0c\x0e-\x1f{CONTROLS}]|\r(?!\n)")


def printable(text: str) -> str:
    """Return a text that cannot move the cursor or hide anything on a terminal."""
    return "".join(
        sign if sign == "\n" or unicodedata.category(sign) not in ("Cc", "Cf", "Cs", "Zl", "Zp") else escaped(sign)
        for sign in text
    )


def escaped(sign: str) -> str:
    """Return a character as Python writes it where it cannot be shown."""
    return sign.encode("unicode_escape", "replace").decode()


def in_one_line(text: str) -> str:
    """Return the same for a cell, which ends with its line."""
    return text if text.isprintable() else printable(text).replace("\n", "\\n")


def csv_text(text: str) -> str:
    """Return a text for a cell of CSV, control characters written as JSON does, `\\u001b`."""
    return text if text.isprintable() else CSV_CONTROL.sub(_as_json, text)


def format_json(value: Any) -> str:
    """Return a value as indented JSON; what a terminal would obey is escaped, which programs read as it was."""
    return JSON_CONTROL.sub(_as_json, msgspec.json.format(msgspec.json.encode(value)).decode())


def _as_json(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
