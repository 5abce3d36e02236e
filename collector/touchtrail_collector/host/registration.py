"""Registers an imported plugin with pluggy and refuses, with words, what pluggy would accept or drop silently."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
import pluggy

from touchtrail_collector import hookspecs
from touchtrail_collector.settings import Given, Settings, read_struct, suggestion

from .discovery import KIND_HOOKS
from .record import PluginRecord, describe

PROJECT = "touchtrail"


def plugin_manager() -> pluggy.PluginManager:
    """Return an own plugin manager that knows every hook of the collector and no plugin."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def hook_names(manager: pluggy.PluginManager) -> tuple[str, ...]:
    """Return the names of the hooks that exist."""
    return tuple(sorted(name for name, hook in vars(manager.hook).items() if name[0] != "_" and hook.has_spec()))


def register(manager: pluggy.PluginManager, record: PluginRecord) -> None:
    """Register the record's plugin and give the record its hooks, or take it out of use with what is wrong."""
    try:
        problems = list(_shape_problems(manager, record))
        if not problems:
            manager.register(record.plugin, name=record.id)
            problems = list(_hook_problems(manager, record))
    except Exception as error:  # noqa: BLE001 - the boundary: dir() and signatures of a stranger's object
        problems = [describe(error)]
    if problems:
        for problem in problems:
            record.give_up("broken", problem)
        # pluggy leaves a plugin that failed validation half registered before 1.8.
        if manager.has_plugin(record.id):
            manager.unregister(name=record.id)
        return
    record.hooks = {name: _caller(impl) for name, impl in _implementations(manager, record)}


def read_plugin_settings(record: PluginRecord, settings: Settings) -> None:
    """Give the record the settings its plugin asked for, checked against the plugin's own struct.

    A field ``own_hosts`` that the plugin's table does not set takes the shop's hosts: rules about the shop's own
    pages would otherwise need the same list twice.
    """
    table = settings.plugins.tables.get(record.id, {})
    name = f'[plugins."{record.id}"]'
    if "touchtrail_settings" not in record.hooks:
        if table:
            record.give_up("broken", f"{name} is set, but the plugin has no settings")
        return
    try:
        kind = record.call(record.hooks["touchtrail_settings"])
    except Exception as error:  # noqa: BLE001 - the boundary of this hook
        record.give_up("broken", f"touchtrail_settings failed: {describe(error)}")
        return
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        record.give_up("broken", f"touchtrail_settings must return a msgspec.Struct class, not {kind!r}")
        return
    given = {key: Given(value, f"{name}.{key}") for key, value in table.items()}
    if "own_hosts" in kind.__struct_encode_fields__ and settings.shop.hosts:
        given.setdefault("own_hosts", Given(list(settings.shop.hosts), "[shop].hosts"))
    record.settings, problems = read_struct(kind, given, name)
    for problem in problems:
        record.give_up("broken", problem)


def _shape_problems(manager: pluggy.PluginManager, record: PluginRecord) -> Iterator[str]:
    plugin = record.plugin
    if plugin is None or inspect.isclass(plugin):
        yield f"its entry point must name a module or an object with hooks, not {plugin!r}"
        return
    other = manager.get_name(plugin)
    if other is not None:
        yield f"it is the same module as {other}: one entry point is enough for all its hooks"
    for name in dir(plugin):
        if name.startswith(f"{PROJECT}_"):
            function = inspect.getattr_static(plugin, name)
            if inspect.isfunction(function) and not hasattr(function, f"{PROJECT}_impl"):
                yield f"{name} lacks @hookimpl and would never be called"


def _hook_problems(manager: pluggy.PluginManager, record: PluginRecord) -> Iterator[str]:
    known = hook_names(manager)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError:
        unknown = [
            name for name, impl in _implementations(manager, record) if name not in known and not impl.optionalhook
        ]
        for name in unknown:
            yield f"{name} is no hook{suggestion(name, known)}"
    found = {name for name, _ in _implementations(manager, record) if name in known}
    for name, impl in _implementations(manager, record):
        if impl.wrapper or impl.hookwrapper:
            yield f"{name} is a wrapper: a hook cannot change what others contribute"
        if inspect.iscoroutinefunction(impl.function):
            yield f"{name} must not be async"
    kind = record.id.partition(".")[0]
    if not found & set(KIND_HOOKS[kind]):
        yield f"a plugin of kind {kind} must implement {' or '.join(KIND_HOOKS[kind])}"
    subject = {"touchtrail_export_subject", "touchtrail_erase_subject"}
    if len(found & subject) == 1:
        # Who keeps data about people must be able to show it and to erase it.
        yield f"{min(found & subject)} needs {min(subject - found)} beside it"


def _implementations(manager: pluggy.PluginManager, record: PluginRecord) -> list[tuple[str, pluggy.HookImpl]]:
    return [
        (name, impl)
        for name, hook in vars(manager.hook).items()
        if name[0] != "_"
        for impl in hook.get_hookimpls()
        if impl.plugin_name == record.id
    ]


def _caller(impl: pluggy.HookImpl) -> Callable[..., Any]:
    """Return a call of this implementation alone: in a pluggy call one that raises ends the others' turn."""

    def call(**kwargs: Any) -> Any:
        arguments: Mapping[str, Any] = kwargs
        return impl.function(*(arguments[name] for name in impl.argnames))

    return call
