"""The thread that sends what waits in the outbox, one request at a time."""

from __future__ import annotations

import random
import sys
import threading
import time
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from touchtrail._envelope import assemble
from touchtrail._outbox import Batch, DiskOutbox, MemoryOutbox, Outbox
from touchtrail._transport import Ack, HttpTransport, Reject, Reply, Transport, read_ack, read_date, retry_after_s
from touchtrail.errors import EventRefusedError, TransportError

from .clock import ClockOffset, sound
from .losses import loss_report
from .tally import Tally

if TYPE_CHECKING:
    from touchtrail.options import Options

_TEND_S: Final = 1.0
_IDLE_S: Final = 5.0
# Level 1 halves the time of the default level 6 and gives away a tenth of the size on JSON.
_GZIP_LEVEL: Final = 1
_GZIP_WINDOW: Final = 31
_REST: Final = 3
_LONGEST_REST_S: Final = 0.02


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
        self._clock = sound(clock)
        self._random = random.Random()  # noqa: S311 - spreads retries, keeps no secret
        self._headers = {
            "Authorization": f"Bearer {options.key}",
            "Content-Type": "application/json",
            "User-Agent": user_agent,
        }
        self._sender = user_agent
        self._most_events = options.batch_events
        self._failures = 0
        self._thread: threading.Thread | None = None
        self._start_lock = threading.Lock()
        self._running = threading.Lock()
        self._bell = threading.Event()
        self._progress = threading.Condition()
        self._asked = 0
        self._answered = 0
        self._is_stopping = False
        self.is_asleep = True
        self.state = "new"
        self.last_error: str | None = None
        self.clock_offset = ClockOffset()
        self._told: set[str] = set()
        tally.on_news = self.wake

    def wake(self) -> None:
        """Make sure the thread looks at the outbox soon; starts it when there is none."""
        self.is_asleep = False
        thread = self._thread
        if thread is None or not thread.is_alive():
            if _is_before_uwsgi_forks():
                self.is_asleep = True
                return
            self._start()
        self._bell.set()

    def hurry(self) -> None:
        """Let the thread, if there is one, send what waits now."""
        if self.is_running():
            with self._progress:
                self._asked += 1
            self._bell.set()

    def is_hopeless(self) -> bool:
        """Say whether the collector is out of reach, and what waits outlives the process: no use in waiting."""
        return self.state in ("retrying", "paused") and self._outbox.is_durable()

    def flush(self, timeout_s: float, *, while_hopeful: bool = False) -> bool:
        """Send everything now; return whether all that was taken before is settled within the time.

        Args:
            while_hopeful: wait no longer than until an attempt fails, if what waits is on disk.
        """
        deadline = time.monotonic() + timeout_s
        self.report_losses(everything=True)
        mark = self._outbox.mark()
        with self._progress:
            self._asked += 1
            mine = self._asked
        self.wake()
        with self._progress:
            while not (self._answered >= mine and self._outbox.is_settled_to(mark)):
                left_s = deadline - time.monotonic()
                is_over = left_s <= 0 or (while_hopeful and self.is_hopeless())
                if is_over or not self._progress.wait(left_s):
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

    def forget(self) -> None:
        """Let go of the parent's connection in a forked child, where another worker takes over."""
        if isinstance(self._transport, HttpTransport):
            self._transport.forget()

    def is_running(self) -> bool:
        """Say whether the thread lives."""
        return self._thread is not None and self._thread.is_alive()

    def report_losses(self, *, everything: bool = False) -> None:
        """Put what the collector should know of lost events into the outbox; each loss is told of once.

        Args:
            everything: also losses whose reason was told of less than a minute ago.
        """
        for losses in self._tally.take_unreported(everything=everything):
            try:
                self._outbox.append_report(loss_report(losses, self._sender))
            except EventRefusedError:
                self._tally.put_back(losses)

    def step(self) -> float | None:
        """Send one batch.

        Returns:
            Seconds to wait before the next round; None = nothing waits.
        """
        found = self._outbox.take(self._most_events, self._options.batch_bytes)
        if found is None:
            return None
        batch, outbox = found
        sent_s = self._clock()
        try:
            reply = self._transport.send(*self._request(batch, sent_s))
        except TransportError as problem:
            return self._put_off("retrying", f"the collector cannot be reached ({problem})")
        if self.clock_offset.observe(reply.date, sent_s, self._clock()):
            self._tally.say(
                "clock", f"this machine's clock is {-(self.clock_offset.seconds or 0):+.0f} s off the collector's"
            )
        return self._handle(reply, batch, outbox)

    def _request(self, batch: Batch, sent_s: float) -> tuple[bytes, dict[str, str]]:
        body = assemble(batch.payloads, int(sent_s * 1000))
        if len(body) <= self._options.gzip_above_bytes:
            return body, self._headers
        press = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
        return press.compress(body) + press.flush(), {**self._headers, "Content-Encoding": "gzip"}

    def _handle(self, reply: Reply, batch: Batch, outbox: DiskOutbox | MemoryOutbox) -> float:
        status = reply.status
        ack = read_ack(reply, len(batch.payloads)) if status < 500 else None
        if ack is not None and (status < 300 or ack.rejected) and _names_the_rejected(ack, batch.payloads):
            self._settle(ack, batch, outbox)
            return 0.0
        if status == 413:
            return self._make_smaller(batch, outbox)
        if status in (408, 429) or status >= 500:
            # A date is meant by the collector's clock: only where the answer does not show it, ours has to do.
            now_s = read_date(reply.date) or self._clock()
            asked_s = retry_after_s(reply.retry_after, self._options.retry_after_max_s, now_s)
            return self._put_off("retrying", f"the collector answers {status}", at_least_s=asked_s)
        return self._put_off("paused", _PAUSED.get(status, _PAUSED_OTHERWISE).format(status=status))

    def _settle(self, ack: Ack, batch: Batch, outbox: DiskOutbox | MemoryOutbox) -> None:
        reports = len(batch.reports)
        for reject in ack.rejected:
            if reject.index in batch.reports:
                reports -= 1
            else:
                self._bury(batch.payloads[reject.index], reject)
        outbox.settle(batch)
        # Reports of losses are no events the shop knows of: they stand in none of its counts.
        self._tally.delivered += ack.accepted - min(reports, ack.accepted)
        self._tally.duplicates += ack.duplicates - max(reports - ack.accepted, 0)
        self._failures = 0
        self._most_events = min(self._most_events * 2, self._options.batch_events)
        self.state, self.last_error = "running", None

    def _make_smaller(self, batch: Batch, outbox: DiskOutbox | MemoryOutbox) -> float:
        if len(batch.payloads) > 1:
            self._most_events = len(batch.payloads) // 2
            return 0.0
        self._bury(batch.payloads[0], Reject(index=0, code="too_large", message=_TOO_LARGE), is_unseen=True)
        outbox.settle(batch)
        return 0.0

    def _bury(self, payload: bytes, reject: Reject, *, is_unseen: bool = False) -> None:
        code, field = reject.code, reject.field
        letter = {"code": code, "field": field, "message": reject.message, "event": msgspec.Raw(payload)}
        self._outbox.keep_dead_letter(msgspec.json.encode(letter) + b"\n")
        self._tally.reject(code, is_unseen=is_unseen)
        self._tally.say(f"rejected:{code}", f"the collector rejected an event: {code}, field {field}")

    def _put_off(self, state: str, message: str, *, at_least_s: float = 0.0) -> float:
        """Note that an attempt failed. Only now may events be given up for their age: whoever can be reached gets
        old events rather than none."""
        self._outbox.expire()
        return self._fail(state, message, at_least_s=at_least_s)

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
            if not threading.main_thread().is_alive():
                # The interpreter is ending (Python 3.12 would raise): what is on disk is for the next process.
                self.is_asleep = True
                return
            thread = threading.Thread(target=self._run, name="touchtrail", daemon=True)
            # Noted first: a signal handler of the shop's may raise while it starts.
            self._thread = thread
            try:
                thread.start()
            except RuntimeError as problem:
                # No more threads, or the interpreter is ending: the events are kept, a later call tries again.
                self._tally.say("no_thread", f"the delivery thread cannot be started ({problem})")
                self.is_asleep = True

    def _run(self) -> None:
        if not self._running.acquire(blocking=False):
            return
        self.state = "running"
        try:
            while not self._is_stopping:
                self._round()
        finally:
            self._running.release()
            self.is_asleep = True
            self._announce(self._asked)
            if self._is_stopping:
                self._let_go()

    def _round(self) -> None:
        asked = self._asked
        try:
            self._tend(at_once=asked > self._answered)
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

    def _tend(self, *, at_once: bool = False) -> None:
        self._outbox.tend(at_once=at_once)
        for folder, waiting_bytes in self._outbox.other_spools().items():
            if folder not in self._told:
                self._told.add(folder)
                self._tally.say(f"other:{folder}", _OTHER_SPOOL.format(bytes=waiting_bytes, folder=folder))
        self.report_losses()

    def _announce(self, answered: int) -> None:
        with self._progress:
            self._answered = max(self._answered, answered)
            self._progress.notify_all()

    def _sleep_until_work(self) -> None:
        """Wait for the first event, then for others to share its request."""
        self._bell.clear()
        self.is_asleep = True
        # In this order: an event that came before we slept is seen here, one that comes after rings.
        if not (self._has_orders() or self._outbox.has_ready()):
            # What waits but cannot be read now is tried again soon.
            self._bell.wait(_TEND_S if self._outbox.has_pending() else _IDLE_S)
        self.is_asleep = False
        self._bell.clear()
        if not self._has_orders() and self._outbox.has_ready():
            self._bell.wait(self._options.linger_s)

    def _back_off(self, wait_s: float) -> None:
        """Wait after a failure; a flush or the end cuts it short, and the spool is tended meanwhile."""
        until = time.monotonic() + wait_s
        while (left_s := until - time.monotonic()) > 0 and not self._has_orders():
            self._bell.clear()
            if not self._has_orders():
                self._bell.wait(min(left_s, _TEND_S))
            self._tend()

    def _has_orders(self) -> bool:
        return self._is_stopping or self._answered < self._asked

    def _let_go(self) -> None:
        with self._start_lock:
            if self.state == "closed":
                return
            self.state = "closed"
        self._outbox.close()
        self._transport.close()


