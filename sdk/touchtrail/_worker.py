"""Background delivery: batches from the outbox to the collector, at least once, every loss counted with its reason."""

from __future__ import annotations

import logging
import random
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from ._envelope import assemble
from ._outbox import Batch, DiskOutbox, MemoryOutbox, Outbox
from ._transport import Ack, Reply, Transport, read_ack, retry_after_s
from .errors import TransportError

if TYPE_CHECKING:
    from .options import Options

_TEND_S: Final = 1.0
_IDLE_S: Final = 5.0
_LOG_EVERY_S: Final = 60.0
# Level 1 halves the time of the default level 6 and gives away a tenth of the size on JSON.
_GZIP_LEVEL: Final = 1
_GZIP_WINDOW: Final = 31
_REST: Final = 3
_LONGEST_REST_S: Final = 0.02


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How delivery stands. Over the life of a process: what was tracked is delivered, duplicates, rejected, dropped
    or still waiting; events adopted from dead processes come on top.

    Args:
        state: `new`, `running`, `retrying` (the collector cannot be reached), `paused` (it refuses us: address or
            key are wrong), `closed`.
        tracked: events ``track`` took.
        delivered: events the collector stored.
        duplicates: events the collector had already.
        rejected: events the collector refused; they stand in the dead-letter file.
        dropped: events that were taken and then lost, by reason.
        refused: events ``track`` did not take, by reason.
        spooled_bytes: bytes that wait for delivery.
        last_error: what went wrong last; None since the last success.
    """

    state: str
    tracked: int
    delivered: int
    duplicates: int
    rejected: int
    dropped: dict[str, int]
    refused: dict[str, int]
    spooled_bytes: int
    last_error: str | None


class Tally:
    """Counts what became of events, from any thread, and says each problem once a minute."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin at zero: a forked child counts its own events."""
        self._lock = threading.RLock()
        self._said: dict[str, float] = {}
        self.delivered = 0
        self.duplicates = 0
        self.rejected = 0
        self.dropped: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def drop(self, reason: str, events: int) -> None:
        """Count events that were taken and are lost."""
        with self._lock:
            self.dropped[reason] += events
        self.say(f"dropped:{reason}", f"events were given up: {reason}")

    def refuse(self, reason: str) -> None:
        """Count an event that was not taken."""
        with self._lock:
            self.refused[reason] += 1
        self.say(f"refused:{reason}", f"track() refused an event: {reason}")

    def say(self, problem: str, message: str, *, loud: bool = False) -> None:
        """Log a problem, at most once a minute; never with anything an event holds."""
        now = time.monotonic()
        if now - self._said.get(problem, -_LOG_EVERY_S) < _LOG_EVERY_S:
            return
        self._said[problem] = now
        logger = logging.getLogger("touchtrail")
        if not logger.handlers:
            # A library prints nothing unless the program wants its log (Python's "last resort" would).
            logger.addHandler(logging.NullHandler())
        logger.log(logging.ERROR if loud else logging.WARNING, "%s", message)


