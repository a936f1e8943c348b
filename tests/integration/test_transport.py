"""The measured transport against servers that misbehave, delay, redirect, and speak TLS badly; and against nginx."""

from __future__ import annotations

import gzip
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import brotli
import gevent
import pytest
import requests
import trustme
from backports import zstd
from scripted import answers, page, request, reset, scripted

from watcher.models import Endpoint, Reason, Result, Status
from watcher.plan import Plan, compile_plan
from watcher.probe import inspect, probe
from watcher.registry import plugin_manager
from watcher.transport import Anchor, MeasuredAdapter, Resolver, Route, Trust

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gevent")
PAGE = page(b"hello")


@pytest.fixture(scope="module", autouse=True)
def anchor() -> Iterator[None]:
    """Keep the kernel's stamps switched on."""
    held = Anchor()
    yield
    held.close()


@pytest.fixture(scope="module")
def plugins():
    """Give the built-in plugins."""
    return plugin_manager()


@pytest.fixture
def check(plugins) -> Callable[..., Result]:
    """Probe a URL once with options."""

    def run(url: str, timeout_s: float = 5.0, **options: object) -> Result:
        plan = compile_plan(Endpoint(name=url, url=url, timeout_s=timeout_s, options=options), plugins)
        try:
            return probe(plan)
        finally:
            plan.close()

    return run


def verdict(result: Result) -> tuple[Status, Reason | None, int | None]:
    """Give what a user looks at first."""
    return result.status, result.reason, result.http_status


# phases and lag


def test_a_result_says_all_about_a_plain_check(check) -> None:
    with scripted(answers(PAGE)) as port:
        result = check(f"http://127.0.0.1:{port}/")
    assert verdict(result) == (Status.UP, None, 200)
    assert (result.body_bytes, result.address) == (5, "127.0.0.1")
    assert (result.dns_us, result.tls_us) == (None, None)
    phases = [result.connect_us, result.ttfb_us, result.transfer_us]
    assert sum(phases) == result.latency_us
    assert abs(result.time_us / 1e6 - time.time()) < 60


def test_each_phase_has_the_time_that_was_spent_in_it(check) -> None:
    spent: list[float] = []

    def slowly(connection: socket.socket) -> None:
        got_at = request(connection) and time.perf_counter()
        time.sleep(0.08)
        spent.append(time.perf_counter() - got_at)
        began = time.perf_counter()
        connection.sendall(PAGE[:-2])
        time.sleep(0.16)
        spent.append(time.perf_counter() - began)
        connection.sendall(PAGE[-2:])

    with scripted(slowly) as port:
        result = check(f"http://localhost:{port}/", ip_version=4)
    assert result.dns_us is not None
    assert spent[0] * 1e6 <= result.ttfb_us < spent[0] * 1e6 + 60_000
    assert spent[1] * 1e6 - 20_000 <= result.transfer_us < spent[1] * 1e6 + 60_000


def test_what_the_agent_itself_delays_is_lag_and_not_latency(check) -> None:
    with scripted(answers(PAGE)) as port:
        hog = gevent.spawn_later(0, time.sleep, 0.4)  # holds the hub while the answer arrives
        result = check(f"http://127.0.0.1:{port}/")
        hog.join()
    assert result.status is Status.UP
    assert result.lag_us > 200_000
    assert result.latency_us < result.lag_us / 4


def test_an_answer_that_came_in_time_counts_however_late_we_look(check) -> None:
    def in_time(connection: socket.socket) -> None:
        request(connection)
        time.sleep(0.1)
        connection.sendall(PAGE)

    def hog() -> None:
        gevent.sleep(0.05)
        time.sleep(0.6)

    with scripted(in_time) as port:
        hogging = gevent.spawn(hog)
        result = check(f"http://127.0.0.1:{port}/", timeout_s=0.3)
        hogging.join()
    assert verdict(result) == (Status.UP, None, 200)
    assert result.latency_us < 300_000


def test_an_answer_that_came_too_late_does_not_count_even_if_it_is_there_when_we_look(check) -> None:
    def too_late(connection: socket.socket) -> None:
        request(connection)
        time.sleep(0.35)
        connection.sendall(PAGE)

    def hog() -> None:
        gevent.sleep(0.15)
        time.sleep(0.6)

    with scripted(too_late) as port:
        hogging = gevent.spawn(hog)
        result = check(f"http://127.0.0.1:{port}/", timeout_s=0.2)
        hogging.join()
    assert verdict(result) == (Status.DOWN, Reason.TIMEOUT, None)


