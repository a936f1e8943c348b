"""Hosts of URLs as DNS and TLS know them, and where name servers are."""

from __future__ import annotations

import pytest

from watcher import Endpoint
from watcher.transport import name_server, target


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("tls://straße.example", "xn--strae-oqa.example"),  # RFC 5891, as browsers have it; IDNA 2003 would say strasse
        ("tls://BÜCHER.example", "xn--bcher-kva.example"),  # UTS 46
        ("tcp://[fe80::1%25eth0]:9", "fe80::1%eth0"),  # RFC 6874
        ("tcp://example.com:9", "example.com"),
    ],
)
def test_a_host_is_what_dns_and_tls_are_asked_for(url: str, host: str) -> None:
    found = target(Endpoint(name="x", url=url), 443, tls=url.startswith("tls"))
    assert found.host == host
    if found.tls:
        assert found.server_name == host


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("192.0.2.1", "192.0.2.1", 53),
        ("192.0.2.1:5353", "192.0.2.1", 5353),
        ("2001:db8::1", "2001:db8::1", 53),
        ("[2001:db8::1]:5353", "2001:db8::1", 5353),
    ],
)
def test_a_name_server_has_a_port_or_none(text: str, address: str, port: int) -> None:
    assert name_server(text) == (address, port)
