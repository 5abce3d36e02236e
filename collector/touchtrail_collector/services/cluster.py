"""Which identifiers belong together after the newest events, and the persons that follow from it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set

from ..domain.fact import Fact, Node
from ..domain.identity import find_hubs
from ..domain.person import DeriveRules, Person, derive_cluster
from ..domain.tail import extend, is_plain, tail_of
from ..store.sqlite import derived, log
from ..store.sqlite.derived import Update
from ..store.sqlite.reader import Reader
from .tail import TailCache, tail_of_row

CACHED_BYTES = 40_000_000
"""About twenty thousand usual events."""

FACT_BYTES, VALUE_BYTES, OBJECT_BYTES = 300, 56, 200
"""What each event takes beside its text, each value in it, and each object (measured with tracemalloc)."""

HUB = -1
"""Where an identifier stands that too many people have: in no cluster."""


def node_key(shop_id: int, node: Node) -> str:
    """Return an identifier as the database keeps it; customers and orders belong to one shop."""
    return f"{node[0]}:{shop_id}:{node[1]}"


def keys_of(fact: Fact, hubs: Set[str]) -> list[str]:
    """Return what connects an event with others.

    Hubs connect nothing; an event that names nothing else stays with its like, apart from everybody.
    """
    return keys_of_nodes(fact.nodes, fact.shop_id, fact.event_id, hubs)


def keys_of_nodes(nodes: Sequence[Node], shop_id: int, event_id: str, hubs: Set[str]) -> list[str]:
    """Do the same for identifiers that were read without the rest of their event."""
    keys = [f"{kind}:{shop_id}:{value}" for kind, value in nodes]
    if hubs and not hubs.isdisjoint(keys):
        # All of them in one key: an event with another hub beside it was never in one cluster with these before.
        return [key for key in keys if key not in hubs] or ["hub:" + " ".join(sorted(set(keys)))]
    return keys or [f"event:{shop_id}:{event_id}"]


def weigh(body: str) -> int:
    """Return about how many bytes an event takes once it is read, or more.

    Not its text counts but what is made of it: a list or a number of three characters takes twenty times as much.
    """
    lists = body.count("[") if "[" in body else 0  # most have none, which is seen ten times as fast as counted
    return FACT_BYTES + len(body) + VALUE_BYTES * (body.count(",") + lists) + OBJECT_BYTES * body.count("{")


class FactCache:
    """The events of the clusters that were touched last, so that a visit's next event reads nothing.

    Args:
        limit_bytes: of all of them, as `weigh` has it.
    """

    def __init__(self, limit_bytes: int = CACHED_BYTES) -> None:
        self._clusters: OrderedDict[int, tuple[list[Fact], int]] = OrderedDict()
        self._limit_bytes = limit_bytes
        self.bytes = 0

    def pop(self, cluster_id: int) -> tuple[list[Fact], int] | None:
        """Take a cluster's events out, and what they weigh together."""
        kept = self._clusters.pop(cluster_id, None)
        if kept is not None:
            self.bytes -= kept[1]
        return kept

    def put(self, cluster_id: int, facts: list[Fact], weight: int) -> None:
        """Keep a cluster's events; the longest unused go."""
        self._clusters[cluster_id] = facts, weight
        self.bytes += weight
        while self.bytes > self._limit_bytes:
            _, (_, gone) = self._clusters.popitem(last=False)
            self.bytes -= gone

    def extend(self, cluster_id: int, facts: Sequence[Fact], weight: int) -> None:
        """Add events to a cluster that is remembered."""
        known = self.pop(cluster_id)
        if known is not None:
            self.put(cluster_id, [*known[0], *facts], known[1] + weight)

    def clear(self) -> None:
        """Forget everything."""
        self._clusters.clear()
        self.bytes = 0


