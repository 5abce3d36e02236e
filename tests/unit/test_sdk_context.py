"""Context: what a block's events share, and that another person's events share nothing of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from touchtrail import Campaign, Consent, Context, Device, Page, current_context, events, use_context
from touchtrail.testing import CapturingClient

VISIT = Context(
    anonymous_id="a-1",
    session_id="s-1",
    page=Page(url="https://shop.example/"),
    campaign=Campaign(source="news"),
    device=Device(kind="mobile"),
    consent=Consent(analytics=True),
    identifiers={"email": "a@b.example"},
)
KNOWN = msgspec.structs.replace(VISIT, customer_id="c-1")
PERSONAL = {name: msgspec.to_builtins(getattr(KNOWN, name)) for name in Context.__struct_fields__}


def facts_of(event: events.Event | str = "clicked", **facts: Any) -> dict[str, Any]:
    """Track one event and return which facts of a context it carries."""
    with CapturingClient() as client:
        assert client.track(event, **facts)
        wire = client.events[0].wire
    return {name: wire[name] for name in Context.__struct_fields__ if name in wire}


def test_the_block_of_a_client_is_the_block_of_a_context() -> None:
    with CapturingClient() as client:
        with client.context(**{name: getattr(KNOWN, name) for name in Context.__struct_fields__}) as held:
            assert held == current_context() == KNOWN
            client.track("clicked")
        with use_context(KNOWN):
            client.track("clicked")
        first, second = ({**tracked.wire, "event_id": "", "occurred_at": ""} for tracked in client.events)
    assert first == second
    assert current_context() is None


def test_an_event_carries_the_context_and_an_argument_wins() -> None:
    with use_context(KNOWN):
        assert facts_of() == PERSONAL
        assert facts_of(session_id="s-9", customer_id="c-1") == PERSONAL | {"session_id": "s-9"}


@pytest.mark.parametrize(
    "other",
    [{"customer_id": "c-2"}, {"customer_id": "c-2", "anonymous_id": "a-1"}, {"anonymous_id": "a-2"}],
    ids=str,
)
def test_an_event_about_another_person_carries_nothing_of_the_context(other: dict[str, str]) -> None:
    with use_context(KNOWN):
        assert facts_of(**other) == other


@pytest.mark.parametrize("same", ["c-7", 7, UUID(int=7)], ids=repr)
def test_the_same_customer_in_another_notation_is_no_other(same: Any) -> None:
    with use_context(msgspec.structs.replace(KNOWN, customer_id=str(same))):
        assert facts_of(customer_id=same, anonymous_id="a-2") == PERSONAL | {
            "customer_id": str(same),
            "anonymous_id": "a-2",
        }


def test_who_signs_in_is_still_the_visitor() -> None:
    with use_context(VISIT):
        assert facts_of(customer_id="c-1") == PERSONAL
        with use_context(Context(customer_id="c-1")):
            assert facts_of() == PERSONAL


def test_aliasing_two_other_ids_carries_nothing_of_the_visitor() -> None:
    with CapturingClient() as client, use_context(VISIT):
        client.alias("a-2", "c-2")
        assert {"session_id", "page", "identifiers"} & set(client.events[0].wire) == set()


@pytest.mark.parametrize("other", [{"customer_id": "c-2"}, {"anonymous_id": "a-2"}], ids=str)
def test_a_block_about_another_person_holds_nothing_of_the_one_around_it(other: dict[str, str]) -> None:
    with use_context(KNOWN):
        with use_context(Context(**other)) as inner:
            assert inner == Context(**other)
            assert facts_of() == other
        assert current_context() == KNOWN


ids = st.sampled_from([None, "", "1", "2", 1, 2])


@given(ids, ids, ids, ids)
def test_no_event_ever_carries_ids_of_two_people(
    outer_customer: Any, outer_device: Any, customer: Any, device: Any
) -> None:
    outer = Context(customer_id=outer_customer, anonymous_id=outer_device, session_id="outer")
    with use_context(outer):
        carried = facts_of("clicked", customer_id=customer, anonymous_id=device, identifiers={"email": "e"})
    customers = {str(value) for value in (outer_customer, customer) if value}
    devices = {str(value) for value in (outer_device, device) if value}
    if (customer and outer_customer and len(customers) == 2) or (
        not (customer and outer_customer) and len(devices) == 2
    ):
        assert "session_id" not in carried
        assert carried.get("customer_id") == (str(customer) if customer else None)
        assert carried.get("anonymous_id") == (str(device) if device else None)
    else:
        assert carried["session_id"] == "outer"


def test_a_block_follows_tasks_and_stays_out_of_other_threads() -> None:
    seen: list[Context | None] = []

    async def serve(customer_id: str) -> str | None:
        with use_context(Context(customer_id=customer_id)):
            await asyncio.sleep(0)
            inner = await asyncio.create_task(look())
            return inner.customer_id if inner else None

    async def look() -> Context | None:
        return current_context()

    async def both() -> list[str | None]:
        return await asyncio.gather(serve("c-1"), serve("c-2"))

    assert asyncio.run(both()) == ["c-1", "c-2"]
    with use_context(KNOWN):
        thread = threading.Thread(target=lambda: seen.append(current_context()))
        thread.start()
        thread.join()
    assert seen == [None]


def test_a_block_that_ends_in_another_task_than_it_began_does_not_raise() -> None:
    async def dependency() -> AsyncIterator[None]:
        with use_context(KNOWN):
            yield

    async def run() -> Context | None:
        made = dependency()
        await asyncio.create_task(anext(made))  # type: ignore[arg-type]
        with pytest.raises(StopAsyncIteration):
            await asyncio.create_task(anext(made))  # type: ignore[arg-type]
        return current_context()

    assert asyncio.run(run()) is None


class Incomparable:
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compared")

    __hash__ = None  # type: ignore[assignment]


def test_ids_that_cannot_be_compared_break_neither_a_block_nor_a_call() -> None:
    with use_context(KNOWN), CapturingClient(strict=False) as client:
        with client.context(customer_id=Incomparable()) as held:  # type: ignore[arg-type]
            assert held.anonymous_id is None
        assert not client.track("clicked", customer_id=Incomparable())  # type: ignore[arg-type]
        assert client.track("clicked")
