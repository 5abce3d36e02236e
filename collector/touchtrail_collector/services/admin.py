"""Everything that writes besides ingest, and what the running process alone knows, as named operations: a running
collector does them for other commands, since one process alone may write to the file; without one the command does
them itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..errors import UsageError
from .collector import Collector
from .file_import import import_file
from .quarantine import replay

Progress = Callable[[int, int], None]
NAME = re.compile(r"\w[\w .:\-]{0,63}")


class CreateKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of `create_key`: a read token where ``source`` is None."""

    source: str | None = None
    shop: str | None = None


class RevokeKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of `revoke_key`: the key, or its first eight characters."""

    key: str


class Rebuild(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of `rebuild`: none."""


class ListPlugins(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of `plugins`: none."""


class ImportFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of `import_file`: see `touchtrail import`."""

    reader: str
    path: str
    source: str | None = None
    options: dict[str, str] = {}


class Replay(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of `replay`: which rejects (none = all open ones), and a repaired body for a single one."""

    ids: list[int] = []
    code: str | None = None
    body: str | None = None


def create_key(collector: Collector, arguments: CreateKey, _: Progress | None) -> dict[str, Any]:
    """Make a write key or a read token. Raises: UsageError for a name nobody could read in a report."""
    if arguments.source is not None and not NAME.fullmatch(arguments.source):
        raise UsageError(
            f"a source's name has 1 to 64 letters, digits, blanks or . _ : -, such as web-shop; "
            f"not {arguments.source[:80]!r}"
        )
    shop = collector.settings.shop
    key = collector.store.create_key(
        source=arguments.source, shop=arguments.shop, own_shop=shop.name, currency=shop.currency
    )
    collector.reload_keys()
    return {"key": key}


def revoke_key(collector: Collector, arguments: RevokeKey, _: Progress | None) -> dict[str, Any]:
    """Revoke a key; requests that carry it get 401 from now on."""
    hint = collector.store.revoke_key(arguments.key)
    collector.reload_keys()
    return {"revoked": hint}


def rebuild(collector: Collector, _: Rebuild, progress: Progress | None) -> dict[str, Any]:
    """Derive everything anew."""
    return {"events": collector.projector.rebuild(progress)}


def list_plugins(collector: Collector, _: ListPlugins, __: Progress | None) -> dict[str, Any]:
    """List the plugins of this process: how they fare is known here alone."""
    host = collector.host
    return {"plugins": msgspec.to_builtins(host.plugins()), "problems": list(host.problems())}


def run_import(collector: Collector, arguments: ImportFile, progress: Progress | None) -> dict[str, Any]:
    """Read a file through a source plugin."""
    result = import_file(
        collector, arguments.reader, Path(arguments.path), sender=arguments.source, options=arguments.options,
        progress=progress,
    )  # fmt: skip
    collector.reload_keys()
    return msgspec.to_builtins(result)  # type: ignore[no-any-return]


def run_replay(collector: Collector, arguments: Replay, _: Progress | None) -> dict[str, Any]:
    """Check rejects again and keep those that pass."""
    result = replay(collector, ids=arguments.ids, code=arguments.code, body=arguments.body)
    return msgspec.to_builtins(result)  # type: ignore[no-any-return]


OPERATIONS: dict[str, tuple[type[msgspec.Struct], Callable[[Collector, Any, Progress | None], dict[str, Any]]]] = {
    "create_key": (CreateKey, create_key),
    "revoke_key": (RevokeKey, revoke_key),
    "rebuild": (Rebuild, rebuild),
    "plugins": (ListPlugins, list_plugins),
    "import_file": (ImportFile, run_import),
    "replay": (Replay, run_replay),
}


def run_operation(
    collector: Collector, name: str, arguments: Mapping[str, Any], progress: Progress | None = None
) -> dict[str, Any]:
    """Run an operation by name.

    Raises: UsageError for an unknown name or arguments that do not fit; the operation's own errors.
    """
    if name not in OPERATIONS:
        raise UsageError(f"there is no operation {name!r}; there are {', '.join(sorted(OPERATIONS))}")
    kind, run = OPERATIONS[name]
    try:
        checked = msgspec.convert(dict(arguments), kind)
    except msgspec.ValidationError as error:
        raise UsageError(f"{name}: {error}") from None
    return run(collector, checked, progress)
