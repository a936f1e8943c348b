"""Content codings: bodies are made by other implementations (gzip, brotli, zstd), bombs by repetition."""

from __future__ import annotations

import gzip
import zlib

import brotli
import gevent
import pytest
from backports import zstd

from watcher.errors import ProbeError
from watcher.models import Reason
from watcher.transport.decode import decoded

PAGE = b"The quick brown fox jumps over the lazy dog. " * 50


def raw_deflate(data: bytes) -> bytes:
    """Compress as the many servers do that send raw deflate."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


CODED = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd.compress,
    "identity": bytes,
}


@pytest.mark.parametrize("coding", CODED)
def test_each_coding_gives_the_page_back(coding: str) -> None:
    assert decoded(CODED[coding](PAGE), coding.upper(), 10_000) == (PAGE, True)


def test_deflate_without_its_wrapper_is_taken_too() -> None:
    assert decoded(raw_deflate(PAGE), "deflate", 10_000) == (PAGE, True)


def test_gzip_members_are_joined() -> None:
    assert decoded(gzip.compress(b"a") + gzip.compress(b"b"), "gzip", 100) == (b"ab", True)


def test_codings_are_undone_last_first() -> None:
    assert decoded(brotli.compress(gzip.compress(PAGE)), "gzip, br", 10_000) == (PAGE, True)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_bomb_yields_its_first_bytes_only(coding: str) -> None:
    bomb = CODED[coding](b"\0" * 50_000_000)
    content, whole = decoded(bomb, coding, 1000)
    assert (content, whole) == (b"\0" * 1000, False)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_others_have_their_turn_while_a_bomb_is_inflated(coding: str) -> None:
    bomb, turns = CODED[coding](bytes(1 << 24)), []

    def look() -> None:
        while not inflating.ready():
            turns.append(gevent.get_hub().loop.iteration)
            gevent.sleep(0)

    inflating = gevent.spawn(decoded, bomb, coding, 1 << 24)
    gevent.spawn(look).get(timeout=60)
    assert inflating.get() == (bytes(1 << 24), True)
    assert len(turns) > 5


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_cut_off_body_gives_what_it_has(coding: str) -> None:
    content, whole = decoded(CODED[coding](PAGE)[:-5], coding, 10_000)
    assert not whole
    assert PAGE.startswith(content)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_body_that_is_not_what_it_says_is_a_protocol_failure(coding: str) -> None:
    with pytest.raises(ProbeError) as caught:
        decoded(b"<html>not compressed at all</html>", coding, 10_000)
    assert caught.value.reason is Reason.PROTOCOL


def test_a_coding_that_nobody_knows_is_left_alone() -> None:
    assert decoded(b"abc", "x-own", 100) == (b"abc", True)


def test_a_tower_of_codings_is_refused() -> None:
    with pytest.raises(ProbeError):
        decoded(b"abc", ", ".join(["gzip"] * 50), 100)
