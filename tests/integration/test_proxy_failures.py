"""Whose failure it is when an endpoint is asked through a proxy: the site's, or the proxy's."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import proxies
import pytest
from probing import probing
from proxies import LOGIN, free_port, program, running, says
from scripted import request, reset, scripted, silent, verdict

from watcher import Reason, Status
from watcher.plugins.assertions import status
from watcher.plugins.protocols import connection, http
from watcher.plugins.request import proxy

check = probing(connection, http, status, proxy)


@pytest.fixture(scope="module", name="any_proxy")
def fixture_any_proxy(eventually: proxies.Eventually) -> Iterator[str]:
    """Run a proxy that speaks all of the protocols, with anybody; give its host and port."""
    with proxies.any_proxy(eventually) as place:
        yield place


@pytest.fixture(scope="module", name="http_proxy")
def fixture_http_proxy(eventually: proxies.Eventually) -> Iterator[str]:
    """Run an HTTP proxy that wants a user and a password; give its host and port."""
    with proxies.http_proxy(eventually) as place:
        yield place


@pytest.fixture(scope="module", name="socks_proxy")
def fixture_socks_proxy(eventually: proxies.Eventually) -> Iterator[str]:
    """Run a SOCKS 5 proxy that wants a user and a password; give its host and port."""
    with proxies.socks_proxy(eventually) as place:
        yield place


def test_a_proxy_that_is_not_there_says_nothing_of_the_site() -> None:
    place = f"127.0.0.1:{free_port()}"
    with scripted(says()) as port:
        for scheme in ("http", "https", "socks4", "socks5", "socks5h"):
            for url in (f"http://127.0.0.1:{port}/?token=hunter2", f"https://127.0.0.1:{port}/?token=hunter2"):
                result = check(url, proxy=f"{scheme}://probe{':hunter2' * (scheme != 'socks4')}@{place}")
                assert verdict(result) == (Status.MISSED, Reason.AGENT_NETWORK, None)
                assert result.detail == f"the proxy {place} cannot be connected to: connection refused"


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
def test_a_proxy_whose_name_nobody_knows_says_nothing_of_the_site(scheme: str) -> None:
    result = check("http://site.invalid/", proxy=f"{scheme}://proxy.invalid:3128")
    assert verdict(result) == (Status.MISSED, Reason.AGENT_NETWORK, None)
    assert result.detail == "the proxy proxy.invalid:3128 has a name that cannot be resolved"


@pytest.mark.parametrize(
    ("scheme", "words"),
    [
        ("http", "did not answer as a proxy does"),
        (
            "https",
            "cannot be talked to over TLS: the server probably does not speak TLS on this port (wrong version number)",
        ),
        ("socks4", "did not answer as a SOCKS server does"),
        ("socks5", "did not answer as a SOCKS server does"),
    ],
)
def test_what_is_no_proxy_at_all_is_told_from_a_site(scheme: str, words: str) -> None:
    with scripted(lambda of: of.sendall(b"220 mail.test ESMTP\r\n")) as port:
        result = check("https://192.0.2.1/", proxy=f"{scheme}://127.0.0.1:{port}")
    assert verdict(result) == (Status.MISSED, Reason.AGENT_NETWORK, None)
    assert result.detail == f"the proxy 127.0.0.1:{port} {words}"


@pytest.mark.parametrize("scheme", ["socks4", "socks5"])
def test_a_socks_proxy_that_hangs_up_says_nothing_of_the_site(scheme: str) -> None:
    with scripted(lambda of: of.recv(1) and reset(of)) as port:
        result = check("https://192.0.2.1/", proxy=f"{scheme}://127.0.0.1:{port}")
    assert verdict(result) == (Status.MISSED, Reason.AGENT_NETWORK, None)
    assert result.detail == f"the proxy 127.0.0.1:{port} closed the connection"


@pytest.mark.parametrize("through", [True, False])
def test_a_site_that_speaks_no_http_is_down(any_proxy: str, through: bool) -> None:
    way = {"proxy": f"http://{any_proxy}"} if through else {"transport": "requests"}
    with scripted(lambda of: of.sendall(b"220 mail.test ESMTP\r\n") or silent(of)) as port:
        result = check(f"http://127.0.0.1:{port}/?token=hunter2", **way)
    assert verdict(result) == (Status.DOWN, Reason.PROTOCOL, None)
    assert str(result.detail).startswith("not HTTP: 220 mail.test ESMTP")


def test_a_site_that_an_http_proxy_cannot_reach_is_down(http_proxy: str) -> None:
    for url in (f"https://127.0.0.1:{free_port()}/", "https://site.invalid/"):
        result = check(url, proxy=f"http://{LOGIN}@{http_proxy}")
        assert verdict(result) == (Status.DOWN, Reason.CONNECT, None)
        assert result.detail == f"the proxy {http_proxy} could not reach the site (502 Bad Gateway)"


def test_for_http_the_answer_of_the_proxy_is_an_answer(http_proxy: str) -> None:
    result = check(f"http://127.0.0.1:{free_port()}/", proxy=f"http://{LOGIN}@{http_proxy}")
    assert verdict(result) == (Status.DOWN, Reason.STATUS, 502)


def test_a_site_that_a_socks_proxy_cannot_reach_is_down(socks_proxy: str) -> None:
    for url, words in (
        (f"http://127.0.0.1:{free_port()}/", "connection refused"),
        ("https://site.invalid/", "general socks server failure"),
    ):
        result = check(url, proxy=f"socks5h://{LOGIN}@{socks_proxy}")
        assert verdict(result) == (Status.DOWN, Reason.CONNECT, None)
        assert result.detail == f"the proxy {socks_proxy} could not reach the site ({words})"


def test_with_socks5_the_name_of_the_site_is_resolved_here(socks_proxy: str) -> None:
    result = check("http://site.invalid/", proxy=f"socks5://{LOGIN}@{socks_proxy}")
    assert verdict(result) == (Status.DOWN, Reason.DNS, None)
    assert result.detail.endswith(f", through the proxy {socks_proxy}")


def test_what_a_proxy_may_not_do_is_a_matter_of_configuration(eventually: proxies.Eventually, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "tinyproxy.conf").write_text(
        f"Port {port}\nListen 127.0.0.1\nTimeout 5\nAllow 127.0.0.1\nBasicAuth probe pass\nConnectPort 443\n"
    )
    command = (program("tinyproxy"), "-d", "-c", str(tmp_path / "tinyproxy.conf"))
    with running(eventually, port, *command) as place:
        forbidden = check("https://127.0.0.1:8443/", proxy=f"http://probe:pass@{place}")
        wrong = check("https://127.0.0.1/", proxy=f"http://probe:guess@{place}")
        unknown = check("https://site.invalid/", proxy=f"http://probe:pass@{place}")
    assert verdict(forbidden) == verdict(wrong) == (Status.MISSED, Reason.CONFIG, None)
    assert forbidden.detail == f"the proxy {place} refuses to go there (403 Access violation)"
    assert wrong.detail == f"the proxy {place} wants another user or password (401 Unauthorized)"
    assert verdict(unknown) == (Status.DOWN, Reason.CONNECT, None)


@pytest.mark.parametrize("code", [2, 7, 8])
def test_what_a_socks_proxy_refuses_is_a_matter_of_configuration(code: int) -> None:
    def refuses(of: socket.socket) -> None:
        of.recv(3)
        of.sendall(b"\x05\x00")
        of.recv(10)
        of.sendall(bytes((5, code, 0, 1, 0, 0, 0, 0, 0, 0)))  # RFC 1928, section 6

    with scripted(refuses) as port:
        result = check("http://192.0.2.1/", proxy=f"socks5://127.0.0.1:{port}")
    assert verdict(result) == (Status.MISSED, Reason.CONFIG, None)
    assert result.detail.startswith(f"the proxy 127.0.0.1:{port} refuses to go there (")


@pytest.mark.parametrize(
    ("code", "found"), [(0x5B, (Status.DOWN, Reason.CONNECT)), (0x5D, (Status.MISSED, Reason.CONFIG))]
)
def test_what_a_socks_4_proxy_answers(code: int, found: tuple[Status, Reason]) -> None:
    def refuses(of: socket.socket) -> None:
        of.recv(9)
        of.sendall(bytes((0, code, 0, 0, 0, 0, 0, 0)))

    with scripted(refuses) as port:
        result = check("http://192.0.2.1/", proxy=f"socks4://127.0.0.1:{port}")
    assert (result.status, result.reason) == found


@pytest.mark.parametrize("scheme", ["http", "socks4", "socks5"])
def test_a_site_that_hangs_up_is_down(any_proxy: str, scheme: str) -> None:
    with scripted(lambda of: request(of) and reset(of)) as port:
        result = check(f"http://127.0.0.1:{port}/", proxy=f"{scheme}://{any_proxy}")
    assert verdict(result) == (Status.DOWN, Reason.CLOSED, None)
    assert result.detail == f"connection closed in ttfb, through the proxy {any_proxy}"


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_a_site_that_is_silent_is_down(any_proxy: str, scheme: str) -> None:
    with scripted(silent) as port:
        result = check(f"http://127.0.0.1:{port}/", 0.5, proxy=f"{scheme}://{any_proxy}")
    assert verdict(result) == (Status.DOWN, Reason.TIMEOUT, None)
    assert result.detail == f"timeout in ttfb, through the proxy {any_proxy}"


@pytest.mark.parametrize("scheme", ["http", "socks4", "socks5"])
def test_a_proxy_that_does_not_get_through_in_time_is_a_timeout(scheme: str) -> None:
    with scripted(silent) as port:
        result = check("https://192.0.2.1/", 0.5, proxy=f"{scheme}://127.0.0.1:{port}")
    assert verdict(result) == (Status.DOWN, Reason.TIMEOUT, None)
    assert result.detail == f"timeout in connect, through the proxy 127.0.0.1:{port}"


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_a_proxy_that_lets_nobody_in_says_nothing_of_the_site(scheme: str) -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        place = full.getsockname()
        for one in (first, second):  # what waits to be accepted fills the queue; further handshakes are not answered
            one.setblocking(False)
            one.connect_ex(place)
        result = check("https://192.0.2.1/", 0.5, proxy=f"{scheme}://127.0.0.1:{place[1]}")
    assert verdict(result) == (Status.MISSED, Reason.AGENT_NETWORK, None)
    assert result.detail == f"the proxy 127.0.0.1:{place[1]} did not let us connect in time"
