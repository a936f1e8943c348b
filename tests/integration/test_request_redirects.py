"""What a request carries when it is redirected, over both transports, and when its connection is kept."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import pytest
from probing import probing
from scripted import page, request, scripted, server_tls, verdict

from watcher import Endpoint, Reason, Result, Status
from watcher.plan import compile_plan
from watcher.plugins.assertions import status
from watcher.plugins.protocols import connection, http
from watcher.plugins.request import body, cookies, headers, proxy, query, template, user_agent
from watcher.probe import probe

PLUGINS = (connection, http, status, body, cookies, headers, proxy, query, template, user_agent)
TRANSPORTS = pytest.mark.parametrize("transport", ["measured", "requests"])
PAGE = page(b"hello")


class Arrived(NamedTuple):
    """A request as a server got it."""

    line: str
    fields: dict[str, str]
    body: bytes


class Site:
    """A server that notes each request and gives the answers that it was told, the last one for ever."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.arrived: list[Arrived] = []
        self.connections = 0

    def __call__(self, of: socket.socket) -> None:
        self.connections += 1
        while (data := request(of)):
            head, _, rest = data.partition(b"\r\n\r\n")
            line, *lines = head.decode("latin-1").split("\r\n")
            fields = dict(field.split(": ", 1) for field in lines)
            while len(rest) < int(fields.get("Content-Length", 0)):
                rest += of.recv(65536)
            self.arrived.append(Arrived(line, fields, rest))
            of.sendall(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])

    def all(self, field: str) -> list[str | None]:
        """Give what each request had in a field."""
        return [one.fields.get(field) for one in self.arrived]


def to(place: str, *fields: str, code: int = 302) -> bytes:
    """Write a redirect."""
    return page(b"", f"Location: {place}", *fields, status=f"{code} Found")


@contextmanager
def serving(*sites: Site) -> Iterator[list[int]]:
    """Run sites; give their ports."""
    with ExitStack() as stack:
        yield [stack.enter_context(scripted(site)) for site in sites]


@pytest.fixture(scope="module", name="check")
def fixture_check(anchor: None) -> Callable[..., Result]:
    """Probe once with options as they are configured."""
    del anchor  # held for the session
    return probing(*PLUGINS)


@TRANSPORTS
def test_cookies_stay_on_their_host_and_meet_those_that_it_sets(check: Callable[..., Result], transport: str) -> None:
    first, other = Site(), Site(PAGE)
    with serving(first, other) as (port, elsewhere):
        first.answers = [to("/in", "Set-Cookie: fresh=1"), to(f"http://localhost:{elsewhere}/there"), PAGE]
        other.answers = [to(f"http://127.0.0.1:{port}/back", "Set-Cookie: theirs=2")]
        result = check(f"http://127.0.0.1:{port}/", cookies={"session": "31d4"}, transport=transport)
    assert verdict(result) == (Status.UP, None, 200)
    assert [one.line.split()[1] for one in first.arrived] == ["/", "/in", "/back"]
    assert [sorted((field or "").split("; ")) for field in first.all("Cookie")] == [
        ["session=31d4"], ["fresh=1", "session=31d4"], ["fresh=1", "session=31d4"]
    ]  # fmt: skip
    assert other.all("Cookie") == [None]


@TRANSPORTS
def test_a_site_may_replace_or_end_a_cookie(check: Callable[..., Result], transport: str) -> None:
    site = Site(to("/in", "Set-Cookie: session=new; Path=/"), to("/out", "Set-Cookie: lang=; Path=/; Max-Age=0"), PAGE)
    with serving(site) as (port,):
        check(f"http://127.0.0.1:{port}/", cookies={"session": "old", "lang": "en"}, transport=transport)
    assert [sorted(field.split("; ")) for field in site.all("Cookie")] == [
        ["lang=en", "session=old"], ["lang=en", "session=new"], ["session=new"]
    ]  # fmt: skip


@TRANSPORTS
def test_a_cookie_among_headers_does_as_the_others_do(check: Callable[..., Result], transport: str) -> None:
    site, other = Site(), Site(PAGE)
    with serving(site, other) as (port, elsewhere):
        site.answers = [to("/in"), to(f"http://localhost:{elsewhere}/")]
        check(f"http://127.0.0.1:{port}/", headers={"Cookie": "id={{uuid}}"}, transport=transport)
    sent = set(site.all("Cookie"))
    assert len(site.arrived) == 2 and len(sent) == 1  # the same value all over a check
    uuid.UUID(sent.pop().removeprefix("id="))
    assert other.all("Cookie") == [None]


@TRANSPORTS
def test_what_was_sent_over_tls_does_not_go_on_in_the_clear(
    check: Callable[..., Result], transport: str, authority: Any, ca_file: str
) -> None:
    site, clear = Site(), Site(PAGE)
    with serving(clear) as (plain_port,), scripted(site, server_tls(authority.issue_cert("127.0.0.1"))) as port:
        site.answers = [to(f"http://127.0.0.1:{plain_port}/")]
        result = check(
            f"https://127.0.0.1:{port}/",
            cookies={"a": "1"},
            headers={"X-Api-Key": "hunter2"},
            tls={"ca": ca_file},
            transport=transport,
        )
    assert verdict(result) == (Status.UP, None, 200)
    for field, sent in (("Cookie", "a=1"), ("X-Api-Key", "hunter2")):
        assert (site.all(field), clear.all(field)) == ([sent], [None])


