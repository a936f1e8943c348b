"""The output `statsd`: what arrives, compared with what Datadog's own client sends, and the size of datagrams."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import plugged
import pytest
from datadog.dogstatsd import DogStatsd
from hypothesis import given
from hypothesis import strategies as st

from watcher import Endpoint, Reason, Result, Status
from watcher.plugins.outputs import _datagrams, statsd
from watcher.plugins.outputs._datagrams import packed
from watcher.plugins.outputs.statsd import StatsdOutput

SITE = Endpoint(name="front page", url="https://shop.test/", labels={"team": "web", "tier": "1"})
UP = Result(SITE, 0, Status.UP, None, 200, 12_345, None, 2_000, 500, 9_845, 0)
MISSED = Result(SITE, 0, Status.MISSED, Reason.OVERLOAD)
DOWN = Result(SITE, 0, Status.DOWN, Reason.TIMEOUT, latency_us=10_000_000)
DEGRADED = Result(SITE, 0, Status.DEGRADED, Reason.LATENCY, 200, latency_us=3_000_000)
PLUGINS = plugged.manager()
PLUGINS.register(statsd, "statsd")

# https://docs.datadoghq.com/developers/dogstatsd/datagram_shell/ : <NAME>:<VALUE>|<TYPE>|#<KEY>:<VALUE>,…
DATAGRAM = re.compile(r"(?P<name>[\w.-]+):(?P<value>[\d.]+)\|(?P<type>ms|g|c)(?:\|#(?P<tags>[^|#\s]+))?")


@pytest.fixture(name="server")
def fixture_server() -> Iterator[socket.socket]:
    """Give a socket that receives datagrams."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        yield server


def address(server: socket.socket) -> str:
    """Give the address of a server as users write it."""
    host, port = server.getsockname()
    return f"{host}:{port}"


def output(**table: Any) -> StatsdOutput:
    """Give the output for `[plugins.statsd]`."""
    found, mistakes = plugged.settings(PLUGINS, {"statsd": table})
    assert not mistakes
    (made,) = PLUGINS.hook.watcher_output(settings=found)
    return made


def lines(server: socket.socket) -> list[str]:
    """Receive one datagram."""
    return server.recv(65_536).decode().split("\n")


def test_nothing_is_sent_unless_configured() -> None:
    assert PLUGINS.hook.watcher_output(settings=plugged.settings(PLUGINS, {})[0]) == []


def test_metrics_are_those_that_the_client_of_datadog_sends(server: socket.socket) -> None:
    host, port = server.getsockname()
    with closing(output(address=address(server), prefix="probe", phases=True)) as made:
        made([UP, MISSED, DOWN, DEGRADED])
    ours = lines(server)
    series = ["endpoint:front_page", "team:web", "tier:1", "location:here"]
    theirs: list[str] = []
    at_once = {"disable_buffering": True, "disable_aggregation": True, "disable_telemetry": True}
    client = DogStatsd(host, port, origin_detection_enabled=False, **at_once)
    try:
        up, missed = [*series, "status:up"], [*series, "status:missed"]
        for name, value in {"latency": 12.345, "connect": 2.0, "tls": 0.5, "ttfb": 9.845, "transfer": 0.0}.items():
            client.timing(f"probe.{name}", value, tags=up)
        client.gauge("probe.up", 1, tags=series)
        client.increment("probe.checks", tags=up)
        client.increment("probe.checks", tags=[*missed, "reason:overload"])
        client.timing("probe.latency", 10_000.0, tags=[*series, "status:down"])
        client.gauge("probe.up", 0, tags=series)
        client.increment("probe.checks", tags=[*series, "status:down", "reason:timeout"])
        client.timing("probe.latency", 3_000.0, tags=[*series, "status:degraded"])
        client.gauge("probe.up", 1, tags=series)
        client.increment("probe.checks", tags=[*series, "status:degraded", "reason:latency"])
        while len(theirs) < len(ours):
            theirs += [line for line in lines(server) if line]
    finally:
        client.stop()
        client.close_socket()
    assert ours == theirs


def test_the_plain_dialect_has_the_endpoint_in_the_name(server: socket.socket) -> None:
    with closing(output(address=address(server), dialect="statsd")) as made:
        made([UP, MISSED, DOWN])
    place = "watcher.front_page"
    assert lines(server) == [
        f"{place}.latency:12.345|ms", f"{place}.up:1|g", f"{place}.checks.up:1|c", f"{place}.checks.missed:1|c",
        f"{place}.latency:10000.0|ms", f"{place}.up:0|g", f"{place}.checks.down:1|c",
    ]  # fmt: skip


def test_labels_are_chosen_and_tags_added(server: socket.socket) -> None:
    with closing(output(address=address(server), labels=["tier", "none"], tags={"env": "prod"})) as made:
        made([UP])
    assert [DATAGRAM.fullmatch(line)["tags"] for line in lines(server)] == [
        "endpoint:front_page,tier:1,location:here,env:prod,status:up",
        "endpoint:front_page,tier:1,location:here,env:prod",
        "endpoint:front_page,tier:1,location:here,env:prod,status:up",
    ]


@pytest.mark.parametrize("dialect", ["dogstatsd", "statsd"])
@pytest.mark.parametrize("name", ["a|b:1|c\n#x,y@z", "ünïcode näme", "https://a.test/?q=1|2", " "])
def test_no_name_breaks_the_grammar(server: socket.socket, dialect: str, name: str) -> None:
    endpoint = Endpoint(name=name, url="x", labels={"a,b#": "c|d\te"})
    with closing(output(address=address(server), dialect=dialect)) as made:
        made([Result(endpoint, 0, Status.UP, latency_us=1)])
    found = [DATAGRAM.fullmatch(line) for line in lines(server)]
    assert [match["type"] for match in found] == ["ms", "g", "c"]
    assert dialect == "statsd" or all(len(match["tags"].split(",")) in (3, 4) for match in found)


