"""Names and how they are resolved, end to end: checks that ask dnsmasq, and servers that fail as real ones do."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
import trustme
from name_servers import REFUSED, SERVFAIL, Start, dnsmasqs, scripted_server
from probing import free_ports, probing
from scripted import answers, page, scripted, server_tls

from watcher import Reason, Status
from watcher.plugins.protocols import connection, http, tcp

check = probing(http, tcp, connection)
pytestmark = pytest.mark.usefixtures("anchor")


@pytest.fixture(name="dnsmasq")
def fixture_dnsmasq(tmp_path: Path) -> Iterator[Start]:
    """Start name servers."""
    with dnsmasqs(tmp_path) as start:
        yield start


@pytest.fixture(name="port", scope="module")
def fixture_port() -> Iterator[int]:
    """Serve a page at 127.0.0.1."""
    with scripted(answers(page(b"hello"))) as port:
        yield port


def test_the_resolver_of_the_option_is_asked_and_its_wait_is_a_phase_of_its_own(dnsmasq: Start, port: int) -> None:
    server = dnsmasq({"www.test": ["127.0.0.1"]}, ttl=60)
    first = check(f"http://www.test:{port}/", resolver=server.address)
    assert (first.status, first.http_status, first.address) == (Status.UP, 200, "127.0.0.1")
    assert first.dns_us > 0
    again = check(f"http://www.test:{port}/", resolver=server.address)
    assert (again.status, again.dns_us) == (Status.UP, 0)  # within its time to live
    elsewhere = check(f"http://www.test:{port}/", resolver=dnsmasq({}).address)
    assert (elsewhere.status, elsewhere.reason, elsewhere.detail) == (
        Status.DOWN, Reason.DNS, "name not found: www.test",
    )  # fmt: skip


def test_the_server_name_of_the_option_is_asked_for_and_verified(
    dnsmasq: Start, authority: trustme.CA, ca_file: str
) -> None:
    server = dnsmasq({"www.test": ["127.0.0.1"]})
    asked_for = []
    context = server_tls(authority.issue_cert("real.test"))
    context.sni_callback = lambda _socket, name, _context: asked_for.append(name)
    with scripted(answers(page(b"hello")), context) as port:
        url, trust = f"https://www.test:{port}/", {"ca": ca_file}
        plain = check(url, resolver=server.address, tls=trust)
        named = check(url, resolver=server.address, tls=trust | {"server_name": "real.test"})
    assert (plain.status, plain.reason) == (Status.DOWN, Reason.CERTIFICATE)
    assert (named.status, named.http_status) == (Status.UP, 200)
    assert asked_for == ["www.test", "real.test"]


def test_a_record_that_changes_is_followed_when_its_time_to_live_is_over(dnsmasq: Start) -> None:
    server = dnsmasq({"www.test": ["127.0.0.1"]}, ttl=0)  # taken as one second
    with scripted(answers(page(b"hello")), host="127.0.0.2") as port:
        url = f"tcp://www.test:{port}"
        assert check(url, resolver=server.address).reason is Reason.CONNECT
        server.has({"www.test": ["127.0.0.2"]})
        gevent.sleep(1.0)
        moved = check(url, resolver=server.address)
    assert (moved.status, moved.address) == (Status.UP, "127.0.0.2")


def test_a_repaired_name_is_found_within_a_second_whatever_its_zone_says(port: int) -> None:
    with scripted_server() as server:
        url = f"http://www.test:{port}/"
        for _ in range(3):
            failed = check(url, resolver=server.address)
            assert (failed.status, failed.reason) == (Status.DOWN, Reason.DNS)
        asked = len(server.asked)
        assert asked == 2  # for A and AAAA, once
        server.says["www.test"] = ["127.0.0.1"]
        gevent.sleep(1.0)
        assert check(url, resolver=server.address).status is Status.UP


@pytest.mark.parametrize("said", [SERVFAIL, REFUSED, None], ids=["SERVFAIL", "REFUSED", "silence"])
def test_where_one_resolver_fails_the_next_is_asked(dnsmasq: Start, port: int, said: int | None) -> None:
    good = dnsmasq({"www.test": ["127.0.0.1"]})
    with scripted_server() as bad:
        bad.says["www.test"] = said
        result = check(f"http://www.test:{port}/", timeout_s=9.0, resolver=[bad.address, good.address])
        assert (result.status, result.http_status) == (Status.UP, 200)
        assert bad.asked
        asked = len(bad.asked)
        gevent.sleep(1.0)  # dnsmasq gave no time to live
        again = check(f"http://www.test:{port}/", resolver=[bad.address, good.address])
        assert again.status is Status.UP
        if said is None:
            assert len(bad.asked) == asked  # it is remembered that it is dead


def test_a_resolver_where_nobody_listens_is_passed_over(dnsmasq: Start, port: int) -> None:
    good = dnsmasq({"www.test": ["127.0.0.1"]})
    dead = f"127.0.0.1:{free_ports('dead')['dead']}"
    assert check(f"http://www.test:{port}/", resolver=[dead, good.address]).status is Status.UP


def test_a_name_that_the_first_resolver_does_not_know_is_not_asked_of_the_next(dnsmasq: Start, port: int) -> None:
    knows_not, knows = dnsmasq({}), dnsmasq({"www.test": ["127.0.0.1"]})
    result = check(f"http://www.test:{port}/", resolver=[knows_not.address, knows.address])
    assert (result.status, result.reason) == (Status.DOWN, Reason.DNS)


@pytest.mark.parametrize(
    ("said", "reason", "detail"),
    [
        (SERVFAIL, Reason.DNS, "the resolver failed (SERVFAIL): www.test"),
        (REFUSED, Reason.DNS, "the resolver refused the query (REFUSED): www.test"),
        ([], Reason.DNS, "name has no address: www.test"),
        (None, Reason.TIMEOUT, "timeout in dns (www.test)"),
    ],
)
def test_what_a_resolver_says_is_told(said: int | list[str] | None, reason: Reason, detail: str) -> None:
    with scripted_server() as server:
        server.says["www.test"] = said
        result = check("http://www.test/", timeout_s=1.0, resolver=server.address)
    assert (result.status, result.reason, result.detail) == (Status.DOWN, reason, detail)


def test_the_family_that_is_wanted_first_is_tried_first(dnsmasq: Start) -> None:
    server = dnsmasq({"www.test": ["127.0.0.1", "::1"]}, ttl=60)
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as both:
        url = f"tcp://www.test:{both.getsockname()[1]}"
        for version, address in ((4, "127.0.0.1"), (6, "::1"), ("4 first", "127.0.0.1"), ("6 first", "::1")):
            result = check(url, resolver=server.address, ip_version=version)
            assert (result.status, result.address) == (Status.UP, address)


def test_the_other_family_is_tried_where_the_first_is_refused(dnsmasq: Start, port: int) -> None:
    server = dnsmasq({"www.test": ["127.0.0.1", "::1"]}, ttl=60)
    result = check(f"http://www.test:{port}/", resolver=server.address, ip_version="6 first")
    assert (result.status, result.address) == (Status.UP, "127.0.0.1")
    refused = check(f"http://www.test:{port}/", resolver=server.address, ip_version=6)
    assert (refused.status, refused.reason, refused.address) == (Status.DOWN, Reason.CONNECT, "::1")


@contextlib.contextmanager
def deaf(host: str, port: int) -> Iterator[None]:
    """Have a port answer nothing: the kernel drops what comes for a listener whose queue is full (listen(2))."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(socket.create_server((host, port), family=socket.AF_INET6, backlog=0))
        for _ in range(3):
            caller = stack.enter_context(socket.socket(socket.AF_INET6))
            caller.setblocking(False)
            caller.connect_ex((host, port))
        yield


