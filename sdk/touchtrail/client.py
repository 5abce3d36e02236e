"""The clients a shop calls: events go to the outbox at once and to the collector in the background."""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

import msgspec

from . import __version__
from ._envelope import (
    Envelope,
    Kind,
    check_as_collector,
    encode,
    kind_of,
    new_event_id,
    occurred_text,
    rfc3339,
    text_id,
)
from .context import Campaign, Consent, Device, Page, current_context
from .errors import EventRefusedError
from .events import CustomerIdentified, Event, PageViewed
from .options import ADDRESS, Options, assemble, default_spool_dir, read_variables

if TYPE_CHECKING:
    from typing import TypedDict, Unpack

    from ._transport import Transport
    from ._worker import Health

    class Facts(TypedDict, total=False):
        """What every event may carry beside its own fields; the same names as in ``Client.track``."""

        anonymous_id: str | None
        customer_id: str | None
        session_id: str | None
        page: Page | None
        campaign: Campaign | None
        device: Device | None
        consent: Consent | None
        identifiers: Mapping[str, str] | None
        occurred_at: datetime | None
        event_id: str | None

    class Occasion(TypedDict, total=False):
        """What an event without a place carries."""

        occurred_at: datetime | None
        event_id: str | None


_getpid = os.getpid


class Tracker:
    """What ``Client`` and ``AsyncClient`` share: taking events.

    Args:
        url: the collector's address.
        key: the write key.
        options: instead of the single options; an option that is given as well wins.
        transport: carries requests instead of httpx; for tests and unusual networks.
        clock: the time of day in epoch seconds, for ``occurred_at`` and ``sent_at``.
        given: any other field of ``Options``.

    Raises:
        OptionsError: options that cannot work, every one named. Nothing is raised later.
    """

    def __init__(
        self,
        url: str = "",
        *,
        key: str = "",
        options: Options | None = None,
        transport: Transport | None = None,
        clock: Callable[[], float] = time.time,
        **given: Any,
    ) -> None:
        self.options = _merge(options, url, key, given)
        self._transport = transport
        self._clock = clock
        self._is_closed = False
        self._build()
        self._arm()
        _open_clients.add(self)

    @classmethod
    def from_env(
        cls, *, transport: Transport | None = None, clock: Callable[[], float] = time.time, **given: Any
    ) -> Self:
        """Build a client from the ``TOUCHTRAIL_*`` variables; an option given here wins over its variable."""
        values, problems = read_variables(os.environ, given)
        options = assemble(values | given, problems, needs=ADDRESS)
        return cls(options=options, transport=transport, clock=clock)

    def track(  # noqa: PLR0913 - the call a shop writes most; one flat list of names is what it reads best
        self,
        event: Event | str,
        *,
        properties: Mapping[str, Any] | None = None,
        anonymous_id: str | None = None,
        customer_id: str | None = None,
        session_id: str | None = None,
        page: Page | None = None,
        campaign: Campaign | None = None,
        device: Device | None = None,
        consent: Consent | None = None,
        identifiers: Mapping[str, str] | None = None,
        occurred_at: datetime | None = None,
        event_id: str | None = None,
    ) -> bool:
        """Take one event; when this returns True it survives the death of the process.

        What is left out comes from the context (``use_context``). An event about a person needs one of
        ``anonymous_id``, ``customer_id`` and ``identifiers``.

        Args:
            event: a struct of ``touchtrail.events``, or the name of an event of your own.
            properties: an own event's data; an event of the vocabulary carries its own.
            anonymous_id: the device's first-party id.
            customer_id: the shop's own customer number.
            session_id: the shop's own session; the collector finds sessions without it.
            identifiers: other ids by kind: `email`, `phone`, `loyalty_card`, `receipt_code`, …
            occurred_at: when it happened, with a time zone; None = now.
            event_id: an id of your own under which a repetition is known; None = a new UUIDv7.

        Returns:
            False when the event was refused; ``health().refused`` counts why. Never raises, unless
            ``Options(strict=True)``.
        """
        try:
            if _getpid() != self._pid:
                self._rearm()
            known = current_context()
            if known is not None:
                anonymous_id = anonymous_id or known.anonymous_id
                customer_id = customer_id or known.customer_id
                session_id = session_id or known.session_id
                page = page or known.page
                campaign = campaign or known.campaign
                device = device or known.device
                consent = consent or known.consent
                identifiers = identifiers or known.identifiers
            kind = kind_of(event)
            if not (anonymous_id or customer_id or identifiers) and kind.has_person:
                raise EventRefusedError("no_person", "give anonymous_id, customer_id or identifiers, or set a context")
            envelope = Envelope(
                event_id=new_event_id() if event_id is None else _own_id(event_id),
                name=kind.name,
                occurred_at=rfc3339(int(self._clock() * 1000)) if occurred_at is None else occurred_text(occurred_at),
                anonymous_id=anonymous_id if anonymous_id is None else text_id(anonymous_id, "anonymous_id"),
                customer_id=customer_id if customer_id is None else text_id(customer_id, "customer_id"),
                session_id=session_id if session_id is None else text_id(session_id, "session_id"),
                page=page,
                campaign=campaign,
                device=device,
                consent=consent,
                identifiers=identifiers or None,
                properties=event
                if properties is None and type(event) is kind.struct
                else _own_properties(event, properties),
            )
            payload = encode(envelope, self._max_event_bytes)
            self._keep(payload, kind)
        except EventRefusedError as problem:
            refusal = problem
        # Events are the shop's data: a property that raises, a broken clock, must not break the shop.
        except Exception as problem:  # noqa: BLE001
            refusal = EventRefusedError("unexpected", type(problem).__name__)
        else:
            return True
        return self._refuse(refusal)

    def identify(
        self,
        *,
        email: str | None = None,
        phone: str | None = None,
        loyalty_card: str | None = None,
        traits: Mapping[str, str | int | float | bool | None] | None = None,
        **facts: Unpack[Facts],
    ) -> bool:
        """Say who a person is: all ids in this call, and the device's from the context, belong to one person.

        Args:
            email: as the customer wrote it; the collector keeps only a keyed hash.
            traits: what the shop knows of the customer.
            facts: as in ``track``.

        Returns:
            As ``track``.
        """
        own = {"email": email, "phone": phone, "loyalty_card": loyalty_card}
        given = {kind: value for kind, value in own.items() if value}
        if given:
            facts["identifiers"] = {**(facts.get("identifiers") or {}), **given}
        return self.track(CustomerIdentified(traits=None if traits is None else dict(traits)), **facts)

    def alias(self, anonymous_id: str, customer_id: str, **facts: Unpack[Occasion]) -> bool:
        """Say that what was seen under an anonymous id was this customer."""
        return self.track(CustomerIdentified(), anonymous_id=anonymous_id, customer_id=customer_id, **facts)

    def page(
        self,
        url: str | None = None,
        *,
        title: str | None = None,
        referrer: str | None = None,
        name: str | None = None,
        category: str | None = None,
        **facts: Unpack[Facts],
    ) -> bool:
        """Track that a page was seen.

        Args:
            url: with its query, where the campaign stands; None = the context's page.
            name: the page's name in the shop, `home`.
            facts: as in ``track``.

        Returns:
            As ``track``.
        """
        if url or title or referrer:
            facts["page"] = Page(url=url, title=title, referrer=referrer)
        return self.track(PageViewed(name=name, category=category), **facts)

    def health(self) -> Health:
        """Return the counts of this process and the state of delivery."""
        from ._worker import Health

        tally, mark = self._tally, self._outbox.mark()
        return Health(
            state="closed" if self._is_closed else self._worker.state,
            tracked=mark.disk + mark.memory,
            delivered=tally.delivered,
            duplicates=tally.duplicates,
            rejected=tally.rejected,
            dropped=dict(tally.dropped),
            refused=dict(tally.refused),
            spooled_bytes=self._outbox.waiting_bytes(),
            last_error=self._worker.last_error,
        )

    def _keep(self, payload: bytes, kind: Kind) -> None:
        if self._is_special:
            self._check(payload, kind)
        self._outbox.append(payload, kind.shed_class)
        if self._worker.is_asleep:
            self._worker.wake()

    def _check(self, payload: bytes, kind: Kind) -> None:
        if self.options.disabled:
            raise EventRefusedError("disabled", "this client was told to take no events")
        if self._is_closed:
            raise EventRefusedError("closed", "this client was closed")
        if self.options.strict:
            check_as_collector(payload, kind)

    def _refuse(self, refusal: EventRefusedError) -> bool:
        self._tally.refuse(refusal.reason)
        if self.options.strict and refusal.reason != "disabled":
            raise refusal
        return False

    def _build(self) -> None:
        from ._outbox import DiskOutbox, Limits, MemoryOutbox, Outbox
        from ._worker import Tally

        options, tally = self.options, Tally()
        self._is_special = options.strict or options.disabled
        self._max_event_bytes = options.max_event_bytes
        self._tally = tally
        limits = Limits(
            max_bytes=options.max_spool_bytes, segment_bytes=options.segment_bytes, max_age_s=options.max_spool_age_s
        )
        disk = None if options.memory_only else DiskOutbox(_spool_path(options), limits, tally.drop)
        memory = MemoryOutbox(msgspec.structs.replace(limits, max_bytes=options.max_memory_bytes), tally.drop)

        def complain(problem: OSError) -> None:
            tally.say("spool", f"the spool on disk does not work ({problem}); events wait in memory meanwhile")

        self._outbox = Outbox(disk, memory, complain)

    def _arm(self) -> None:
        from ._transport import HttpxTransport
        from ._worker import Worker

        options = self.options
        carrier = self._transport or HttpxTransport(
            options.url, connect_timeout_s=options.connect_timeout_s, timeout_s=options.timeout_s
        )
        agent = f"touchtrail-python/{__version__}"
        self._worker = Worker(self._outbox, carrier, self._tally, options, clock=self._clock, user_agent=agent)
        self._pid = _getpid()

    def _rearm(self) -> None:
        """Begin anew in a forked child: own files, own connection, own thread, own counts."""
        if _getpid() == self._pid:
            return
        # The parent's connection is only forgotten: closing it here would say goodbye in the parent's name.
        _left_to_the_parent.append(self._worker)
        self._tally.reset()
        self._outbox.forget()
        self._arm()

    def _flush(self, timeout_s: float) -> bool:
        if _getpid() != self._pid:
            self._rearm()
        if self.options.disabled:
            return True
        if self._is_closed:
            return not self._outbox.has_pending()
        return self._worker.flush(timeout_s)

    def _close(self, timeout_s: float | None, *, at_exit: bool = False) -> bool:
        if _getpid() != self._pid:
            self._rearm()
        if self._is_closed:
            return not self._outbox.has_pending()
        until = time.monotonic() + (self.options.close_timeout_s if timeout_s is None else timeout_s)
        is_done = not self._outbox.has_pending()
        # At exit no thread may be started, and with the collector out of reach there is no use in waiting.
        hopeless = self._worker.state in ("retrying", "paused") and self._outbox.is_durable()
        if not at_exit or (self._worker.is_running() and not hopeless):
            is_done = self._flush(max(until - time.monotonic(), 0.0))
        self._is_closed = self._is_special = True
        _open_clients.discard(self)
        self._worker.stop(max(until - time.monotonic(), 0.05))
        return is_done