class Worker:
    """Sends what waits in the outbox, one request at a time.

    ``step`` does one round and returns; ``wake`` starts the thread that does rounds as long as there is work.

    Args:
        clock: epoch seconds, for ``sent_at``.
        user_agent: how this client calls itself.
    """

    def __init__(  # noqa: PLR0913 - built in one place, out of parts that are each needed
        self,
        outbox: Outbox,
        transport: Transport,
        tally: Tally,
        options: Options,
        *,
        clock: Callable[[], float] = time.time,
        user_agent: str = "touchtrail-python",
    ) -> None:
        self._outbox = outbox
        self._transport = transport
        self._tally = tally
        self._options = options
        self._clock = clock
        self._random = random.Random()  # noqa: S311 - spreads retries, keeps no secret
        self._headers = {
            "Authorization": f"Bearer {options.key}",
            "Content-Type": "application/json",
            "User-Agent": user_agent,
        }
        self._most_events = options.batch_events
        self._failures = 0
        self._thread: threading.Thread | None = None
        self._start_lock = threading.Lock()
        self._bell = threading.Event()
        self._progress = threading.Condition()
        self._asked = 0
        self._answered = 0
        self._is_stopping = False
        self.is_asleep = True
        self.state = "new"
        self.last_error: str | None = None

    def wake(self) -> None:
        """Make sure the thread looks at the outbox soon; starts it when there is none."""
        self.is_asleep = False
        thread = self._thread
        if thread is None or not thread.is_alive():
            self._start()
        self._bell.set()

    def flush(self, timeout_s: float) -> bool:
        """Send everything now; return whether all that was taken before is settled within the time."""
        deadline = time.monotonic() + timeout_s
        mark = self._outbox.mark()
        with self._progress:
            self._asked += 1
            mine = self._asked
        self.wake()
        with self._progress:
            while not (self._answered >= mine and self._outbox.is_settled_to(mark)):
                left_s = deadline - time.monotonic()
                if left_s <= 0 or not self._progress.wait(left_s):
                    return self._answered >= mine and self._outbox.is_settled_to(mark)
        return True

    def stop(self, timeout_s: float) -> bool:
        """End the thread; False when a request in flight outlasts the time. The thread then ends after it."""
        self._is_stopping = True
        self._bell.set()
        thread = self._thread
        if thread is None or not thread.is_alive():
            self._let_go()
            return True
        thread.join(timeout_s)
        return not thread.is_alive()

    def is_running(self) -> bool:
        """Say whether the thread lives."""
        return self._thread is not None and self._thread.is_alive()

    def step(self) -> float | None:
        """Send one batch.

        Returns:
            Seconds to wait before the next round; None = nothing waits.
        """
        found = self._outbox.take(self._most_events, self._options.batch_bytes)
        if found is None:
            return None
        batch, outbox = found
        try:
            reply = self._transport.send(*self._request(batch))
        except TransportError as problem:
            return self._fail("retrying", f"the collector cannot be reached ({problem})")
        return self._handle(reply, batch, outbox)

    def _request(self, batch: Batch) -> tuple[bytes, dict[str, str]]:
        body = assemble(batch.payloads, int(self._clock() * 1000))
        if len(body) <= self._options.gzip_above_bytes:
            return body, self._headers
        press = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
        return press.compress(body) + press.flush(), {**self._headers, "Content-Encoding": "gzip"}

    def _handle(self, reply: Reply, batch: Batch, outbox: DiskOutbox | MemoryOutbox) -> float:
        status = reply.status
        ack = read_ack(reply, len(batch.payloads)) if status < 500 else None
        if ack is not None and (status < 300 or ack.rejected):
            self._settle(ack, batch, outbox)
            return 0.0
        if status == 413:
            return self._make_smaller(batch, outbox)
        if status in (408, 429) or status >= 500:
            asked_s = retry_after_s(reply.retry_after, self._options.retry_after_max_s, time.time())
            return self._fail("retrying", f"the collector answers {status}", at_least_s=asked_s)
        return self._fail("paused", _PAUSED.get(status, _PAUSED_OTHERWISE).format(status=status))

    def _settle(self, ack: Ack, batch: Batch, outbox: DiskOutbox | MemoryOutbox) -> None:
        for reject in ack.rejected:
            self._bury(batch.payloads[reject.index], reject.code, reject.field, reject.message)
        outbox.settle(batch)
        self._tally.delivered += ack.accepted
        self._tally.duplicates += ack.duplicates
        self._failures = 0
        self._most_events = min(self._most_events * 2, self._options.batch_events)
        self.state, self.last_error = "running", None

    def _make_smaller(self, batch: Batch, outbox: DiskOutbox | MemoryOutbox) -> float:
        if len(batch.payloads) > 1:
            self._most_events = len(batch.payloads) // 2
            return 0.0
        self._bury(batch.payloads[0], "too_large", None, "the collector takes no request of this size")
        outbox.settle(batch)
        return 0.0

    def _bury(self, payload: bytes, code: str, field: str | None, message: str) -> None:
        letter = {"code": code, "field": field, "message": message, "event": msgspec.Raw(payload)}
        self._outbox.keep_dead_letter(msgspec.json.encode(letter) + b"\n")
        self._tally.rejected += 1
        self._tally.say(f"rejected:{code}", f"the collector rejected an event: {code}, field {field}")

    def _fail(self, state: str, message: str, *, at_least_s: float = 0.0) -> float:
        longest_s = min(self._options.backoff_min_s * 2.0 ** min(self._failures, 30), self._options.backoff_max_s)
        self._failures += 1
        self.state, self.last_error = state, message
        self._tally.say(state, f"{message}; events are kept and sent again", loud=state == "paused")
        # Never zero: that would mean "go on at once".
        return max(at_least_s, self._random.uniform(0, longest_s), 0.001)

    def _start(self) -> None:
        with self._start_lock:
            if self._is_stopping or (self._thread is not None and self._thread.is_alive()):
                return
            thread = threading.Thread(target=self._run, name="touchtrail", daemon=True)
            try:
                thread.start()
            except RuntimeError as problem:
                # No more threads, or the interpreter is ending: the events are kept, a later call tries again.
                self._tally.say("no_thread", f"the delivery thread cannot be started ({problem})")
                self.is_asleep = True
            else:
                self._thread = thread

    def _run(self) -> None:
        self.state = "running"
        try:
            while not self._is_stopping:
                self._round()
        finally:
            self.is_asleep = True
            self._announce(self._asked)
            if self._is_stopping:
                self._let_go()

    def _round(self) -> None:
        asked = self._asked
        try:
            self._outbox.tend()
            wait_s = self._step_gently()
            while wait_s == 0.0 and not self._is_stopping:
                self._announce(0)
                wait_s = self._step_gently()
        # The one place that catches everything: a bug here must not end delivery for the rest of the process.
        except Exception as problem:  # noqa: BLE001
            wait_s = self._fail("retrying", f"delivery failed unexpectedly ({type(problem).__name__})")
        self._announce(asked)
        if wait_s is None:
            self._sleep_until_work()
        else:
            self._back_off(wait_s)

    def _step_gently(self) -> float | None:
        """Send one batch; while the shop tracks at the same time, leave it most of the interpreter."""
        mark, began_s = self._outbox.mark(), time.thread_time()
        wait_s = self.step()
        # Each request holds up a concurrent track() by up to half a millisecond; at this pace that is under 1 in 100.
        if self._outbox.mark() != mark and not self._has_orders():
            self._bell.wait(min(_REST * (time.thread_time() - began_s), _LONGEST_REST_S))
        return wait_s

    def _announce(self, answered: int) -> None:
        with self._progress:
            self._answered = max(self._answered, answered)
            self._progress.notify_all()

    def _sleep_until_work(self) -> None:
        """Wait for the first event, then for others to share its request."""
        self._bell.clear()
        self.is_asleep = True
        # In this order: an event that came before we slept is seen here, one that comes after rings.
        if not (self._has_orders() or self._outbox.has_pending()):
            self._bell.wait(_IDLE_S)
        self.is_asleep = False
        self._bell.clear()
        if not self._has_orders() and self._outbox.has_pending():
            self._bell.wait(self._options.linger_s)

    def _back_off(self, wait_s: float) -> None:
        """Wait after a failure; a flush or the end cuts it short, and the spool is tended meanwhile."""
        until = time.monotonic() + wait_s
        while (left_s := until - time.monotonic()) > 0 and not self._has_orders():
            self._bell.clear()
            if not self._has_orders():
                self._bell.wait(min(left_s, _TEND_S))
            self._outbox.tend()

    def _has_orders(self) -> bool:
        return self._is_stopping or self._answered < self._asked

    def _let_go(self) -> None:
        with self._start_lock:
            if self.state == "closed":
                return
            self.state = "closed"
        self._outbox.close()
        self._transport.close()


_PAUSED: Final = {
    401: "the collector does not know the key (401): check TOUCHTRAIL_KEY or Client(key=…)",
    403: "the collector does not allow this key here (403)",
    404: "no collector at this address (404): check TOUCHTRAIL_URL or Client(url)",
    405: "no collector at this address (405): check TOUCHTRAIL_URL or Client(url)",
    421: "the collector does not serve this host name (421): check its allowed hosts",
}
_PAUSED_OTHERWISE: Final = "the answer ({status}) is not a collector's word on the events: check address and versions"
