"""Celery with a real worker: the visitor of the request that published a task is the one its events are about."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, chain, chord, group
from celery.contrib.testing.worker import start_worker

from sdk_sink import running_sink
from touchtrail import Campaign, Consent, Context, use_context
from touchtrail.integrations.celery import HEADER, install, uninstall
from touchtrail.testing import CapturingClient

EXAMPLE = Path(__file__).parents[2] / "examples" / "web" / "celery_shop.py"
VISITOR = Context(
    anonymous_id="a-1",
    customer_id="c-42",
    session_id="s-1",
    campaign=Campaign(source="news", medium="email"),
    consent=Consent(analytics=True, ads=False),
)


class Shop:
    """A Celery app whose tasks track what they did."""

    def __init__(self, protocol: int) -> None:
        self.app = Celery("shop", set_as_current=False, broker="memory://", backend="cache+memory://")
        self.app.conf.update(
            task_protocol=protocol,
            # The broker in memory is one for all apps of the process: what one shop left must not run in the next.
            task_default_queue=f"shop-{id(self)}",
            worker_hijack_root_logger=False,
            worker_enable_remote_control=False,
            broker_connection_retry_on_startup=True,
            broker_transport_options={"polling_interval": 0.01},
        )
        self.client = CapturingClient(strict=False)

        @self.app.task(shared=False, name="touchtrail_test.work")
        def work(*_: Any) -> None:
            self.client.track("worked")

        @self.app.task(shared=False, name="touchtrail_test.publish")
        def publish(*_: Any) -> None:
            self.client.track("publishing")
            work.delay()

        @self.app.task(bind=True, shared=False, max_retries=2, name="touchtrail_test.flaky")
        def flaky(task: Any) -> None:
            self.client.track("tried")
            if task.request.retries < 2:
                with use_context(Context(customer_id="somebody-else")):
                    raise task.retry(countdown=0)

        @self.app.task(shared=False, name="touchtrail_test.fail")
        def fail(*_: Any) -> None:
            self.client.track("failing")
            raise LookupError("as it should")

        self.work, self.publish, self.flaky, self.fail = work, publish, flaky, fail

    def tracked(self, name: str, times: int) -> list[dict[str, Any]]:
        """Wait for so many events of a name; return whom each is about, with campaign and consent."""
        until = time.monotonic() + 10
        while len(found := [event.wire for event in self.client.events if event.name == name]) < times:
            assert time.monotonic() < until, f"{len(found)} of {times} {name}"
            time.sleep(0.01)
        own = ("event_id", "name", "occurred_at", "properties")
        return [{key: value for key, value in wire.items() if key not in own} for wire in found]


WHOLE = {
    "anonymous_id": "a-1",
    "customer_id": "c-42",
    "session_id": "s-1",
    "campaign": {"source": "news", "medium": "email"},
    "consent": {"analytics": True, "ads": False},
}


@pytest.fixture(scope="module", params=["solo, protocol 2", "threads, protocol 2", "solo, protocol 1"])
def running_shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    pool, _, protocol = request.param.split()
    shop = Shop(int(protocol))
    install(shop.client)
    ending = threading.Event()
    # A worker looks whether it should end when a message came, else every two seconds.
    waker = threading.Thread(target=lambda: ending.wait() and [shop.work.delay() for _ in wake_ups()])
    waker.start()
    with start_worker(shop.app, pool=pool.strip(","), concurrency=2, perform_ping_check=False, shutdown_timeout=20):
        yield shop
        ending.set()
    waker.join()
    uninstall()


def wake_ups() -> Iterator[int]:
    for number in range(20):
        time.sleep(0.05)
        yield number


@pytest.fixture
def shop(running_shop: Shop) -> Shop:
    running_shop.client.events.clear()
    return running_shop


@pytest.mark.parametrize(
    ("publish", "name", "times"),
    [
        pytest.param(lambda shop: shop.work.delay(), "worked", 1, id="a task"),
        pytest.param(lambda shop: shop.publish.delay(), "worked", 1, id="a task a task publishes"),
        pytest.param(lambda shop: shop.flaky.delay(), "tried", 3, id="a task that is retried twice"),
        pytest.param(lambda shop: shop.work.apply_async(countdown=0.01), "worked", 1, id="a task for later"),
        pytest.param(lambda shop: group(shop.work.si() for _ in range(5))(), "worked", 5, id="a group"),
        pytest.param(
            lambda shop: shop.fail.apply_async(link_error=shop.work.si()), "worked", 1, id="an error callback"
        ),
        pytest.param(lambda shop: shop.app.send_task(shop.work.name), "worked", 1, id="a task known by its name only"),
    ],
)
def test_the_visitor_travels_with(shop: Shop, publish: Callable[[Shop], object], name: str, times: int) -> None:
    with use_context(VISITOR):
        publish(shop)
    assert shop.tracked(name, times) == [WHOLE] * times


@pytest.mark.parametrize("running_shop", ["solo, protocol 2", "threads, protocol 2"], indirect=True)
@pytest.mark.parametrize(
    ("publish", "times"),
    [
        pytest.param(lambda shop: chain(shop.work.si(), shop.publish.si(), shop.work.si())(), 3, id="a chain"),
        pytest.param(lambda shop: chord([shop.work.si()] * 3)(shop.work.si()), 4, id="a chord with its body"),
    ],
)
def test_the_visitor_travels_along_what_protocol_2_ties_together(
    shop: Shop, publish: Callable[[Shop], object], times: int
) -> None:
    with use_context(VISITOR):
        publish(shop)
    assert shop.tracked("worked", times) == [WHOLE] * times


def test_a_task_of_nobody_stays_of_nobody_also_after_one_that_failed(shop: Shop) -> None:
    for _ in range(4):
        with use_context(VISITOR):
            shop.fail.delay()
        shop.work.delay()
    shop.tracked("failing", 4)
    # As from beat: without a visitor an event is refused, not given to the one before.
    until = time.monotonic() + 10
    while shop.client.health().refused.get("no_person", 0) < 4:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert shop.tracked("worked", 0) == []


@pytest.mark.parametrize(
    "header", ["not ours", "[" * 5000, {"anonymous_id": "a-1"}, 7, '{"anonymous_id": 7}'], ids=repr
)
def test_a_header_of_strangers_is_ignored_and_the_task_runs(shop: Shop, header: object) -> None:
    refused = shop.client.health().refused.get("no_person", 0)
    shop.work.apply_async(headers={HEADER: header}).get(timeout=10, interval=0.01)
    assert shop.client.health().refused["no_person"] == refused + 1
    assert shop.tracked("worked", 0) == []


@pytest.mark.slow
def test_the_example_runs_as_its_page_says(tmp_path: Path) -> None:
    with running_sink() as sink:
        command = [sys.executable, str(EXAMPLE), "--url", sink.url, "--key", "k", "--spool", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
        events = sorted(sink.events.values(), key=lambda event: str(event["event_id"]))
    names = [(event["name"], event["anonymous_id"]) for event in events]
    assert sorted(names) == [("order_paid", "a-1"), ("order_placed", "a-1"), ("order_shipped", "a-1")]
    assert "order_shipped" in done.stdout
