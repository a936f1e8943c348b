"""A whole worker whose network goes away and comes back, in a network namespace: it calls no site down for that.

One site alone that goes away is down. Needs root, iproute2 and iptables; what the namespaces hold is `namespaces.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import psycopg2
import pytest
from namespaces import GATEWAY, SITE, Network, laid
from worker_process import Running, put, query, spec

from watcher.store.embedded import Server

ENDPOINTS = 100  # and as many by name, and one alone; each every 5 s
ENOUGH = 60  # rows
ALONE = "10.9.2.3"
AGENT = "10.9.1.2"
UPLINK = f"ip link set uplink up; ip route replace default via {GATEWAY}"
RECOVERY_S = 3  # a hearing, and what began before it
WITHIN_S = 60


class Away:
    """The worker, its rows, and the network around it."""

    def __init__(self, network: Network, dsn: str, worker: Running, eventually: Callable[..., object]) -> None:
        self.network = network
        self.worker = worker
        self._dsn = dsn
        self._eventually = eventually

    def rows(self, since_s: float) -> set[tuple[str, str, str | None]]:
        """Give of the rows of checks that began since then: whose they are (site, named, alone), status and reason."""
        sql = (
            "SELECT DISTINCT split_part(e.name, ' ', 1), m.status::text, m.reason::text FROM metrics m JOIN endpoints e"
            f" ON e.id = m.endpoint_id WHERE m.time > to_timestamp({since_s}) AND m.reason IS DISTINCT FROM 'overload'"
        )
        return set(query(self._dsn, sql))

    def count(self, since_s: float, status: str) -> int:
        """Count the rows with a status of checks that began since then."""
        sql = f"SELECT count(*) FROM metrics WHERE time > to_timestamp({since_s}) AND status = '{status}'"
        return int(query(self._dsn, sql)[0][0])

    def during(self, trouble: AbstractContextManager[None]) -> tuple[float, float]:
        """Have a trouble until it made rows enough; then wait until all is well. Give both beginnings."""
        began_s = time.time()
        with trouble:
            self._eventually(lambda: self.count(began_s, "missed") >= ENOUGH, WITHIN_S)
        ended_s = time.time()
        self._eventually(lambda: self.worker.last()["network_away"] is False, WITHIN_S)
        self._eventually(lambda: self.count(ended_s, "up") >= ENOUGH, WITHIN_S)
        return began_s, ended_s


@pytest.fixture(scope="module", name="away")
def fixture_away(
    server: Server, template: str, tmp_path_factory: pytest.TempPathFactory, eventually: Callable[..., object]
) -> Iterator[Away]:
    """Run a worker in a network of its own, with a resolv.conf of its own; wait until everything is up."""
    etc = tmp_path_factory.mktemp("etc") / "resolv.conf"
    etc.write_text(f"nameserver {SITE}\noptions timeout:1 attempts:1\n")
    directories = {name: tmp_path_factory.mktemp(name) for name in ("certificates", "worker")}
    with laid(directories["certificates"]) as network, _database(server, template) as dsn:
        network.site.run(f"ip addr add {ALONE}/24 dev uplink")
        put(dsn, *_specs())
        own_etc = f'mount --bind {etc} /etc/resolv.conf; exec "$0" "$@"'
        within = network.agent.command("unshare", "--mount", "sh", "-ec", own_etc)
        with _running(dsn, directories["worker"], within) as worker:
            eventually(lambda: worker.last().get("up") == 2 * ENDPOINTS + 1, WITHIN_S)
            yield Away(network, dsn, worker, eventually)


@contextmanager
def _running(dsn: str, data_dir: Path, within: Sequence[str]) -> Iterator[Running]:
    worker = Running(dsn, data_dir, within=within, witnesses=["resolver", "gateway"], batch_age_s=0.2)
    try:
        yield worker
    finally:
        worker.end()


@contextmanager
def _database(server: Server, template: str) -> Iterator[str]:
    with closing(psycopg2.connect(server.dsn)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(f"CREATE DATABASE away TEMPLATE {template}")
        try:
            yield server.dsn.replace("/watcher?", "/away?", 1)
        finally:
            cursor.execute("DROP DATABASE away WITH (FORCE)")


def _specs() -> list:
    return [
        *[spec(f"site {number}", f"http://{SITE}/?{number}", timeout_s=0.5) for number in range(ENDPOINTS)],
        *[spec(f"named {number}", f"http://www{number}.test/", timeout_s=0.5) for number in range(ENDPOINTS)],
        spec("alone", f"http://{ALONE}/", timeout_s=0.5),
    ]


@contextmanager
def link_down(network: Network) -> Iterator[None]:
    """Take the agent's link away."""
    network.agent.run("ip link set uplink down")
    try:
        yield
    finally:
        network.agent.run(UPLINK)


@contextmanager
def gateway_dead(network: Network) -> Iterator[None]:
    """Have the router swallow all that the agent sends."""
    with network.rule(f"-s {AGENT} -j DROP"), network.rule(f"-s {AGENT} -j DROP", "INPUT"):
        yield


def resolver_dead(network: Network) -> AbstractContextManager[None]:
    """Have the router swallow questions for names."""
    return network.rule(f"-s {AGENT} -p udp --dport 53 -j DROP")


UP, MISSED = ("up", None), ("missed", "agent_network")


@pytest.mark.parametrize("trouble", [link_down, gateway_dead])
def test_a_network_that_goes_away_calls_no_site_down(
    away: Away, trouble: Callable[[Network], AbstractContextManager[None]]
) -> None:
    began_s, ended_s = away.during(trouble(away.network))
    assert {row[1:] for row in away.rows(began_s)} == {UP, MISSED}
    assert {row[1:] for row in away.rows(ended_s + RECOVERY_S)} <= {UP}


def test_a_resolver_that_dies_is_not_the_sites_fault_and_addresses_are_checked_on(away: Away) -> None:
    began_s, _ = away.during(resolver_dead(away.network))
    assert away.rows(began_s) - {("alone", *UP)} == {("site", *UP), ("named", *UP), ("named", *MISSED)}


def test_one_site_that_goes_away_is_down(away: Away, eventually: Callable[..., object]) -> None:
    began_s = time.time()
    with away.network.rule(f"-d {ALONE} -j DROP"):
        eventually(lambda: away.count(began_s, "down"), WITHIN_S)
    assert away.rows(began_s) - {("alone", *UP)} == {("site", *UP), ("named", *UP), ("alone", "down", "timeout")}
    ended_s = time.time()
    eventually(lambda: ("alone", *UP) in away.rows(ended_s), WITHIN_S)
