"""A well-behaved sender in a process of its own: attackers in the test's process would cost it time that is not the collector's.

`python good_client.py PORT KEY` sends batches with new, repeated and damaged events until its standard input ends, and
prints what it was told.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from http.client import HTTPConnection

import msgspec

from accounting import Book
from shop_events import wire_event

PAUSE_S = 0.005


class Told(msgspec.Struct):
    """What a client was answered, and how long each answer took."""

    took_s: list[float]
    accepted: int
    duplicates: int
    rejected: dict[str, int]

    def book(self) -> Book:
        """Return the same as what senders know."""
        book = Book()
        book.tell(self.accepted, self.duplicates, Counter(self.rejected).elements())
        return book

    def p99_s(self) -> float:
        """Return how long the slowest hundredth took at least."""
        return statistics.quantiles(self.took_s, n=100)[98]


class GoodClient:
    """A running client."""

    def __init__(self, port: int, key: str) -> None:
        command = [sys.executable, __file__, str(port), key]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"sending\n"

    def finish(self) -> Told:
        """Have it end; return what it was told. Raises: AssertionError where it was refused anything."""
        said, _ = self._process.communicate(timeout=30)
        assert self._process.returncode == 0
        return msgspec.json.decode(said, type=Told)


def batch(number: int) -> list[dict[str, object]]:
    """Return a request's events: three new ones, one of the request before, one damaged."""
    again = [wire_event(f"good-{number - 1}-0")] if number else []
    fresh = [wire_event(f"good-{number}-{place}") for place in range(3)]
    return [*fresh, *again, wire_event(f"bad-{number}", colour="red")]


def send(port: int, key: str, ends: threading.Event) -> Told:
    """Send one batch after another on one connection until told to end."""
    book = Book()
    took_s: list[float] = []
    headers = {"Authorization": f"Bearer {key}"}
    with closing(HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        while not ends.wait(PAUSE_S):
            events = batch(len(took_s))
            body = msgspec.json.encode(events)
            began = time.perf_counter()
            connection.request("POST", "/v1/events", body, headers)
            answer = connection.getresponse()
            text = answer.read()
            took_s.append(time.perf_counter() - began)
            assert answer.status == 200, text
            book.answer(answer.status, text, len(events))
    return Told(took_s, book.accepted, book.duplicates, dict(book.rejected))


def main(port: int, key: str) -> None:
    """Send until standard input ends, then say what came of it."""
    ends = threading.Event()
    told: list[Told] = []
    sender = threading.Thread(target=lambda: told.append(send(port, key, ends)))
    sender.start()
    print("sending", flush=True)
    sys.stdin.read()
    ends.set()
    sender.join()
    sys.stdout.buffer.write(msgspec.json.encode(told[0]))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
