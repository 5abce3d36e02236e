"""Everything that writes besides ingest, and what the running process alone knows, as named operations: a running
collector does them for other commands, since one process alone may write to the file; without one the command does
them itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from ..domain.repair import Repair
from ..domain.sender import Mode, read_origins
from ..errors import UsageError
from ..store.sqlite.rejects import Chosen, State
from .collector import Collector
from .file_import import import_file
from .quarantine import ReplayRules, mark, replay

Progress = Callable[[int, int], None]
NAME = re.compile(r"\w[\w .:\-]{0,63}")


class CreateKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of `create_key`: a read token where ``source`` is None; see `SetSender` for the others."""

    source: str | None = None
    shop: str | None = None
    origins: list[str] | None = None
    mode: Mode | None = None


class RotateKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of `rotate_key`: the key, or its first eight characters, and how long it is good beside the new one."""

    key: str
    grace_hours: Annotated[float, msgspec.Meta(ge=0, le=8760)] = 168.0


class SetSender(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of `set_sender`: from which origins web pages may use its keys (empty = any), what is kept; None = as
    it is."""

    source: str
    origins: list[str] | None = None
    mode: Mode | None = None


class RevokeKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of `revoke_key`: the key, or its first eight characters."""

    key: str


class IssueLink(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of `issue_link`: none."""


class SetPassword(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of `set_password`: what is to be kept of it, as `services.password` makes it; None = no password."""

    password_hash: str | None = None


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


class Choose(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which rejects: those with these numbers and of these kinds; none given = all open ones (see `Chosen`)."""

    ids: list[int] = []
    code: str | None = None
    field: str | None = None
    name: str | None = None
    source: str | None = None
    since_ms: int | None = None


class Replay(Choose, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of `replay`: which, what to repair (see `Repair`), or a repaired body for a single one."""

    rename: dict[str, str] = {}
    set: dict[str, Any] = {}
    drop: list[str] = []
    body: str | None = None
    dry_run: bool = False


class MarkRejects(Choose, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of `mark_rejects`: which, and what becomes of them."""

    state: Literal["open", "dismissed"]


def create_key(collector: Collector, arguments: CreateKey, _: Progress | None) -> dict[str, Any]:
    """Make a write key or a read token. Raises: UsageError for a name nobody could read in a report."""
    if arguments.source is not None and not NAME.fullmatch(arguments.source):
        raise UsageError(
            f"a source's name has 1 to 64 letters, digits, blanks or . _ : -, such as web-shop; "
            f"not {arguments.source[:80]!r}"
        )
    shop = collector.settings.shop
    key = collector.store.create_key(
        source=arguments.source, shop=arguments.shop, own_shop=shop.name, currency=shop.currency,
        origins=origins_of(arguments.origins), mode=arguments.mode,
    )  # fmt: skip
    collector.reload_keys()
    return {"key": key}


def origins_of(texts: list[str] | None) -> tuple[str, ...] | None:
    """Return origins as browsers write them. Raises: UsageError."""
    try:
        return None if texts is None else read_origins(texts)
    except ValueError as error:
        raise UsageError(str(error)) from None


def rotate_key(collector: Collector, arguments: RotateKey, _: Progress | None) -> dict[str, Any]:
    """Make a key that takes another one's place; both are good until the grace period is over."""
    rotated = collector.store.rotate_key(arguments.key, grace_ms=round(arguments.grace_hours * 3_600_000))
    collector.reload_keys()
    return rotated._asdict()


def set_sender(collector: Collector, arguments: SetSender, _: Progress | None) -> dict[str, Any]:
    """Change what a sender may do, from now on."""
    collector.store.set_sender(arguments.source, origins=origins_of(arguments.origins), mode=arguments.mode)
    collector.reload_keys()
    return {"source": arguments.source}


def revoke_key(collector: Collector, arguments: RevokeKey, _: Progress | None) -> dict[str, Any]:
    """Revoke a key; requests that carry it get 401 from now on."""
    hint = collector.store.revoke_key(arguments.key)
    collector.reload_keys()
    return {"revoked": hint}


def issue_link(collector: Collector, _: IssueLink, __: Progress | None) -> dict[str, Any]:
    """Make the token of a link that lets somebody in once; it is good for this process alone."""
    return {"token": collector.sessions.issue_link()}


def set_password(collector: Collector, arguments: SetPassword, _: Progress | None) -> dict[str, Any]:
    """Set or remove the dashboard's password, and end every session and link."""
    was_set = collector.password.put(arguments.password_hash)
    # Afterwards: a guess at the old one that is under way must not begin a session of the new set.
    collector.sessions.end_all()
    return {"was_set": was_set}


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


def chosen_by(arguments: Choose, state: State | None) -> Chosen:
    """Return which rejects are meant; those named by their numbers may be in any state."""
    return Chosen(
        ids=arguments.ids, code=arguments.code, field=arguments.field, name=arguments.name, source=arguments.source,
        since_ms=arguments.since_ms, state=None if arguments.ids else state,
    )  # fmt: skip


def run_replay(collector: Collector, arguments: Replay, progress: Progress | None) -> dict[str, Any]:
    """Check rejects again and keep those that pass."""
    rules = ReplayRules(
        repair=Repair(rename=arguments.rename, set=arguments.set, drop=arguments.drop),
        body=None if arguments.body is None else arguments.body.encode("utf-8", "replace"),
        dry_run=arguments.dry_run,
    )
    return msgspec.to_builtins(replay(collector, chosen_by(arguments, "open"), rules, progress))  # type: ignore[no-any-return]


def mark_rejects(collector: Collector, arguments: MarkRejects, _: Progress | None) -> dict[str, Any]:
    """Dismiss rejects, or open dismissed ones again."""
    before: State = "open" if arguments.state == "dismissed" else "dismissed"
    return {"changed": mark(collector, chosen_by(arguments, before), arguments.state)}


OPERATIONS: dict[str, tuple[type[msgspec.Struct], Callable[[Collector, Any, Progress | None], dict[str, Any]]]] = {
    "create_key": (CreateKey, create_key),
    "rotate_key": (RotateKey, rotate_key),
    "revoke_key": (RevokeKey, revoke_key),
    "set_sender": (SetSender, set_sender),
    "issue_link": (IssueLink, issue_link),
    "set_password": (SetPassword, set_password),
    "rebuild": (Rebuild, rebuild),
    "plugins": (ListPlugins, list_plugins),
    "import_file": (ImportFile, run_import),
    "replay": (Replay, run_replay),
    "mark_rejects": (MarkRejects, mark_rejects),
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
