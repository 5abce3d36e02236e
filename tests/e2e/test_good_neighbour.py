"""Rate limits of a real collector: who sends too much is told so, nobody else notices; proxies speak for others."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from collector_process import COMMAND, touchtrail

from accounting import Book, assert_adds_up, read_door, read_metrics
from shop_events import wire_event


@contextmanager
def serving(db: Path, **settings: str) -> Iterator[int]:
    """Give the port of a collector with these settings of `[limits]` and `[server]`, senders here limited too."""
    environment = os.environ | {"TOUCHTRAIL_LIMITS_LOOPBACK": "true"}
    environment |= {f"TOUCHTRAIL_{name}": value for name, value in settings.items()}
    command = [*COMMAND, "serve", "--db", str(db), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline().rpartition(":")[2])
        finally:
            process.terminate()
            assert process.wait(15) == 0


class Sender:
    """One connection that sends events with one key, and what it was answered."""

    def __init__(self, port: int, key: str, name: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        self._headers = {"Authorization": f"Bearer {key}"}
        self._name = name
        self.statuses: Counter[int] = Counter()
        self.book = Book()
        self.seconds: list[float] = []

    def send(self, **headers: str) -> int:
        body = json.dumps(wire_event(f"{self._name}-{len(self.seconds)}"))
        began = time.perf_counter()
        self._connection.request("POST", "/v1/events", body, self._headers | headers)
        answer = self._connection.getresponse()
        text = answer.read()
        told = json.loads(text)
        self.book.answer(answer.status, text, 1)
        self.seconds.append(time.perf_counter() - began)
        self.statuses[answer.status] += 1
        if answer.status == 429:
            assert told["code"] == "rate_limited"
            assert int(answer.headers["Retry-After"]) >= 1
        return answer.status

    def close(self) -> None:
        self._connection.close()


def make_key(db: Path, source: str) -> str:
    made = touchtrail("keys", "create", "--source", source, db=db)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def test_a_key_that_floods_is_limited_and_a_good_neighbour_is_not(tmp_path: Path) -> None:
    db = tmp_path / "shop.db"
    greedy_key, good_key = make_key(db, "greedy"), make_key(db, "good")
    with serving(db, LIMITS_KEY_REQUESTS_PER_S="40", LIMITS_BURST_S="1", LIMITS_ADDRESS_REQUESTS_PER_S="0") as port:
        good = Sender(port, good_key, "good")
        greedy = [Sender(port, greedy_key, f"greedy-{number}") for number in range(4)]
        ends_at = time.monotonic() + 2.5

        def flood(sender: Sender) -> None:
            while time.monotonic() < ends_at:
                sender.send()

        threads = [threading.Thread(target=flood, args=(sender,)) for sender in greedy]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        while time.monotonic() < ends_at:
            good.send()
            time.sleep(0.05)
        for thread in threads:
            thread.join()
        lasted_s = time.monotonic() - began
        told = read_metrics(metrics(port))["touchtrail_http_requests_total"]
        for sender in (good, *greedy):
            sender.close()
    statuses: Counter[int] = sum((sender.statuses for sender in greedy), Counter())
    assert set(statuses) == {200, 429}
    assert 40 <= statuses[200] <= 40 + 40 * lasted_s + 1
    assert statuses[429] > statuses[200]
    assert good.statuses == {200: len(good.seconds)}
    assert len(good.seconds) >= 10
    assert sorted(good.seconds)[int(len(good.seconds) * 0.95)] < 0.25
    assert_adds_up(good.book, read_door(db, ["good"]))
    assert_adds_up(sum((sender.book for sender in greedy), Book()), read_door(db, ["greedy"]))
    answered = good.statuses + statuses
    assert {int(status): n for (path, status), n in told.items() if path == "events"} == answered


def metrics(port: int) -> str:
    """Return `/metrics`."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()


def test_a_trusted_proxy_speaks_for_its_clients_and_nobody_else_does(tmp_path: Path) -> None:
    db = tmp_path / "shop.db"
    key = make_key(db, "web")
    limits = {"LIMITS_ADDRESS_REQUESTS_PER_S": "1", "LIMITS_BURST_S": "3"}
    with serving(db, SERVER_TRUSTED_PROXIES="127.0.0.0/8", **limits) as port, closing(Sender(port, key, "a")) as sender:
        assert 3 <= sent_until_limited(sender, ["192.0.2.1"] * 50) < 50
        # What the client claims stands before what the proxy saw.
        assert sender.send(**{"X-Forwarded-For": "198.51.100.9, 192.0.2.1"}) == 429
        assert sender.send(**{"X-Forwarded-For": "192.0.2.2"}) == 200
    with serving(db, **limits) as port, closing(Sender(port, key, "b")) as sender:
        assert 3 <= sent_until_limited(sender, [f"192.0.2.{number}" for number in range(50)]) < 50


def sent_until_limited(sender: Sender, forwarded_for: list[str]) -> int:
    """Return how many requests in a row were let through."""
    for number, address in enumerate(forwarded_for):
        if sender.send(**{"X-Forwarded-For": address}) == 429:
            return number
    return len(forwarded_for)
