"""Clients whose thread never starts, driven step by step, and clients that end as a killed process does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from touchtrail import Client
from touchtrail._delivery import Delivery
from touchtrail._outbox import Outbox
from touchtrail._worker import Sender, Tally
from touchtrail.testing import Transport

QUICK: dict[str, Any] = {"backoff_min_s": 0.0, "backoff_max_s": 0.0, "linger_s": 0.0, "retry_after_max_s": 0.0}


@contextmanager
def still(
    transport: Transport, spool_dir: str | os.PathLike[str] | None = None, **given: Any
) -> Iterator[tuple[Client, Sender]]:
    """Give a client whose thread never starts, and its sender.

    Args:
        spool_dir: None = in memory only.
        given: options beside those for quick retries.
    """
    place = {"memory_only": True} if spool_dir is None else {"spool_dir": spool_dir}
    client = Client("http://collector.invalid", key="k", transport=transport, **place, **QUICK | given)
    keep_still(client)
    yield client, sender_of(client)
    end(client)


def keep_still(client: Client) -> None:
    """Let nothing start the client's thread; in a forked child again."""
    delivery = delivery_of(client)
    delivery.tally.on_news = lambda: None
    delivery.worker.is_asleep = False


def end(client: Client) -> None:
    """End a still client in good order, without sending."""
    delivery_of(client).worker.stop(1)
    delivery_of(client).is_closed = True


def abandon(client: Client) -> None:
    """End a client as SIGKILL ends its process: locks and descriptors go, files stay."""
    delivery_of(client).outbox.forget()
    delivery_of(client).is_closed = True


def delivery_of(client: Client) -> Delivery:
    """Return what stands behind a client."""
    return client._delivery


def sender_of(client: Client) -> Sender:
    """Return what sends a client's batches."""
    return client._delivery.sender


def outbox_of(client: Client) -> Outbox:
    """Return where a client's events wait."""
    return client._delivery.outbox


def tally_of(client: Client) -> Tally:
    """Return a client's counts."""
    return client._delivery.tally
