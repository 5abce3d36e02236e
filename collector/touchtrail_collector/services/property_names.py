"""Which property names of its own each sender has, in memory as long as the collector runs, and in the file."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from ..domain.property_names import MAX_NAMES, NameFit
from ..errors import StoreUnavailable
from ..store.sqlite.names import add_names, load_names
from ..store.sqlite.store import SqliteStore


class PropertyNames:
    """Knows at most `MAX_NAMES` of each sender."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        with store.reading() as reader:
            self._known = load_names(reader)

    def fit(self, source_id: int) -> NameFit:
        """Return what one request's events are held against."""
        return NameFit(source_id, self._known.setdefault(source_id, set()))

    def learn(self, fit: NameFit) -> None:
        """Know the names of a request whose events are kept; nobody waits until they are written."""
        known = self._known.setdefault(fit.source_id, set())
        # Requests that were checked at the same time may have brought more than there was room for.
        names = [name for name in fit.fresh if name not in known][: max(0, MAX_NAMES - len(known))]
        if names:
            known.update(names)
            with suppress(StoreUnavailable):  # the collector is stopping: they are learnt again
                writing = self._store.begin_write(partial(add_names, source_id=fit.source_id, names=names))
                # What a full disk kept from the file is not known: the next event that has it brings it anew.
                writing.add_done_callback(lambda done: known.difference_update(names) if done.exception() else None)
