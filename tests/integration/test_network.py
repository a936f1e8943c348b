"""What networks do to checks: three namespaces in a row (agent, router, site), in which packets are lost, dropped,
refused and too large, and links and routes go away. The phase and the reason that a row says are the true ones.

Needs root, iproute2 and iptables. Delay is a relay's: `tc netem` is not in every kernel.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pytest
from namespaces import GATEWAY, NEAR, NETWORKS, SITE, SITE6, TIMEOUT_S, Network, Row, laid, program

NOBODY = "10.9.2.9"
LONG_S = 8.0

HTTP, HTTPS = f"http://{SITE}/", f"https://{SITE}/"
TCP, TLS = f"tcp://{SITE}:80", f"tls://{SITE}:443"
DNS, ICMP = f"dns://{SITE}/www.test", f"icmp://{SITE}"
OVER_TCP = (HTTP, HTTPS, TCP, TLS)
ALL = (*OVER_TCP, DNS, ICMP)
PHASES = ("dns", "connect", "tls", "ttfb", "transfer")


@pytest.fixture(scope="module", name="network")
def fixture_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Lay the network; skip where that is not permitted."""
    with laid(tmp_path_factory.mktemp("certificates")) as network:
        yield network


def ended_in(row: Row, phase: str, timeout_s: float = TIMEOUT_S) -> bool:
    """Say whether a check ran into its timeout in this phase, and in no other."""
    before = [row[f"{each}_us"] or 0 for each in PHASES[: PHASES.index(phase)]]
    after = [row[f"{each}_us"] for each in PHASES[PHASES.index(phase) + 1 :]]
    spent_us = row[f"{phase}_us"] or 0
    whole_us = timeout_s * 1e6
    return sum(before) < whole_us / 2 < spent_us <= whole_us and not any(after)


# the network as it should be


def test_through_a_router_every_protocol_is_up(network: Network) -> None:
    urls = (*ALL, f"http://[{SITE6}]/", f"icmp://[{SITE6}]")
    assert network.verdicts(*urls) == [("up", None, None)] * len(urls)


@pytest.mark.parametrize("url", [f"http://{NEAR}:8080/", f"https://{NEAR}:8443/"])
def test_a_delay_is_in_the_phases_that_it_was_in(network: Network, url: str) -> None:
    """80 ms each way, behind a relay that accepts at once; its own lateness is in the wait as well."""
    with program(network.router, "relay", "0.08", "8080:80", "8443:443") as relay:
        assert relay.stdout.readline() == "ready\n"
        row, near = network.check(url, HTTP)
    assert (row["status"], near["status"]) == ("up", "up")
    assert row["connect_us"] < 80_000
    assert row["ttfb_us"] >= 160_000 > near["ttfb_us"]
    assert (row["tls_us"] or 160_000) >= 160_000
    assert row["latency_us"] == sum(row[f"{phase}_us"] or 0 for phase in PHASES)


# black holes

LOST = dict.fromkeys(OVER_TCP, "connect") | dict.fromkeys((DNS, ICMP), "ttfb")
TO_SITE = f"-d {SITE}"
FROM_SITE = f"-s {SITE}"
HELLO = '-m string --algo bm --hex-string "|160301|"'  # begins the client's first record (RFC 8446, 5.1)
SERVER_HELLO = '-m string --algo bm --hex-string "|160303|"'
SAYS = "-m string --algo bm --string"


