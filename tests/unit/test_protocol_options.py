"""An option of one protocol on a URL of another: it would check nothing, and that must be said."""

from __future__ import annotations

from typing import Any

import plugged
import pytest
from pycares import Channel

from watcher import Reason, Status
from watcher.plan import compile_plan
from watcher.plugins.assertions import status
from watcher.plugins.protocols import connection, dns, grpc, http, icmp, mail, postgres, redis, tcp, tls, websocket
from watcher.probe import probe

PLUGINS = plugged.manager(connection, dns, grpc, http, icmp, mail, postgres, redis, status, tcp, tls, websocket)
OPTIONS: dict[str, Any] = {
    "tcp": {"expect": "220 "},
    "dns": {"rcode": "NXDOMAIN"},
    "icmp": {"tries": 1},
    "websocket": {"expect": "welcome"},
    "mail": {"starttls": True},
    "postgres": {"tls": "require"},
    "redis": {"password": "x"},
    "grpc": {"service": "shop.Cart"},
}


@pytest.mark.parametrize("url", ["https://site.test/", "tls://site.test"])
@pytest.mark.parametrize("key", OPTIONS)
def test_an_option_of_another_protocol_is_no_comfort(key: str, url: str) -> None:
    result = probe(compile_plan(plugged.endpoint(PLUGINS, url, **{key: OPTIONS[key]}), PLUGINS))
    assert (result.status, result.reason) == (Status.MISSED, Reason.CONFIG)
    assert f'"{key}" is for ' in result.detail
    assert f"not for {url.partition('/')[0]}//; take it out" in result.detail


@pytest.mark.parametrize("server", ["192.0.2.53:5353", "2001:db8::53", "[2001:db8::53]", "[2001:db8::53]:5353"])
def test_a_resolver_has_a_port_or_none(server: str) -> None:
    assert plugged.convert(PLUGINS, {"resolver": server}) == ({"resolver": (server,)}, [])
    Channel().servers = [server]  # what c-ares itself makes of it


@pytest.mark.parametrize("server", ["dns.test", "192.0.2.53:0", "192.0.2.53:65536", "192.0.2.53:", "[2001:db8::53", ""])
def test_what_no_resolver_is_asked_at_is_found_when_the_configuration_is_read(server: str) -> None:
    _, mistakes = plugged.convert(PLUGINS, {"resolver": ["192.0.2.53", server]})
    assert mistakes == [
        f'resolver: {server!r} is no address of a name server, such as "192.0.2.1" or "192.0.2.1:5353"'
    ]


def test_the_schemes_of_a_protocol_are_all_named() -> None:
    result = probe(compile_plan(plugged.endpoint(PLUGINS, "tls://site.test", redis={"password": "x"}), PLUGINS))
    assert result.detail.endswith('"redis" is for redis:// and rediss://, not for tls://; take it out')
