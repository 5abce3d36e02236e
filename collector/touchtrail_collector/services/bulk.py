"""Derives a whole log from the start: first which identifiers belong together, then every cluster once.

Step by step, a person who came twenty times is derived twenty times; here once. The result is the same.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator

from ..domain.channel import ChannelClassifier
from ..domain.cost import Cost, costs_of
from ..domain.fact import Fact, read_nodes
from ..domain.person import DeriveRules
from ..store.sqlite import log
from ..store.sqlite.derived import Update
from ..store.sqlite.reader import Reader
from .cluster import HUB, Clusters, derive_part, keys_of, keys_of_nodes, read_stored, split_at_hubs

SCAN_EVENTS = 10_000
BATCH_EVENTS = 10_000
BATCH_BYTES = 6_000_000
"""Of their text: as many usual events take less, and what is made of it may be ten times as large."""


class BulkDerivation:
    """One derivation of everything that stands in the log now.

    Args:
        read: makes a fact of a stored event's columns.
        personless: names of events that belong to nobody.
        is_stopping: asked now and then; once it says True nothing more is yielded.
        progress: told now and then: events done, events in all.
    """

    def __init__(  # noqa: PLR0913 - each is given by name
        self,
        reader: Reader,
        *,
        rules: DeriveRules,
        classifier: ChannelClassifier,
        read: Callable[..., Fact],
        personless: frozenset[str],
        is_stopping: Callable[[], bool],
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._reader = reader
        self._rules = rules
        self._classifier = classifier
        self._read = read
        self._personless = personless
        self._is_stopping = is_stopping
        self._progress = progress
        self._clusters = Clusters()
        self._known: dict[str, int] = {}
        self._moved: dict[str, int] = {}
        self._seqs = array("q")
        self._placed = array("q")
        self._lengths = array("q")
        self._costs: list[Cost] = []
        self._last = log.last_seq(reader)
        self._done = 0
        self.hubs: set[str] = set()

    @property
    def count(self) -> int:
        """How many events there were."""
        return self._done // 2

    def updates(self) -> Iterator[Update]:
        """Yield what is to be written, in several steps; only the last one says how far the log is derived."""
        self._place_all()
        for batch in self._batches():
            if self._is_stopping():
                return
            yield self._derive(batch)
        if self._is_stopping():
            return
        last = Update(self._last, costs=self._costs)
        places = {key: self._clusters.find(cluster_id) for key, cluster_id in self._known.items()} | self._moved
        last.nodes = [(key, cluster_id, 0) for key, cluster_id in places.items() if key not in self.hubs]
        last.nodes.extend((key, HUB, 1) for key in sorted(self.hubs))
        yield last

    def _place_all(self) -> None:
        after = 0
        nobody = frozenset[str]()
        place, known = self._clusters.place, self._known
        while not self._is_stopping() and (events := log.scan_named(self._reader, after, self._last, SCAN_EVENTS)):
            without_person = [event.seq for event in events if event.name in self._personless]
            for seq, shop_id, event_id, name, body in events:
                if name not in self._personless:
                    self._seqs.append(seq)
                    self._lengths.append(len(body))
                    self._placed.append(place(seq, keys_of_nodes(read_nodes(body), shop_id, event_id, nobody), known))
            for fact in self._load(without_person).values():
                self._costs.extend(costs_of(fact, self._classifier))
            self._done += len(without_person)  # done with these
            after = events[-1].seq
            self._tell(len(events))

    def _batches(self) -> Iterator[dict[int, list[int]]]:
        grouped: dict[int, list[int]] = {}
        for place, cluster_id in enumerate(self._placed):
            grouped.setdefault(self._clusters.find(cluster_id), []).append(place)
        batch: dict[int, list[int]] = {}
        size = text_bytes = 0
        for cluster_id, places in grouped.items():
            batch[cluster_id] = list(map(self._seqs.__getitem__, places))
            size += len(places)
            text_bytes += sum(map(self._lengths.__getitem__, places))
            if size >= BATCH_EVENTS or text_bytes >= BATCH_BYTES:
                yield batch
                batch, size, text_bytes = {}, 0, 0
        if batch:
            yield batch

    def _derive(self, batch: dict[int, list[int]]) -> Update:
        update = Update(0)
        facts = self._load(seq for seqs in batch.values() for seq in seqs)
        for cluster_id, seqs in batch.items():
            own = [facts[seq] for seq in seqs]
            parts, new_hubs = split_at_hubs(cluster_id, own, self.hubs)
            if new_hubs:
                self.hubs |= new_hubs
                self._rename(parts)
            for part_id, members in parts.items():
                update.clusters[part_id] = derive_part(members, self._rules, self.hubs)
                update.cluster_events.extend((part_id, fact.seq) for fact in members)
        self._tell(len(facts))
        return update

    def _load(self, seqs: Iterable[int]) -> dict[int, Fact]:
        return {event.seq: read_stored(self._read, event) for event in log.read_events(self._reader, sorted(seqs))}

    def _rename(self, parts: dict[int, list[Fact]]) -> None:
        """After a split an identifier stands in the part that names it."""
        for part_id, members in parts.items():
            for fact in members:
                self._moved.update(dict.fromkeys(keys_of(fact, self.hubs), part_id))

    def _tell(self, events: int) -> None:
        """Each event counts twice: once when it is placed, once when its cluster is derived."""
        self._done += events
        if self._progress is not None:
            self._progress(self._done // 2, self._last)
