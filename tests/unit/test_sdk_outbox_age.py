"""Age in the outbox: by true time while somebody tries to deliver, whatever the clocks of the machine show."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spool_boxes import DAY_S, Losses, Time, aging_box, drain
from touchtrail._envelope import BROWSE, ORDER
from touchtrail._outbox import Clocks, DiskOutbox, Limits, MemoryOutbox

TEN_YEARS_S = 3_652 * DAY_S


MOMENTS = st.one_of(
    st.tuples(st.just("pass"), st.floats(0, 3 * DAY_S)),
    st.tuples(st.just("pass"), st.floats(2 * DAY_S, 9 * DAY_S)),
    st.tuples(st.just("jump"), st.sampled_from([TEN_YEARS_S, -TEN_YEARS_S, 8 * DAY_S, -8 * DAY_S, 1e12, -1e12])),
    st.tuples(st.just("track"), st.integers(1, 30)),
    st.tuples(st.sampled_from(["kill", "close"]), st.just(0.0)),
)


def test_no_clock_that_jumps_makes_an_event_older_than_it_is(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The collector is never reached: events may be given up after seven true days, and not before."""
    exercised: Counter[str] = Counter()

    @settings(max_examples=120, deadline=None, derandomize=True, database=None)
    @given(st.lists(MOMENTS, min_size=5, max_size=40))
    def run(moments: list[tuple[str, float]]) -> None:
        time, losses, path = Time(), Losses(), tmp_path_factory.mktemp("spool")
        box = aging_box(path, time, losses)
        taken: dict[bytes, float] = {}
        for what, amount in moments:
            if what == "pass":
                time.true_s += amount
            elif what == "jump":
                time.off_s += amount
            elif what == "track":
                for _ in range(int(amount)):
                    payload = b"%d-" % len(taken) + b"x" * 200
                    box.append(payload, BROWSE)
                    taken[payload] = time.true_s
            else:
                (box.close if what == "close" else box.forget)()
                box = aging_box(path, time, losses)
                box.adopt()
            exercised[what] += 1
            box.look_after()
            box.expire()
        left = set(drain(box))
        gone = taken.keys() - left
        assert all(time.true_s - taken[payload] > 7 * DAY_S for payload in gone)
        assert losses == ({"too_old": len(gone)} if gone else {})
        exercised.update(gone=len(gone), left=len(left))
        box.close()

    run()
    assert min(exercised[what] for what in ("pass", "jump", "track", "kill", "close", "gone", "left")) >= 50, exercised


@pytest.mark.parametrize("jump_s", [0.0, TEN_YEARS_S, -TEN_YEARS_S], ids=["right", "ahead", "behind"])
def test_after_seven_days_of_trying_events_are_given_up_in_whichever_process(tmp_path: Path, jump_s: float) -> None:
    time, losses = Time(), Losses()
    for process in range(5):
        box = aging_box(tmp_path, time, losses)
        box.adopt()
        if process == 0:
            for _ in range(20):
                box.append(b"x" * 200, ORDER)
        for _ in range(20):
            time.true_s += DAY_S / 10
            box.look_after()
            box.expire()
        (box.forget if process % 2 else box.close)()
        time.off_s += jump_s
        if process < 3:
            assert losses == {}
    assert losses == {"too_old": 20}
    assert list((tmp_path / "box").glob("*.seg")) == []


def test_of_a_living_processes_file_only_the_old_events_are_given_up(tmp_path: Path) -> None:
    time, losses = Time(), Losses()
    box = aging_box(tmp_path, time, losses)
    for number in range(20):
        box.append(b"%d" % number, ORDER)
        time.true_s += DAY_S / 2
    box.expire()
    assert losses == {"too_old": 6}
    assert drain(box) == [b"%d" % number for number in range(6, 20)]
    assert box.is_settled_to(20)
    box.close()


def test_events_in_memory_age_by_true_time_too() -> None:
    time, losses = Time(), Losses()
    box = MemoryOutbox(Limits(max_bytes=10_000, segment_bytes=1, max_age_s=DAY_S), losses.note, clocks=time.clocks())
    box.append(b"old", ORDER)
    time.off_s += TEN_YEARS_S
    box.expire()
    assert losses == {}
    time.true_s += DAY_S + 1
    box.append(b"new", ORDER)
    box.expire()
    assert losses == {"too_old": 1}
    assert drain(box) == [b"new"]


@pytest.mark.parametrize("wall_s", [-5.0, 2.0**32 + 5, float("inf"), float("nan"), 1e300])
def test_a_time_of_day_no_record_can_hold_costs_nothing(tmp_path: Path, wall_s: float) -> None:
    losses = Losses()
    limits = Limits(max_bytes=2**20, segment_bytes=2**16, max_age_s=DAY_S)
    box = DiskOutbox(str(tmp_path / "box"), limits, losses.note, clocks=Clocks(lambda: wall_s))
    box.append(b"x", ORDER)
    box.expire()
    assert drain(box) == [b"x"]
    assert losses == {}
    box.close()


@pytest.mark.parametrize("place", range(28, 32))
def test_a_damaged_waiting_time_counts_as_none(tmp_path: Path, place: int) -> None:
    time, losses = Time(), Losses()
    box = aging_box(tmp_path, time, losses)
    box.append(b"x", ORDER)
    box.close()
    (file,) = (tmp_path / "box").glob("*.seg")
    content = bytearray(file.read_bytes())
    content[place] ^= 0x7F
    file.write_bytes(content)
    heir = aging_box(tmp_path, time, losses)
    heir.adopt()
    heir.expire()
    assert drain(heir) == [b"x"]
    assert losses == {}
    heir.close()