@TRANSPORTS
def test_secrets_do_not_go_to_another_host_and_who_asks_does(check: Callable[..., Result], transport: str) -> None:
    site, other = Site(), Site(PAGE)
    with serving(site, other) as (port, elsewhere):
        site.answers = [to(f"http://localhost:{elsewhere}/there?a=b")]
        check(
            f"http://127.0.0.1:{port}/",
            headers={"X-Api-Key": "hunter2", "Authorization": "Bearer hunter2"},
            cookies={"session": "hunter2"},
            query={"token": "hunter2"},
            user_agent="probe/1",
            transport=transport,
        )
    assert site.arrived[0].line == "GET /?token=hunter2 HTTP/1.1"
    assert len(other.arrived) == 1
    arrived = other.arrived[0]
    assert arrived.line == "GET /there?a=b HTTP/1.1"
    assert arrived.fields["User-Agent"] == "probe/1"
    assert "hunter2" not in repr(arrived)


@TRANSPORTS
@pytest.mark.parametrize(("code", "goes_on"), [(302, False), (303, False), (307, True), (308, True)])
def test_a_body_goes_on_where_the_status_says_so(
    check: Callable[..., Result], transport: str, code: int, goes_on: bool
) -> None:
    site = Site(to("/in", code=code), PAGE)
    with serving(site) as (port,):
        check(f"http://127.0.0.1:{port}/", body={"text": "é {{now_unix}}"}, transport=transport)
    assert len(site.arrived) == 2
    first, second = site.arrived[0], site.arrived[1]
    assert first.line == "POST / HTTP/1.1" and first.body.decode().startswith("é 1")
    assert second.line.split()[0] == ("POST" if goes_on else "GET")  # RFC 9110, 15.4
    assert second.body == (first.body if goes_on else b"")


@TRANSPORTS
def test_names_are_filled_in_anew_at_each_check(check: Callable[..., Result], transport: str) -> None:
    site = Site(PAGE)
    with serving(site) as (port,):
        for _ in range(2):
            result = check(
                f"http://127.0.0.1:{port}/{{{{uuid}}}}", body={"form": {"of": "{{endpoint}}"}}, transport=transport
            )
            assert verdict(result) == (Status.UP, None, 200)
    ids = [uuid.UUID(one.line.split()[1][1:]) for one in site.arrived]
    assert len(set(ids)) == 2
    for one in site.arrived:
        assert int(one.fields["Content-Length"]) == len(one.body)
        assert one.body.endswith(b"%2F%7B%7Buuid%7D%7D")  # the name is the URL as it is written


def test_a_kept_connection_carries_all_of_it_each_time(anchor: None, plugins: Any) -> None:
    del anchor
    site = Site(PAGE)
    options = {"cookies": {"a": "1"}, "query": {"b": ("2",)}, "user_agent": "probe/1", "keep_alive": True}
    with serving(site) as (port,):
        results = checks(plugins, f"http://127.0.0.1:{port}/", options)
    assert [verdict(result) for result in results] == [(Status.UP, None, 200)] * 3
    assert site.connections == 1
    assert [(one.line, one.fields["Cookie"], one.fields["User-Agent"]) for one in site.arrived] == [
        ("GET /?b=2 HTTP/1.1", "a=1", "probe/1")
    ] * 3


def test_a_request_that_is_new_at_each_check_works_with_keep_alive(anchor: None, plugins: Any) -> None:
    del anchor
    site = Site(PAGE)
    options = {"headers": {"X-Id": "{{uuid}}"}, "keep_alive": True}
    with serving(site) as (port,):
        results = checks(plugins, f"http://127.0.0.1:{port}/", options)
    assert [verdict(result) for result in results] == [(Status.UP, None, 200)] * 3
    assert len(set(site.all("X-Id"))) == 3


def checks(plugins: Any, url: str, options: dict[str, Any]) -> list[Result]:
    """Probe three times with one plan."""
    plan = compile_plan(Endpoint(name=url, url=url, options=options), plugins)
    try:
        return [probe(plan) for _ in range(3)]
    finally:
        plan.close()


@TRANSPORTS
def test_a_failure_to_connect_tells_nothing_of_what_was_sent(check: Callable[..., Result], transport: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    result = check(f"http://127.0.0.1:{port}/?token=hunter2", query={"key": "hunter2"}, transport=transport)
    assert (result.status, result.reason) == (Status.DOWN, Reason.CONNECT)
    assert result.detail == "connection refused"


@TRANSPORTS
@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PROPFIND"])
def test_any_method_is_sent(check: Callable[..., Result], transport: str, method: str) -> None:
    answer = page(b"", status="204 No Content") if method != "HEAD" else PAGE.removesuffix(b"hello")
    site = Site(answer)
    with serving(site) as (port,):
        result = check(f"http://127.0.0.1:{port}/", method=method, transport=transport)
    assert result.status is Status.UP
    assert [one.line for one in site.arrived] == [f"{method} / HTTP/1.1"]
