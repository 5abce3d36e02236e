"""Nothing goes uncounted: what senders were told, held against the rows, the counters, quarantine, and what is shown of them.

A test keeps a `Book` of every answer, reads a `Door` from the database, and calls `assert_adds_up`:
sent = stored + duplicates + rejected + refused, to the event; where answers were lost, within what was never answered.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client.parser import text_string_to_metric_families


class Book:
    """What senders know of the events they sent.

    Attributes:
        accepted, duplicates: events that were acknowledged so.
        rejected: events that were acknowledged as rejected, by code.
        refused: events of requests that were answered with an error, by status: nothing of them may be counted.
        unanswered: events of requests whose answer never came: each is counted once, or not at all.
        bad: how many of the unanswered can only be rejected.
    """

    def __init__(self) -> None:
        self.accepted = 0
        self.duplicates = 0
        self.rejected: Counter[str] = Counter()
        self.refused: Counter[int] = Counter()
        self.unanswered = 0
        self.bad = 0

    @property
    def answered(self) -> int:
        """Events in requests that were answered with 200."""
        return self.accepted + self.duplicates + self.rejected.total()

    @property
    def sent(self) -> int:
        """Events that were sent, each time they were."""
        return self.answered + self.refused.total() + self.unanswered

    def answer(self, status: int, body: bytes | str, events: int | None = None) -> None:
        """Enter an answer of `POST /v1/events`.

        Args:
            events: how many events the request had; None = as many as a 200 tells of, and none where it is refused.
        """
        if status == 200:
            receipt = msgspec.json.decode(body)
            told = (receipt["accepted"], receipt["duplicates"], len(receipt["rejected"]))
            assert events in (None, sum(told)), f"{events} events were sent, {told} answered"
            self.tell(told[0], told[1], [entry["code"] for entry in receipt["rejected"]])
        else:
            self.refused[status] += events or 0

    def tell(self, accepted: int, duplicates: int, codes: Iterable[str] = ()) -> None:
        """Enter an acknowledgement."""
        self.accepted += accepted
        self.duplicates += duplicates
        self.rejected.update(codes)

    def lose(self, good: int, bad: int = 0) -> None:
        """Enter a request whose answer never came."""
        self.unanswered += good + bad
        self.bad += bad

    def __add__(self, other: Book) -> Book:
        both = Book()
        for book in (self, other):
            both.tell(book.accepted, book.duplicates)
            both.rejected.update(book.rejected)
            both.refused.update(book.refused)
            both.lose(book.unanswered - book.bad, book.bad)
        return both


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """What a database knows of the events that came.

    Args:
        rows, ids: events in the log, and how many of them differ in sender and id.
        rejected: by code.
        quarantined: rejects that are in quarantine, each as often as it came.
        pushed_out: rejects that had to leave it.
    """

    rows: int
    ids: int
    accepted: int
    duplicates: int
    rejected: dict[str, int]
    quarantined: int
    pushed_out: int

    @property
    def counted(self) -> int:
        """Events that were counted in some way."""
        return self.accepted + self.duplicates + sum(self.rejected.values())


def read_door(database: Path | sqlite3.Connection, sources: Collection[str] = ()) -> Door:
    """Read what a database knows, of these senders alone or of all, without changing it."""
    if isinstance(database, Path):
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, isolation_level=None)) as reader:
            reader.execute("BEGIN")  # all numbers are of one moment
            return read_door(reader, sources)
    known = {name: source_id for source_id, name in database.execute("SELECT source_id, name FROM sources")}
    chosen = "1" if not sources else f"source_id IN ({', '.join(str(known[name]) for name in sources)})"

    def ask(statement: str) -> Any:
        return database.execute(f"{statement} WHERE {chosen}").fetchone()

    rows, ids = ask("SELECT count(*), count(DISTINCT source_id || ' ' || event_id) FROM events")
    (quarantined,) = ask("SELECT coalesce(sum(times), 0) FROM quarantine")
    counts = dict(database.execute(f"SELECT name, sum(n) FROM counters WHERE {chosen} GROUP BY name").fetchall())
    return Door(
        rows=rows, ids=ids, accepted=counts.get("accepted", 0), duplicates=counts.get("duplicate", 0),
        rejected={name.partition(":")[2]: n for name, n in counts.items() if name.startswith("rejected:")},
        quarantined=quarantined, pushed_out=counts.get("quarantine_dropped", 0),
    )  # fmt: skip


def find_wrong(book: Book, door: Door, *, erased: int = 0, withheld: int = 0) -> list[str]:
    """Return what does not add up.

    Args:
        erased: events that were taken out of the log afterwards, as they should.
        withheld: rejects that are counted and not kept, because nobody agreed to it.
    """
    wrong = []
    if door.ids != door.rows:
        wrong.append(f"{door.rows - door.ids} events are stored twice")
    if door.rows + erased != door.accepted:
        wrong.append(f"{door.rows} rows + {erased} erased, but {door.accepted} counted as accepted")
    rejected = sum(door.rejected.values())
    if door.quarantined + door.pushed_out + withheld != rejected:
        kept = f"{door.quarantined} in quarantine + {door.pushed_out} pushed out + {withheld} withheld"
        wrong.append(f"{kept}, but {rejected} counted as rejected")
    good = book.unanswered - book.bad
    wrong += outside("accepted", book.accepted, door.accepted, good)
    wrong += outside("duplicates", book.duplicates, door.duplicates, good)
    for code in sorted(book.rejected.keys() | door.rejected.keys()):
        wrong += outside(f"rejected as {code}", book.rejected[code], door.rejected.get(code, 0), book.unanswered)
    return [*wrong, *outside("in all", book.answered, door.counted, book.unanswered)]


def outside(what: str, told: int, counted: int, doubtful: int) -> list[str]:
    """Return what is wrong where a count is less than what was told, or more than with all that is in doubt."""
    if told <= counted <= told + doubtful:
        return []
    most = f" to {told + doubtful}" if doubtful else ""
    return [f"{what}: {told}{most} by the answers, {counted} by the counters"]


def assert_adds_up(book: Book, door: Door, **known: int) -> str:
    """Fail where something does not add up; print and return the sum that was checked."""
    wrong = find_wrong(book, door, **known)
    refused = ", ".join(f"{n} refused with {status}" for status, n in sorted(book.refused.items())) or "0 refused"
    line = (
        f"{book.sent} sent = {book.accepted} stored + {book.duplicates} duplicates + {book.rejected.total()} rejected"
        f" + {refused} + {book.unanswered} unanswered; counted {door.accepted} + {door.duplicates} +"
        f" {sum(door.rejected.values())}; {door.rows} rows, {door.quarantined} in quarantine, {door.pushed_out} pushed out"
    )
    print(line)
    assert wrong == [], line
    return line


def read_metrics(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Return the samples of `GET /metrics` by name and the values of their labels, in the labels' own order."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def assert_metrics_agree(text: str, door: Door) -> None:
    """Fail where `GET /metrics` says something else than the database of all senders."""
    found = read_metrics(text)
    counted = {name: found[f"touchtrail_events_{name}_total"][()] for name in ("accepted", "duplicate")}
    assert counted == {"accepted": door.accepted, "duplicate": door.duplicates}
    rejected = {code: n for (code,), n in found.get("touchtrail_events_rejected_total", {}).items()}
    assert rejected == door.rejected
    assert found["touchtrail_quarantine_dropped_total"][()] == door.pushed_out


def assert_report_agrees(report: Mapping[str, Any], door: Door, *, loss_reports: int = 0) -> None:
    """Fail where the report `data-quality` says something else than the database of its shop's senders.

    Args:
        loss_reports: events by which senders told of losses; they are events at the door and none in the report.
    """
    figures = report["figures"]
    told = {name: figures[name] for name in ("accepted", "duplicates", "rejected")}
    counted = {
        "accepted": door.accepted - loss_reports,
        "duplicates": door.duplicates,
        "rejected": sum(door.rejected.values()),
    }
    assert told == counted
    assert figures["sent"] == sum(counted.values()) + figures["dropped"] + figures["refused"]