class _Named(msgspec.Struct):
    event_id: str


# A collector that cannot read an event gives back no more of its id.
_ID_SHOWN: Final = 128
_id_decoder = msgspec.json.Decoder(_Named)


def _names_the_rejected(ack: Ack, payloads: list[bytes]) -> bool:
    """Say whether each rejection's id is that of the event it points at: whichever of two is buried, one is lost."""
    return all(
        reject.id is None or _id_decoder.decode(payloads[reject.index]).event_id[:_ID_SHOWN] == reject.id[:_ID_SHOWN]
        for reject in ack.rejected
    )


_PAUSED: Final = {
    401: "the collector does not know the key (401): check TOUCHTRAIL_KEY or Client(key=…)",
    403: "the collector does not allow this key here (403)",
    404: "no collector at this address (404): check TOUCHTRAIL_URL or Client(url)",
    405: "no collector at this address (405): check TOUCHTRAIL_URL or Client(url)",
    421: "the collector does not serve this host name (421): check its allowed hosts",
}
_PAUSED_OTHERWISE: Final = "the answer ({status}) is not a collector's word on the events: check address and versions"
_TOO_LARGE: Final = "the collector takes no request of this size"
_OTHER_SPOOL: Final = (
    "{bytes} bytes of events wait for another collector address or key; deliver them with the old address and key, "
    "or here: touchtrail drain --spool {folder}"
)


def _is_before_uwsgi_forks() -> bool:
    """Say whether this is uWSGI's first process, which loads the app and then forks its workers.

    It forks in C, so Python does not know: a thread that waits at that moment leaves the workers an interpreter lock
    that nobody gives back (seen with uWSGI 2.0.21: the first ``track`` in a worker never returned). What was tracked
    stays on disk; the first worker takes it over.
    """
    uwsgi = sys.modules.get("uwsgi")
    return uwsgi is not None and not (uwsgi.worker_id() or uwsgi.mule_id())
