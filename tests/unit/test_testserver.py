"""The test server's answers, judged by clients that are not ours: http.client, requests, plain sockets."""

from __future__ import annotations

import gzip
import http.client
import time
import zlib
from collections.abc import Iterator

import brotli
import pytest
import requests
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st
from plain_client import PATIENT_S, connect, get

from watcher.testserver.process import ServerProcess
from watcher.testserver.request import BadRequest, parse
from watcher.testserver.site import Site


@pytest.fixture(scope="module", name="server")
def fixture_server() -> Iterator[ServerProcess]:
    """Run one server for the module."""
    with ServerProcess() as running:
        yield running


def said(site: Site, target: str) -> str:
    """Give the status line of a site's answer to a GET, without a socket."""
    answer, _ = site.answer(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return answer.wire.partition(b"\r\n")[0].decode()


def failures(site: Site, target: str, count: int) -> list[bool]:
    """Tell of each of `count` requests whether it failed."""
    return [" 503 " in said(site, target) for _ in range(count)]


# --- what the query asks for ---


@pytest.mark.parametrize(
    ("query", "status", "body"),
    [
        ("", 200, b"watcher test server\n"),
        ("status=404", 404, b"watcher test server\n"),
        ("body=caf%C3%A9", 200, "café".encode()),
        ("body=hello&size=3", 200, b"hel"),
        ("body=a&size=0", 200, b""),
        ("status=204", 204, b""),
        ("chunked=1&body=hello", 200, b"hello"),
        ("drip=20ms&body=hello", 200, b"hello"),
        ("close=1&body=bye", 200, b"bye"),
    ],
)
def test_an_answer_has_the_status_and_body_that_were_asked_for(
    server: ServerProcess, query: str, status: int, body: bytes
) -> None:
    """Every way of sending a body arrives whole."""
    assert get(f"{server.url}/some/path?{query}") == (status, body)


@pytest.mark.parametrize("query", ["size=1k", "size=3m", "size=100k&chunked=1", "size=1k&body=start"])
def test_a_body_is_filled_up_to_its_size(server: ServerProcess, query: str) -> None:
    """The size counts all of the body."""
    wanted = {"1k": 1024, "3m": 3 * 1024 * 1024, "100k": 102_400}[query[5:].partition("&")[0]]
    assert len(get(f"{server.url}/?{query}")[1]) == wanted


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_an_encoded_body_is_decoded_by_its_own_library(server: ServerProcess, encoding: str) -> None:
    """Content codings are real ones."""
    decode = {"gzip": gzip.decompress, "deflate": zlib.decompress, "br": brotli.decompress, "zstd": zstd.decompress}
    assert decode[encoding](get(f"{server.url}/?body=hello&encoding={encoding}")[1]) == b"hello"


def test_headers_and_type_are_sent(server: ServerProcess) -> None:
    """Several headers may be asked for."""
    answer = requests.get(f"{server.url}/?type=text/html&header=X-A:1&header=X-B:two", timeout=PATIENT_S)
    assert (answer.headers["Content-Type"], answer.headers["X-A"], answer.headers["X-B"]) == ("text/html", "1", "two")


def test_the_request_is_echoed(server: ServerProcess) -> None:
    """Method, headers and body arrive as they were sent, chunked ones too."""
    url = f"{server.url}/e?echo=1"
    plain = requests.post(url, data=b"a=b", headers={"X-Probe": "watcher"}, timeout=PATIENT_S).json()
    assert (plain["method"], plain["body"], plain["headers"]["x-probe"]) == ("POST", "a=b", "watcher")
    chunked = requests.put(url, data=iter([b"one ", b"two"]), timeout=PATIENT_S).json()
    assert (chunked["method"], chunked["body"]) == ("PUT", "one two")


def test_head_gives_the_length_without_the_body(server: ServerProcess) -> None:
    """HEAD is GET without its body (RFC 9110, 9.3.2)."""
    answer = requests.head(f"{server.url}/?size=1k", timeout=PATIENT_S)
    assert (answer.headers["Content-Length"], answer.content) == ("1024", b"")


@pytest.mark.parametrize(
    ("query", "request_headers", "status"),
    [
        ("basic=user:pass", {}, 401),
        ("basic=user:pass", {"Authorization": "Basic dXNlcjpwYXNz"}, 200),
        ("basic=user:pass", {"Authorization": "Basic dXNlcjpub3Q="}, 401),
        ("bearer=abc", {}, 401),
        ("bearer=abc", {"Authorization": "Bearer abc"}, 200),
        ("need=X-Probe:yes", {"X-Probe": "no"}, 403),
        ("need=X-Probe:yes", {"x-probe": "yes"}, 200),
        ("method=POST", {}, 405),
    ],
)
def test_a_request_must_have_what_the_query_demands(
    server: ServerProcess, query: str, request_headers: dict[str, str], status: int
) -> None:
    """Credentials, headers and the method are checked."""
    assert requests.get(f"{server.url}/?{query}", headers=request_headers, timeout=PATIENT_S).status_code == status


def test_redirects_are_followed_by_requests(server: ServerProcess) -> None:
    """One to elsewhere, and a chain of three to itself."""
    elsewhere = requests.get(f"{server.url}/a?redirect=/b%3Fbody=there", timeout=PATIENT_S)
    assert (elsewhere.url, elsewhere.text) == (f"{server.url}/b?body=there", "there")
    assert len(requests.get(f"{server.url}/a?hops=3", timeout=PATIENT_S).history) == 3


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("dealy=1s", "did you mean 'delay'"),
        ("delay=soon", "soon"),
        ("status=99", "99"),
        ("size=65m", "65m"),
        ("flaky=2", "between 0 and 1"),
        ("header=no", "X-Name:value"),
        ("header=X:a%0d%0aSet-Cookie:b", "control characters"),
        ("encoding=rot13", "gzip"),
        ("fail=nonsense", "nonsense"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused_with_its_reason(server: ServerProcess, query: str, words: str) -> None:
    """A misspelt parameter must not pass for a healthy page."""
    status, body = get(f"{server.url}/?{query}")
    assert status == 400
    assert words in body.decode()


def test_an_unknown_kind_is_not_found(server: ServerProcess) -> None:
    """The answer lists the kinds there are."""
    status, body = get(f"{server.url}/bad/nonsense")
    assert (status, b"gzip-bomb" in body) == (404, True)


# --- which requests fail ---


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
def test_any_stretch_of_requests_holds_its_share_of_failures(share: float) -> None:
    """Flaky is even: of any 100 requests in a row, the share of them fails, give or take two."""
    failed = failures(Site(), f"/?flaky={share}", 1000)
    assert all(abs(sum(failed[at : at + 100]) - 100 * share) <= 2 for at in range(900))


def test_which_requests_fail_follows_from_the_seed_alone() -> None:
    """Another server with that seed fails the same ones; another seed or path fails others."""
    target = "/?flaky=0.3"
    first = failures(Site(seed=1), target, 50)
    assert first == failures(Site(seed=1), target, 50)
    assert first != failures(Site(seed=2), target, 50)
    assert first != failures(Site(seed=1), "/other?flaky=0.3", 50)


def test_a_pattern_fails_exactly_those_requests() -> None:
    """`110` is two that answer and one that fails, each path by itself."""
    site = Site()
    assert failures(site, "/?pattern=110", 6) == [False, False, True] * 2
    assert failures(site, "/other?pattern=110", 3) == [False, False, True]


def test_an_outage_lasts_its_part_of_each_period() -> None:
    """Of each minute one stretch of 20 s is down, wherever it lies."""
    now = [0.0]
    site = Site(clock=lambda: now[0])
    down = []
    for second in range(600):
        now[0] = float(second)
        down += failures(site, "/?outage=20s/60s", 1)
    changes = sum(before != after for before, after in zip(down, down[1:]))
    assert all(abs(sum(down[at : at + 60]) - 20) <= 1 for at in range(0, 600, 60))
    assert 18 <= changes <= 20


def test_a_failure_may_be_of_any_kind(server: ServerProcess) -> None:
    """`fail` names a status or a kind."""
    assert get(f"{server.url}/?pattern=0&fail=418")[0] == 418
    with pytest.raises(http.client.RemoteDisconnected):
        get(f"{server.url}/?pattern=0&fail=close-before-headers")


# --- time ---


def test_no_answer_comes_before_its_delay(server: ServerProcess) -> None:
    """A delay is a promise in one direction at least."""
    for delay_s in (0.0305, 0.0505):
        began = time.monotonic()
        get(f"{server.url}/?delay={delay_s}s")
        assert time.monotonic() - began >= delay_s


def test_a_delayed_answer_does_not_delay_others(server: ServerProcess) -> None:
    """What was asked for later and is due earlier comes first."""
    with connect(server.url) as slow:
        slow.sendall(b"GET /?delay=30s HTTP/1.1\r\n\r\n")
        assert get(f"{server.url}/?delay=1ms")[0] == 200


def test_jitter_varies_and_stays_in_its_bounds() -> None:
    """Delays differ from request to request, from the delay up to the jitter above it."""
    site = Site()
    delays = [site.answer(b"GET /?delay=1s&jitter=1s HTTP/1.1\r\n\r\n")[0].delay_s for _ in range(100)]
    assert len(set(delays)) == 100
    assert 1 <= min(delays) < 1.1
    assert 1.9 < max(delays) <= 2


# --- connections ---


def test_a_connection_is_kept_and_pipelined_requests_are_answered_in_order(server: ServerProcess) -> None:
    """A thousand requests in one packet are a thousand answers."""
    requested = [b"GET /?body=%d HTTP/1.1\r\n\r\n" % number for number in range(1000)]
    with connect(server.url) as sock:
        sock.sendall(b"".join(requested) + b"GET /?body=last&close=1 HTTP/1.1\r\n\r\n")
        received = sock.makefile("rb").read()
    bodies = [answer.partition(b"\r\n\r\n")[2] for answer in received.split(b"HTTP/1.1 200 OK\r\n")[1:]]
    assert bodies == [b"%d" % number for number in range(1000)] + [b"last"]


def test_a_request_may_come_letter_by_letter(server: ServerProcess) -> None:
    """A request is answered when it is whole."""
    with connect(server.url) as sock:
        for letter in b"POST /?echo=1&close=1 HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi":
            sock.sendall(bytes([letter]))
        assert b'"body": "hi"' in sock.makefile("rb").read()


def test_a_client_that_reads_slowly_gets_all(server: ServerProcess) -> None:
    """More than the kernel's buffers hold waits for the client."""
    with connect(server.url) as sock:
        sock.sendall(b"GET /?size=32m&close=1 HTTP/1.1\r\n\r\n")
        assert get(server.url + "/")[0] == 200  # others are served meanwhile
        body = sock.makefile("rb").read().partition(b"\r\n\r\n")[2]
    assert len(body) == 32 * 1024 * 1024


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", 417),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000, 431),
    ],
)
def test_what_is_no_request_is_refused(data: bytes, status: int) -> None:
    """The server is strict, so that a client's own mistakes show."""
    with pytest.raises(BadRequest) as refused:
        parse(data)
    assert refused.value.status == status


LINES = st.sampled_from([b"GET / HTTP/1.1\r\n", b"POST /?echo=1 HTTP/1.1\r\n", b"\r\n", b"Content-Length: 3\r\n",
                         b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n", b"abc"])  # fmt: skip


@given(st.lists(LINES | st.binary(max_size=20), max_size=12).map(b"".join))
def test_whatever_comes_is_answered_or_waited_for(data: bytes) -> None:
    """Nothing that a client sends is an exception in the server, and what was answered is taken off."""
    site = Site()
    while data and (found := site.answer(data)) is not None:
        answer, rest = found
        assert answer.wire.startswith(b"HTTP/1.1 ")
        assert len(rest) < len(data)
        data = rest


@given(st.integers(0, 80))
def test_a_request_in_two_pieces_is_the_same_request(cut: int) -> None:
    """Until the last byte is there, there is none."""
    whole = b"POST /?a=b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nX: y\r\n\r\n"
    assert parse(whole[: min(cut, len(whole) - 1)]) is None
    request, rest = parse(whole + b"next")
    assert (request.body, rest) == (b"abc", b"next")
