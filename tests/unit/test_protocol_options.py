"""An option of one protocol on a URL of another: it would check nothing, and that must be said."""

from __future__ import annotations

from typing import Any

import plugged
import pytest

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


def test_the_schemes_of_a_protocol_are_all_named() -> None:
    result = probe(compile_plan(plugged.endpoint(PLUGINS, "tls://site.test", redis={"password": "x"}), PLUGINS))
    assert result.detail.endswith('"redis" is for redis:// and rediss://, not for tls://; take it out')
