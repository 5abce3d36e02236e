"""The process's one client and its rules for requests, built at first use from ``settings.TOUCHTRAIL``."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final

import msgspec
from django.core.exceptions import SynchronousOnlyOperation
from django.db import DatabaseError, transaction

from touchtrail.client import Client
from touchtrail.errors import OptionsError
from touchtrail.events import Event

from ..visit import Visits, WebOptions
from .conf import DjangoOptions, given, read_configuration

if TYPE_CHECKING:
    from typing import Unpack

    from touchtrail.client import Facts

_lock: Final = threading.RLock()


class Tracking(msgspec.Struct, frozen=True, kw_only=True):
    """What one process tracks with.

    Args:
        problems: what is wrong with the settings; then the client takes nothing.
    """

    client: Client
    visits: Visits
    django: DjangoOptions
    problems: tuple[str, ...] = ()


def current_tracking() -> Tracking:
    """Return the process's tracking; the first call builds it.

    With settings that cannot work it is one that takes nothing, and an error stands in the log: a server does not
    start with them (``TouchtrailMiddleware``) and ``manage.py check`` names them, but what else runs the shop's code,
    a task queue or a script, must not fail over its tracking.
    """
    global _built  # noqa: PLW0603 - one per process is what it is for
    if _built is None:
        with _lock:
            if _built is None:
                _built = _build()
    return _built


def client() -> Client:
    """Return the process's client; the first call builds it. Safe in any thread and across ``fork``."""
    return current_tracking().client


@contextmanager
def override_client(stand_in: Client) -> Iterator[Client]:
    """Let the whole process track with another client inside the block; for tests.

    Example: `with override_client(CapturingClient()) as tracked: …`, then `assert_tracked(tracked, "order_placed")`.
    """
    global _built, _stand_in
    with _lock:
        before = _built, _stand_in
        _stand_in, _built = stand_in, _rebuilt_with(stand_in)
    try:
        yield stand_in
    finally:
        with _lock:
            _built, _stand_in = before


def on_setting_changed(*, setting: str, **_: object) -> None:
    """Build anew from changed settings; ``override_settings`` of Django's tests calls it."""
    global _built
    if setting != "TOUCHTRAIL":
        return
    with _lock:
        before, _built = _built, None if _stand_in is None else _rebuilt_with(_stand_in)
    if before is not None and before.client is not _stand_in:
        before.client.close(timeout_s=0)


def track_on_commit(
    event: Event | str, *, using: str | None = None, properties: Mapping[str, Any] | None = None, **facts: Unpack[Facts]
) -> None:
    """Track the event when the database transaction around the call is committed, and not at all if it is not.

    The context (visitor, customer, page) is that of the call. Outside a transaction, and where Django knows none (an
    event loop, manual transactions), the event is tracked at once.

    Args:
        event: as in ``Client.track``, like the others.
        using: the database's alias; None = the default.
    """
    context = copy_context()

    def track() -> None:
        client().track(event, properties=properties, **facts)

    try:
        transaction.on_commit(lambda: context.run(track), using=using)
    except (SynchronousOnlyOperation, DatabaseError):
        context.run(track)


def _build() -> Tracking:
    try:
        known = read_configuration(given())
    except OptionsError as error:
        logging.getLogger("touchtrail").error("settings.TOUCHTRAIL cannot work, no event is taken: %s", error)
        none = _tracking_with(Client(disabled=True), WebOptions(), DjangoOptions())
        return msgspec.structs.replace(none, problems=error.problems)
    if known.django.capture:
        from touchtrail.testing import CapturingClient

        return _tracking_with(CapturingClient(), known.web, known.django)
    return _tracking_with(Client(options=known.client), known.web, known.django)


def _tracking_with(client: Client, web: WebOptions, django: DjangoOptions) -> Tracking:
    return Tracking(client=client, visits=Visits(client, web, consent=django.consent), django=django)


def _rebuilt_with(stand_in: Client) -> Tracking:
    known = read_configuration(given(), needs_address=False)
    return _tracking_with(stand_in, known.web, known.django)


_built: Tracking | None = None
_stand_in: Client | None = None
