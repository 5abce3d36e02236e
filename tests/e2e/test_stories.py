"""Each of the four stories, told through the real SDK over HTTP, ends in the picture its table of expectations says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from collector_process import RunningCollector, running_collector

from touchtrail import Client
from touchtrail_collector.demo.stories import STORIES, Story

START = datetime(2026, 9, 1, tzinfo=UTC)
MODELS = ("first_touch", "last_touch", "last_non_direct", "linear", "position_based")


class Told(NamedTuple):
    """A story after it was sent and derived."""

    story: Story
    collector: RunningCollector
    road: dict[str, Any]

    def attribution(self, *arguments: str) -> dict[str, Any]:
        """Return the attribution report with the story's look-back window."""
        days = str(self.story.expected.lookback_days)
        models = [text for model in MODELS for text in ("--model", model)]
        return self.collector.report("attribution", "--lookback-days", days, *models, *arguments)


@pytest.fixture(scope="module", params=list(STORIES.values()), ids=list(STORIES))
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """Give each story once: sent, one client and key per sender, and derived."""
    story: Story = request.param
    folder: Path = tmp_path_factory.mktemp(story.name)
    sendings = story.events(START)
    with running_collector(folder / "story.db") as collector:
        sources = sorted({sending.source for sending in sendings})
        clients = {
            source: Client(collector.url, key=collector.key(source), spool_dir=folder / "spool") for source in sources
        }
        for sending in sendings:
            assert clients[sending.source].track(sending.event, **sending.arguments())
        for client in clients.values():
            assert client.flush(timeout_s=20)
            client.close()
        collector.wait_until_derived()
        order_id = story.expected.orders[0].order_id
        yield Told(story, collector, collector.report("journeys", "--person", f"order:{order_id}")["journey"])


def channel_credit(report: dict[str, Any], model: str) -> dict[str, int]:
    """Return what a model gives each channel, nothing left out but zeroes."""
    place = [used["name"] for used in report["models"]].index(model)
    revenue = {row["channel"]: row["credits"][place]["revenue_minor"] for row in report["channels"]}
    return {channel: minor for channel, minor in revenue.items() if minor}


def test_all_events_of_the_story_belong_to_one_person(told: Told) -> None:
    reach = told.collector.report("overview")["reach"]
    assert reach["persons"] == told.story.expected.people == 1
    assert reach["sessions"] == told.story.expected.sessions


def test_the_road_has_every_contact_in_order_with_its_stage_channel_and_moment(told: Told) -> None:
    steps = [(step["name"], step["stage"], step["contact"], step["moment"]) for step in told.road["steps"]]
    assert steps == [(step.event, step.stage, step.contact, step.moment) for step in told.story.expected.road]
    for found, expected in zip(told.road["steps"], told.story.expected.road, strict=True):
        assert found["creditable"] == expected.creditable, expected
        if expected.channel is not None:
            assert found["channel"] == expected.channel, expected


def test_orders_stand_in_the_ledger_as_they_ended(told: Told) -> None:
    found = {order["order_id"]: order for order in told.road["orders"]}
    assert set(found) == {order.order_id for order in told.story.expected.orders}
    for order in told.story.expected.orders:
        ledger = found[order.order_id]
        assert (ledger["state"], ledger["gross_minor"], ledger["net_minor"], ledger["currency"]) == (
            order.state,
            order.gross_minor,
            order.net_minor,
            order.currency,
        )


@pytest.mark.parametrize("model", MODELS)
def test_channels_earn_what_the_story_says_net_of_what_was_taken_back(told: Told, model: str) -> None:
    expected: dict[str, int] = {}
    for credit in told.story.expected.credit[model].values():
        for channel, minor in credit.items():
            expected[channel] = expected.get(channel, 0) + minor
    report = told.attribution()
    assert channel_credit(report, model) == expected
    assert sum(expected.values()) == report["revenue_minor"] == sum(o.net_minor for o in told.story.expected.orders)


def test_feelings_stand_where_they_were_felt(told: Told) -> None:
    felt = [(step["feeling"]["polarity"], step["feeling"]["kind"]) for step in told.road["steps"] if step["feeling"]]
    assert [kind for polarity, kind in felt if polarity == "pain"] == list(told.story.expected.pains)
    assert [kind for polarity, kind in felt if polarity == "gain"] == list(told.story.expected.gains)


def test_credit_is_taken_back_on_the_day_it_happens(told: Told) -> None:
    if not told.story.expected.changes:  # nothing was taken back: both bases agree, to the cent and channel by channel
        by_change, by_order = told.attribution("--basis", "change_date"), told.attribution()
        assert all(channel_credit(by_change, model) == channel_credit(by_order, model) for model in MODELS)
    for change in told.story.expected.changes:
        day = (START + timedelta(days=change.after_days)).date().isoformat()
        report = told.attribution("--basis", "change_date", "--start", day, "--end", day)
        assert report["revenue_minor"] == change.amount_minor
        for model, credit in change.credit.items():
            assert channel_credit(report, model) == credit, (change.kind, model)
