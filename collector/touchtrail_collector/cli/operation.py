"""Runs an operation that writes: inside the collector that has the database open, or here when none has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from touchtrail_collector.settings import Settings

Progress = Callable[[int, int], None]
ADDS_NOTHING = frozenset({"create_key", "rotate_key", "revoke_key", "set_sender", "set_password", "rebuild"})
"""Operations after which there is nothing to derive."""


def run_write(
    settings: Settings, operation: str, arguments: Mapping[str, Any], *, progress: Progress | None = None
) -> dict[str, Any]:
    """Run an operation of `services.admin` and return its result.

    Args:
        progress: told how far it is, where the work is done by this process.
    """
    holder = find_collector(settings)
    if holder is not None:
        return ask_collector(holder, operation, arguments)
    return run_here(settings, operation, arguments, progress)


def find_collector(settings: Settings) -> Mapping[str, Any] | None:
    """Return how the running collector of this database is reached, for `ask_collector`; None = none is running."""
    from touchtrail_collector.store.sqlite.database import FileLock

    lock = FileLock(Path(settings.store.db))
    holder = lock.read_holder()
    return holder if lock.is_held() and "url" in holder else None


def run_here(
    settings: Settings, operation: str, arguments: Mapping[str, Any], progress: Progress | None
) -> dict[str, Any]:
    """Open the database, do the work, and derive what it added."""
    from touchtrail_collector.host import PluginHost
    from touchtrail_collector.services.admin import run_operation
    from touchtrail_collector.services.collector import Collector

    collector = Collector(settings, PluginHost.load(settings), starts_projector=False)
    try:
        result = run_operation(collector, operation, arguments, progress)
        if operation not in ADDS_NOTHING:
            collector.projector.catch_up()
    finally:
        collector.close()
    return result


def ask_collector(holder: Mapping[str, Any], operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Have the running collector do it."""
    import httpx

    from touchtrail_collector.errors import StoreError, UsageError

    try:
        answer = httpx.post(
            f"{holder['url']}/api/v1/admin/{operation}",
            json=dict(arguments),
            headers={"Authorization": f"Bearer {holder['admin_token']}"},
            timeout=httpx.Timeout(10, read=None),  # a rebuild takes as long as it takes
        )
    except httpx.HTTPError as error:
        raise StoreError(
            f"process {holder.get('pid')} has the database open but does not answer at {holder['url']}: {error}"
        ) from None
    body: dict[str, Any] = answer.json()
    if answer.status_code != 200:
        message = str(body.get("message", answer.status_code))
        raise UsageError(message) if body.get("code") == "bad_usage" else StoreError(message)
    return body