class Clusters:
    """A union-find over cluster ids: the smallest id of a cluster names it, whatever the order of joining."""

    def __init__(self) -> None:
        self._parents: dict[int, int] = {}

    def find(self, cluster_id: int) -> int:
        """Return the id of the cluster that this one went into."""
        parents = self._parents
        root = cluster_id
        while (above := parents.get(root, root)) != root:
            root = above
        while (above := parents.get(cluster_id, cluster_id)) != root:
            parents[cluster_id] = root
            cluster_id = above
        return root

    def join(self, first: int, second: int) -> int:
        """Make one cluster of two and return its id."""
        a, b = self.find(first), self.find(second)
        if a == b:
            return a
        low, high = (a, b) if a < b else (b, a)
        self._parents[high] = low
        return low

    def place(self, seq: int, keys: Iterable[str], known: dict[str, int]) -> int:
        """Return the cluster of an event, joining those its identifiers were in; new identifiers become known."""
        target = None
        for key in keys:
            at = known.get(key)
            if at is not None:
                target = self.find(at) if target is None else self.join(target, at)
        if target is None:
            target = seq
        elif seq < target:
            # Only a split or a bulk derivation meets an earlier event later.
            target = self.join(target, seq)
        for key in keys:
            if key not in known:
                known[key] = target
        return target