@pytest.mark.parametrize(
    ("rule", "phases"),
    [
        (f"{TO_SITE} -p tcp --syn -j DROP", dict.fromkeys(OVER_TCP, "connect")),
        (f"{FROM_SITE} -p tcp --tcp-flags SYN,ACK SYN,ACK -j DROP", dict.fromkeys(OVER_TCP, "connect")),
        (f"{TO_SITE} -j DROP", LOST),
        (f"{FROM_SITE} -j DROP", LOST),
        (f"{TO_SITE} -p tcp {HELLO} -j DROP", dict.fromkeys((HTTPS, TLS), "tls")),
        (f"{FROM_SITE} -p tcp {SERVER_HELLO} -j DROP", dict.fromkeys((HTTPS, TLS), "tls")),
        (f'{TO_SITE} -p tcp {SAYS} "GET /" -j DROP', {HTTP: "ttfb"}),
        (f'{FROM_SITE} -p tcp {SAYS} "HTTP/1" -j DROP', {HTTP: "ttfb"}),
        (f'{FROM_SITE} -p tcp {SAYS} "X-Late" -j DROP', {HTTP + "parts": "transfer"}),
        (f'{FROM_SITE} -p tcp {SAYS} "second half" -j DROP', {HTTP + "parts": "transfer"}),
    ],
)
def test_a_black_hole_is_a_timeout_in_its_phase(network: Network, rule: str, phases: dict[str, str]) -> None:
    with network.rule(rule):
        rows = network.check(*phases)
    told = {row["url"]: (row["status"], row["reason"], row["detail"]) for row in rows}
    assert told == {url: ("down", "timeout", f"timeout in {phase}") for url, phase in phases.items()}
    assert [row for row in rows if not ended_in(row, phases[row["url"]])] == []


def test_a_resolver_that_is_not_heard_is_the_phase_of_names(network: Network) -> None:
    with network.rule(f"{FROM_SITE} -p udp -j DROP"):
        (row,) = network.check("http://www.test/", resolver=SITE, timeout_s=1.0)
    assert row["status"] != "up"
    assert ended_in(row, "dns", 1.0)
    (row,) = network.check("http://www.test/", resolver=SITE)
    assert (row["status"], row["address"]) == ("up", SITE)


@pytest.mark.parametrize(
    ("url", "phase"), [(HTTP + "large", "transfer"), (HTTPS, "tls"), (TLS, "tls"), (HTTP + "tail", None)]
)
def test_a_link_for_smaller_packets_only_that_says_nothing(network: Network, url: str, phase: str | None) -> None:
    """An MTU black hole: what fits arrives, what is larger never does, and no ICMP message tells the sender."""
    with network.rule("-p icmp --icmp-type fragmentation-needed -j DROP", "OUTPUT"):
        network.router.run("ip link set agent mtu 600")
        try:
            (row,) = network.check(url)
        finally:
            # below 1280 there is no IPv6, and its addresses are gone (RFC 8200, 5)
            network.router.run("ip link set agent mtu 1500; ip addr add fd09:1::1/64 dev agent nodad")
    if phase is None:
        assert row["status"] == "up"
        return
    assert (row["status"], row["reason"], row["detail"]) == ("down", "timeout", f"timeout in {phase}")
    assert ended_in(row, phase)


# what says no

ICMP_KINDS = {
    "icmp-net-unreachable": "network unreachable",
    "icmp-host-unreachable": "no route to host",
    "icmp-proto-unreachable": "protocol not available",
    "icmp-port-unreachable": "connection refused",
    "icmp-net-prohibited": "network unreachable",
    "icmp-host-prohibited": "no route to host",
    "icmp-admin-prohibited": "no route to host",
}


@pytest.mark.parametrize(("kind", "words"), ICMP_KINDS.items())
def test_a_router_that_refuses_is_believed(network: Network, kind: str, words: str) -> None:
    """The site cannot be reached, and that is not for want of a network here: down, at once."""
    with network.rule(f"{TO_SITE} -j REJECT --reject-with {kind}"):
        rows = network.check(*ALL, timeout_s=LONG_S)
    assert [(row["url"], row["status"], row["reason"]) for row in rows] == [(url, "down", "connect") for url in ALL]
    assert [row["detail"] for row in rows[: len(OVER_TCP)]] == [words] * len(OVER_TCP)
    assert max(row["latency_us"] for row in rows) < LONG_S / 2 * 1e6


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("icmp6-no-route", "network unreachable"),
        ("icmp6-adm-prohibited", "forbidden on the way there"),
        ("icmp6-addr-unreachable", "no route to host"),
        ("icmp6-port-unreachable", "connection refused"),
        ("tcp-reset", "connection refused"),
    ],
)
def test_a_router_that_refuses_is_believed_over_ipv6(network: Network, kind: str, words: str) -> None:
    with network.rule(f"-p tcp -d {SITE6} -j REJECT --reject-with {kind}", program="ip6tables"):
        told = network.verdicts(f"http://[{SITE6}]/", f"tcp://[{SITE6}]:80", timeout_s=LONG_S)
    assert told == [("down", "connect", words)] * 2


