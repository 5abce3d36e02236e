"""The four stories: what happened, as every system reported it, and the picture that must come out."""

from __future__ import annotations

from . import laptop_buyer, omnichannel_coat, order_that_did_not_stay, running_shoes
from .story import Expected, ExpectedChange, ExpectedOrder, Step, Story

STORIES: dict[str, Story] = {
    story.name: story
    for story in (
        Story(
            name="laptop_buyer",
            title="The laptop buyer",
            events=laptop_buyer.events,
            expected=laptop_buyer.EXPECTED,
            days=33,
            look_at=(
                "Five touches share 1,099.99 EUR. Compare first_touch (all to Organic Search), last_touch (all to Paid "
                "Search) and linear; the way back from PayPal takes nothing."
            ),
        ),
        Story(
            name="omnichannel_coat",
            title="The omnichannel coat",
            events=omnichannel_coat.events,
            expected=omnichannel_coat.EXPECTED,
            days=7,
            look_at=(
                "Tablet, laptop, store and phone are one person with one order of 212.41 EUR. The store stands in the "
                "credit of last_non_direct; the slow page is the pain point."
            ),
        ),
        Story(
            name="running_shoes",
            title="Sofia's running shoes",
            events=running_shoes.events,
            expected=running_shoes.EXPECTED,
            days=46,
            look_at=(
                "All four moments of truth on one road, two orders, and Word of Mouth in the credit although it was "
                "reported days after the order."
            ),
        ),
        Story(
            name="order_that_did_not_stay",
            title="The order that did not stay",
            events=order_that_did_not_stay.events,
            expected=order_that_did_not_stay.EXPECTED,
            days=21,
            look_at=(
                "The order is cancelled, its net is 0.00 EUR, and on the basis of the change's day Display and Email "
                "lose on day 12 and day 20 what they had gained on day 3."
            ),
        ),
    )
}
"""The stories by name."""

__all__ = ["STORIES", "Expected", "ExpectedChange", "ExpectedOrder", "Step", "Story"]