class Client(Tracker):
    """Sends a shop's events to a collector; safe to use from any thread and across ``fork``.

    Example:
        >>> from touchtrail import Client, events
        >>> with Client("http://127.0.0.1:8377", key="write-key", disabled=True) as client:
        ...     client.track(events.ProductViewed(sku="SKU-1"), anonymous_id="a-1")
        False
    """

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Send what waits now, also what dead processes left; True when the collector acknowledged everything."""
        return self._flush(timeout_s)

    def close(self, timeout_s: float | None = None) -> bool:
        """Send what waits and take no more events; what is not sent in time stays on disk for the next process.

        Args:
            timeout_s: None = ``Options.close_timeout_s``.

        Returns:
            True when the collector acknowledged everything.
        """
        return self._close(timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close(None)


class AsyncClient(Tracker):
    """``Client`` for asyncio: ``track`` and its kin never wait, so they stay plain calls; ``flush`` and ``close``
    are awaited."""

    async def flush(self, timeout_s: float = 5.0) -> bool:
        """As ``Client.flush``, without holding up the event loop."""
        import asyncio

        return await asyncio.to_thread(self._flush, timeout_s)

    async def close(self, timeout_s: float | None = None) -> bool:
        """As ``Client.close``, without holding up the event loop."""
        import asyncio

        return await asyncio.to_thread(self._close, timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


_open_clients: set[Tracker] = set()
_left_to_the_parent: list[object] = []


def _merge(options: Options | None, url: str, key: str, given: dict[str, Any]) -> Options:
    own = {name: value for name, value in (("url", url), ("key", key)) if value}
    base = {} if options is None else msgspec.structs.asdict(options)
    return assemble(base | given | own, needs=ADDRESS)


def _own_id(event_id: object) -> str:
    text = text_id(event_id, "event_id")
    if text is None:
        raise EventRefusedError("bad_id", "event_id is empty")
    return text


def _own_properties(event: Event | str, properties: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if not isinstance(event, str):
        raise EventRefusedError("bad_properties", "properties go with an event's name; a struct has its own fields")
    if properties is not None and not isinstance(properties, Mapping):
        raise EventRefusedError("bad_properties", "properties must be a mapping of names to values")
    return properties or {}


def _spool_path(options: Options) -> str:
    import hashlib

    # One folder per collector and key: what was taken for one must never be delivered to another.
    sender = hashlib.sha256(f"{options.url.rstrip('/')}\0{options.key}".encode()).hexdigest()[:32]
    base = default_spool_dir() if options.spool_dir is None else os.fspath(options.spool_dir)
    return os.path.join(base, sender)


def _rearm_all() -> None:
    for client in list(_open_clients):
        client._rearm()


def _close_all() -> None:
    for client in list(_open_clients):
        client._close(None, at_exit=True)


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_rearm_all)
