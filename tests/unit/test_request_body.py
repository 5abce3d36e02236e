"""Bodies are read and unpacked within bounds, and others have their turn meanwhile."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from touchtrail_collector.web.body import (
    MAX_MEMBERS,
    PIECE_BYTES,
    UNPACKED_BYTES,
    decompress,
    read_body,
    read_content,
    unpack,
)
from touchtrail_collector.web.errors import HttpError, form_too_large
from touchtrail_collector.web.headers import Headers
from touchtrail_collector.web.slow_lane import LARGE_BYTES, SlowLane

LIMIT = 5_000_000


class Sender:
    """Gives a body in one piece, and counts how often it was asked."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.asked = 0

    async def receive(self) -> Message:
        self.asked += 1
        return {"type": "http.request", "body": self._body, "more_body": False}


def code_of(body: bytes, encoding: bytes = b"") -> tuple[int, str]:
    with pytest.raises(HttpError) as caught:
        decompress(body, encoding, LIMIT)
    return caught.value.status, caught.value.body.code


@pytest.mark.parametrize("encoding", [b"", b"gzip", b"GZIP", b"x-gzip", b"identity", b"identity, gzip", b"gzip,,identity", b" gzip "])  # fmt: skip
def test_gzip_is_undone_however_it_is_named(encoding: bytes) -> None:
    assert decompress(gzip.compress(b"[]"), encoding, LIMIT) == b"[]"


def test_deflate_is_undone_and_a_plain_body_is_left_as_it_is() -> None:
    assert decompress(zlib.compress(b"[]"), b"Deflate", LIMIT) == b"[]"
    assert [decompress(b"[]", encoding, LIMIT) for encoding in (b"", b"identity", b"identity, identity")] == [b"[]"] * 3


@pytest.mark.parametrize(
    "encoding", [b"gzip, gzip", b"gzip,gzip", b"deflate, gzip", b"gzip, identity, GZIP", b"gzip, br"]
)
@pytest.mark.parametrize("body", [gzip.compress(gzip.compress(b"[]")), b"[]"], ids=["twice", "plain"])
def test_more_than_one_encoding_is_refused_as_such(encoding: bytes, body: bytes) -> None:
    assert code_of(body, encoding) == (415, "unsupported_encoding")


async def content_of(body: bytes, headers: Headers) -> bytes:
    return await read_content(Sender(body).receive, LIMIT, headers, SlowLane(asyncio.get_running_loop()))


@pytest.mark.parametrize("encoding", [b"br", b"zstd", b"compress", b"gzip;q=1", b"\xff"])
def test_an_encoding_that_is_not_undone_is_refused(encoding: bytes) -> None:
    assert code_of(b"[]", encoding) == (415, "unsupported_encoding")


def test_several_lines_of_the_header_are_one_list() -> None:
    headers: Headers = [(b"content-encoding", b"gzip"), (b"x", b"y"), (b"content-encoding", b"gzip")]
    with pytest.raises(HttpError) as caught:
        asyncio.run(content_of(gzip.compress(b"[]"), headers))
    assert caught.value.status == 415


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5), st.integers(0, 70_000))
def test_members_are_one_text_wherever_they_are_cut(parts: list[bytes], padding: int) -> None:
    plain = [part + bytes(padding) for part in parts]
    packed = b"".join(gzip.compress(part, 1) for part in plain)
    assert decompress(packed, b"", LIMIT) == b"".join(plain)


@pytest.mark.parametrize("number", [MAX_MEMBERS + 1, 60_000])
def test_too_many_members_are_refused_as_such_however_little_they_hold(number: int) -> None:
    text = b'{"event_id": "hc", "name": "page_viewed", "anonymous_id": "a"}'
    assert decompress(gzip.compress(b"") * (MAX_MEMBERS - 1) + gzip.compress(text), b"gzip", LIMIT) == text
    with pytest.raises(HttpError) as caught:
        decompress(gzip.compress(b"") * (number - 1) + gzip.compress(text), b"gzip", LIMIT)
    assert (caught.value.status, caught.value.body.code) == (413, "body_too_large")
    assert str(caught.value) == f"the compressed body has more than {MAX_MEMBERS} gzip members; compress it as one"


def test_what_to_do_about_a_large_body_is_said_in_words_that_fit_the_path() -> None:
    for headers in ([(b"content-length", b"11")], []):
        with pytest.raises(HttpError) as caught:
            asyncio.run(read_body(Sender(b"x" * 11).receive, 10, headers, form_too_large))
        assert (caught.value.status, caught.value.body.code) == (413, "body_too_large")
        assert "larger than 10 bytes" in str(caught.value)
        assert "batches" not in str(caught.value)
        assert "password" in str(caught.value)


@pytest.mark.parametrize("size", [UNPACKED_BYTES - 1, UNPACKED_BYTES, UNPACKED_BYTES + 1, 3 * UNPACKED_BYTES, LIMIT])
@pytest.mark.parametrize("level", [0, 9])
def test_what_fits_is_unpacked_whole_at_every_edge_of_a_slice(size: int, level: int) -> None:
    text = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    packed = gzip.compress(text, level)
    assert decompress(packed, b"gzip", LIMIT) == text
    assert level or len(packed) > PIECE_BYTES
    assert code_of(packed[:-1]) == (400, "invalid_encoding")
    assert code_of(packed[:-8] + bytes(8)) == (400, "invalid_encoding")


def test_one_byte_more_than_fits_is_refused() -> None:
    assert code_of(gzip.compress(bytes(LIMIT + 1))) == (413, "body_too_large")


def test_a_bomb_is_unpacked_in_slices_and_no_further_than_the_limit() -> None:
    given_way: list[None] = []

    unpacking = map(given_way.append, unpack(gzip.compress(bytes(50_000_000)), b"gzip", LIMIT))
    with pytest.raises(HttpError) as caught:
        list(unpacking)
    assert caught.value.status == 413
    assert len(given_way) == LIMIT // UNPACKED_BYTES


def test_others_have_their_turn_while_a_large_body_is_unpacked() -> None:
    async def watch() -> tuple[int, int]:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        content = await content_of(gzip.compress(bytes(4_000_000)), [])
        counting.cancel()
        return len(content), turns

    size, turns = asyncio.run(watch())
    assert size == 4_000_000
    assert turns >= 4_000_000 // UNPACKED_BYTES


def test_a_body_that_says_that_it_is_too_large_is_not_asked_for() -> None:
    sender = Sender(b"x")
    with pytest.raises(HttpError) as caught:
        asyncio.run(read_body(sender.receive, 10, [(b"content-length", b"11")]))
    assert (caught.value.status, sender.asked) == (413, 0)
    assert asyncio.run(read_body(sender.receive, 10, [(b"content-length", b"10")])) == b"x"


def test_of_large_work_only_one_is_done_at_a_time_and_small_work_passes_by() -> None:
    steps: list[str] = []

    def work(name: str, slices: int) -> Generator[None, None, str]:
        for _ in range(slices):
            steps.append(name)
            yield
        return name

    async def both() -> list[str]:
        lane = SlowLane(asyncio.get_running_loop())
        large = [lane.run(work(name, 5), LARGE_BYTES + 1) for name in "ab"]
        return await asyncio.gather(*large, lane.run(work("small", 0)))

    assert asyncio.run(both()) == ["a", "b", "small"]
    assert steps == ["a"] * 5 + ["b"] * 5