@pytest.mark.parametrize(
    ("rule", "urls", "verdict"),
    [
        (f"{TO_SITE} -p tcp --syn", OVER_TCP, ("connect", "connection refused")),
        (f"{TO_SITE} -p tcp {HELLO}", (HTTPS, TLS), ("closed", "connection reset in tls")),
        (f'{TO_SITE} -p tcp {SAYS} "GET /"', (HTTP,), ("closed", "connection reset in ttfb")),
    ],
)
def test_a_reset_is_told_with_its_phase(
    network: Network, rule: str, urls: Sequence[str], verdict: tuple[str, str]
) -> None:
    with network.rule(f"{rule} -j REJECT --reject-with tcp-reset"):
        assert network.verdicts(*urls) == [("down", *verdict)] * len(urls)


def test_a_reset_amid_a_body_is_told_with_its_phase(network: Network) -> None:
    assert network.verdicts(HTTP + "reset") == [("down", "closed", "connection reset in transfer")]


# loss


def lost_first(match: str) -> str:
    """Give a rule that drops every other packet that matches, the first one first."""
    return f"{match} -m statistic --mode nth --every 2 --packet 0 -j DROP"


def test_a_lost_first_packet_is_in_the_time_of_the_handshake(network: Network) -> None:
    """TCP repeats it after a second (RFC 6298, 2.1): the visitor waits for so long."""
    with network.rule(lost_first(f"{TO_SITE} -p tcp --syn")):
        (row,) = network.check(HTTP, timeout_s=LONG_S)
    assert row["status"] == "up"
    assert 900_000 < row["connect_us"] < 3_000_000 > row["latency_us"]


def test_a_lost_request_is_in_the_time_to_the_first_byte(network: Network) -> None:
    with network.rule(lost_first(f'{TO_SITE} -p tcp {SAYS} "GET /"')):
        (row,) = network.check(HTTP, timeout_s=LONG_S)
    assert row["status"] == "up"
    assert row["connect_us"] < 190_000 < row["ttfb_us"]  # 200 ms is the least that Linux waits (TCP_RTO_MIN)


@pytest.mark.parametrize("url", [DNS, ICMP])
def test_a_lost_question_is_asked_again(network: Network, url: str) -> None:
    with network.rule(lost_first(f"{TO_SITE} ! -p tcp")):
        (row,) = network.check(url, timeout_s=LONG_S)
    assert (row["status"], row["detail"]) == ("up", "asked 2 times until an answer came")
    assert row["ttfb_us"] > 900_000


def test_a_lossy_link_makes_sites_slow_not_down(network: Network) -> None:
    """One in five packets of data is lost, whatever it is."""
    lost = "-m statistic --mode nth --every 5 --packet 0 -j DROP"
    with network.rule(f"{FROM_SITE} -p tcp -m length --length 100: {lost}"):
        rows = network.check(HTTP + "large", HTTPS, timeout_s=20.0)
    assert [row["status"] for row in rows] == ["up", "up"]
    assert rows[0]["body_bytes"] == 200_000


# kept connections


class Kept:
    """An endpoint with `keep_alive`, checked again and again; its connections have ports that a rule can name."""

    def __init__(self, network: Network, prober: Any, timeout_s: float) -> None:
        self._network = network
        self._prober = prober
        self._ports(41_000)
        self._first = json.dumps([[HTTP + "kept"], timeout_s, {"keep_alive": True}])

    def check(self) -> Row:
        """Check once more."""
        self._prober.stdin.write(self._first + "\n")
        self._prober.stdin.flush()
        return json.loads(self._prober.stdout.readline())

    def forget(self) -> AbstractContextManager[None]:
        """Have the router drop what belongs to the connections until now, and let later ones pass."""
        self._ports(42_000)
        return self._network.rule("-p tcp -m multiport --ports 41000:41999 -j DROP")

    def lives(self) -> bool:
        """Say whether a connection of the time before `forget` is left."""
        command = self._network.agent.command("ss", "-Htn", "sport >= :41000 and sport < :42000")
        return bool(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.strip())

    def _ports(self, first: int) -> None:
        self._network.agent.run(f"echo {first} {first + 999} > {NETWORKS}/ipv4/ip_local_port_range")


