"""What is known of one plugin: what it is, how it fares, and what it cost so far."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, ParamSpec, TypeVar

import msgspec

from touchtrail_collector.errors import PluginError

P = ParamSpec("P")
R = TypeVar("R")
State = Literal["active", "disabled", "broken", "refused", "failing"]

FAILURES_IN_A_ROW = 10
"""So many failures of an observing plugin without a success between them, and it is not called any more."""

log = logging.getLogger(__name__)


class PluginInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One plugin as `touchtrail plugins` shows it.

    Args:
        id: `kind.name`, as in the settings.
        distribution: the package it came with; None = registered by hand.
        hooks: names of the hooks it implements, sorted.
        state: `active`; `disabled` by the settings; `broken`: cannot be used; `refused`: another plugin claims
            the same name; `failing`: failed too often in a row and is not told of events any more.
        last_error: what is wrong and what to do; for an active plugin its last failure.
        calls: how often it was called, at start and since.
        time_ms: how long these calls took together.
    """

    id: str
    kind: str
    distribution: str | None
    version: str | None
    hooks: tuple[str, ...] = ()
    state: State = "active"
    last_error: str | None = None
    calls: int = 0
    failures: int = 0
    time_ms: float = 0.0


class PluginRecord:
    """One plugin while the collector runs; every call into a plugin goes through its record."""

    def __init__(self, plugin_id: str, *, distribution: str | None = None, version: str | None = None) -> None:
        self.id = plugin_id
        self.distribution = distribution
        self.version = version
        self.state: State = "active"
        self.problems: list[str] = []
        self.plugin: Any = None
        self.hooks: dict[str, Callable[..., Any]] = {}
        self.settings: Any = None
        self._lock = threading.Lock()
        self._last_failure: str | None = None
        self._calls = 0
        self._failures = 0
        self._in_a_row = 0
        self._time_s = 0.0

    @property
    def is_active(self) -> bool:
        """True while the plugin takes part."""
        return self.state == "active"

    def give_up(self, state: State, problem: str) -> None:
        """Take the plugin out of use and remember why; the first state stays, every problem is kept."""
        if self.state == "active":
            self.state = state
        self.problems.append(problem)

    def info(self) -> PluginInfo:
        """Return how the plugin stands now."""
        return PluginInfo(
            id=self.id,
            kind=self.id.partition(".")[0],
            distribution=self.distribution,
            version=self.version,
            hooks=tuple(sorted(self.hooks)),
            state=self.state,
            last_error="; ".join(self.problems) or self._last_failure,
            calls=self._calls,
            failures=self._failures,
            time_ms=round(self._time_s * 1000, 3),
        )

    def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call into the plugin, timed and counted; what it raises goes on to the caller."""
        started = perf_counter()
        try:
            result = function(*args, **kwargs)
        except Exception as error:
            self.count(perf_counter() - started, error)
            raise
        self.count(perf_counter() - started)
        return result

    def tell(self, function: Callable[..., object], **kwargs: Any) -> None:
        """Call an observing hook: nobody waits for its answer, so its failures stop here, counted and logged."""
        try:
            self.call(function, **kwargs)
        except Exception as error:
            self._in_a_row += 1
            if self._in_a_row == 1:
                log.warning("plugin %s failed: %s", self.id, describe(error), exc_info=error)
            if self._in_a_row == FAILURES_IN_A_ROW:
                self.give_up(
                    "failing",
                    f"failed {FAILURES_IN_A_ROW} times in a row and is not told of events until the collector is "
                    f"started anew; last: {describe(error)}",
                )
                log.error("plugin %s %s", self.id, self.problems[-1])
        else:
            self._in_a_row = 0

    def guarded(
        self,
        what: str,
        function: Callable[P, R],
        *,
        returns: type = object,
        passing: tuple[type[Exception], ...] = (),
    ) -> Callable[P, R]:
        """Return ``function`` as the rest of the collector calls it: timed, counted, its failure a `PluginError`.

        Args:
            what: what it does, for the message: `model markov`.
            returns: anything else that it returns is a failure as well.
            passing: errors that are part of its contract; they go on as they are and are no failure.
        """

        def guarded_function(*args: P.args, **kwargs: P.kwargs) -> R:
            with self._boundary(what, passing):
                result = function(*args, **kwargs)
                if not isinstance(result, returns):
                    raise TypeError(f"it must return {returns.__name__}, not {type(result).__name__}")
                return result

        return guarded_function

    def guarded_iterator(
        self, what: str, function: Callable[P, Iterator[R]], *, passing: tuple[type[Exception], ...] = ()
    ) -> Callable[P, Iterator[R]]:
        """Do the same for a function that yields: only the time inside it is counted, as one call per item."""
        end: Any = object()

        def guarded_generator(*args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
            with self._boundary(what, passing):
                items = iter(function(*args, **kwargs))
            while True:
                with self._boundary(what, passing):
                    item = next(items, end)
                if item is end:
                    return
                yield item

        return guarded_generator

    def count(self, seconds: float, error: Exception | None = None) -> None:
        """Count one call and, where it failed, its failure."""
        with self._lock:
            self._calls += 1
            self._time_s += seconds
            if error is not None:
                self._failures += 1
                self._last_failure = describe(error)

    @contextmanager
    def _boundary(self, what: str, passing: tuple[type[Exception], ...]) -> Iterator[None]:
        started = perf_counter()
        try:
            yield
        except passing:
            self.count(perf_counter() - started)
            raise
        except Exception as error:
            self.count(perf_counter() - started, error)
            raise PluginError(self.id, f"{what} failed: {describe(error)}") from error
        else:
            self.count(perf_counter() - started)


def describe(error: BaseException) -> str:
    """Return an error in one line: its type, its message, and the place in the plugin it came from."""
    message = " ".join(str(error).split())
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    places = [
        f"{Path(frame.filename).name}, line {frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if "importlib" not in frame.filename and Path(frame.filename).parent != Path(__file__).parent
    ]
    # A SyntaxError names the place in its message.
    return f"{text} ({places[-1]})" if places and not isinstance(error, SyntaxError) else text
