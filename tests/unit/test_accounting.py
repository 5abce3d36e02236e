"""The sums that the proofs rest on find what is planted, and nothing where all is right."""

from __future__ import annotations

import msgspec
import pytest

from accounting import Book, Door, find_wrong

RIGHT = Door(
    rows=7, ids=7, accepted=7, duplicates=2, rejected={"unknown_field": 3}, quarantined=2, pushed_out=1
)  # fmt: skip


def told(accepted: int = 7, duplicates: int = 2, rejected: int = 3) -> Book:
    book = Book()
    book.tell(accepted, duplicates, ["unknown_field"] * rejected)
    return book


def test_what_adds_up_is_right() -> None:
    assert find_wrong(told(), RIGHT) == []
    assert told().sent == RIGHT.counted == 12


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ({"rows": 6, "ids": 6}, ["6 rows"]),
        ({"rows": 8, "ids": 8}, ["8 rows"]),
        ({"ids": 6}, ["1 events are stored twice"]),
        ({"rows": 6, "ids": 6, "accepted": 6}, ["accepted: 7 by", "in all"]),
        ({"duplicates": 3}, ["duplicates: 2 by", "in all"]),
        ({"rejected": {"unknown_field": 4}}, ["2 in quarantine", "rejected as unknown_field", "in all"]),
        ({"rejected": {"unknown_field": 2, "invalid_type": 1}}, ["rejected as invalid_type", "rejected as unknown"]),
        ({"quarantined": 1}, ["1 in quarantine"]),
        ({"pushed_out": 0}, ["2 in quarantine + 0 pushed out"]),
    ],
    ids=str,
)
def test_one_event_too_many_or_too_few_is_found(planted: dict[str, object], found: list[str]) -> None:
    wrong = find_wrong(told(), msgspec.structs.replace(RIGHT, **planted))
    assert [any(line.startswith(start) for line in wrong) for start in found] == [True] * len(found), wrong
    assert len(wrong) == len(found)


def test_what_was_never_answered_may_be_counted_or_not_and_no_more() -> None:
    book = told(accepted=5)
    book.lose(2, bad=1)
    assert (book.sent, book.answered) == (13, 10)
    assert find_wrong(book, RIGHT) == []
    fewer = msgspec.structs.replace(RIGHT, rows=5, ids=5, accepted=5)
    assert find_wrong(book, fewer) == []
    assert find_wrong(book, msgspec.structs.replace(RIGHT, rows=4, ids=4, accepted=4))
    assert find_wrong(book, msgspec.structs.replace(RIGHT, rows=8, ids=8, accepted=8))


def test_answers_are_entered_as_they_were_given() -> None:
    book = Book()
    book.answer(200, b'{"accepted":2,"duplicates":1,"rejected":[{"code":"x"}]}', 4)
    book.answer(503, b"", 5)
    book.answer(429, b"", 1)
    assert (book.accepted, book.duplicates, book.rejected) == (2, 1, {"x": 1})
    assert (book.answered, book.sent, book.refused) == (4, 10, {503: 5, 429: 1})
    with pytest.raises(AssertionError):
        book.answer(200, b'{"accepted":2,"duplicates":1,"rejected":[]}', 4)
    assert (book + book).sent == 20


def test_erased_events_and_rejects_that_may_not_be_kept_are_no_fault() -> None:
    door = msgspec.structs.replace(RIGHT, rows=4, ids=4, quarantined=0)
    assert find_wrong(told(), door, erased=3, withheld=2) == []
    assert len(find_wrong(told(), door)) == 2
