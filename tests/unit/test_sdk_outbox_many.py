"""Many processes and folders: the bound holds over all, leftovers go out quickly, other keys' events are left alone."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path
from time import monotonic

from spool_boxes import DAY_S, Losses, Time, abandon, disk_at, drain
from touchtrail import EventRefusedError
from touchtrail._envelope import BROWSE, CART, ORDER
from touchtrail._outbox import Clocks, DiskOutbox, Limits, Siblings


def test_one_process_at_a_time_makes_room(tmp_path: Path) -> None:
    boxes = [disk_at(tmp_path, max_bytes=100_000, segment_bytes=10_000) for _ in range(2)]
    for box in boxes:
        for _ in range(300):
            box.append(b"b" * 200, BROWSE)
    before = [box.waiting_bytes() for box in boxes]
    with boxes[1]._spool.turn() as is_ours:
        assert is_ours
        boxes[0].shed()
        assert [box.waiting_bytes() for box in boxes] == before
    boxes[0].shed()
    assert boxes[0].waiting_bytes() < before[0]
    for box in boxes:
        box.close()


def test_several_living_processes_keep_the_bound_and_give_up_no_more_than_needed(tmp_path: Path) -> None:
    losses = Losses()
    boxes = [disk_at(tmp_path, losses, max_bytes=500_000, segment_bytes=20_000) for _ in range(8)]
    kept: Counter[int] = Counter()
    most = 0
    for number in range(6_000):
        shed_class = (BROWSE, BROWSE, CART, ORDER)[number % 4]
        box = boxes[number // 4 % 8]
        with suppress(EventRefusedError):
            box.append(b"%d" % shed_class * 200, shed_class)
            kept[shed_class] += 1
        if number % 100 == 0:
            for shedder in boxes:
                shedder.shed()
            most = max(most, sum(file.stat().st_size for file in (tmp_path / "box").glob("*.seg")))
    for _ in range(10):
        for shedder in boxes:
            shedder.shed()
    total = sum(file.stat().st_size for file in (tmp_path / "box").glob("*.seg"))
    assert most < 500_000
    assert 400_000 < total <= 500_000
    left = Counter(int(payload[:1]) for box in boxes for payload in drain(box))
    assert left[ORDER] == kept[ORDER] == 1_500
    assert losses["spool_full"] == sum(kept.values()) - sum(left.values())
    for box in boxes:
        box.close()


def test_a_process_counts_what_others_have_there_before_it_takes_more(tmp_path: Path) -> None:
    other = disk_at(tmp_path, max_bytes=100_000, segment_bytes=10_000)
    with suppress(EventRefusedError):
        while True:
            other.append(b"o" * 500, ORDER)
    box = disk_at(tmp_path, max_bytes=100_000, segment_bytes=10_000)
    box.append(b"b" * 500, BROWSE)
    box.shed()
    taken = 1
    with suppress(EventRefusedError):
        while taken < 1000:
            box.append(b"b" * 500, BROWSE)
            taken += 1
    assert taken <= 20
    other.close()
    box.close()


def test_a_thousand_leftovers_are_delivered_quickly_with_few_descriptors(tmp_path: Path) -> None:
    sent = []
    for process in range(1_000):
        dead = disk_at(tmp_path)
        sent.append(b"%04d" % process)
        dead.append(sent[-1], ORDER)
        abandon(dead)
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    heir = disk_at(tmp_path)
    began_s = monotonic()
    heir.adopt()
    most = 0
    seen: list[bytes] = []
    while batch := heir.take(100, 10**6):
        seen += batch.payloads
        most = max(most, len(os.listdir("/proc/self/fd")) - before if before else 0)
        heir.settle(batch)
    assert seen == sent
    assert heir.is_settled_to(0)
    assert most < 40
    assert monotonic() - began_s < 5
    heir.close()
    assert list((tmp_path / "box").iterdir()) == []


def test_files_in_another_keys_folder_are_told_and_grow_old_but_are_not_delivered(tmp_path: Path) -> None:
    time, losses = Time(), Losses()
    limits = Limits(max_bytes=2**20, segment_bytes=2**16, max_age_s=7 * DAY_S)

    def box_in(name: str) -> DiskOutbox:
        return DiskOutbox(str(tmp_path / (name * 32)), limits, losses.note, clocks=time.clocks())

    dead, alive, own = box_in("a"), box_in("b"), box_in("c")
    for box, number in ((dead, 5), (alive, 7), (own, 9)):
        for _ in range(number):
            box.append(b"x" * 100, ORDER)
    abandon(dead)
    beside = Siblings(str(tmp_path / ("c" * 32)), 7 * DAY_S, losses.note, time.clocks())
    second = Siblings(str(tmp_path / ("b" * 32)), 7 * DAY_S, losses.note, time.clocks())
    beside.look()
    assert beside.waiting == {str(tmp_path / ("a" * 32)): 5 * 117}
    for _ in range(60):
        time.true_s += DAY_S / 10
        time.off_s += DAY_S
        beside.look()
        second.look()
    assert losses == {}
    assert len(list((tmp_path / ("a" * 32)).glob("*.seg"))) == 1
    for _ in range(20):
        time.true_s += DAY_S / 10
        beside.look()
    assert losses == {"too_old": 5}
    assert beside.waiting == {}
    assert list((tmp_path / ("a" * 32)).iterdir()) == []
    assert len(drain(alive)) == 7
    assert len(drain(own)) == 9
    beside.close()
    second.close()
    alive.close()
    own.close()


def test_folders_that_are_no_spool_are_not_touched(tmp_path: Path) -> None:
    for name in ("0" * 31, "g" * 32, "A" * 32):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1790000000000000000-1-0123456789abcdef-000001.seg").write_bytes(b"x" * 100)
    (tmp_path / ("d" * 32)).symlink_to(tmp_path / ("0" * 31))
    (tmp_path / ("e" * 32)).write_text("a file")
    before = sorted(tmp_path.rglob("*"))
    beside = Siblings(str(tmp_path / ("c" * 32)), -1.0, Losses().note, Clocks())
    beside.look()
    beside.look()
    assert beside.waiting == {}
    assert sorted(tmp_path.rglob("*")) == before
    beside.close()
