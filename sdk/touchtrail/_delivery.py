"""The life of a client's delivery: set up, begun anew after a fork, flushed, closed, ended with the process."""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ._envelope import Kind, reseed_event_ids
from .errors import EventRefusedError
from .options import Options

if TYPE_CHECKING:
    from ._transport import Transport
    from ._worker import Health

_LEAVE_S: Final = 0.05


class Delivery:
    """What stands behind one client: the outbox, the worker that empties it, and the counts of both.

    Args:
        folder: where events wait on disk.
        transport: carries requests; None = HTTP.
        clock: the time of day in epoch seconds.
        user_agent: how the client calls itself.
        tells_of_losses: whether the collector is told of events that it never gets.

    Attributes:
        here: its ``[0]`` is 0 in a process forked meanwhile, where ``rearm`` comes before everything else.
    """

    def __init__(  # noqa: PLR0913 - built in one place, out of parts that are each needed
        self,
        options: Options,
        folder: str,
        *,
        transport: Transport | None = None,
        clock: Callable[[], float] = time.time,
        user_agent: str = "touchtrail-python",
        tells_of_losses: bool = True,
    ) -> None:
        from ._outbox import build_outbox
        from ._worker import Tally

        self.options = options
        self._transport = transport
        self._clock = clock
        self._agent = user_agent
        self.is_closed = False
        self._is_special = options.strict or options.disabled
        self.tally = Tally(
            clock,
            reports=tells_of_losses and not options.disabled,
            # With ``strict`` the caller is told of every refusal by an exception.
            reports_refusals=not options.strict,
        )
        self.outbox = build_outbox(options, folder, self.tally.drop, self.tally.complain)
        self._arm()
        _open.add(self)

    def keep(self, payload: bytes, kind: Kind) -> None:
        """Take an encoded event; when this returns, it survives the death of the process.

        Raises:
            EventRefusedError: disabled, closed, no room, or ``strict`` and not as the collector wants it.
        """
        if self._is_special:
            self.check(payload, kind)
        self.outbox.append(payload, kind.shed_class)
        if self.worker.is_asleep:
            self.worker.wake()

    def check(self, payload: bytes, kind: Kind) -> None:
        """Look at what only some clients have to look at; raises as ``keep``."""
        if self.options.disabled:
            raise EventRefusedError("disabled", "this client was told to take no events")
        if self.is_closed:
            raise EventRefusedError("closed", "this client was closed")
        if self.options.strict:
            from ._strict import check_as_collector

            check_as_collector(payload, kind)

    def rearm(self) -> None:
        """Begin anew in a forked child: own files, own connection, own thread, own counts."""
        if self.here[0]:
            return
        _left_to_the_parent.append((self.worker, self.sender))
        self.sender.forget()
        # Again here: a program that forks in C, as uWSGI does, runs no at-fork handlers.
        reseed_event_ids()
        self.tally.reset()
        self.outbox.forget()
        self._arm()

    def flush(self, timeout_s: float) -> bool:
        """Send what waits now; return whether the collector acknowledged everything within the time."""
        if not self.here[0]:
            self.rearm()
        if self.options.disabled:
            return True
        if self.is_closed:
            return not self.outbox.has_pending()
        return self.worker.flush(timeout_s)

    def flush_unless_hopeless(self) -> None:
        """Send what waits, for ``close_timeout_s`` at most, where a process ends without Python's exit handlers."""
        # Out of reach already: the events are on disk, waiting would only hold up the end.
        if self.outbox.waiting_bytes() and not self.worker.is_hopeless():
            self.flush(self.options.close_timeout_s)

    def close(self, timeout_s: float | None = None, *, at_exit: bool = False) -> bool:
        """Send what waits and take no more; return whether the collector acknowledged everything.

        Args:
            timeout_s: None = ``Options.close_timeout_s``.
            at_exit: start no thread, and do not wait for a collector that is out of reach.
        """
        if not self.here[0]:
            self.rearm()
        if self.is_closed:
            return not self.outbox.has_pending()
        until = time.monotonic() + (self.options.close_timeout_s if timeout_s is None else timeout_s)
        is_done = not self.outbox.has_pending()
        # At exit no thread may be started, and with the collector out of reach there is no use in waiting.
        if not at_exit:
            is_done = self.flush(max(until - time.monotonic(), 0.0))
        elif self.worker.is_running() and not self.worker.is_hopeless():
            is_done = self.worker.flush(max(until - _LEAVE_S - time.monotonic(), 0.0), while_hopeful=True)
        elif self.outbox.is_durable():
            self.sender.report_losses(everything=True)
            until = time.monotonic() + _LEAVE_S
        self.is_closed = self._is_special = True
        _open.discard(self)
        self.worker.stop(max(until - time.monotonic(), 0.0 if at_exit else _LEAVE_S))
        return is_done

    def health(self) -> Health:
        """Return the counts of this process and the state of delivery."""
        from ._worker import Health

        tally, sender = self.tally, self.sender
        return Health(
            state="closed" if self.is_closed else sender.state,
            tracked=self.outbox.tracked(),
            delivered=tally.delivered,
            duplicates=tally.duplicates,
            rejected=tally.rejected.total(),
            rejected_codes=dict(tally.rejected),
            dropped=dict(tally.dropped),
            refused=dict(tally.refused),
            spooled_bytes=self.outbox.waiting_bytes(),
            damaged_files=self.outbox.damaged_files(),
            other_spools=self.outbox.other_spools(),
            clock_offset_s=sender.clock_offset.seconds,
            last_error=sender.last_error,
        )

    def _arm(self) -> None:
        from ._forks import mark_process
        from ._transport import HttpTransport
        from ._worker import Sender, Worker

        options = self.options
        carrier = self._transport or HttpTransport(
            options.url, connect_timeout_s=options.connect_timeout_s, timeout_s=options.timeout_s
        )
        self.sender = Sender(self.outbox, carrier, self.tally, options, clock=self._clock, user_agent=self._agent)
        self.worker = Worker(self.outbox, self.sender, self.tally, linger_s=options.linger_s)
        self.here = mark_process()


_open: set[Delivery] = set()
_left_to_the_parent: list[object] = []


def open_deliveries() -> list[Delivery]:
    """Return those of this process that were not closed."""
    return [delivery for delivery in list(_open) if not delivery.is_closed]


def _rearm_all() -> None:
    for delivery in open_deliveries():
        delivery.rearm()


def _close_all() -> None:
    deliveries = open_deliveries()
    began_s = time.monotonic()
    for delivery in deliveries:
        delivery.worker.hurry()
    for delivery in deliveries:
        # All together take no longer than one.
        left_s = max(began_s + delivery.options.close_timeout_s - time.monotonic(), 0.0)
        delivery.close(left_s, at_exit=True)


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_rearm_all)
