"""Celery: an event tracked inside a task is about the visitor whose request published the task.

The visitor travels in one task header, ``touchtrail``, through every broker, retry, chain, group and chord. It holds
ids, campaign and consent, never an e-mail address or another identifier: brokers keep messages in clear.
"""

from __future__ import annotations

from contextvars import Token
from typing import Annotated, Any, Final

import msgspec
from celery import signals

from .._delivery import open_deliveries
from .._envelope import text_id
from .._limits import ID_LENGTH
from .._worker import Tally
from ..client import Tracker
from ..context import Campaign, Consent, Context, current_context, replace_context, restore_context
from ..errors import EventRefusedError

__all__ = ["HEADER", "install", "uninstall"]

HEADER: Final = "touchtrail"
"""The task header's name."""

_LONGEST_HEADER: Final = 8192
_TOKEN: Final = "touchtrail_outer"  # noqa: S105 - the name of an attribute
_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=ID_LENGTH)]


def install(client: Tracker | None = None, *, app: Any = None) -> None:
    """Let the context travel with tasks, both where tasks are published and where they run.

    Call it in the module that makes the Celery app, so that shop and workers both do; calling it again changes nothing.

    Args:
        client: is flushed when a worker's process ends, for ``close_timeout_s`` at most; None = every client that is
            open in the process then.
        app: carry the context only with this app's tasks, where others go to strangers; may be called once per app.
            None = with every task.
    """
    if app is None:
        _wiring.is_for_all = True
    elif all(app is not known for known in _wiring.apps):
        _wiring.apps.append(app)
    if client is not None:
        _wiring.clients.add(client)
    for signal, receiver in _RECEIVERS:
        signal.connect(receiver, weak=False, dispatch_uid=f"touchtrail.{receiver.__name__}")


def uninstall() -> None:
    """Undo every ``install``; tasks that run keep their context to their end."""
    _wiring.clear()
    for signal, receiver in _RECEIVERS:
        if receiver is not _leave:
            signal.disconnect(receiver, dispatch_uid=f"touchtrail.{receiver.__name__}")


class _Visitor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The header's content."""

    anonymous_id: _Id | None = None
    customer_id: _Id | None = None
    session_id: _Id | None = None
    campaign: Campaign | None = None
    consent: Consent | None = None


class _Wiring:
    def __init__(self) -> None:
        self.apps: list[Any] = []
        self.clients: set[Tracker] = set()
        self.clear()

    def clear(self) -> None:
        self.is_for_all = False
        self.apps.clear()
        self.clients.clear()

    def carries(self, task_name: str) -> bool:
        return self.is_for_all or any(task_name in app.tasks for app in self.apps)


_wiring = _Wiring()
_tally = Tally()
_decoder = msgspec.json.Decoder(_Visitor)


def _write(context: Context) -> str | None:
    """Return the header's text; None when there is nothing to say or the text would be too long for a header."""
    visitor = _Visitor(
        anonymous_id=text_id(context.anonymous_id, "anonymous_id"),
        customer_id=text_id(context.customer_id, "customer_id"),
        session_id=text_id(context.session_id, "session_id"),
        campaign=context.campaign,
        consent=context.consent,
    )
    text = msgspec.json.encode(visitor)
    if len(text) > _LONGEST_HEADER:
        text = msgspec.json.encode(msgspec.structs.replace(visitor, campaign=None))
    return text.decode() if text != b"{}" else None


def _read(header: object) -> Context | None:
    """Return the context a header tells; None when it tells none, or is none of ours."""
    if not isinstance(header, str) or len(header) > _LONGEST_HEADER:
        return None
    try:
        visitor = _decoder.decode(header)
    # Anybody who can write to the broker can write this: msgspec raises the last three for depth and lone surrogates.
    except (msgspec.MsgspecError, RecursionError, UnicodeError, OverflowError):
        return None
    return Context(
        anonymous_id=visitor.anonymous_id,
        customer_id=visitor.customer_id,
        session_id=visitor.session_id,
        campaign=visitor.campaign,
        consent=visitor.consent,
    )


def _publish(sender: str, headers: dict[str, Any] | None = None, **_: object) -> None:
    context = current_context()
    # A retry brings its header along: it must begin as the first try did, whatever the task learned meanwhile.
    if context is None or headers is None or HEADER in headers or not _wiring.carries(sender):
        return
    try:
        text = _write(context)
    except (EventRefusedError, TypeError, ValueError, RecursionError, OverflowError):
        _tally.say("celery_write", "a task was published without its visitor: an id is no text or too long")
    else:
        if text is not None:
            headers[HEADER] = text


def _enter(task: Any, **_: object) -> None:
    if not _wiring.carries(task.name):
        return
    request = task.request
    header = vars(request).get(HEADER) or (request.headers or {}).get(HEADER)
    if header is None and request.is_eager:
        # An eager task is a plain call: nothing was published, the caller's visitor is still the one.
        context = current_context()
    else:
        context = _read(header)
        if header is not None and context is None:
            _tally.say("celery_read", "a task's header names no visitor; its events go without")
    # Kept on the request and not under the task's id, which a retry shares with its first try.
    vars(request)[_TOKEN] = replace_context(context)


def _leave(task: Any, **_: object) -> None:
    token: Token[Context | None] | None = vars(task.request).pop(_TOKEN, None)
    if token is not None:
        restore_context(token)


def _end_process(**_: object) -> None:
    """Send what waits before the pool ends the process, which it does without Python's exit handlers."""
    for delivery in [client._delivery for client in _wiring.clients] or open_deliveries():
        delivery.flush_unless_hopeless()


_RECEIVERS: Final = (
    (signals.before_task_publish, _publish),
    (signals.task_prerun, _enter),
    (signals.task_postrun, _leave),
    (signals.worker_process_shutdown, _end_process),
)