def test_a_timeout_of_our_own_making_is_missed_not_down(check) -> None:
    with scripted(lambda connection: time.sleep(5)) as port:
        gevent.spawn_later(0, time.sleep, 0.5)
        result = check(f"http://127.0.0.1:{port}/", timeout_s=0.6)
    assert verdict(result) == (Status.MISSED, Reason.OVERLOAD, None)


# failures of the connection


def silent(connection: socket.socket) -> None:
    """Answer nothing until the peer goes."""
    while connection.recv(65536):
        pass


@pytest.mark.parametrize(
    ("script", "reason", "words"),
    [
        (reset, Reason.CLOSED, "reset"),
        (lambda c: request(c) and c.close(), Reason.CLOSED, "before an answer"),
        (lambda c: request(c) and reset(c), Reason.CLOSED, "reset in ttfb"),
        (lambda c: request(c) and c.sendall(PAGE[:20]), Reason.CLOSED, "inside the headers"),
        (lambda c: request(c) and c.sendall(PAGE[:-1]), Reason.CLOSED, "after 4 of 5 bytes"),
        (lambda c: request(c) and c.sendall(b"220 ESMTP ready\r\n"), Reason.PROTOCOL, "not HTTP"),
        (silent, Reason.TIMEOUT, "timeout in ttfb"),
        (lambda c: request(c) and c.sendall(PAGE[:-1]) or silent(c), Reason.TIMEOUT, "timeout in transfer"),
    ],
)
def test_each_way_to_fail_has_its_reason(check, script, reason: Reason, words: str) -> None:
    with scripted(script) as port:
        result = check(f"http://127.0.0.1:{port}/", timeout_s=0.5)
    assert (result.status, result.reason) == (Status.DOWN, reason)
    assert words in result.detail


def test_a_refused_connection_and_an_unknown_name(check) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    refused = check(f"http://127.0.0.1:{port}/")
    assert (refused.reason, refused.detail) == (Reason.CONNECT, "connection refused")
    assert check("http://no-such-name.invalid/").reason is Reason.DNS


def test_the_unfinished_phase_of_a_failure_is_timed_too(check) -> None:
    with scripted(silent) as port:
        result = check(f"http://127.0.0.1:{port}/", timeout_s=0.3)
    assert result.connect_us is not None
    assert 200_000 < result.ttfb_us <= 300_000
    assert result.transfer_us is None


def test_an_address_that_refuses_is_followed_by_the_next(check) -> None:
    with scripted(answers(PAGE)) as port:  # localhost is ::1 too, where nobody listens
        result = check(f"http://localhost:{port}/")
    assert (result.status, result.address) == (Status.UP, "127.0.0.1")


def test_ipv6_literals_and_the_choice_of_family(check) -> None:
    with scripted(answers(PAGE, PAGE), host="::1") as port:
        literal = check(f"http://[::1]:{port}/")
        chosen = check(f"http://localhost:{port}/", ip_version=6)
    assert (literal.status, literal.address) == (Status.UP, "::1")
    assert (chosen.status, chosen.address) == (Status.UP, "::1")


def test_a_pinned_address_keeps_the_name_in_the_request(check) -> None:
    seen: list[bytes] = []

    def note(connection: socket.socket) -> None:
        seen.append(request(connection))
        connection.sendall(PAGE)

    with scripted(note) as port:
        result = check(f"http://example.com:{port}/", address="127.0.0.1")
    assert (result.status, result.address, result.dns_us) == (Status.UP, "127.0.0.1", None)
    assert f"\r\nHost: example.com:{port}\r\n".encode() in seen[0]


# bodies


@pytest.mark.parametrize(
    ("coding", "pack"), [("gzip", gzip.compress), ("br", brotli.compress), ("zstd", zstd.compress)]
)
def test_a_compressed_page_is_searched_as_text_and_counted_as_bytes(check, coding: str, pack) -> None:
    body = pack(b"find the needle here " * 100)
    with scripted(answers(page(body, f"Content-Encoding: {coding}"))) as port:
        result = check(f"http://127.0.0.1:{port}/", regex=plugin_regex("needle"))
    assert (result.status, result.regex_found, result.body_bytes) == (Status.UP, True, len(body))


def test_a_body_over_the_cap_is_cut_and_says_so_without_being_down(check) -> None:
    with scripted(answers(page(b"x" * 100_000))) as port:
        result = check(f"http://127.0.0.1:{port}/", max_body=1000)
    assert (result.status, result.reason) == (Status.UP, Reason.BODY_CAP)
    assert "1000 bytes" in result.detail


