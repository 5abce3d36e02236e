"""SIGKILL at random moments: what ``track()`` said True for is stored, once, whoever dies and however the collector is."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from collector_process import running_collector

import fault_server as faults
from fault_server import Fault, answering, serving
from touchtrail import Client

SINK_KILLS = 40
COLLECTOR_KILLS = 10
AT_ONCE = 5
Start = Callable[[int], tuple[subprocess.Popen[bytes], Path]]
# Three threads track and write down what was taken, after ``track`` returned; a fourth flushes all the time.
SHOP = textwrap.dedent("""
    import os, sys, threading, time
    from touchtrail import Client

    url, key, spool, book, name = sys.argv[1:]
    client = Client(
        url, key=key, spool_dir=spool, segment_bytes=8192, batch_events=40, linger_s=0.005, timeout_s=0.4,
        connect_timeout_s=0.4, backoff_min_s=0.005, backoff_max_s=0.03, retry_after_max_s=0.02,
    )
    taken = os.open(book, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def shop(thread):
        number = 0
        while True:
            mark = f"{name}-{thread}-{number}"
            number += 1
            if client.track("clicked", anonymous_id="a", properties={"mark": mark, "filling": "x" * (number * 37 % 400)}):
                os.write(taken, mark.encode() + b"\\n")
            time.sleep(0.0007)

    def flush():
        while True:
            client.flush(0.05)
            time.sleep(0.01)

    for thread in range(3):
        threading.Thread(target=shop, args=(thread,), daemon=True).start()
    threading.Thread(target=flush, daemon=True).start()
    while True:
        time.sleep(1)
""")


def moody() -> Iterator[Fault]:
    """Yield how the collector is, for ever: mostly well, now and then slow, failing, silent or gone."""
    chance = random.Random(11)
    moods = {
        faults.acknowledge: 60, faults.acknowledge_slowly: 10, faults.acknowledge_and_hang_up: 5,
        faults.store_and_reset: 8, faults.reset_at_once: 4, faults.reset_in_the_answer: 4, faults.hang: 2,
        answering(503, b"", ("Retry-After", "1")): 6, answering(500): 4, faults.refuse_more_than_one: 4, answering(401): 3,
        answering(200, b"<html>Welcome to the hotel</html>"): 3,
    }  # fmt: skip
    while True:
        yield chance.choices(list(moods), list(moods.values()))[0]


class Doomed(msgspec.Struct):
    """A shop that will be killed: so long after it began to work, or after its start."""

    process: subprocess.Popen[bytes]
    book: Path
    lives_s: float
    dies_at_work: bool
    since: float

    def is_due(self) -> bool:
        if self.dies_at_work and not (self.book.exists() and self.book.stat().st_size):
            self.since = time.monotonic()
            return False
        return time.monotonic() >= self.since + self.lives_s


def kill_shops(kills: int, start: Start, chance: random.Random) -> None:
    """Start shops, a few at a time, and kill each at a random moment of its life; see that nothing else ended them."""
    alive: list[Doomed] = []
    started = 0
    while started < kills or alive:
        while started < kills and len(alive) < AT_ONCE:
            at_work = chance.random() < 0.85
            process, book = start(started)
            alive.append(Doomed(process, book, chance.uniform(0.0, 1.2), at_work, time.monotonic()))
            started += 1
        for doomed in [doomed for doomed in alive if doomed.is_due()]:
            doomed.process.send_signal(signal.SIGKILL)
            assert doomed.process.wait(10) == -signal.SIGKILL
            alive.remove(doomed)
        time.sleep(0.002)


def written_down(folder: Path) -> dict[str, list[str]]:
    """Return what each shop's threads knew to be taken; the last line may be cut by the kill."""
    books = {path.name: path.read_text() for path in folder.glob("*.book")}
    return {name: text[: text.rfind("\n") + 1].split() for name, text in books.items()}


def starter(url: str, key: str, folder: Path, prefix: str) -> Start:
    def start(number: int) -> tuple[subprocess.Popen[bytes], Path]:
        name = f"{prefix}{number}"
        book = folder / f"{name}.book"
        arguments = [url, key, str(folder / "spool"), str(book), name]
        return subprocess.Popen([sys.executable, "-c", SHOP, *arguments]), book

    return start


def drain(url: str, key: str, folder: Path) -> None:
    with Client(url, key=key, spool_dir=folder / "spool", batch_events=1000) as heir:
        assert heir.flush(20), heir.health()
        assert heir.health().dropped == {}
    left = [path.name for path in folder.glob("spool/*/*") if path.is_file()]
    assert left == []


def assert_all_there_once(books: dict[str, list[str]], marks: list[str], kills: int) -> None:
    taken = {mark for book in books.values() for mark in book}
    stored = Counter(marks)
    caught_at_work = sum(len(book) > 0 for book in books.values())
    print(f"{kills} kills, {caught_at_work} of them at work; {len(taken)} events taken, {len(stored)} stored")
    assert taken - stored.keys() == set()
    assert [mark for mark, times in stored.items() if times > 1] == []
    # A thread killed between track() and its book: one event each at most is stored and not written down.
    assert len(stored.keys() - taken) <= 3 * kills
    assert caught_at_work >= kills // 2
    assert len(taken) >= 20 * kills


def test_forty_kills_in_one_spool_while_the_collector_has_its_moods(tmp_path: Path) -> None:
    """All shops share one folder: who lives takes over what the dead left, and is killed doing it."""
    seed = time.time_ns()
    with serving(moody()) as server:
        kill_shops(SINK_KILLS, starter(server.url, "k", tmp_path, "s"), random.Random(seed))
        moods = Counter(server.played)
        server.come_up()
        drain(server.url, "k", tmp_path)
        marks = [event["properties"]["mark"] for event in server.events.values() if event["name"] == "clicked"]
        print(f"seed {seed}; {server.duplicates} duplicates told apart; the collector's moods: {dict(moods)}")
        assert_all_there_once(written_down(tmp_path), marks, SINK_KILLS)
        assert len(moods) >= 9
        assert server.duplicates > 0


def test_ten_kills_before_a_real_collector(tmp_path: Path) -> None:
    seed = time.time_ns()
    with running_collector(tmp_path / "shop.db") as collector:
        key = collector.key()
        kill_shops(COLLECTOR_KILLS, starter(collector.url, key, tmp_path, "c"), random.Random(seed))
        drain(collector.url, key, tmp_path)
    with sqlite3.connect(tmp_path / "shop.db") as database:
        rows = database.execute(
            "SELECT json_extract(body, '$.properties.mark') FROM events WHERE name = 'clicked'"
        ).fetchall()
    database.close()
    print(f"seed {seed}")
    assert_all_there_once(written_down(tmp_path), [mark for (mark,) in rows], COLLECTOR_KILLS)


CROWD = textwrap.dedent("""
    import os, sys
    from touchtrail import Client

    url, spool, name, events = sys.argv[1:]
    client = Client(url, key="k", spool_dir=spool, segment_bytes=8192, linger_s=0.01, backoff_max_s=0.05)
    said = [client.track("clicked", anonymous_id="a", event_id=f"{name}-{number}") for number in range(int(events))]
    assert all(said)
    client.close(float(os.environ.get("CLOSE_S", "10")))
    health = client.health()
    assert (health.tracked, health.dropped) == (int(events), {}), health
""")


def crowd(url: str, folder: Path, processes: int, events: int) -> list[int]:
    """Let so many processes track at once in one folder; return their exit codes."""
    names = [f"p{number}" for number in range(processes)]
    shops = [
        subprocess.Popen([sys.executable, "-c", CROWD, url, str(folder), name, str(events)], stderr=subprocess.PIPE)
        for name in names
    ]
    ends = [shop.communicate(timeout=60)[1].decode() for shop in shops]
    assert ends == [""] * processes
    return [shop.returncode for shop in shops]


def test_two_and_eight_processes_share_a_folder_and_deliver_each_event_once(tmp_path: Path) -> None:
    for processes, events in ((2, 1500), (8, 300)):
        with serving() as server:
            folder = tmp_path / str(processes)
            assert crowd(server.url, folder, processes, events) == [0] * processes
            with Client(server.url, key="k", spool_dir=folder) as heir:
                assert heir.flush(10)
            wanted = {f"p{process}-{number}" for process in range(processes) for number in range(events)}
            assert set(server.events) == wanted
            # Nobody sends what belongs to a living process: twice would only be told apart by the collector.
            assert server.duplicates == 0
            assert [path for path in folder.rglob("*") if path.is_file()] == []
