"""The clients a shop calls: events go to the outbox at once and to the collector in the background."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from math import isnan
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import msgspec

from . import __version__
from ._delivery import Delivery
from ._envelope import Envelope, encode, kind_of, names_order, new_event_id, now_text, occurred_text, text_id
from ._limits import EVENT_ID_LENGTH, ID_LENGTH
from ._plain import tidy
from .context import Campaign, Consent, Context, Device, Page, current_context, is_about_another, use_context
from .errors import BY_DESIGN, EventRefusedError, OptionsError, is_thrown_in
from .events import CustomerIdentified, Event, PageViewed
from .options import ADDRESS, Options, assemble, read_variables

if TYPE_CHECKING:
    from typing import Unpack

    from ._arguments import AllOptions, ContextFacts, GivenOptions, Occasion
    from ._arguments import Facts as Facts  # noqa: PLC0414 - integrations take it from here
    from ._transport import Transport
    from ._worker import Health


T = TypeVar("T")


class Tracker:
    """What ``Client`` and ``AsyncClient`` share: taking events.

    Args:
        url: the collector's address.
        key: the write key.
        options: instead of the single options; an option that is given as well wins.
        transport: carries requests instead of httpx; for tests and unusual networks.
        clock: the time of day in epoch seconds, for ``occurred_at`` and ``sent_at``; where it raises or gives no
            number, the system's.
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
        **given: Unpack[GivenOptions],
    ) -> None:
        self.options = _merge(options, url, key, dict(given))
        self._clock = clock if clock is time.time else _reliable(clock)
        self._max_event_bytes = self.options.max_event_bytes
        self._delivery = self._deliver(transport)

    @classmethod
    def from_env(
        cls, *, transport: Transport | None = None, clock: Callable[[], float] = time.time, **given: Unpack[AllOptions]
    ) -> Self:
        """Build a client from the ``TOUCHTRAIL_*`` variables; an option given here wins over its variable."""
        values, problems = read_variables(os.environ, given)
        options = assemble({**values, **given}, problems, needs=ADDRESS)
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

        What is left out comes from the context (``context``, ``use_context``), unless the call names another person
        than the context. An event about a person needs one of ``anonymous_id``, ``customer_id`` and ``identifiers``.

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
            delivery = self._delivery
            if not delivery.here[0]:
                delivery.rearm()
            known = current_context()
            if known is not None and not is_about_another(known, customer_id, anonymous_id):
                anonymous_id = anonymous_id or known.anonymous_id
                customer_id = customer_id or known.customer_id
                session_id = session_id or known.session_id
                page = page or known.page
                campaign = campaign or known.campaign
                device = device or known.device
                consent = consent or known.consent
                identifiers = identifiers or known.identifiers
            kind = kind_of(event)
            is_nobody = not (anonymous_id or customer_id or identifiers)
            if is_nobody and kind.has_person and not names_order(event, properties):
                # A context without ids is a visitor who may not be known: that is as it should be, and no mistake.
                reason = "no_person" if known is None else "no_visitor"
                raise EventRefusedError(reason, "give anonymous_id, customer_id or identifiers, or set a context")
            envelope = Envelope(
                event_id=new_event_id() if event_id is None else _own_id(event_id),
                name=kind.name,
                occurred_at=(now_text(self._clock()) or self._no_time())
                if occurred_at is None
                else occurred_text(occurred_at),
                anonymous_id=anonymous_id
                if type(anonymous_id) is str and 0 < len(anonymous_id) <= ID_LENGTH
                else text_id(anonymous_id, "anonymous_id"),
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
            delivery.keep(encode(envelope, self._max_event_bytes), kind)
        # Events are the shop's data: a property that raises, a broken clock, must not break the shop.
        except BaseException as problem:  # noqa: BLE001 - what must go on is raised again there
            try:
                return self._give_up(problem)
            except RecursionError:
                # The shop's own stack is at its end; not even counting has room.
                return False
        return True

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
        try:
            own = {"email": email, "phone": phone, "loyalty_card": loyalty_card}
            given = {kind: value for kind, value in own.items() if value}
            if given:
                facts["identifiers"] = {**(tidy(facts.get("identifiers"), self._max_event_bytes) or {}), **given}
        except BaseException as problem:  # noqa: BLE001 - as in ``track``
            return self._give_up(problem)
        return self.track(CustomerIdentified(traits=traits), **facts)  # type: ignore[arg-type] # copied when encoded

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
        if any(part is not None and (type(part) is not str or part) for part in (url, title, referrer)):
            facts["page"] = Page(url=url, title=title, referrer=referrer)
        return self.track(PageViewed(name=name, category=category), **facts)

    def context(self, **facts: Unpack[ContextFacts]) -> AbstractContextManager[Context]:
        """Give every event tracked inside the ``with`` block these facts; ``use_context`` says how blocks nest.

        It is the same context for every client, follows ``await`` and tasks, and is a plain ``with`` in async code too.

        Example:
            >>> from touchtrail import current_context
            >>> with Client(disabled=True).context(anonymous_id="a-1"):
            ...     current_context().anonymous_id
            'a-1'
        """
        return use_context(Context(**facts))

    def health(self) -> Health:
        """Return the counts of this process and the state of delivery."""
        return self._delivery.health()

    def _deliver(self, transport: Transport | None) -> Delivery:
        agent = f"touchtrail-python/{__version__}"
        folder = "" if self.options.memory_only else self._spool_folder()
        clock = self._clock if self._clock is time.time else _plausible(self._clock)
        return Delivery(self.options, folder, transport=transport, clock=clock, user_agent=agent)

    def _no_time(self) -> str | None:
        """Let an event go without a time, which the collector gives it; where everything is checked, refuse it."""
        if self.options.strict:
            raise EventRefusedError("bad_time", "the clock shows no time between 2000 and 2100")
        return None

    def _spool_folder(self) -> str:
        from ._outbox import spool_folder

        return spool_folder(self.options)

    def _give_up(self, problem: BaseException) -> bool:
        """Count an event that could not be taken, whatever was raised; what is no failure of it is raised again."""
        if isinstance(problem, EventRefusedError):
            return self._refuse(problem)
        if _is_control_flow(type(problem)) or is_thrown_in(problem):
            raise problem
        return self._refuse(EventRefusedError("unexpected", "a value, the clock or the spool failed"), problem)

    def _refuse(self, refusal: EventRefusedError, cause: BaseException | None = None) -> bool:
        # A log handler of the shop's may raise as well.
        with suppress(Exception):
            self._delivery.tally.refuse(refusal.reason)
        if self.options.strict and refusal.reason not in BY_DESIGN:
            raise refusal from cause
        return False


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
        return self._delivery.flush(_seconds(timeout_s))

    def close(self, timeout_s: float | None = None) -> bool:
        """Send what waits and take no more events; what is not sent in time stays on disk for the next process.

        Args:
            timeout_s: None = ``Options.close_timeout_s``.

        Returns:
            True when the collector acknowledged everything.
        """
        return self._delivery.close(None if timeout_s is None else _seconds(timeout_s))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._delivery.close()


class AsyncClient(Tracker):
    """``Client`` for asyncio: ``track`` and its kin never wait, so they stay plain calls; ``flush`` and ``close``
    are awaited."""

    async def flush(self, timeout_s: float = 5.0) -> bool:
        """As ``Client.flush``, without holding up the event loop; whoever cancels it does not wait for it."""
        return await _in_thread(self._delivery.flush, _seconds(timeout_s))

    async def close(self, timeout_s: float | None = None) -> bool:
        """As ``Client.close``, without holding up the event loop; cancelled, it goes on by itself."""
        return await _in_thread(self._delivery.close, None if timeout_s is None else _seconds(timeout_s))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


# Whose exceptions beside ``Exception`` cancel a task or time it out: swallowed, they would be lost.
_SCHEDULERS: Final = frozenset({"asyncio", "concurrent", "eventlet", "gevent", "greenlet", "trio"})
_LONGEST_WAIT_S: Final = 86_400.0


def _merge(options: Options | None, url: str, key: str, given: dict[str, Any]) -> Options:
    if not isinstance(options, Options | None):
        raise OptionsError(["options: must be a touchtrail.Options, or None"])
    own = {name: value for name, value in (("url", url), ("key", key)) if value}
    base = {} if options is None else msgspec.structs.asdict(options)
    return assemble(base | given | own, needs=ADDRESS)


def _reliable(clock: Callable[[], float]) -> Callable[[], float]:
    """Return a clock that always gives a number: the system's time where the given clock raises or gives none."""

    def now_s() -> float:
        try:
            given = float(clock() + 0.0)  # a text that looks like a number is none
        # The clock is the shop's.
        except BaseException as problem:
            if _is_control_flow(type(problem)) or is_thrown_in(problem):
                raise
            return time.time()
        return time.time() if isnan(given) else given

    return now_s


def _plausible(clock: Callable[[], float]) -> Callable[[], float]:
    """Return a clock for requests and reports, which must have a time: the system's where no event can have this."""

    def now_s() -> float:
        given = clock()
        return time.time() if now_text(given) is None else given

    return now_s


async def _in_thread(wait: Callable[[T], bool], timeout_s: T) -> bool:
    """Return what the call returns, made in a thread of its own.

    The event loop's own threads are joined when it ends: there a wait that was cancelled would hold up the program for
    the rest of its time.
    """
    import asyncio
    import threading

    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bool] = loop.create_future()

    def settle(result: bool, problem: BaseException | None) -> None:
        if answer.done():
            return
        if problem is None:
            answer.set_result(result)
        else:
            answer.set_exception(problem)

    def run() -> None:
        result, problem = False, None
        try:
            result = wait(timeout_s)
        except BaseException as raised:  # noqa: BLE001 - raised again where the call is awaited
            problem = raised
        # The loop may have ended meanwhile.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, problem)

    threading.Thread(target=run, name="touchtrail-wait", daemon=True).start()
    return await answer


