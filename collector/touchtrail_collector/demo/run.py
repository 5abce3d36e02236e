"""Runs the demo: a collector in its own process, every event through the SDK over HTTP, the truth beside the report."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import httpx
import msgspec

from touchtrail import Client

from ..errors import StoreError
from ..services.reports import REPORTS, AttributionReport, OverviewReport, ReportContext
from ..store.journey_questions import EventPersons
from .sending import Sending
from .truth import IdentityScore, Truth

START_TIMEOUT_S = 20.0
DERIVE_TIMEOUT_S = 120.0

Progress = Callable[[int, int], None]


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """What the SDK says of the sending: tracked = delivered + duplicates + rejected + dropped."""

    tracked: int
    delivered: int
    duplicates: int
    rejected: int
    dropped: int
    seconds: float


class ChannelTruth(msgspec.Struct, frozen=True, kw_only=True):
    """What one channel really caused, and what each model credits it with, in minor units."""

    channel: str
    caused_minor: int
    credited_minor: Mapping[str, int]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """How far the reports are from what the simulator knows.

    Args:
        revenue_minor, true_revenue_minor: net revenue as reported, as it is.
        identity: how well events were put together into persons.
        distance: per model, the share of revenue that stands on another channel than the one that caused it.
    """

    currency: str
    orders: int
    true_orders: int
    revenue_minor: int
    true_revenue_minor: int
    identity: IdentityScore
    distance: Mapping[str, float]
    channels: tuple[ChannelTruth, ...]


class Reported(msgspec.Struct, frozen=True, kw_only=True):
    """What the overview counts in all, the four stories included.

    Args:
        persons: what can be told to be one human being: several persons may be one.
        net_minor: net revenue.
    """

    persons: int
    orders: int
    net_minor: int


class CollectorProcess:
    """A collector in a process of its own, as `touchtrail serve` starts it."""

    def __init__(self, db: Path, port: int) -> None:
        command = [sys.executable, "-m", "touchtrail_collector", "serve", "--db", str(db), "--port", str(port)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if "listening on" not in line:
            self._process.wait()
            raise StoreError("the demo's collector did not start; what it wrote above says why")
        self.url = line.rpartition(" ")[2].strip()

    def wait(self) -> None:
        """Wait until the process ends."""
        self._process.wait()

    def stop(self) -> None:
        """Tell the process to end and wait until it has."""
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait()


@contextmanager
def running_collector(db: Path, port: int) -> Iterator[CollectorProcess]:
    """Give a collector on a fresh database; it is stopped at the end."""
    process = CollectorProcess(db, port)
    try:
        yield process
    finally:
        process.stop()


def send(
    sendings: Sequence[Sending], url: str, keys: Mapping[str, str], spool: Path, progress: Progress | None = None
) -> Delivery:
    """Send everything through the SDK, in the order of arrival, one client per sender and clock.

    Args:
        keys: a write key per source name.
        spool: folder for the clients' outboxes.
        progress: told how many were tracked, and how many there are.
    """
    started = time.monotonic()
    with ExitStack() as stack:
        clients: dict[tuple[str, int], Client] = {}
        for number, sending in enumerate(sendings, 1):
            sender = (sending.source, sending.clock_offset_s)
            client = clients.get(sender)
            if client is None:
                clock = partial(wrong_clock, sending.clock_offset_s) if sending.clock_offset_s else time.time
                client = Client(url, key=keys[sending.source], spool_dir=spool, clock=clock)
                clients[sender] = stack.enter_context(client)
            client.track(sending.event, **sending.arguments())
            if progress is not None and number % 1_000 == 0:
                progress(number // 2, len(sendings))
        for done, client in enumerate(clients.values(), 1):
            client.flush(timeout_s=60)
            if progress is not None:
                progress(len(sendings) // 2 + len(sendings) * done // (2 * len(clients)), len(sendings))
        healths = [client.health() for client in clients.values()]
    return Delivery(
        tracked=sum(health.tracked for health in healths),
        delivered=sum(health.delivered for health in healths),
        duplicates=sum(health.duplicates for health in healths),
        rejected=sum(health.rejected for health in healths),
        dropped=sum(sum(health.dropped.values()) for health in healths),
        seconds=time.monotonic() - started,
    )


def wrong_clock(offset_s: float) -> float:
    """Return the time by a clock that is wrong."""
    return time.time() + offset_s


def wait_until_derived(url: str) -> float:
    """Wait until the collector has derived everything it has; return how long that took in seconds."""
    started = time.monotonic()
    while time.monotonic() - started < DERIVE_TIMEOUT_S:
        if httpx.get(f"{url}/readyz").json()["projector_lag_events"] == 0:
            return time.monotonic() - started
        time.sleep(0.1)
    raise StoreError(f"the collector did not derive everything within {DERIVE_TIMEOUT_S:.0f} s; its log says why")


def sources_of(sendings: Iterable[Sending]) -> tuple[str, ...]:
    """Return every sender's name."""
    return tuple(sorted({sending.source for sending in sendings}))


def count_reported(context: ReportContext) -> Reported:
    """Return what the overview counts in all."""
    report = REPORTS["overview"]
    result: OverviewReport = report.run(context, report.read_parameters({}))
    totals = result.conversion.totals
    return Reported(persons=result.reach.persons, orders=totals.orders, net_minor=totals.net_minor)


def compare(context: ReportContext, truth: Truth) -> Comparison:
    """Hold the attribution report and the derived persons against the truth."""
    report = REPORTS["attribution"]
    result: AttributionReport = report.run(context, report.read_parameters({}))
    models = tuple(used.name for used in result.models)
    credited = {
        model: {row.channel: row.credits[index].revenue_minor for row in result.channels}
        for index, model in enumerate(models)
    }
    names = sorted(
        {row.channel for row in result.channels} | set(truth.caused_revenue),
        key=lambda name: (-truth.caused_revenue.get(name, 0), name),
    )
    assignment = {row.event_id: row.person_id for row in context.query.ask(EventPersons())}
    return Comparison(
        currency=result.scope.currency,
        orders=result.conversions,
        true_orders=len(truth.orders),
        revenue_minor=result.revenue_minor,
        true_revenue_minor=truth.net_revenue_minor,
        identity=truth.identity_score(assignment),
        distance={model: truth.channel_distance(revenue) for model, revenue in credited.items()},
        channels=tuple(
            ChannelTruth(
                channel=name,
                caused_minor=truth.caused_revenue.get(name, 0),
                credited_minor={model: credited[model].get(name, 0) for model in models},
            )
            for name in names
        ),
    )