def test_a_gzip_bomb_costs_its_cap_and_no_more(check) -> None:
    bomb = gzip.compress(b"\0" * 100_000_000)
    with scripted(answers(page(bomb, "Content-Encoding: gzip"))) as port:
        result = check(f"http://127.0.0.1:{port}/", regex=plugin_regex("needle"))
    assert (result.status, result.reason, result.regex_found) == (Status.DOWN, Reason.REGEX, False)


def test_a_body_that_is_not_what_its_coding_says_is_the_sites_fault(check) -> None:
    with scripted(answers(page(b"plain", "Content-Encoding: gzip"))) as port:
        result = check(f"http://127.0.0.1:{port}/", regex=plugin_regex("plain"))
    assert (result.status, result.reason) == (Status.DOWN, Reason.PROTOCOL)


def plugin_regex(pattern: str) -> object:
    """Give a regex option as the configuration would."""
    from watcher.config import endpoint
    from watcher.registry import option_types

    row = {"name": "x", "url": "http://x/", "interval_s": 60.0, "timeout_s": 5.0, "options": {"regex": pattern}}
    return endpoint(row, option_types(plugin_manager())).options["regex"]


# redirects


def test_redirects_are_followed_and_their_times_add_up(check) -> None:
    def site(connection: socket.socket) -> None:
        asked = request(connection).split()[1]
        if asked == b"/":
            time.sleep(0.1)
            connection.sendall(page(b"", "Location: /next", "Set-Cookie: id=7", status="302 Found"))
        else:
            connection.sendall(PAGE)

    with scripted(site) as port:
        result = check(f"http://127.0.0.1:{port}/")
    assert verdict(result) == (Status.UP, None, 200)
    assert result.latency_us >= 100_000
    assert result.ttfb_us < 100_000


def test_cookies_of_a_redirect_are_sent_on(plugins) -> None:
    seen: list[bytes] = []

    def site(connection: socket.socket) -> None:
        seen.append(request(connection))
        first = len(seen) == 1
        connection.sendall(page(b"", "Location: /2", "Set-Cookie: id=7", status="302 Found") if first else PAGE)

    with scripted(site) as port:
        url = f"http://127.0.0.1:{port}/"
        result, exchange = inspect(compile_plan(Endpoint(name=url, url=url), plugins))
    assert b"Cookie: id=7" in seen[1]
    assert result.status is Status.UP
    assert [response.status_code for response in exchange.response.history] == [302]


