"""Reads the settings file as TOML, and says in words for people where that is not possible."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def read_document(path: Path) -> dict[str, Any]:
    """Return what a TOML file holds.

    Raises:
        ValueError: says what is wrong, in which line where that is known, and what to do.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ValueError("there is no such file; make it, or name another one with --config") from None
    except IsADirectoryError:
        raise ValueError("it is a folder; give it another name, or name the settings file with --config") from None
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}; make it readable for the collector's user") from None
    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line}: it is not UTF-8 text; save it as UTF-8, or put an earlier copy there") from None
    except RecursionError:
        raise ValueError("it is nested too deeply; write its tables as in the reference") from None
    except ValueError as error:
        raise ValueError(describe(str(error))) from None


def describe(text: str) -> str:
    """Return what the parser said, the line first: `Expected '=' after a key (at line 3, column 8)`."""
    place = PLACE.search(text)
    what = text[: place.start()] if place else text
    where = ""
    if place:
        where = f"line {place[1]}, column {place[2]}: " if place[1] else "at its end: "
    return f"{where}this is no TOML: {what[:1].lower()}{what[1:]}; correct it, or put an earlier copy there"
