"""`addresses = "each"` end to end: names of dnsmasq, servers at 127.0.0.1 to 127.0.0.4, rows in a real database."""

from __future__ import annotations

import json
import logging
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import gevent
import pytest
import trustme
from name_servers import Start, dnsmasqs
from probing import free_ports
from scripted import Script, answers, page, request, scripted, server_tls
from statements import execute

from watcher.config.options import OptionTypes
from watcher.models import Endpoint, Incident, Reason, Result, Status
from watcher.plan import Plan, compile_plan
from watcher.probe import probe
from watcher.registry import plugin_manager
from watcher.store import agents, metrics
from watcher.store.connection import connect
from watcher.watch import Watch

pytestmark = pytest.mark.usefixtures("anchor")

PAGE = answers(page(b"hello"))  # pylint: disable=invalid-name  # a function, as constant as the rest
BROKEN = answers(page(b"oh", status="500 Oh"))  # pylint: disable=invalid-name
OK = (Status.UP, None)
REFUSED = (Status.DOWN, Reason.CONNECT)
Planned = Callable[..., Plan]


@pytest.fixture(name="planned")
def fixture_planned() -> Iterator[Planned]:
    """Give `planned(url, **options)`: an endpoint's plan, options as a configuration writes them."""
    manager = plugin_manager()
    keys = {key: wanted for found in manager.hook.watcher_options() for key, wanted in found.items()}
    types = OptionTypes({key: (wanted, "test") for key, wanted in keys.items()})

    def plan(url: str, timeout_s: float = 5.0, endpoint_id: int = 0, **raw: Any) -> Plan:
        mistakes: list[str] = []
        options = types.convert({"addresses": "each", **raw}, lambda *mistake: mistakes.append(str(mistake)), {})
        assert not mistakes
        endpoint = Endpoint(id=endpoint_id, name="site", url=url, timeout_s=timeout_s, options=options)
        return compile_plan(endpoint, manager)

    yield plan


@pytest.fixture(name="dnsmasq")
def fixture_dnsmasq(tmp_path: Path) -> Iterator[Start]:
    """Start name servers."""
    with dnsmasqs(tmp_path) as start:
        yield start


def rows(plan: Plan) -> list[Result]:
    """Check once; give the rows in the order in which they are kept: the last stands for the endpoint."""
    kept: list[Result] = []
    kept.append(gevent.spawn(probe, plan, 0, None, kept.append).get())
    return kept


def said(results: list[Result]) -> dict[str | None, tuple[Status, Reason | None]]:
    """Give what each address said."""
    return {result.address: (result.status, result.reason) for result in results}


@contextmanager
def serving(scripts: dict[str, Script], contexts: dict[str, ssl.SSLContext] | None = None) -> Iterator[int]:
    """Serve at several addresses, on one port; every connection runs the script of its address."""
    while True:
        with ExitStack() as held:
            port = free_ports("all")["all"]
            try:
                for host, script in scripts.items():
                    held.enter_context(scripted(script, (contexts or {}).get(host), host, port))
            except OSError:  # somebody else has it at one of them
                continue
            yield port
            return