@pytest.mark.parametrize(
    ("location", "words"), [("/", "10"), ("ftp://127.0.0.1/", "ftp"), ("http://:::/", "http")]
)
def test_redirects_that_cannot_be_followed_have_their_reason(check, location: str, words: str) -> None:
    def loop(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(page(b"", f"Location: {location}", status="302 Found"))

    with scripted(loop) as port:
        result = check(f"http://127.0.0.1:{port}/")
    assert (result.status, result.reason) == (Status.DOWN, Reason.REDIRECT)
    assert words in result.detail


def test_redirects_can_be_left_alone(check) -> None:
    with scripted(answers(page(b"", "Location: /elsewhere", status="301 Moved"))) as port:
        result = check(f"http://127.0.0.1:{port}/", follow_redirects=False)
    assert verdict(result) == (Status.UP, None, 301)


# keep-alive


def test_keep_alive_uses_one_connection_for_many_checks(plugins) -> None:
    connections: list[int] = []

    def site(connection: socket.socket) -> None:
        connections.append(1)
        while request(connection):
            connection.sendall(PAGE)

    with scripted(site) as port:
        url = f"http://127.0.0.1:{port}/"
        plan = compile_plan(Endpoint(name=url, url=url, options={"keep_alive": True}), plugins)
        results = [probe(plan) for _ in range(5)]
        plan.close()
    assert [result.status for result in results] == [Status.UP] * 5
    assert len(connections) == 1
    assert results[0].connect_us is not None
    assert results[1].connect_us is None


def test_a_kept_connection_that_the_peer_closed_is_made_anew(plugins) -> None:
    with scripted(answers(PAGE)) as port:
        url = f"http://127.0.0.1:{port}/"
        plan = compile_plan(Endpoint(name=url, url=url, options={"keep_alive": True}), plugins)
        results = [probe(plan) for _ in range(3)]
        plan.close()
    assert [result.status for result in results] == [Status.UP] * 3


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Give a certificate authority."""
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give its certificate as a file."""
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def server_tls(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """Make a server's context."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(made)
    return made


def tls_options(plugins, **table: object) -> object:
    """Give the option `tls` as the configuration would."""
    from watcher.plugins.http import Tls

    return Tls(**table)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_https_is_verified_and_its_handshake_is_a_phase(plugins, authority, ca_file, version) -> None:
    tls = server_tls(authority.issue_cert("localhost"))
    tls.minimum_version = tls.maximum_version = version
    with scripted(answers(PAGE), tls) as port:
        url = f"https://localhost:{port}/"
        options = {"tls": tls_options(plugins, ca=ca_file)}
        result, exchange = inspect(compile_plan(Endpoint(name=url, url=url, options=options), plugins))
    assert verdict(result) == (Status.UP, None, 200)
    assert result.tls_us > 0
    assert exchange.peer.version == version.name.replace("_", ".").replace("TLSv1.", "TLSv1.")
    assert ssl.DER_cert_to_PEM_cert(exchange.peer.certificate_der).startswith("-----BEGIN")


def test_each_bad_certificate_has_its_reason_and_words(check, plugins, authority, ca_file) -> None:
    import datetime

    other = trustme.CA()
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    cases = {
        "unable to get local issuer": server_tls(other.issue_cert("localhost")),
        "expired": server_tls(authority.issue_cert("localhost", not_before=past, not_after=past.replace(year=2021))),
        "hostname mismatch": server_tls(authority.issue_cert("other.example")),
    }
    for words, tls in cases.items():
        with scripted(answers(PAGE), tls) as port:
            result = check(f"https://localhost:{port}/", tls=tls_options(plugins, ca=ca_file))
            unverified = check(f"https://localhost:{port}/", tls=tls_options(plugins, verify=False))
        assert (result.status, result.reason) == (Status.DOWN, Reason.CERTIFICATE)
        assert words in result.detail.lower()
        assert unverified.status is Status.UP


def test_a_certificate_that_no_known_authority_signed_is_refused_by_default(check, authority) -> None:
    with scripted(answers(PAGE), server_tls(authority.issue_cert("localhost"))) as port:
        assert check(f"https://localhost:{port}/").reason is Reason.CERTIFICATE


def test_the_server_name_goes_with_a_pinned_address(check, plugins, authority, ca_file) -> None:
    names: list[str] = []
    tls = server_tls(authority.issue_cert("www.example.com"))
    tls.sni_callback = lambda _socket, name, _context: names.append(name)
    with scripted(answers(PAGE), tls) as port:
        result = check(f"https://www.example.com:{port}/", address="127.0.0.1", tls=tls_options(plugins, ca=ca_file))
    assert (result.status, names) == (Status.UP, ["www.example.com"])


def test_an_address_as_host_is_verified_too(check, plugins, authority, ca_file) -> None:
    with scripted(answers(PAGE), server_tls(authority.issue_cert("127.0.0.1"))) as port:
        assert check(f"https://127.0.0.1:{port}/", tls=tls_options(plugins, ca=ca_file)).status is Status.UP
    with scripted(answers(PAGE), server_tls(authority.issue_cert("127.0.0.9"))) as port:
        wrong = check(f"https://127.0.0.1:{port}/", tls=tls_options(plugins, ca=ca_file))
    assert wrong.reason is Reason.CERTIFICATE


def test_a_client_certificate_is_shown(check, plugins, authority, ca_file, tmp_path: Path) -> None:
    mine = authority.issue_cert("client@example.com")
    mine.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "client.pem"))
    tls = server_tls(authority.issue_cert("localhost"))
    authority.configure_trust(tls)
    tls.verify_mode = ssl.CERT_REQUIRED
    with scripted(answers(PAGE), tls) as port:
        url = f"https://localhost:{port}/"
        shown = check(url, tls=tls_options(plugins, ca=ca_file, cert=str(tmp_path / "client.pem")))
        hidden = check(url, tls=tls_options(plugins, ca=ca_file))
    assert shown.status is Status.UP
    assert (hidden.status, hidden.reason) == (Status.DOWN, Reason.TLS)
    assert "certificate required" in hidden.detail


@pytest.mark.parametrize(
    "script",
    [
        lambda c: c.recv(65536) and c.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        lambda c: c.recv(65536) and None,
        lambda c: c.recv(65536) and c.sendall(b"\x15\x03\x01\x00\x02\x02\x28"),  # alert: handshake failure
    ],
    ids=["http on the port", "closed", "alert"],
)
def test_a_handshake_that_fails_is_tls(check, script) -> None:
    with scripted(script) as port:
        assert check(f"https://127.0.0.1:{port}/").reason is Reason.TLS


def test_a_handshake_that_stalls_times_out_there(check) -> None:
    with scripted(silent) as port:
        result = check(f"https://127.0.0.1:{port}/", timeout_s=0.3)
    assert (result.reason, result.detail) == (Reason.TIMEOUT, "timeout in tls")
    assert 200_000 < result.tls_us <= 300_000


def test_a_large_page_over_tls_is_whole(check, plugins, authority, ca_file) -> None:
    body = bytes(range(256)) * 3000
    with scripted(answers(page(body)), server_tls(authority.issue_cert("localhost"))) as port:
        result = check(f"https://localhost:{port}/", tls=tls_options(plugins, ca=ca_file))
    assert (result.status, result.body_bytes) == (Status.UP, len(body))


# a large request; requests as the API; the plain session


def test_a_request_larger_than_the_sockets_buffer_is_sent_whole(check) -> None:
    got: list[int] = []

    def slow_reader(connection: socket.socket) -> None:
        head, _, body = request(connection).partition(b"\r\n\r\n")
        wanted = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        count = len(body)
        while count < wanted:
            time.sleep(0.001)
            count += len(connection.recv(65536))
        got.append(count)
        connection.sendall(PAGE)

    from watcher.plugins.body import Body

    with scripted(slow_reader) as port:
        result = check(f"http://127.0.0.1:{port}/", body=Body(text="x" * 8_000_000))
    assert (result.status, got) == (Status.UP, [8_000_000])


def test_the_adapter_serves_a_session_of_requests(authority, ca_file) -> None:
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", MeasuredAdapter(Route(Resolver())))
    session.mount("https://", MeasuredAdapter(Route(Resolver(), trust=Trust(ca=ca_file))))
    with scripted(answers(page(b'{"a": 1}', "Content-Type: application/json"))) as port:
        response = session.get(f"http://127.0.0.1:{port}/")
    assert (response.json(), response.headers["content-type"], response.reason) == ({"a": 1}, "application/json", "OK")
    assert response.exchange.connect_us is not None
    with scripted(answers(PAGE), server_tls(authority.issue_cert("localhost"))) as port:
        assert session.get(f"https://localhost:{port}/").text == "hello"
        with pytest.raises(requests.exceptions.SSLError):
            session.get(f"https://127.0.0.1:{port}/")
    with pytest.raises(requests.exceptions.ConnectionError):
        session.get("http://127.0.0.1:9/")


def test_the_plain_session_is_there_for_what_only_it_can_do(check) -> None:
    with scripted(answers(PAGE)) as port:
        result = check(f"http://127.0.0.1:{port}/", transport="requests")
        assert verdict(result) == (Status.UP, None, 200)
        proxied = check("http://example.invalid/page", proxy=f"http://127.0.0.1:{port}")
    assert verdict(proxied) == (Status.UP, None, 200)
    assert result.body_bytes == 5


# a server that we did not write


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory, eventually) -> Iterator[str]:
    """Run nginx over a directory; give its URL."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed (apt-get install nginx-light)")
    root = tmp_path_factory.mktemp("nginx")
    (root / "index.html").write_text("needle in a page " * 5000)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    temporary = " ".join(f"{kind}_temp_path {root}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (root / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid {root}/pid; error_log {root}/error.log; user root;\n"
        "events { worker_connections 512; }\n"
        f"http {{ access_log off; {temporary} gzip on; gzip_types *; default_type text/html; server {{\n"
        f"  listen 127.0.0.1:{port}; root {root};\n"
        "  location = /moved { return 302 /index.html; }\n"
        "  location = /teapot { return 418 'short and stout'; } } }\n"
    )
    with subprocess.Popen([program, "-c", str(root / "nginx.conf"), "-e", str(root / "error.log")]) as process:
        eventually(lambda: _listens(port))
        yield f"http://127.0.0.1:{port}"
        process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe_socket:
        return probe_socket.connect_ex(("127.0.0.1", port)) == 0


def test_nginx_is_understood(check, nginx: str) -> None:
    compressed = check(f"{nginx}/", regex=plugin_regex("needle in a page $"))
    assert (compressed.status, compressed.regex_found) == (Status.UP, True)
    assert compressed.body_bytes < 5000
    assert verdict(check(f"{nginx}/moved")) == (Status.UP, None, 200)
    assert verdict(check(f"{nginx}/teapot")) == (Status.DOWN, Reason.STATUS, 418)
    assert verdict(check(f"{nginx}/", method="HEAD")) == (Status.UP, None, 200)
    assert verdict(check(f"{nginx}/", keep_alive=True)) == (Status.UP, None, 200)


def test_hundreds_of_probes_at_once_all_come_back(plugins, nginx: str) -> None:
    plans = [compile_plan(Endpoint(name=str(n), url=f"{nginx}/?{n}"), plugins) for n in range(300)]
    results = gevent.joinall([gevent.spawn(probe, plan) for plan in plans])
    assert {job.value.status for job in results} == {Status.UP}
