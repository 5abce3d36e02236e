"""A reference page as the documentation contract reads it: sections, tables, names in backticks, blocks that run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (ROOT / "sdk/touchtrail", ROOT / "collector/touchtrail_collector", ROOT / "plugins/touchtrail_plugins")
COLLECTOR = ROOT / "collector/README.md"
PLUGINS = ROOT / "plugins/README.md"
SDK = ROOT / "sdk/README.md"
README = ROOT / "README.md"

_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
_FENCED = re.compile(r"^[ ]*```.*?^[ ]*```", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(
    r"^(?P<indent>[ ]*)<!-- runs(?P<collector> with a collector)? -->\n"
    r"(?P=indent)```(?P<language>console|python|sh)\n(?P<text>.*?)\n(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A code block that is marked to run, and whether a collector runs beside it from then on."""

    needs_collector: bool
    language: str
    text: str


def read_sections(page: Path) -> dict[str, str]:
    """Return the text under each heading, by the heading without its backticks; deeper headings are left out."""
    text = page.read_text("utf-8")
    # What stands in code blocks is no heading, however it begins.
    hidden = _FENCED.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    headings = list(_HEADING.finditer(hidden))
    ends = [heading.start() for heading in headings[1:]] + [len(text)]
    return {heading[2].replace("`", ""): text[heading.end() : end] for heading, end in zip(headings, ends, strict=True)}


def read_rows(section: str) -> list[list[str]]:
    """Return the cells of every table row of a section, header and rule lines left out."""
    lines = section.splitlines()
    rows = []
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        if line.startswith("|") and not is_rule(line) and not is_rule(following):
            rows.append([cell.strip() for cell in line.strip().strip("|").split("|")])
    return rows


def is_rule(line: str) -> bool:
    """True for the line between a table's header and its rows."""
    return re.fullmatch(r"\|[-:| ]+\|", line.strip()) is not None


def names_in(cell: str) -> list[str]:
    """Return what stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def read_blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page that are marked to run, in order."""
    text = page.read_text("utf-8")
    for match in _BLOCK.finditer(text):
        indent = len(match["indent"])
        lines = [line[indent:] for line in match["text"].splitlines()]
        yield Block(match["collector"] is not None, match["language"], "\n".join(lines))


def count_marks(page: Path) -> int:
    """Return how many marks a page has; each must have its block."""
    return page.read_text("utf-8").count("<!-- runs")
