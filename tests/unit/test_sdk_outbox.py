"""Outbox: nothing undamaged is lost, nothing is sent twice after a restart, the limits hold."""

from __future__ import annotations

import os
import stat
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spool_boxes import LIMITS, Box, Losses, abandon, disk_at, drain
from touchtrail import EventRefusedError
from touchtrail._envelope import BROWSE, CART, ORDER
from touchtrail._outbox import DiskOutbox, Limits, MemoryOutbox, Outbox
from touchtrail._outbox.record import MAX_RECORD, pack, scan

payloads = st.lists(st.binary(min_size=1, max_size=40).map(lambda raw: raw.hex().encode()), min_size=1, max_size=25)


@given(payloads, st.data())
def test_damage_costs_only_the_records_whose_bytes_were_hit(events: list[bytes], data: st.DataObject) -> None:
    events = [b"%d-%b" % (place, event) for place, event in enumerate(events)]
    records = [pack(event, place % 3, 1_700_000_000) for place, event in enumerate(events)]
    whole = bytearray(b"".join(records))
    hits = data.draw(st.dictionaries(st.integers(0, len(whole) - 1), st.integers(1, 255), max_size=12))
    for place, change in hits.items():
        whole[place] ^= change
    untouched, start = [], 0
    for event, record in zip(events, records, strict=True):
        if not any(start <= place < start + len(record) for place in hits):
            untouched.append(event)
        start += len(record)
    found = scan(bytes(whole), final=True)
    assert [record.payload for record in found.records] == untouched
    assert found.end == len(whole)
    assert (found.gaps > 0) == (len(untouched) < len(events))


@given(payloads, st.integers(0, 10_000), st.binary(max_size=30))
def test_a_torn_end_and_foreign_bytes_cost_nothing_else(events: list[bytes], cut: int, noise: bytes) -> None:
    records = [pack(event, 0, 1) for event in events]
    whole = noise + b"".join(records)
    torn = whole[: max(len(whole) - cut % len(records[-1]), 0)]
    found = [record.payload for record in scan(torn, final=True).records]
    assert found[: len(events) - 1] == events[: len(events) - 1]


@given(payloads, st.integers(1, 400))
def test_reading_in_pieces_gives_what_reading_at_once_gives(events: list[bytes], size: int) -> None:
    whole = b"".join(pack(event, 0, 1) for event in events)
    found, place, width = [], 0, size
    while place < len(whole):
        part = scan(whole[place : place + width], final=place + width >= len(whole))
        found += [record.payload for record in part.records]
        width = size if part.end else width + size
        place += part.end
    assert found == events


def test_a_length_that_claims_too_much_is_stepped_over() -> None:
    bad = bytearray(pack(b"x" * 50, 0, 1))
    bad[4:8] = (900_000).to_bytes(4, "little")
    whole = bytes(bad) + b"".join(pack(b"%d" % number, 0, 1) for number in range(5))
    assert [record.payload for record in scan(whole.ljust(MAX_RECORD, b"\0"), final=False).records] == [
        b"0", b"1", b"2", b"3", b"4",
    ]  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.one_of(st.just("kill"), st.just("settle"), st.just("close"), st.integers(1, 30)), min_size=1, max_size=15
    )
)
def test_whatever_happens_each_event_comes_out_once(tmp_path_factory: Any, steps: list[str | int]) -> None:
    path = tmp_path_factory.mktemp("spool")
    box = disk_at(path, segment_bytes=4096)
    sent: list[bytes] = []
    seen: list[bytes] = []
    for step in steps:
        if isinstance(step, int):
            for _ in range(step):
                sent.append(b"%d" % len(sent) + b"-" * 200)
                box.append(sent[-1], BROWSE)
        elif step == "settle":
            if batch := box.take(7, 10**6):
                assert box.take(7, 10**6).payloads == batch.payloads  # type: ignore[union-attr]
                seen += batch.payloads
                box.settle(batch)
        else:
            (box.close if step == "close" else box.forget)()
            box = disk_at(path, segment_bytes=4096)
            box.adopt()
    seen += drain(box)
    assert seen == sent
    assert not box.has_pending()
    box.close()
    assert os.listdir(path / "box") == [] if (path / "box").exists() else not sent