class ClusterStep:
    """One step of the projector: the clusters that the newest events touch.

    Args:
        update: takes up what is to be written.
        weights: what each of the new events weighs, by place in the log; takes up what earlier ones weigh.
        hubs: identifiers known to connect nobody; grows when another one turns out to be one.
        read: makes a fact of a stored event's columns.
    """

    def __init__(  # noqa: PLR0913 - each is given by name
        self,
        reader: Reader,
        update: Update,
        *,
        weights: dict[int, int],
        cache: FactCache,
        tails: TailCache,
        hubs: set[str],
        rules: DeriveRules,
        read: Callable[..., Fact],
    ) -> None:
        self._reader = reader
        self._update = update
        self._weights = weights
        self._cache = cache
        self._tails = tails
        self._hubs = hubs
        self._rules = rules
        self._read = read
        self._clusters = Clusters()

    def run(self, facts: Sequence[Fact]) -> None:
        """Derive every cluster that the new events touch."""
        keyed = [(fact, keys_of(fact, self._hubs)) for fact in facts]
        known = derived.load_nodes(self._reader, list({key for _, keys in keyed for key in keys}))
        before = set(known.values())
        old_keys = set(known)
        placed = [self._clusters.place(fact.seq, keys, known) for fact, keys in keyed]
        grouped: dict[int, list[Fact]] = {}
        for fact, cluster_id in zip(facts, placed, strict=True):
            grouped.setdefault(self._clusters.find(cluster_id), []).append(fact)
        fresh = [(key, self._clusters.find(cluster_id), 0) for key, cluster_id in known.items() if key not in old_keys]
        self._update.nodes.extend(fresh)
        self._update.cluster_events.extend(
            (cluster_id, fact.seq) for cluster_id, new in grouped.items() for fact in new
        )
        changed = {cluster_id for _, cluster_id, _ in fresh}
        changed |= {self._clusters.find(old) for old in before if self._clusters.find(old) != old}
        extended = self._extend({cluster: new for cluster, new in grouped.items() if cluster not in changed})
        old = self._old_facts([cluster for cluster in sorted(before) if cluster not in extended])
        for cluster_id, new in grouped.items():
            if cluster_id not in extended:
                self._derive(cluster_id, [*old.get(cluster_id, ()), *new])

    def _extend(self, grouped: Mapping[int, list[Fact]]) -> set[int]:
        """Put events behind the roads they simply go on; return the clusters that are done with that."""
        plain = {
            cluster_id: new for cluster_id, new in grouped.items() if all(is_plain(fact, self._hubs) for fact in new)
        }
        returning = [cluster_id for cluster_id in plain if self._tails.get(cluster_id) is None]
        rows = derived.load_lone_persons(self._reader, returning)
        rules = self._rules.journey
        away_ms = max(rules.session_gap_ms, rules.click_landing_ms)
        done = set()
        for cluster_id, new in plain.items():
            tail = self._tails.get(cluster_id)
            if (
                tail is None
                and cluster_id in rows
                and min(fact.at for fact in new) - rows[cluster_id].last_seen > away_ms
            ):
                tail = tail_of_row(rows[cluster_id], rules)
            extension = None if tail is None else extend(tail, new, self._rules)
            if extension is not None:
                self._update.extensions.append(extension)
                weights = self._weigh(new)
                self._tails.put(cluster_id, tail, max(weights))
                self._cache.extend(cluster_id, new, sum(weights))
                done.add(cluster_id)
        return done

    def _old_facts(self, before: Sequence[int]) -> dict[int, list[Fact]]:
        """Return the earlier events of every touched cluster, those of merged clusters with them."""
        wanted: dict[int, list[Fact]] = {}
        to_read: list[int] = []
        for cluster_id in before:
            root = self._clusters.find(cluster_id)
            self._update.rewritten.add(cluster_id)
            self._tails.put(cluster_id, None)
            if root != cluster_id:
                self._update.merged[cluster_id] = root
            cached = self._cache.pop(cluster_id)
            if cached is None:
                to_read.append(cluster_id)
            else:
                facts, weight = cached
                wanted.setdefault(root, []).extend(facts)
                # What each weighed by itself is not kept: together they weigh the same.
                self._weights.update(dict.fromkeys((fact.seq for fact in facts), weight // len(facts)))
        places = derived.load_cluster_seqs(self._reader, to_read)
        owner = {seq: self._clusters.find(cluster_id) for cluster_id, seqs in places.items() for seq in seqs}
        for event in log.read_events(self._reader, sorted(owner)):
            wanted.setdefault(owner[event.seq], []).append(read_stored(self._read, event))
            self._weights[event.seq] = weigh(event.body)
        return wanted

    def _weigh(self, facts: Sequence[Fact]) -> list[int]:
        return [self._weights[fact.seq] for fact in facts]

    def _derive(self, cluster_id: int, facts: list[Fact]) -> None:
        parts, new_hubs = split_at_hubs(cluster_id, facts, self._hubs)
        if new_hubs:
            self._hubs |= new_hubs
            self._move(cluster_id, parts, new_hubs)
        for part_id, own in parts.items():
            persons = derive_part(own, self._rules, self._hubs)
            self._update.clusters[part_id] = persons
            weights = self._weigh(own)
            self._tails.put(part_id, tail_of(persons), max(weights))
            self._cache.put(part_id, own, sum(weights))

    def _move(self, cluster_id: int, parts: Mapping[int, Sequence[Fact]], new_hubs: set[str]) -> None:
        """Take a cluster apart whose connection turned out to be a hub."""
        update = self._update
        update.moved.add(cluster_id)
        update.cluster_events = [row for row in update.cluster_events if row[0] != cluster_id]
        for part_id, own in parts.items():
            update.cluster_events.extend((part_id, fact.seq) for fact in own)
            update.nodes.extend((key, part_id, 0) for fact in own for key in keys_of(fact, self._hubs))
        update.nodes.extend((key, HUB, 1) for key in sorted(new_hubs))


def read_stored(read: Callable[..., Fact], event: Sequence[object]) -> Fact:
    """Return the fact of a `StoredEvent`."""
    return read(*event)


def derive_part(facts: Sequence[Fact], rules: DeriveRules, hubs: Set[str]) -> list[Person]:
    """Return the persons of a cluster; of the hubs only those count that it names."""
    own = {node for fact in facts for node in fact.nodes if node_key(fact.shop_id, node) in hubs} if hubs else set()
    return derive_cluster(facts, rules, own)


def split_at_hubs(cluster_id: int, facts: list[Fact], hubs: Set[str]) -> tuple[dict[int, list[Fact]], set[str]]:
    """Return the clusters left when hubs connect nothing, and the hubs nobody knew of before.

    A cluster is named by the smallest place in the log of its events.
    """
    shop_id = facts[0].shop_id
    new_hubs = {node_key(shop_id, node) for node in find_hubs(facts)} - set(hubs)
    if not new_hubs:
        return {cluster_id: facts}, new_hubs
    ignored = new_hubs | set(hubs)
    clusters, known = Clusters(), dict[str, int]()
    ordered = sorted(facts, key=lambda fact: fact.seq)
    placed = [clusters.place(fact.seq, keys_of(fact, ignored), known) for fact in ordered]
    parts: dict[int, list[Fact]] = {}
    for fact, part_id in zip(ordered, placed, strict=True):
        parts.setdefault(clusters.find(part_id), []).append(fact)
    return parts, new_hubs
