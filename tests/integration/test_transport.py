"""The measured transport against servers that delay, redirect, compress and misbehave as they are told to."""

from __future__ import annotations

import socket
import time

import gevent
import pytest
import requests
from name_servers import scripted_server
from scripted import answers, page, request, reset, scripted, server_tls, silent, verdict

from watcher.errors import ProbeError
from watcher.models import Endpoint, Reason, Status
from watcher.plan import compile_plan
from watcher.plugins.request.body import Body
from watcher.probe import inspect, probe
from watcher.transport import Deadline, MeasuredAdapter, Resolver, Route, Trust

PAGE = page(b"hello")


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
    ("location", "words"),
    [("/", "10"), ("ftp://127.0.0.1/", "ftp"), ("http://:::/", "http"), ("http://[::1/", "no URL")],
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


@pytest.mark.parametrize(
    ("thinks_s", "expected"), [(0, (Status.UP, None, 200)), (0.8, (Status.DOWN, Reason.CLOSED, None))]
)
def test_a_kept_connection_that_ends_long_after_the_request_is_the_sites_fault(
    plugins, thinks_s: float, expected: tuple
) -> None:
    """At once: it was closed meanwhile. Later: the site took the request and left it; nor may a check last twice."""
    connections: list[int] = []

    def leaves(connection: socket.socket) -> None:
        connections.append(1)
        request(connection)
        connection.sendall(PAGE)
        request(connection)
        time.sleep(thinks_s)

    with scripted(leaves) as port:
        url = f"http://127.0.0.1:{port}/"
        plan = compile_plan(Endpoint(name=url, url=url, timeout_s=1.5, options={"keep_alive": True}), plugins)
        first, again = probe(plan), probe(plan)
        plan.close()
    assert verdict(first) == (Status.UP, None, 200)
    assert verdict(again) == expected
    assert len(connections) == (1 if thinks_s else 2)


def test_where_a_kept_connection_ended_and_no_new_one_is_made_the_row_has_nothing_of_it(plugins) -> None:
    with scripted_server() as names, scripted(answers(PAGE)) as port:
        names.says["www.test"] = ["127.0.0.1"]
        url = f"http://www.test:{port}/"
        options = {"keep_alive": True, "resolver": (names.address,)}
        plan = compile_plan(Endpoint(name=url, url=url, options=options), plugins)
        assert probe(plan).address == "127.0.0.1"
        del names.says["www.test"]
        gevent.sleep(1.1)  # a name is known for a second
        gone = probe(plan)
        plan.close()
    assert (verdict(gone), gone.address) == ((Status.DOWN, Reason.DNS, None), None)


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


# hosts, hops and what outlives a check


def test_another_host_gets_its_own_host_field_and_nothing_that_was_meant_for_the_first(plugins) -> None:
    seen: list[bytes] = []

    def second(connection: socket.socket) -> None:
        seen.append(request(connection))
        connection.sendall(PAGE)

    with scripted(second) as elsewhere:
        to = f"Location: http://localhost:{elsewhere}/there"
        with scripted(answers(page(b"", to, "Set-Cookie: id=7", status="302 Found"))) as port:
            url = f"http://127.0.0.1:{port}/"
            options = {"headers": {"X-Api-Key": "secret", "Authorization": "Basic x"}}
            result = probe(compile_plan(Endpoint(name=url, url=url, options=options), plugins))
    assert result.status is Status.UP
    assert f"\r\nHost: localhost:{elsewhere}\r\n".encode() in seen[0]
    assert not [word for word in (b"secret", b"Authorization", b"Cookie") if word in seen[0]]


def test_a_query_that_outlives_its_check_disturbs_no_later_one() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent_resolver:
        silent_resolver.bind(("127.0.0.1", 0))
        resolver = Resolver((f"127.0.0.1:{silent_resolver.getsockname()[1]}",))
        deadline = Deadline(time.monotonic_ns() + 50_000_000)
        with pytest.raises(ProbeError) as caught:
            resolver.resolve("slow.example", socket.AF_INET, deadline)
        deadline.close()
        assert caught.value.reason is Reason.TIMEOUT
        deadline.wake()  # as the late answer would
        gevent.sleep(0.01)  # a stray switch would end it early, or raise
        assert resolver.cached("slow.example", socket.AF_INET) is None


def test_a_slow_upload_is_the_sites_time(check) -> None:
    def slow_reader(connection: socket.socket) -> None:
        request(connection)
        time.sleep(0.3)
        while len(connection.recv(1 << 20)) == 1 << 20:
            pass
        connection.settimeout(0.2)
        try:
            while connection.recv(1 << 20):
                pass
        except TimeoutError:
            connection.sendall(PAGE)

    with scripted(slow_reader) as port:
        result = check(f"http://127.0.0.1:{port}/", body=Body(text="x" * 8_000_000))
    assert result.status is Status.UP
    assert result.ttfb_us >= 300_000 > result.lag_us


def test_a_kept_connection_with_something_left_in_it_is_not_used_again(plugins) -> None:
    connections: list[int] = []

    def chatty(connection: socket.socket) -> None:
        connections.append(1)
        while request(connection):
            connection.sendall(PAGE + page(b"stale", status="500 Stale"))

    with scripted(chatty) as port:
        url = f"http://127.0.0.1:{port}/"
        plan = compile_plan(Endpoint(name=url, url=url, options={"keep_alive": True}), plugins)
        results = [probe(plan) for _ in range(3)]
        plan.close()
    assert {verdict(result) for result in results} == {(Status.UP, None, 200)}
    assert {result.address for result in results} == {"127.0.0.1"}


def test_a_failed_hop_keeps_nothing_of_the_hop_before(check) -> None:
    def site(connection: socket.socket) -> None:
        if request(connection).startswith(b"GET / "):
            connection.sendall(page(b"gone", "Location: /next", status="302 Found"))
        else:
            silent(connection)

    with scripted(site) as port:
        result = check(f"http://127.0.0.1:{port}/", timeout_s=0.5)
    assert verdict(result) == (Status.DOWN, Reason.TIMEOUT, None)
    assert result.body_bytes is None


def test_the_body_of_a_redirect_may_be_anything(check) -> None:
    lie = page(b"not gzip", "Location: /next", "Content-Encoding: gzip", status="302 Found")
    with scripted(lambda c: c.sendall(lie if b"GET / " in request(c) else PAGE)) as port:
        assert check(f"http://127.0.0.1:{port}/").status is Status.UP


def test_a_before_that_takes_all_of_the_timeout_is_the_plugins_fault(plugins) -> None:
    with scripted(answers(PAGE)) as port:
        url = f"http://127.0.0.1:{port}/"
        plan = compile_plan(Endpoint(name=url, url=url, timeout_s=0.1), plugins)
        result = probe(plan._replace(before=(lambda prepared: gevent.sleep(30),)))
    assert verdict(result) == (Status.MISSED, Reason.PLUGIN, None)


def test_a_zone_that_is_no_interface_is_a_mistake_of_the_configuration(check) -> None:
    result = check("tcp://[fe80::1%25nosuch0]:9")
    assert (result.status, result.reason) == (Status.MISSED, Reason.CONFIG)