def test_an_address_that_says_nothing_is_followed_by_the_next_and_told_of(dnsmasq: Start, port: int) -> None:
    server = dnsmasq({"www.test": ["127.0.0.1", "::1"]}, ttl=60)
    options = {"resolver": server.address, "ip_version": "6 first"}
    with deaf("::1", port):
        result = check(f"http://www.test:{port}/", timeout_s=20.0, **options)
        assert (result.status, result.http_status, result.address) == (Status.UP, 200, "127.0.0.1")
        assert result.detail == "tried before: ::1 (timeout in connect)"
        assert 1_000_000 <= result.connect_us <= result.latency_us
        hurried = check(f"tcp://www.test:{port}", timeout_s=1.0, **options)
        assert (hurried.status, hurried.address) == (Status.UP, "127.0.0.1")


def test_an_address_that_was_silent_has_another_turn_where_no_other_accepts(dnsmasq: Start) -> None:
    """As an agent of one family needs it: it has no way to the other address, and a first packet may be lost."""
    server = dnsmasq({"www.test": ["127.0.0.1", "::1"]}, ttl=60)
    (port,) = free_ports("site").values()
    with contextlib.ExitStack() as silence, contextlib.ExitStack() as site:
        silence.enter_context(deaf("::1", port))

        def wake_up() -> None:
            silence.close()
            site.enter_context(scripted(answers(page(b"hello")), host="::1", port=port))

        gevent.spawn_later(1.5, wake_up)
        options = {"resolver": server.address, "ip_version": "6 first"}
        result = check(f"http://www.test:{port}/", timeout_s=20.0, **options)
    assert (result.status, result.http_status, result.address) == (Status.UP, 200, "::1")
    assert result.connect_us > 1_000_000
