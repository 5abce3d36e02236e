"""Sends a story through the SDK's client and says what to look at; the four story scripts use it."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime, timedelta

from touchtrail import Client
from touchtrail_collector.demo.stories import STORIES


def tell(name: str, description: str | None) -> int:
    """Send the story to the collector named on the command line; return the exit code.

    The story ends today unless ``--start`` says on which day it begins. One write key is enough: which system would
    have sent an event does not matter for the picture.
    """
    story = STORIES[name]
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8377", help="the collector's address")
    parser.add_argument("--key", required=True, help="a write key, made with `touchtrail keys create --source demo`")
    parser.add_argument("--start", type=datetime.fromisoformat, help="the day the story begins on, 2026-09-01")
    options = parser.parse_args()
    start = options.start or datetime.now(UTC) - timedelta(days=story.days)
    client = Client(options.url, key=options.key)
    try:
        sendings = story.events(start.replace(tzinfo=UTC))
        for sending in sendings:
            client.track(sending.event, **sending.arguments())
        if not client.flush(timeout_s=10):
            print(
                f"{options.url} did not take everything: is it running, is the key right? {client.health()}",
                file=sys.stderr,
            )
            return 1
    finally:
        client.close()
    print(f"{story.title}: {len(sendings)} events sent, from {start:%Y-%m-%d} on.")
    for order in story.expected.orders:
        print(f"  order {order.order_id}: {order.state}, net {order.net_minor / 100:.2f} {order.currency}")
    print(f"Look at: {story.look_at}")
    return 0