def test_every_address_has_a_row_and_the_last_stands_for_the_endpoint(dnsmasq: Start, planned: Planned) -> None:
    server = dnsmasq({"www.test": ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"]}, ttl=60)
    with serving({"127.0.0.1": PAGE, "127.0.0.2": BROKEN, "127.0.0.3": PAGE}) as port:
        plan = planned(f"http://www.test:{port}/", resolver=server.address, addresses={"up": "any"})
        first, second = rows(plan), rows(plan)
    expected = {
        "127.0.0.1": OK, "127.0.0.2": (Status.DOWN, Reason.STATUS), "127.0.0.3": OK, "127.0.0.4": REFUSED,
    }  # fmt: skip
    assert said(first) == said(second) == expected
    assert (first[-1].status, first[-1].detail) == (Status.UP, "2 of 4 addresses up")
    start_us = first[0].time_us
    assert [row.time_us for row in first] == [start_us, start_us + 1, start_us + 2, start_us + 3]
    assert len({row.dns_us for row in first}) == 1 and first[0].dns_us > 0  # they waited for one answer
    assert {row.dns_us for row in second} == {0}
    assert {row.http_status for row in first} == {200, 500, None}
    assert all(row.latency_us > 0 and row.lag_us is not None for row in first)


@pytest.mark.parametrize(
    ("up", "status", "detail"),
    [
        ("any", Status.UP, "2 of 3 addresses up"),
        ("all", Status.DOWN, "connection refused; 2 of 3 addresses up"),
        (2, Status.UP, "2 of 3 addresses up"),
        (3, Status.DOWN, "connection refused; 2 of 3 addresses up, 3 must be"),
    ],
)
def test_how_many_must_be_up(
    dnsmasq: Start, planned: Planned, up: str | int, status: Status, detail: str
) -> None:
    server = dnsmasq({"www.test": ["127.0.0.1", "127.0.0.2", "127.0.0.3"]}, ttl=60)
    with serving({"127.0.0.1": PAGE, "127.0.0.3": PAGE}) as port:
        last = rows(planned(f"http://www.test:{port}/", resolver=server.address, addresses={"up": up}))[-1]
    assert (last.status, last.detail) == (status, detail)


def test_a_name_with_too_few_addresses_is_down_by_a_row_of_none(dnsmasq: Start, planned: Planned) -> None:
    server = dnsmasq({"www.test": ["127.0.0.1"]}, ttl=60)
    with serving({"127.0.0.1": PAGE}) as port:
        kept = rows(planned(f"http://www.test:{port}/", resolver=server.address, addresses={"up": 2}))
    assert said(kept) == {"127.0.0.1": OK, None: (Status.DOWN, Reason.ASSERTION)}
    assert (kept[-1].address, kept[-1].detail) == (None, "1 of 1 addresses up, 2 must be")


def test_each_address_is_asked_by_the_name_in_sni_and_host(
    dnsmasq: Start, planned: Planned, authority: trustme.CA, ca_file: str
) -> None:
    server = dnsmasq({"www.test": ["127.0.0.1", "127.0.0.2"]}, ttl=60)
    names, hosts = [], []

    def script(served: socket.socket) -> None:
        head = request(served)
        hosts.append((served.getsockname()[0], re.search(rb"Host: (\S+)", head)[1].decode()))
        served.sendall(page(b"hello"))

    context = server_tls(authority.issue_cert("www.test"))
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    both = ("127.0.0.1", "127.0.0.2")
    with serving(dict.fromkeys(both, script), dict.fromkeys(both, context)) as port:
        kept = rows(planned(f"https://www.test:{port}/", resolver=server.address, tls={"ca": ca_file}))
    assert said(kept) == {"127.0.0.1": OK, "127.0.0.2": OK}
    assert names == ["www.test", "www.test"]
    assert sorted(hosts) == [(address, f"www.test:{port}") for address in ("127.0.0.1", "127.0.0.2")]


def test_a_certificate_is_judged_at_each_address(
    dnsmasq: Start, planned: Planned, authority: trustme.CA, ca_file: str
) -> None:
    server = dnsmasq({"www.test": ["127.0.0.1", "127.0.0.2"]}, ttl=60)
    contexts = {
        "127.0.0.1": server_tls(authority.issue_cert("www.test")),
        "127.0.0.2": server_tls(authority.issue_cert("old.test")),
    }
    with serving(dict.fromkeys(contexts, PAGE), contexts) as port:
        kept = rows(planned(f"tls://www.test:{port}", resolver=server.address, tls={"ca": ca_file}))
    assert said(kept) == {"127.0.0.1": OK, "127.0.0.2": (Status.DOWN, Reason.CERTIFICATE)}
    assert kept[-1].status is Status.DOWN


def test_protocols_over_dial_and_datagrams_have_each_address_too(dnsmasq: Start, planned: Planned) -> None:
    def banner(served: socket.socket) -> None:
        served.sendall(b"220 hello\r\n")

    server = dnsmasq({"www.test": ["127.0.0.1", "127.0.0.2"], "names.test": ["127.0.0.1", "127.0.0.2"]}, ttl=60)
    with serving({"127.0.0.1": banner, "127.0.0.2": answers()}) as port:
        options = {"resolver": server.address, "tcp": {"expect": {"contains": "220"}}}
        kept = rows(planned(f"tcp://www.test:{port}", timeout_s=1.0, **options))
    assert said(kept) == {"127.0.0.1": OK, "127.0.0.2": (Status.DOWN, Reason.CLOSED)}
    kept = rows(planned(f"dns://names.test:{server.port}/www.test", resolver=server.address))
    assert said(kept) == {"127.0.0.1": OK, "127.0.0.2": REFUSED}  # dnsmasq is at the first alone


def test_a_redirect_within_the_host_stays_at_the_address(dnsmasq: Start, planned: Planned) -> None:
    server = dnsmasq({"www.test": ["127.0.0.1", "127.0.0.2"], "other.test": ["127.0.0.1"]}, ttl=60)
    seen = []

    def script(served: socket.socket) -> None:
        path = request(served).split(b" ")[1].decode()
        seen.append((served.getsockname()[0], path))
        where = {"/": "/here", "/here": f"http://other.test:{served.getsockname()[1]}/there"}.get(path)
        served.sendall(page(b"hello", f"Location: {where}", status="302 Found") if where else page(b"hello"))

    with serving(dict.fromkeys(("127.0.0.1", "127.0.0.2"), script)) as port:
        kept = rows(planned(f"http://www.test:{port}/", resolver=server.address))
    assert {row.status for row in kept} == {Status.UP}
    assert sorted(seen) == [
        ("127.0.0.1", "/"), ("127.0.0.1", "/here"), ("127.0.0.1", "/there"), ("127.0.0.1", "/there"),
        ("127.0.0.2", "/"), ("127.0.0.2", "/here"),
    ]  # fmt: skip


def test_what_a_step_remembers_it_remembers_of_one_address(dnsmasq: Start, planned: Planned) -> None:
    server = dnsmasq({"www.test": ["127.0.0.1", "127.0.0.2", "127.0.0.3"]}, ttl=60)
    asked: list[str] = []

    def script(served: socket.socket) -> None:
        address = served.getsockname()[0]
        asked.append(address)
        if f'nonce="{address}"'.encode() in request(served):
            served.sendall(page(b"hello"))
        else:  # each server knows its own challenges alone
            challenge = f'WWW-Authenticate: Digest realm="x", qop="auth", nonce="{address}"'
            served.sendall(page(b"", challenge, status="401 Unauthorized"))

    login = {"username": "me", "password": "secret"}
    with serving(dict.fromkeys(("127.0.0.1", "127.0.0.2", "127.0.0.3"), script)) as port:
        plan = planned(f"http://www.test:{port}/", resolver=server.address, digest_auth=login)
        for requests_each in (2, 1, 1):
            asked.clear()
            assert set(said(rows(plan)).values()) == {OK}
            assert sorted(asked) == sorted(["127.0.0.1", "127.0.0.2", "127.0.0.3"] * requests_each)


def test_addresses_that_join_and_leave_are_told(
    dnsmasq: Start, planned: Planned, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "watcher")
    server = dnsmasq({"www.test": ["127.0.0.1", "127.0.0.2"]})
    with serving(dict.fromkeys(("127.0.0.1", "127.0.0.2", "127.0.0.3"), PAGE)) as port:
        plan = planned(f"http://www.test:{port}/", resolver=server.address)
        assert [row.detail for row in rows(plan)] == [None, None]  # the first check knows of no change
        server.has({"www.test": ["127.0.0.2", "127.0.0.3"]})
        gevent.sleep(1.0)
        changed = rows(plan)
        assert [row.detail for row in rows(plan)] == [None, None]
        server.has({})
        gevent.sleep(1.0)
        gone = rows(plan)
        server.has({"www.test": ["127.0.0.3", "127.0.0.2"]})
        gevent.sleep(1.0)
        assert [row.detail for row in rows(plan)] == [None, None]  # as they were
    assert {row.address: row.detail for row in changed} == {
        "127.0.0.3": "joined the name", "127.0.0.2": "left the name: 127.0.0.1",
    }  # fmt: skip
    assert (said(gone), gone[0].detail) == ({None: (Status.DOWN, Reason.DNS)}, "name not found: www.test")
    assert [record.getMessage() for record in caplog.records] == [
        "endpoint 'site': joined the name: 127.0.0.3", "endpoint 'site': left the name: 127.0.0.1",
    ]  # fmt: skip


def test_more_addresses_than_the_cap_are_left_out_and_those_known_stay(
    dnsmasq: Start, planned: Planned, caplog: pytest.LogCaptureFixture
) -> None:
    every = [f"127.0.0.{number}" for number in range(1, 21)]
    server = dnsmasq({"www.test": every[:4]})
    with serving(dict.fromkeys(every, PAGE)) as port:
        plan = planned(f"http://www.test:{port}/", resolver=server.address, addresses={"most": 4})
        assert set(said(rows(plan))) == set(every[:4])
        server.has({"www.test": every[1:]})
        gevent.sleep(1.0)
        kept = set(said(rows(plan)))
        assert set(said(rows(plan))) == kept
        whole = planned(f"http://www.test:{port}/", resolver=server.address)
        assert len(rows(whole)) == 16  # by default
    assert len(kept) == 4 and kept > set(every[1:4])
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warned == [
        "endpoint 'site': its name has 19 addresses, 4 are checked",
        "endpoint 'site': its name has 19 addresses, 16 are checked",
    ]


def test_a_literal_address_is_the_only_one(planned: Planned) -> None:
    with serving({"127.0.0.1": PAGE}) as port:
        assert said(rows(planned(f"http://127.0.0.1:{port}/"))) == {"127.0.0.1": OK}


@pytest.mark.parametrize(
    "other",
    [{"address": "127.0.0.1"}, {"keep_alive": True}, {"transport": "requests"}],
    ids=lambda other: next(iter(other)),
)
def test_what_it_cannot_be_had_together_with_is_said(planned: Planned, other: dict[str, Any]) -> None:
    result = probe(planned("http://www.test/", **other))
    assert (result.status, result.reason) == (Status.MISSED, Reason.CONFIG)
    assert "addresses" in result.detail and "cannot be had together" in result.detail


def test_one_address_that_hangs_holds_no_other_and_ends_at_the_deadline(dnsmasq: Start, planned: Planned) -> None:
    server = dnsmasq({"www.test": ["127.0.0.1", "127.0.0.2"]}, ttl=60)

    def silent(served: socket.socket) -> None:
        while served.recv(4096):
            pass

    with serving({"127.0.0.1": PAGE, "127.0.0.2": silent}) as port:
        kept = rows(planned(f"http://www.test:{port}/", timeout_s=1.0, resolver=server.address))
    assert said(kept) == {"127.0.0.1": OK, "127.0.0.2": (Status.DOWN, Reason.TIMEOUT)}
    slow, quick = kept[-1], kept[0]
    assert slow.detail == "timeout in ttfb; 1 of 2 addresses up"
    assert quick.latency_us < slow.latency_us


def test_a_watch_keeps_every_row_and_has_one_standing(dnsmasq: Start, planned: Planned) -> None:
    server = dnsmasq({"www.test": ["127.0.0.1", "127.0.0.2"]}, ttl=60)
    kept: list[Result] = []
    incidents: list[Incident] = []

    def watched(port: int) -> None:
        watch = Watch("here", 4, kept.append, incidents.append, lambda *_: None)
        watch.put(planned(f"http://www.test:{port}/", endpoint_id=7, resolver=server.address))
        with gevent.Timeout(10):
            while not incidents:
                gevent.sleep(watch.serve())
        assert watch.stop(5)
        assert watch.standing[Status.DOWN] == 1 and watch.counts.checks == 1

    with serving({"127.0.0.1": PAGE}) as port:
        gevent.spawn(watched, port).get()
    assert said(kept) == {"127.0.0.1": OK, "127.0.0.2": REFUSED}
    assert [(one.before, one.result.address) for one in incidents] == [(None, "127.0.0.2")]


def test_the_database_shows_what_stands_for_the_endpoint(dnsmasq: Start, planned: Planned, database: str) -> None:
    server = dnsmasq({"www.test": ["127.0.0.1", "127.0.0.2", "127.0.0.3"]}, ttl=60)
    with closing(connect(database, name="test")) as store:
        insert = "INSERT INTO endpoints (name, url) VALUES ('site', 'http://www.test/') RETURNING id"
        ((endpoint_id,),) = execute(store, insert)
        with serving({"127.0.0.1": PAGE, "127.0.0.3": PAGE}) as port:
            plan = planned(f"http://www.test:{port}/", endpoint_id=endpoint_id, resolver=server.address)
            kept = [*rows(plan), *rows(plan)]
        for agent in ("here", "there"):
            agent_id = agents.register(store, agent, "host", "", "1", "kernel")
            assert metrics.store(store, [metrics.encode(kept)], agent_id) == 6
        last = "SELECT status::text, detail FROM endpoint_status"
        assert execute(store, last) == [("down", "connection refused; 2 of 3 addresses up")]
        columns = "location, host(address), status::text, count(*)"
        checks = f"SELECT {columns} FROM endpoint_checks GROUP BY 1, 2, 3 ORDER BY 1"
        assert execute(store, checks) == [("here", "127.0.0.2", "down", 2), ("there", "127.0.0.2", "down", 2)]
        series = "SELECT host(address), count(*), sum((status = 'up')::int) FROM metrics GROUP BY 1 ORDER BY 1"
        assert execute(store, series) == [("127.0.0.1", 4, 4), ("127.0.0.2", 4, 0), ("127.0.0.3", 4, 4)]


def test_the_command_check_shows_the_other_addresses(dnsmasq: Start) -> None:
    server = dnsmasq({"www.test": ["127.0.0.1", "127.0.0.2"]}, ttl=60)
    with serving({"127.0.0.1": PAGE}) as port:
        options = [f"--option=resolver={server.address}", '--option=addresses={"up": "any"}']
        command = [sys.executable, "-m", "watcher", "check", f"http://www.test:{port}/", *options]
        picture = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        record = subprocess.run([*command, "--json"], capture_output=True, timeout=60, check=True).stdout
    assert re.search(r"other +127\.0\.0\.2, down, [\d.]+ ms, connect: connection refused", picture)
    told = json.loads(record)
    assert (told["status"], told["address"], told["detail"]) == ("up", "127.0.0.1", "1 of 2 addresses up")
    assert [(other["status"], other["address"]) for other in told["others"]] == [("down", "127.0.0.2")]
