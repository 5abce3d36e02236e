"""What became of events: counted, logged once a minute, and kept to be told to the collector."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import msgspec

from touchtrail.errors import BY_DESIGN

from .clock import sound

_LOG_EVERY_S: Final = 60.0
_REPORT_EVERY_S: Final = 60.0
_MOST_CODES: Final = 100

Outcome = Literal["dropped", "refused"]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How delivery stands. Over the life of a process: what was tracked is delivered, duplicates, rejected, dropped
    or still waiting; events adopted from dead processes come on top.

    Args:
        state: `new`, `running`, `retrying` (the collector cannot be reached), `paused` (it refuses us: address or
            key are wrong), `closed`.
        tracked: events ``track`` took.
        delivered: events the collector stored.
        duplicates: events the collector had already.
        rejected: events the collector refused; they stand in the dead-letter file, but for those it refused because
            the person did not agree (`no_consent`), of which nothing is kept.
        rejected_codes: the same, by the collector's code.
        dropped: events that were taken and then lost, by reason.
        refused: events ``track`` did not take, by reason.
        spooled_bytes: bytes that wait for delivery.
        damaged_files: spool files that could not be read and were renamed `….bad`.
        other_spools: bytes that wait beside our spool folder for another address or key, by folder.
        clock_offset_s: how far the collector's clock is ahead of this machine's; 0.0 = no difference that the answers
            can show, None = not known yet.
        last_error: what went wrong last; None since the last success.
    """

    state: str
    tracked: int
    delivered: int
    duplicates: int
    rejected: int
    rejected_codes: dict[str, int]
    dropped: dict[str, int]
    refused: dict[str, int]
    spooled_bytes: int
    damaged_files: int
    other_spools: dict[str, int]
    clock_offset_s: float | None
    last_error: str | None


class Losses(NamedTuple):
    """Events lost for one reason that the collector does not know of.

    Args:
        since_s: epoch seconds of the first.
        until_s: epoch seconds of the last.
    """

    outcome: Outcome
    reason: str
    events: int
    since_s: float
    until_s: float

    def plus(self, later: Losses) -> Losses:
        """Return both together."""
        return self._replace(events=self.events + later.events, until_s=later.until_s)


class Tally:
    """Counts what became of events, from any thread, and says each problem once a minute.

    Args:
        clock: epoch seconds, for reports.
        reports: whether the collector is to be told of losses.
        reports_refusals: whether that includes events ``track`` did not take.
        steady: seconds that only ever grow.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        *,
        reports: bool = True,
        reports_refusals: bool = True,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = sound(clock)
        self._steady = steady
        self._reports = reports
        self._reports_refusals = reports and reports_refusals
        self.on_news: Callable[[], object] = bool
        self.reset()

    def reset(self) -> None:
        """Begin at zero: a forked child counts its own events, and tells of none of its parent's."""
        self._lock = threading.RLock()
        self._said: dict[str, float] = {}
        self._unreported: dict[tuple[Outcome, str], Losses] = {}
        self._reported_at_s: dict[tuple[Outcome, str], float] = {}
        self.delivered = 0
        self.duplicates = 0
        self.rejected: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def drop(self, reason: str, events: int) -> None:
        """Count events that were taken and are lost."""
        with self._lock:
            self.dropped[reason] += events
            if self._reports:
                self._note("dropped", reason, events)
        self.say(f"dropped:{reason}", f"events were given up: {reason}")

    def refuse(self, reason: str) -> None:
        """Count an event that was not taken."""
        is_news = False
        with self._lock:
            self.refused[reason] += 1
            if self._reports_refusals and reason not in BY_DESIGN and reason != "closed":
                is_news = not self._unreported
                self._note("refused", reason, 1)
        if reason not in BY_DESIGN:
            self.say(f"refused:{reason}", f"track() refused an event: {reason}")
        if is_news:
            self.on_news()

    def reject(self, code: str, *, is_unseen: bool = False) -> None:
        """Count an event that went to the dead letters.

        Args:
            is_unseen: the collector never saw it, and so has to be told.
        """
        with self._lock:
            self.rejected[code if code in self.rejected or len(self.rejected) < _MOST_CODES else "other"] += 1
            if is_unseen and self._reports:
                self._note("dropped", code, 1)

    def take_unreported(self, *, everything: bool) -> list[Losses]:
        """Return losses to tell of, and forget them: whoever takes them must tell or ``put_back``.

        Args:
            everything: also what was last told of less than a minute ago.
        """
        if not self._unreported:
            return []
        now_s = self._steady()
        with self._lock:
            due = [
                key
                for key in self._unreported
                if everything or now_s - self._reported_at_s.get(key, -_REPORT_EVERY_S) >= _REPORT_EVERY_S
            ]
            self._reported_at_s.update(dict.fromkeys(due, now_s))
            return [self._unreported.pop(key) for key in due]

    def put_back(self, losses: Losses) -> None:
        """Keep losses that could not be told of; they are due again in a minute."""
        key = (losses.outcome, losses.reason)
        with self._lock:
            later = self._unreported.get(key)
            self._unreported[key] = losses.plus(later) if later else losses

    def complain(self, problem: OSError) -> None:
        """Log that the spool does not work."""
        self.say("spool", f"the spool on disk does not work ({problem}); events wait in memory meanwhile")

    def say(self, problem: str, message: str, *, loud: bool = False) -> None:
        """Log a problem, at most once a minute; never with anything an event holds."""
        now = self._steady()
        if now - self._said.get(problem, -_LOG_EVERY_S) < _LOG_EVERY_S:
            return
        self._said[problem] = now
        logger = logging.getLogger("touchtrail")
        if not logger.handlers:
            # A library prints nothing unless the program wants its log (Python's "last resort" would).
            logger.addHandler(logging.NullHandler())
        logger.log(logging.ERROR if loud else logging.WARNING, "%s", message)

    def _note(self, outcome: Outcome, reason: str, events: int) -> None:
        now_s = self._clock()
        losses = Losses(outcome, reason, events, now_s, now_s)
        earlier = self._unreported.get((outcome, reason))
        self._unreported[outcome, reason] = earlier.plus(losses) if earlier else losses