@contextlib.contextmanager
def kept(network: Network, rest_s: int = 60, timeout_s: float = 3.0) -> Iterator[Kept]:
    """Check an endpoint with `keep_alive` twice, and give it."""
    with program(network.agent, "again", str(rest_s)) as prober:
        endpoint = Kept(network, prober, timeout_s)
        assert endpoint.check()["connect_us"] is not None
        again = endpoint.check()
        assert (again["status"], again["connect_us"]) == ("up", None)
        yield endpoint


def test_a_kept_connection_that_a_router_forgot_is_not_the_sites_fault(network: Network) -> None:
    """What is sent over it is never acknowledged: a new one is tried long before the timeout, the clock at zero."""
    with kept(network) as endpoint, endpoint.forget():
        row = endpoint.check()
        assert (row["status"], row["reason"]) == ("up", None)
        assert row["detail"] == "the kept connection was dead, a new one was made"
        assert row["connect_us"] is not None
        assert row["latency_us"] + row["lag_us"] < 900_000  # a third of the timeout was waited, and is in neither
        row = endpoint.check()
        assert (row["status"], row["connect_us"], row["detail"]) == ("up", None, None)


def test_a_kept_connection_that_a_router_forgot_hides_no_outage(network: Network) -> None:
    with kept(network, timeout_s=1.5) as endpoint, network.rule(f"{TO_SITE} -j DROP"):
        row = endpoint.check()
    assert (row["status"], row["reason"], row["detail"]) == ("down", "timeout", "timeout in connect")
    assert ended_in(row, "connect")


def test_a_kept_connection_that_died_while_it_rested_costs_no_check_any_time(network: Network, eventually) -> None:
    with kept(network, rest_s=1) as endpoint, endpoint.forget():
        assert endpoint.lives()
        eventually(lambda: not endpoint.lives(), 30)  # the kernel asks after a second, and again after one more
        row = endpoint.check()
    assert (row["status"], row["detail"]) == ("up", None)
    assert row["connect_us"] is not None


# links and routes


def test_a_link_that_is_down_is_the_agents_own_and_no_site_is_called_down(network: Network) -> None:
    network.agent.run("ip link set uplink down")
    try:
        down = network.check(*ALL)
    finally:
        network.agent.run("ip link set uplink up; ip addr replace fd09:1::2/64 dev uplink nodad")
        network.route()
    assert {(row["status"], row["reason"]) for row in down} == {("missed", "agent_network")}
    assert {row["status"] for row in network.check(*ALL)} == {"up"}


def test_without_a_default_route_only_neighbours_can_be_judged(network: Network) -> None:
    network.agent.run("ip route del default")
    try:
        rows = network.check(*ALL)
        neighbour = network.check(f"icmp://{GATEWAY}", f"tcp://{GATEWAY}:9")
    finally:
        network.route()
    assert {(row["status"], row["reason"]) for row in rows} == {("missed", "agent_network")}
    assert [(row["status"], row["reason"]) for row in neighbour] == [("up", None), ("down", "connect")]


def test_a_router_without_a_route_speaks_of_the_site_not_of_us(network: Network) -> None:
    network.router.run("ip route add unreachable 10.77.0.0/16; ip route add prohibit 10.78.0.0/16")
    try:
        told = network.check("http://10.99.0.1/", "http://10.77.0.1/", "http://10.78.0.1/", "icmp://10.77.0.1")
    finally:
        network.router.run("ip route del unreachable 10.77.0.0/16; ip route del prohibit 10.78.0.0/16")
    assert [(row["url"], row["status"], row["reason"]) for row in told] == [
        (row["url"], "down", "connect") for row in told
    ]


def test_a_host_that_is_not_there_is_told_of_by_its_router(network: Network) -> None:
    """It asks three times for the address, a second each, before it says so (arp(7))."""
    rows = network.check(f"http://{NOBODY}/", f"icmp://{NOBODY}", timeout_s=LONG_S)
    assert [(row["status"], row["reason"]) for row in rows] == [("down", "connect")] * 2
    assert "no route to host" in rows[0]["detail"]
