"""Links between the pages lead somewhere: to a file that exists and a heading that is in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reference_page import ROOT, read_sections

PAGES = sorted(path for pattern in ("*.md", "[a-z]*/**/*.md") for path in ROOT.glob(pattern))
LINK = re.compile(r"\]\((?P<file>[^)#\s]*)(?:#(?P<heading>[^)\s]+))?\)")


def anchor_of(heading: str) -> str:
    """Return the name a page's heading has in links, as the usual renderers make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def dead_links(page: Path) -> list[str]:
    """Return the links of a page that lead nowhere; those to other sites are passed over."""
    dead = []
    for match in LINK.finditer(page.read_text("utf-8")):
        if "://" in match["file"]:
            continue
        target = (page.parent / match["file"]).resolve() if match["file"] else page
        anchor = match["heading"]
        if not target.exists() or (anchor and anchor not in map(anchor_of, read_sections(target))):
            dead.append(match[0])
    return dead


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    assert dead_links(page) == []


def test_a_dead_link_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Here\n[a](#here) [b](#there) [c](page.md#here) [d](gone.md) [e](https://shop.example/#x)", "utf-8"
    )
    assert dead_links(page) == ["](#there)", "](gone.md)"]
