"""One row of the table of paths: what is served where, for whom, and what it does in the words of `/openapi.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.types import ASGIApp

from .access import Access


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """What a path does with one method.

    Args:
        path: of this operation, where the route's has a placeholder for several.
        request: the struct of the body, or several of which one is to be sent; empty = none is read.
        request_types: the media types it may come as.
        parameters: the struct of the query's parameters.
        answer: the type of the body of 200; None = ``media_type`` says all there is to say.
        other_answers: types by status, where they are more than errors.
        pages: statuses of errors and redirects that who reads pages gets in the place of JSON.
        errors: statuses beside those of any path and of the access class.
        follows_protocol: True where a source plugin words the answers in its vendor's manner.
    """

    path: str
    summary: str
    tag: str
    request: tuple[Any, ...] = ()
    request_types: tuple[str, ...] = ("application/json",)
    parameters: type[msgspec.Struct] | None = None
    answer: Any = None
    other_answers: Mapping[int, Any] = {}
    media_type: str = "application/json"
    pages: tuple[int, ...] = ()
    errors: tuple[int, ...] = ()
    follows_protocol: bool = False


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One row: a path with one method.

    Args:
        endpoint: checks the access by itself.
        operations: what it does; several where a placeholder of the path decides.
    """

    path: str
    method: str
    access: Access
    endpoint: ASGIApp
    operations: tuple[Operation, ...]

    @property
    def takes_events(self) -> bool:
        """True where browsers send, and ask before."""
        return self.access in ("write_key", "source")