def _is_control_flow(kind: type[BaseException]) -> bool:
    """Say whether an exception is somebody's order to stop; any other is a value's failure."""
    if issubclass(kind, KeyboardInterrupt | SystemExit | GeneratorExit):
        return True
    if issubclass(kind, Exception):
        return False
    return any(str(vars(base).get("__module__")).partition(".")[0] in _SCHEDULERS for base in kind.__mro__)


def _seconds(timeout_s: object) -> float:
    """Return a time to wait that every wait takes; what is no number, or NaN, waits not at all."""
    if not issubclass(type(timeout_s), int | float):
        return 0.0
    # As plain numbers: a subclass may compare as it likes.
    plain = int.__index__(timeout_s) if isinstance(timeout_s, int) else float.__float__(timeout_s)  # type: ignore[arg-type]
    return float(min(plain, _LONGEST_WAIT_S)) if plain > 0 else 0.0


def _own_id(event_id: object) -> str:
    text = text_id(event_id, "event_id", EVENT_ID_LENGTH)
    if text is None:
        raise EventRefusedError("bad_id", "event_id is empty")
    return text


def _own_properties(event: Event | str, properties: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if not isinstance(event, str):
        raise EventRefusedError("bad_properties", "properties go with an event's name; a struct has its own fields")
    if properties is not None and not isinstance(properties, Mapping):
        raise EventRefusedError("bad_properties", "properties must be a mapping of names to values")
    return properties or {}
