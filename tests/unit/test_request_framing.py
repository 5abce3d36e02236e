"""Bytes of a connection are handed on request by request, none lost, none twice, however they come in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from touchtrail_collector.web.errors import HttpError
from touchtrail_collector.web.framing import CHUNKED_PIECE_BYTES, Unread, read_framing


def framing(*headers: tuple[bytes, bytes], version: str = "1.1") -> int | None:
    return read_framing(b"/", list(headers), version, header_limit=1_000, body_limit=500)


def test_pieces_end_where_headers_and_bodies_end() -> None:
    unread = Unread()
    unread.add(b"POST / HTTP/1.1\r\nA: b\r\n\r\n12345GET /2 HTTP/1.1\r\n\r\nrest")
    assert unread.take(is_body=False) == b"POST / HTTP/1.1\r\nA: b\r\n\r\n"
    unread.body_left = 5
    assert (unread.take(is_body=True), unread.body_left) == (b"12345", 0)
    assert unread.take(is_body=False) == b"GET /2 HTTP/1.1\r\n\r\n"
    assert (unread.take(is_body=False), len(unread)) == (b"rest", 0)


@given(
    st.lists(st.tuples(st.integers(0, 40), st.binary(max_size=50)), min_size=1, max_size=8),
    st.integers(1, 60),
    st.data(),
)
def test_however_they_are_cut_the_same_requests_come_out(
    requests: list[tuple[int, bytes]], size: int, data: st.DataObject
) -> None:
    heads = [b"GET /%b HTTP/1.1\r\n\r\n" % (b"x" * length) for length, _ in requests]
    whole = b"".join(head + body for head, (_, body) in zip(heads, requests, strict=True))
    unread = Unread()
    expected = list(zip(heads, (body for _, body in requests), strict=True))
    head, body, waits_for_body, place = b"", b"", False, 0
    found: list[tuple[bytes, bytes]] = []
    while place < len(whole) or len(unread):
        if place < len(whole) and (not len(unread) or data.draw(st.booleans())):
            unread.add(whole[place : place + size])
            place += size
        piece = unread.take(is_body=waits_for_body)
        assert piece
        head, body = (head, body + piece) if waits_for_body else (head + piece, body)
        if not waits_for_body and head.endswith(b"\r\n\r\n"):
            unread.body_left = len(expected[len(found)][1])
            waits_for_body = unread.body_left > 0
        if head.endswith(b"\r\n\r\n") and not (waits_for_body and unread.body_left):
            found.append((head, body))
            head, body, waits_for_body = b"", b"", False
    assert found == expected


def test_a_chunked_body_comes_in_small_pieces_for_requests_may_stand_behind_it() -> None:
    unread = Unread()
    unread.body_left = None
    unread.add(b"x" * 2_500)
    assert [len(unread.take(is_body=True)) for _ in range(3)] == [CHUNKED_PIECE_BYTES, CHUNKED_PIECE_BYTES, 452]


def test_what_was_thrown_away_is_gone() -> None:
    unread = Unread()
    unread.add(b"GET / HTTP/1.1\r\n\r\nmore")
    unread.take(is_body=False)
    unread.clear()
    assert not unread
    unread.add(b"GET /2 HTTP/1.1\r\n\r\n")
    assert unread.take(is_body=False) == b"GET /2 HTTP/1.1\r\n\r\n"


def test_the_length_of_a_body_is_told_by_its_headers() -> None:
    assert framing() == 0
    assert framing((b"content-length", b"500")) == 500
    assert framing((b"content-length", b" 5 ")) == 5
    assert framing((b"transfer-encoding", b" Chunked ")) is None


@pytest.mark.parametrize(
    ("headers", "version", "status"),
    [
        ([(b"content-length", b"501")], "1.1", 413),
        ([(b"x", b"y" * 1_000)], "1.1", 431),
        ([(b"x", b"")] * 101, "1.1", 431),
        ([(b"transfer-encoding", b"gzip, chunked")], "1.1", 400),
        ([(b"transfer-encoding", b"chunked, chunked")], "1.1", 400),
        ([(b"transfer-encoding", b"")], "1.1", 400),
        ([(b"transfer-encoding", b"chunked")] * 2, "1.1", 400),
        ([(b"transfer-encoding", b"chunked")], "1.0", 400),
        ([(b"transfer-encoding", b"chunked"), (b"content-length", b"3")], "1.1", 400),
    ],
)
def test_headers_alone_are_reason_enough_to_refuse(
    headers: list[tuple[bytes, bytes]], version: str, status: int
) -> None:
    with pytest.raises(HttpError) as caught:
        framing(*headers, version=version)
    assert caught.value.status == status
    assert "batches" not in str(caught.value), "any path may have been meant"