@pytest.mark.parametrize("kind", ["disk", "memory"])
def test_batches_keep_to_events_and_bytes_and_to_the_order(tmp_path: Path, kind: str) -> None:
    box: Box = disk_at(tmp_path) if kind == "disk" else MemoryOutbox(LIMITS, Losses().note)
    for number in range(25):
        box.append(b"%02d" % number * 50, number % 3)
    batch = box.take(10, 10**6)
    assert batch is not None
    assert [payload[:2] for payload in batch.payloads] == [b"%02d" % number for number in range(10)]
    assert len(box.take(10, 350).payloads) == 3  # type: ignore[union-attr]
    assert len(box.take(10, 1).payloads) == 1  # type: ignore[union-attr]
    assert len(drain(box)) == 25
    box.close()


def test_a_delivered_spool_is_empty_on_disk(tmp_path: Path) -> None:
    box = disk_at(tmp_path)
    box.append(b"secret of a customer", ORDER)
    files = list((tmp_path / "box").glob("*.seg"))
    assert b"secret" in files[0].read_bytes()
    drain(box)
    assert all(b"secret" not in file.read_bytes() for file in (tmp_path / "box").iterdir())
    assert box.waiting_bytes() == 0
    box.append(b"next", ORDER)
    assert drain(box) == [b"next"]
    box.close()


def test_files_are_the_owners_alone_and_links_are_not_followed(tmp_path: Path) -> None:
    box = disk_at(tmp_path)
    box.append(b"x", ORDER)
    assert stat.S_IMODE((tmp_path / "box").stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "box").iterdir()} == {0o600}
    box.close()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "box").symlink_to(elsewhere)
    with pytest.raises(OSError, match="box"):
        disk_at(tmp_path / "linked").append(b"x", ORDER)
    assert list(elsewhere.iterdir()) == []


def test_a_link_among_the_files_keeps_nobody_else_from_delivery(tmp_path: Path) -> None:
    box = disk_at(tmp_path)
    box.append(b"mine", ORDER)
    name = next((tmp_path / "box").glob("*.seg")).name
    abandon(box)
    (tmp_path / "target").write_bytes(b"not yours")
    (tmp_path / "box" / name.replace("000001", "000002")).symlink_to(tmp_path / "target")
    heir = disk_at(tmp_path)
    heir.adopt()
    assert drain(heir) == [b"mine"]
    assert (tmp_path / "target").read_bytes() == b"not yours"
    heir.close()


def test_files_of_a_living_process_are_left_alone(tmp_path: Path) -> None:
    owner, other = disk_at(tmp_path), disk_at(tmp_path)
    owner.append(b"mine", ORDER)
    other.adopt()
    assert other.take(10, 10**6) is None
    abandon(owner)
    other.adopt()
    assert drain(other) == [b"mine"]
    other.close()
    assert list((tmp_path / "box").iterdir()) == []


def test_a_restart_goes_on_where_the_collector_had_acknowledged(tmp_path: Path) -> None:
    box = disk_at(tmp_path)
    for number in range(10):
        box.append(b"%d" % number, ORDER)
    box.settle(box.take(4, 10**6))  # type: ignore[arg-type]
    abandon(box)
    heir = disk_at(tmp_path)
    heir.adopt()
    assert drain(heir) == [b"%d" % number for number in range(4, 10)]
    heir.close()


@pytest.mark.parametrize("hit", range(0, 32, 3))
def test_a_damaged_header_means_from_the_beginning(tmp_path: Path, hit: int) -> None:
    box = disk_at(tmp_path)
    for number in range(3):
        box.append(b"%d" % number, ORDER)
    box.settle(box.take(1, 10**6))  # type: ignore[arg-type]
    file = next((tmp_path / "box").glob("*.seg"))
    abandon(box)
    content = bytearray(file.read_bytes())
    content[hit] ^= 0xFF
    file.write_bytes(content)
    heir = disk_at(tmp_path)
    heir.adopt()
    assert drain(heir)[-2:] == [b"1", b"2"]
    heir.close()


def test_damage_in_the_own_file_is_counted_to_the_event(tmp_path: Path) -> None:
    losses = Losses()
    box = disk_at(tmp_path, losses)
    for number in range(6):
        box.append(b"%d" % number * 100, ORDER)
    file = next((tmp_path / "box").glob("*.seg"))
    content = bytearray(file.read_bytes())
    content[32 + 50] ^= 1
    content[32 + 117 * 3 + 50] ^= 1
    file.write_bytes(content)
    assert [payload[:1] for payload in drain(box)] == [b"1", b"2", b"4", b"5"]
    assert losses == {"damaged": 2}
    assert box.is_settled_to(6)
    box.close()


