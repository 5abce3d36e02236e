"""The thread that lets the sender send what waits in the outbox."""

from __future__ import annotations

import sys
import threading
import time
from typing import Final

from touchtrail._outbox import Outbox
from touchtrail.errors import is_thrown_in

from .bell import Bell
from .sender import Sender
from .tally import Tally

_TEND_S: Final = 1.0
_IDLE_S: Final = 5.0
_REST: Final = 3
_LONGEST_REST_S: Final = 0.02


class Worker:
    """Lets the sender send as long as there is work; ``wake`` starts the thread when there is none.

    Args:
        linger_s: how long the first waiting event waits for others to share its request.
    """

    def __init__(self, outbox: Outbox, sender: Sender, tally: Tally, *, linger_s: float) -> None:
        self._outbox = outbox
        self._sender = sender
        self._tally = tally
        self._linger_s = linger_s
        self._thread: threading.Thread | None = None
        # RLock: a signal handler of the shop's may flush while the code it interrupted starts the thread.
        self._start_lock = threading.RLock()
        # Held while the thread works. ``Thread.is_alive`` can be wrong for good: interrupted by a signal handler's
        # exception, it takes a living thread for ended (seen with Python 3.11).
        self._running = threading.Lock()
        self._is_starting = False
        self._bell = Bell()
        self._ask_lock = threading.RLock()
        self._flushing: set[Bell] = set()
        self._asked = 0
        self._answered = 0
        self._is_stopping = False
        self._told: set[str] = set()
        self.is_asleep = True
        tally.on_news = self.wake

    def wake(self) -> None:
        """Make sure the thread looks at the outbox soon; starts it when there is none."""
        self.is_asleep = False
        if self.is_running():
            self._bell.ring()
        elif _is_before_uwsgi_forks():
            self.is_asleep = True
        else:
            self._start()

    def hurry(self) -> None:
        """Let the thread, if there is one, send what waits now."""
        if self.is_running():
            self._ask()
            self._bell.ring()

    def is_hopeless(self) -> bool:
        """Say whether the collector is out of reach, and what waits outlives the process: no use in waiting."""
        return self._sender.state in ("retrying", "paused") and self._outbox.is_durable()

    def flush(self, timeout_s: float, *, while_hopeful: bool = False) -> bool:
        """Send everything now; return whether all that was taken before is settled within the time.

        Args:
            while_hopeful: wait no longer than until an attempt fails, if what waits is on disk.
        """
        deadline = time.monotonic() + timeout_s
        self._sender.report_losses(everything=True)
        mark = self._outbox.mark()
        progress = Bell()
        try:
            self._flushing.add(progress)
            mine = self._ask()
            self.wake()
            while not (is_done := self._answered >= mine and self._outbox.is_settled_to(mark)):
                left_s = deadline - time.monotonic()
                if left_s <= 0 or (while_hopeful and self.is_hopeless()):
                    break
                progress.hear(left_s)
            return is_done
        finally:
            self._flushing.discard(progress)

    def stop(self, timeout_s: float) -> bool:
        """End the thread; False when a request in flight outlasts the time. The thread then ends after it."""
        self._is_stopping = True
        self._bell.ring()
        until = time.monotonic() + timeout_s
        if not self._running.acquire(timeout=timeout_s):
            return False
        self._running.release()
        self._let_go()
        if self._thread is not None:
            self._thread.join(max(until - time.monotonic(), 0.0))
        return True

    def is_running(self) -> bool:
        """Say whether the thread lives, or was started and has not had its first turn."""
        return self._running.locked() or self._is_starting

    def _start(self) -> None:
        with self._start_lock:
            if self._is_stopping or self.is_running():
                self._bell.ring()
                return
            if not threading.main_thread().is_alive():
                # The interpreter is ending (Python 3.12 would raise): what is on disk is for the next process.
                self.is_asleep = True
                return
            thread = threading.Thread(target=self._run, name="touchtrail", daemon=True)
            try:
                self._is_starting = True
                thread.start()
                self._thread = thread
            except BaseException as problem:
                # A signal handler's exception: it may have been started, then the next one ends at once.
                self._is_starting = False
                self.is_asleep = True
                if not isinstance(problem, RuntimeError) or is_thrown_in(problem):
                    raise
                # No more threads, or the interpreter is ending: the events are kept, a later call tries again.
                self._tally.say("no_thread", f"the delivery thread cannot be started ({problem})")

    def _run(self) -> None:
        if not self._running.acquire(blocking=False):
            return
        self._is_starting = False
        try:
            if not self._is_stopping:
                self._sender.state = "running"
            self._linger()
            while not self._is_stopping:
                self._round()
        finally:
            self._announce(self._asked)
            if self._is_stopping:
                self._let_go()
            self._running.release()
            # Last of all: whoever tracks from now on starts another thread.
            self.is_asleep = True

    def _round(self) -> None:
        asked = self._asked
        try:
            self._tend(at_once=asked > self._answered)
            wait_s = self._step_gently()
            while wait_s == 0.0 and not self._is_stopping:
                self._announce(0)
                wait_s = self._step_gently()
        # As in ``_tend``, everything is caught: a bug here must not end delivery for the rest of the process.
        except Exception as problem:  # noqa: BLE001
            wait_s = self._sender.fail("retrying", f"delivery failed unexpectedly ({type(problem).__name__})")
        self._announce(asked)
        if wait_s is None:
            self._sleep_until_work()
        else:
            self._back_off(wait_s)

    def _step_gently(self) -> float | None:
        """Send one batch; while the shop tracks at the same time, leave it most of the interpreter."""
        mark, began_s = self._outbox.mark(), time.thread_time()
        wait_s = self._sender.step()
        # Each request holds up a concurrent track() by up to half a millisecond; at this pace that is under 1 in 100.
        if self._outbox.mark() != mark and not self._has_orders():
            self._bell.hear(min(_REST * (time.thread_time() - began_s), _LONGEST_REST_S))
        return wait_s

    def _tend(self, *, at_once: bool = False) -> None:
        try:
            self._look_after(at_once)
        except Exception as problem:  # noqa: BLE001
            self._tally.say("tend", f"the spool cannot be looked after ({type(problem).__name__})")

    def _look_after(self, at_once: bool) -> None:
        self._outbox.tend(at_once=at_once)
        for folder, waiting_bytes in self._outbox.other_spools().items():
            if folder not in self._told:
                self._told.add(folder)
                self._tally.say(f"other:{folder}", _OTHER_SPOOL.format(bytes=waiting_bytes, folder=folder))
        self._sender.report_losses()

    def _announce(self, answered: int) -> None:
        self._answered = max(self._answered, answered)
        for progress in list(self._flushing):
            progress.ring()

    def _ask(self) -> int:
        """Order that everything is sent now; return the order's number."""
        with self._ask_lock:
            self._asked += 1
            return self._asked

    def _sleep_until_work(self) -> None:
        """Wait for the first event, then for others to share its request."""
        self._bell.silence()
        self.is_asleep = True
        # In this order: an event that came before we slept is seen here, one that comes after rings.
        if not (self._has_orders() or self._outbox.has_ready()):
            # What waits but cannot be read now is tried again soon.
            self._bell.hear(_TEND_S if self._outbox.has_pending() else _IDLE_S)
        self.is_asleep = False
        self._linger()

    def _linger(self) -> None:
        """Let others share the first waiting event's request, unless everything is to be sent now."""
        self._bell.silence()
        if self._has_orders() or not self._outbox.has_ready():
            return
        until = time.monotonic() + self._linger_s
        while (left_s := until - time.monotonic()) > 0 and not self._bell.hear(min(left_s, _TEND_S)):
            if left_s > _TEND_S:
                self._tend()

    def _back_off(self, wait_s: float) -> None:
        """Wait after a failure; a flush or the end cuts it short, and the spool is tended meanwhile."""
        until = time.monotonic() + wait_s
        while (left_s := until - time.monotonic()) > 0 and not self._has_orders():
            self._bell.silence()
            if not self._has_orders():
                self._bell.hear(min(left_s, _TEND_S))
            self._tend()

    def _has_orders(self) -> bool:
        return self._is_stopping or self._answered < self._asked

    def _let_go(self) -> None:
        with self._start_lock:
            if self._sender.state == "closed":
                return
            self._sender.state = "closed"
        self._outbox.close()
        self._sender.close()


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
