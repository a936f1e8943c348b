"""No check leaves garbage that refers to itself: the collector, which stops the whole hub, has nothing to find.

What the collector would have to free is kept by `gc.DEBUG_SAVEALL` and looked at. The sites are the test server's, in a
process of its own; pool, probe and steps are the worker's.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import pytest

from watcher import config
from watcher.models import Endpoint
from watcher.plan import Plan, compile_plan
from watcher.pool import Pool
from watcher.probe import probe
from watcher.registry import option_types, plugin_manager
from watcher.testserver.bad import KINDS
from watcher.testserver.process import ServerProcess
from watcher.testserver.trap import TRAPS

PLUGINS = plugin_manager()
TYPES = option_types(PLUGINS)
ENDPOINTS = 10
ROUNDS = 5  # a thousand checks in all
WITHIN_S = 60
QUICK_S = 0.3  # the timeout of endpoints that time out


@pytest.fixture(scope="module", name="server")
def fixture_server() -> Iterator[ServerProcess]:
    """Run one server for the module."""
    with ServerProcess(tls=True, traps=True) as running:
        yield running


def endpoint(number: int, url: str, timeout_s: float, options: dict[str, Any]) -> Endpoint:
    """Make an endpoint as the worker does from its row."""
    row = {"id": number, "name": f"e{number}", "url": url, "interval_s": 5.0, "timeout_s": timeout_s}
    return config.endpoint(row | {"options": options}, TYPES)


class Checks:
    """Plans, and the pool in which they are executed."""

    def __init__(self, endpoints: list[Endpoint]) -> None:
        self.seen: Counter[tuple[str, str | None]] = Counter()
        self._plans = [compile_plan(each, PLUGINS) for each in endpoints]
        self._pool = Pool(200, self._check)

    def _check(self, plan: Plan) -> None:
        result = probe(plan)
        self.seen[result.status.value, result.reason.value if result.reason else None] += 1

    def run(self, rounds: int) -> None:
        """Execute each plan so many times."""
        for _ in range(rounds):
            for plan in self._plans:
                self._pool.submit((plan,))
            assert self._pool.join(WITHIN_S)

    def close(self) -> None:
        """Close the plans."""
        for plan in self._plans:
            plan.close()


@contextmanager
def collected() -> Iterator[Counter[str]]:
    """Give the types of what only the collector could have freed, when the block is left."""
    found: Counter[str] = Counter()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield found
        gc.collect()
        found.update(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        gc.collect()


def garbage(endpoints: list[Endpoint], rounds: int) -> tuple[Counter[str], set[tuple[str, str | None]]]:
    """Check endpoints, and give what garbage that made, and what the rows said."""
    checks = Checks(endpoints)
    try:
        gevent.spawn(checks.run, 2).get()  # what is made once
        checks.seen.clear()
        with collected() as found:
            gevent.spawn(checks.run, rounds).get()
        return found, set(checks.seen)
    finally:
        checks.close()


def test_the_instrument_sees_a_cycle() -> None:
    with collected() as found:
        ring: list[Any] = []
        ring.append(ring)
        del ring
    assert found["builtins.list"] == 1


UP, STATUS, REDIRECT = ("up", None), ("down", "status"), ("down", "redirect")
LOGIN = {"username": "u", "password": "p"}


@pytest.mark.parametrize(
    ("url", "options", "verdict"),
    [
        ("{http}/", {}, UP),
        ("{https}/", {"tls": {"ca": "{ca}"}}, UP),
        ("{http}/", {"keep_alive": True}, UP),
        ("{https}/", {"tls": {"ca": "{ca}"}, "keep_alive": True}, UP),
        ("{named}/", {}, UP),
        ("{http}/?hops=3", {}, UP),
        ("{http}/?hops=1&header=Set-Cookie:a=b", {}, UP),
        ("{http}/?basic=u:p", {"basic_auth": LOGIN}, UP),
        ("{http}/?status=401", {"digest_auth": LOGIN}, STATUS),
        ("{http}/?status=500", {}, STATUS),
        ("{http}/?encoding=br&size=10k", {"regex": ["[a-z]+", {"pattern": "n[o]where", "absent": True}]}, UP),
        ('{http}/?type=application/json&body={{"a":1}}', {"json": {"path": "a", "equals": 1}}, UP),
        ("{http}/bad/redirect-loop", {}, REDIRECT),
        ("{http}/bad/redirect-nowhere", {}, ("down", "connect")),
        ("{http}/bad/close-in-headers", {}, ("down", "closed")),
        ("{http}/bad/garbage", {}, ("down", "protocol")),
        ("{refused}", {}, ("down", "connect")),
        ("{https}/", {}, ("down", "certificate")),
        ("http://no-such-name.invalid/", {}, ("down", "dns")),
        ("{tcp}", {}, UP),
        ("{tls}", {"tls": {"ca": "{ca}"}}, UP),
    ],
)
def test_checks_leave_nothing_to_the_collector(
    server: ServerProcess, url: str, options: dict[str, Any], verdict: tuple[str, str | None]
) -> None:
    places = {
        "http": server.url,
        "https": server.tls_url,
        "named": server.url.replace("127.0.0.1", "localhost"),
        "refused": server.traps["refused"],
        "tcp": server.url.replace("http", "tcp"),
        "tls": server.tls_url.replace("https", "tls"),
    }
    if "tls" in options:
        options = options | {"tls": {"ca": str(server.ca_file)}}
    endpoints = [endpoint(number, url.format(**places), 10.0, options) for number in range(ENDPOINTS)]
    found, seen = garbage(endpoints, ROUNDS)
    assert seen == {verdict}
    assert not found


def test_no_way_to_misbehave_leaves_anything_to_the_collector(server: ServerProcess) -> None:
    """Every kind and every trap, three times: most of them time out, so all at once."""
    tls = {"tls": {"ca": str(server.ca_file)}, "regex": "nowhere"}
    urls = [f"{server.url}/bad/{name}" for name in KINDS] + list(server.traps.values())
    found, seen = garbage([endpoint(number, url, QUICK_S, tls) for number, url in enumerate(urls)], 3)
    assert len(urls) == len(KINDS) + len(TRAPS)
    assert {("down", "timeout"), ("down", "closed"), ("down", "protocol"), ("down", "certificate")} <= seen
    assert not found