PREFIX = r"plugins.statsd.prefix: expected a string that matches ^[A-Za-z][A-Za-z0-9_.-]*\Z, got "


@pytest.mark.parametrize("dialect", ["dogstatsd", "statsd"])
def test_no_secret_of_a_url_is_sent(server: socket.socket, dialect: str) -> None:
    endpoint = Endpoint(name="https://x.test/?token=hunter2", url="https://x.test/?token=hunter2")
    with closing(output(address=address(server), dialect=dialect)) as made:
        made([Result(endpoint, 0, Status.UP, latency_us=1)])
    received = lines(server)
    assert len(received) == 3 and "hunter2" not in str(received)


def test_many_results_arrive_in_datagrams_that_fit_a_packet(server: socket.socket) -> None:
    sites = [Endpoint(name=f"site {number}", url="x") for number in range(300)]
    with closing(output(address=address(server))) as made:
        made([Result(site, 0, Status.UP, latency_us=1000) for site in sites])
    received: list[str] = []
    sizes: list[int] = []
    while len(received) < 900:
        datagram = server.recv(65_536)
        sizes.append(len(datagram))
        received += datagram.decode().split("\n")
    assert max(sizes) <= 1432 and sorted(sizes)[2] > 1300  # the last of each slice of results is what is left
    latencies = [line for line in received if ".latency:" in line]
    assert latencies == [f"watcher.latency:1.0|ms|#endpoint:site_{n},location:here,status:up" for n in range(300)]


@given(st.lists(st.text("aü|", min_size=1, max_size=40), min_size=1), st.integers(20, 60))
def test_packing_keeps_every_line_whole_and_in_its_order(texts: list[str], limit: int) -> None:
    datagrams = list(packed(texts, limit))
    assert b"\n".join(datagrams).decode().split("\n") == texts
    for datagram in datagrams:
        assert len(datagram) <= limit or b"\n" not in datagram
    for first, second in zip(datagrams, datagrams[1:]):  # none could have been left out
        assert len(first) + 1 + len(second.split(b"\n")[0]) > limit


def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "dsd.socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))
        server.settimeout(10)
        for url in (f"unix://{path}", f"unix:{path}"):
            with closing(output(address=url)) as made:
                made([UP] * 30)
            datagram = server.recv(65_536)
            assert 1432 < len(datagram) <= 8192 and datagram.count(b"\n") == 89


def test_ipv6() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server:
        server.bind(("::1", 0))
        server.settimeout(10)
        with closing(output(address=f"[::1]:{server.getsockname()[1]}")) as made:
            made([UP])
        assert len(lines(server)) == 3


def test_a_receiver_that_does_not_read_fails_the_batch_in_a_bounded_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_datagrams, "SEND_S", 0.01)
    path = tmp_path / "dsd.socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))
        with closing(output(address=f"unix:{path}", max_bytes=200)) as made, pytest.raises(TimeoutError):
            made([UP] * 2000)


def test_a_receiver_that_is_away_is_told_and_found_when_it_is_back() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        place, written = server.getsockname(), address(server)
    with closing(output(address=written)) as made:
        with pytest.raises(ConnectionRefusedError):
            for _ in range(100):  # the kernel tells with the next datagram
                made([UP])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(place)
            server.settimeout(10)
            made([UP])
            assert len(lines(server)) == 3


def test_a_name_is_looked_up_again(server: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def lookup(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_DGRAM, 0, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    with closing(output(address=f"dsd.test:{server.getsockname()[1]}")) as made:
        made([UP])
        made([UP])
        assert asked == ["dsd.test"]
        monkeypatch.setattr(_datagrams, "RENEW_S", 0.0)
        made.close()
        made([UP])
        made([UP])
    assert len(asked) >= 3
    assert [len(lines(server)) for _ in range(4)] == [3] * 4


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"address": "dsd.test"}, 'plugins.statsd: address "dsd.test" is neither "HOST:PORT" nor "unix:/PATH"'),
        ({"address": "unix:"}, 'plugins.statsd: address "unix:" is neither "HOST:PORT" nor "unix:/PATH"'),
        ({"address": "a:99999"}, 'plugins.statsd: address "a:99999" is neither "HOST:PORT" nor "unix:/PATH"'),
        ({"address": "a:0"}, 'plugins.statsd: address "a:0" is neither "HOST:PORT" nor "unix:/PATH"'),
        ({"address": "a:1/b"}, 'plugins.statsd: address "a:1/b" is neither "HOST:PORT" nor "unix:/PATH"'),
        ({"address": "[::1"}, 'plugins.statsd: address "[::1" is neither "HOST:PORT" nor "unix:/PATH"'),
        ({"address": "unix:dsd"}, 'plugins.statsd: address "unix:dsd" is neither "HOST:PORT" nor "unix:/PATH"'),
        ({"dialect": "influx"}, 'plugins.statsd.dialect: expected one of "dogstatsd", "statsd", got "influx"'),
        ({"prefix": "a b"}, PREFIX + '"a b"'),
        ({"prefix": "a\n"}, PREFIX + r'"a\n"'),
        ({"prefix": "é"}, PREFIX + '"é"'),
    ],
)
def test_mistakes_are_told(table: dict[str, Any], said: str) -> None:
    assert plugged.settings(PLUGINS, {"statsd": table})[1] == [said]
