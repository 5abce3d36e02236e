"""One batch from the outbox to the collector: what is sent, and what each answer means for the events in it."""

from __future__ import annotations

import random
import re
import time
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from touchtrail._envelope import assemble
from touchtrail._limits import EVENT_ID_LENGTH
from touchtrail._outbox import Batch, DiskOutbox, MemoryOutbox, Outbox
from touchtrail._transport import Ack, HttpTransport, Reject, Reply, Transport, read_ack, read_date, retry_after_s
from touchtrail.errors import EventRefusedError, TransportError

from .clock import ClockOffset, sound
from .losses import loss_report
from .tally import Tally

if TYPE_CHECKING:
    from touchtrail.options import Options

# Level 1 halves the time of the default level 6 and gives away a tenth of the size on JSON.
_GZIP_LEVEL: Final = 1
_GZIP_WINDOW: Final = 31

# What a person did not agree to is kept nowhere, not for mending either.
_NO_CONSENT: Final = "no_consent"
_CODE: Final = re.compile(r"[a-z_]{1,40}")


class Sender:
    """Sends one batch at a time; whoever calls keeps the time between.

    Args:
        clock: epoch seconds, for ``sent_at``.
        user_agent: how this client calls itself.

    Attributes:
        state: as in ``Health``.
        last_error: what went wrong last; None since the last success.
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
        self._agent = user_agent
        self._headers = {
            "Authorization": f"Bearer {options.key}",
            "Content-Type": "application/json",
            "User-Agent": user_agent,
        }
        self._most_events = options.batch_events
        self._failures = 0
        self.state = "new"
        self.last_error: str | None = None
        self.clock_offset = ClockOffset()

    def report_losses(self, *, everything: bool = False) -> None:
        """Put what the collector should know of lost events into the outbox; each loss is told of once.

        Args:
            everything: also losses whose reason was told of less than a minute ago.
        """
        for losses in self._tally.take_unreported(everything=everything):
            try:
                self._outbox.append_report(loss_report(losses, self._agent))
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

    def fail(self, state: str, message: str, *, at_least_s: float = 0.0) -> float:
        """Note that an attempt failed; return the seconds to wait before the next: at random, more each time."""
        longest_s = min(self._options.backoff_min_s * 2.0 ** min(self._failures, 30), self._options.backoff_max_s)
        self._failures += 1
        self.state, self.last_error = state, message
        self._tally.say(state, f"{message}; events are kept and sent again", loud=state == "paused")
        # Never zero: that would mean "go on at once".
        return max(at_least_s, self._random.uniform(0, longest_s), 0.001)

    def forget(self) -> None:
        """Let go of the parent's connection in a forked child, where another sender takes over."""
        if isinstance(self._transport, HttpTransport):
            self._transport.forget()

    def close(self) -> None:
        """Let go of the connection."""
        self._transport.close()

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
        is_kept = code != _NO_CONSENT
        if is_kept:
            letter = {"code": code, "field": field, "message": reject.message, "event": msgspec.Raw(payload)}
            self._outbox.keep_dead_letter(msgspec.json.encode(letter) + b"\n")
        self._tally.reject(code, is_unseen=is_unseen)
        # The field's name may be a customer's word, and a proxy may answer anything: neither belongs in a log.
        shown = code if _CODE.fullmatch(code) else "another code"
        where = "see the dead letters" if is_kept else "nothing of it is kept"
        self._tally.say(f"rejected:{shown}", f"the collector rejected an event: {shown}; {where}")

    def _put_off(self, state: str, message: str, *, at_least_s: float = 0.0) -> float:
        """Note that an attempt failed. Only now may events be given up for their age: whoever can be reached gets
        old events rather than none."""
        self._outbox.expire()
        return self.fail(state, message, at_least_s=at_least_s)


class _Named(msgspec.Struct):
    event_id: str


_id_decoder = msgspec.json.Decoder(_Named)


def _names_the_rejected(ack: Ack, payloads: list[bytes]) -> bool:
    """Say whether each rejection's id is that of the event it points at: whichever of two is buried, one is lost.

    A collector that cannot read an event gives back no more of its id than ids have characters.
    """
    return all(
        reject.id is None
        or _id_decoder.decode(payloads[reject.index]).event_id[:EVENT_ID_LENGTH] == reject.id[:EVENT_ID_LENGTH]
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
