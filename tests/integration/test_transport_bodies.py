"""The measured transport and the bodies that servers send: compressed, cut, too long, a lie."""

from __future__ import annotations

import gzip

import brotli
import gevent
import pytest
from backports import zstd
from scripted import answers, page, regex_option, scripted

from watcher.models import Reason, Status
from watcher.plugins.assertions.contains import Text
from watcher.transport.http import fed
from watcher.transport.wire import ResponseReader


@pytest.mark.parametrize(
    ("coding", "pack"), [("gzip", gzip.compress), ("br", brotli.compress), ("zstd", zstd.compress)]
)
def test_a_compressed_page_is_searched_as_text_and_counted_as_bytes(check, coding: str, pack) -> None:
    body = pack(b"find the needle here " * 100)
    with scripted(answers(page(body, f"Content-Encoding: {coding}"))) as port:
        result = check(f"http://127.0.0.1:{port}/", regex=regex_option("needle"))
    assert (result.status, result.regex_found, result.body_bytes) == (Status.UP, True, len(body))


def test_a_body_over_the_cap_is_cut_and_says_so_without_being_down(check) -> None:
    with scripted(answers(page(b"x" * 100_000))) as port:
        result = check(f"http://127.0.0.1:{port}/", max_body=1000)
    assert (result.status, result.reason) == (Status.UP, Reason.BODY_CAP)
    assert "1000 bytes" in result.detail


def test_a_gzip_bomb_costs_its_cap_and_no_more(check) -> None:
    bomb = gzip.compress(b"\0" * 100_000_000)
    with scripted(answers(page(bomb, "Content-Encoding: gzip"))) as port:
        result = check(f"http://127.0.0.1:{port}/", regex=regex_option("needle"))
    assert (result.status, result.reason, result.regex_found) == (Status.DOWN, Reason.REGEX, False)


def test_others_have_their_turn_while_a_body_of_tiny_chunks_is_read() -> None:
    body = b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n"
    reader = ResponseReader(1 << 20)
    reader.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    turns = []

    def look() -> None:
        while not feeding.ready():
            turns.append(gevent.get_hub().loop.iteration)
            gevent.sleep(0)

    feeding = gevent.spawn(fed, reader, body)
    gevent.spawn(look).get(timeout=60)
    assert feeding.get() is True
    assert reader.body == b"x" * 100_000
    assert len(turns) > 5
    reader.close()


def test_a_body_that_is_not_what_its_coding_says_is_the_sites_fault(check) -> None:
    with scripted(answers(page(b"plain", "Content-Encoding: gzip"))) as port:
        result = check(f"http://127.0.0.1:{port}/", regex=regex_option("plain"))
    assert (result.status, result.reason) == (Status.DOWN, Reason.PROTOCOL)


@pytest.mark.parametrize("coding", ["gzip", "br"])
def test_a_coded_body_that_breaks_off_is_no_page(check, coding: str) -> None:
    text = "".join(map(str, range(5000))).encode()
    whole = gzip.compress(text) if coding == "gzip" else brotli.compress(text)
    half = page(whole[: len(whole) // 2], f"Content-Encoding: {coding}")
    with scripted(answers(half)) as port:
        result = check(f"http://127.0.0.1:{port}/", contains=(Text(text="no such words", absent=True),))
    assert (result.status, result.reason) == (Status.DOWN, Reason.PROTOCOL)
    assert f"breaks off inside its {coding}" in result.detail
