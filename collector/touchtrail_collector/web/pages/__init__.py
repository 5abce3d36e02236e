"""Pages, made on the server from templates that escape whatever is put into them; none of them needs a script."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import Final

import jinja2
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from ..headers import SECURITY_HEADERS
from .words import LANGUAGES, Words, choose_language

__all__ = ["LANGUAGES", "PAGE_HEADERS", "PAGE_POLICY", "Reader", "page"]

STYLE: Final = resources.files(__package__).joinpath("style.css").read_text(encoding="utf-8")
STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

PAGE_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""Of pages: this one style sheet, forms to ourselves, and nothing else from anywhere. No script, of ours neither."""

PAGE_HEADERS: Final = SECURITY_HEADERS | {
    "content-security-policy": PAGE_POLICY,
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Reader:
    """Whom a page is for.

    Args:
        request: its Accept-Language decides, unless its address says otherwise.
        lang: what a form says in the place of the address.

    Attributes:
        lang: the language that was asked for in so many words, "" where the browser's is shown.
        code: of the language to show.
        words: the texts in it.
    """

    def __init__(self, request: Request, lang: str | None = None) -> None:
        wanted = lang if lang is not None else request.query_params.get("lang")
        self.lang: str = wanted if wanted is not None and wanted in LANGUAGES else ""
        self.code: str = choose_language(wanted, request.headers.get("accept-language", ""))
        self.words: Words = LANGUAGES[self.code]

    def address(self, path: str) -> str:
        """Return a path of ours that goes on in the language that was asked for."""
        return f"{path}?lang={self.lang}" if self.lang else path


def page(
    template: str, reader: Reader, status: int = 200, *, path: str = "", keeps: str = "", **values: object
) -> HTMLResponse:
    """Return a page.

    Args:
        path: where the other language is to be had; "" = at the same address.
        keeps: what of the address's query stays when another language is chosen: `token=…&`, escaped for an address.
        values: what the template puts in; escaped there.
    """
    text = (
        templates()
        .get_template(f"{template}.html")
        .render(
            code=reader.code, lang=reader.lang, words=reader.words, all_words=LANGUAGES, style=Markup(STYLE),  # noqa: S704 - ours
            languages={code: f"{path}?{keeps}lang={code}" for code in LANGUAGES}, **values,
        )
    )  # fmt: skip
    return HTMLResponse(text, status, headers=dict(PAGE_HEADERS))


@cache
def templates() -> jinja2.Environment:
    """Return the templates; a name that is not given to them is an error, not an empty place."""
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(read_template), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip


def read_template(name: str) -> str:
    """Return the text of a template."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