@pytest.mark.parametrize("kind", ["disk", "memory"])
def test_events_that_waited_too_long_are_given_up_and_counted(tmp_path: Path, kind: str) -> None:
    losses = Losses()
    limits = Limits(max_bytes=2**20, segment_bytes=2**16, max_age_s=-1.0)
    box: Box = DiskOutbox(str(tmp_path), limits, losses.note) if kind == "disk" else MemoryOutbox(limits, losses.note)
    for _ in range(5):
        box.append(b"x", ORDER)
    box.expire()
    assert losses == {"too_old": 5}
    assert not box.has_pending()
    box.close()


def test_a_full_spool_gives_up_page_views_before_carts_before_orders(tmp_path: Path) -> None:
    losses = Losses()
    box = disk_at(tmp_path, losses, max_bytes=200_000, segment_bytes=10_000)
    kept: Counter[int] = Counter()
    for number in range(1200):
        shed_class = (BROWSE, BROWSE, CART, ORDER)[number % 4]
        with suppress(EventRefusedError):
            box.append(b"%d" % shed_class * 200, shed_class)
            kept[shed_class] += 1
        if number % 50 == 0:
            box.shed()
    box.shed()
    assert sum(file.stat().st_size for file in (tmp_path / "box").glob("*.seg")) <= 200_000
    left = Counter(int(payload[:1]) for payload in drain(box))
    assert left[ORDER] == kept[ORDER] == 300
    assert left[CART] > left[BROWSE]
    assert losses["spool_full"] == sum(kept.values()) - sum(left.values())
    assert box.is_settled_to(sum(kept.values()))
    box.close()


def test_a_spool_full_of_orders_refuses_rather_than_grows(tmp_path: Path) -> None:
    box = disk_at(tmp_path, max_bytes=100_000, segment_bytes=10_000)
    taken = 0
    with suppress(EventRefusedError):
        for _ in range(2000):
            box.append(b"o" * 200, ORDER)
            taken += 1
    assert 400 < taken < 700
    with pytest.raises(EventRefusedError, match="spool_full"):
        box.append(b"p" * 10_000, BROWSE)
    assert sum(file.stat().st_size for file in (tmp_path / "box").glob("*.seg")) < 150_000
    box.close()


def test_full_memory_gives_up_page_views_first_and_refuses_what_is_worth_less() -> None:
    losses = Losses()
    box = MemoryOutbox(Limits(max_bytes=10_000, segment_bytes=1, max_age_s=60), losses.note)
    for _ in range(30):
        box.append(b"b" * 100, BROWSE)
    for _ in range(60):
        box.append(b"o" * 100, ORDER)
    left = Counter(payload[:1] for payload in drain(box))
    assert left[b"b"] == 0
    assert losses["memory_full"] == 90 - sum(left.values())
    for _ in range(40):
        box.append(b"o" * 100, ORDER)
    with pytest.raises(EventRefusedError, match="memory_full"):
        box.append(b"b" * 100, BROWSE)


def test_without_a_disk_events_wait_in_memory_and_the_trouble_is_told(tmp_path: Path) -> None:
    (tmp_path / "box").write_text("a file where the folder should be")
    troubles: list[OSError] = []
    losses = Losses()
    box = Outbox(disk_at(tmp_path, losses), MemoryOutbox(LIMITS, losses.note), troubles.append)
    for number in range(20):
        box.append(b"%d" % number, ORDER)
    assert len(troubles) == 1
    assert not box.is_durable()
    assert drain(box) == [b"%d" % number for number in range(20)]
    assert box.is_settled_to(box.mark())
    box.append(b"lost", ORDER)
    box.close()
    assert losses == {"closed": 1}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_falls_back_to_memory_and_loses_nothing(tmp_path: Path) -> None:
    troubles: list[OSError] = []
    disk = disk_at(tmp_path)
    box = Outbox(disk, MemoryOutbox(LIMITS, Losses().note), troubles.append)
    box.append(b"on disk", ORDER)
    full = os.open("/dev/full", os.O_WRONLY)
    segment = disk._segments[0]
    os.dup2(full, segment.writer)
    os.close(full)
    # Where the device stands passes for our file's place: what fails is the writing.
    segment.mark = os.lseek(segment.writer, 0, os.SEEK_CUR)
    box.append(b"in memory", ORDER)
    box.append(b"in memory too", ORDER)
    assert [problem.errno for problem in troubles] == [28]
    assert drain(box) == [b"on disk", b"in memory", b"in memory too"]
    box.close()
