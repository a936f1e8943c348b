"""The option `proxy`: which URLs are taken for one, and that nothing of them shows."""

from __future__ import annotations

from typing import Any

import plugged
import pytest

from watcher.config.options import OptionTypes
from watcher.plugins.request import proxy

PLUGINS = plugged.manager(proxy)


@pytest.mark.parametrize(
    "url",
    [
        "http://proxy.example:3128",
        "https://proxy.example:443/",
        "socks4://192.0.2.1:1080",
        "socks4a://user@proxy.example:1080",
        "socks5://[2001:db8::1]:1080",
        "socks5h://probe:p%40ss%3Aw%C3%B6rd@proxy.example:1080",
        "http://probe:p%40ss@proxy.example:3128",
    ],
)
def test_a_proxy_is_a_scheme_a_host_and_a_port(url: str) -> None:
    assert plugged.endpoint(PLUGINS, proxy=url).options["proxy"] == url


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("", "begins with one of http, https, socks4"),
        ("proxy.example:3128", "begins with one of http, https, socks4"),
        ("ftp://proxy.example:3128", "begins with one of http, https, socks4"),
        ("http://proxy.example", "is a host and a port"),
        ("http://:3128", "is a host and a port"),
        ("http://proxy.example:0", "is a host and a port"),
        ("http://proxy.example:3128/path", "is a host and a port"),
        ("http://proxy.example:3128?x=1", "is a host and a port"),
        ("http://probe:hunter2/x@proxy.example:3128", "cannot be read"),
        ("http://probe:hunter2#x@proxy.example:3128", "cannot be read"),
        ("http://proxy.example:99999", "cannot be read"),
        ("http://:hunter2@proxy.example:3128", "a password goes with a user"),
        ("socks4://probe:hunter2@proxy.example:1080", "SOCKS 4 knows a user and no password"),
        (f"socks5://probe:{'hunter2' * 40}@proxy.example:1080", "255 bytes at most"),
        ("http://probe:hunter2%C3%B6@proxy.example:3128", "have to be ASCII"),
    ],
)
def test_what_is_no_proxy_is_found_when_the_configuration_is_read(url: str, complaint: str) -> None:
    _, mistakes = plugged.convert(PLUGINS, {"proxy": url})
    assert len(mistakes) == 1 and complaint in mistakes[0]
    assert "hunter2" not in mistakes[0]


def test_nothing_of_it_shows() -> None:
    raw: dict[str, Any] = {"proxy": "http://probe:hunter2@proxy.example:3128"}
    assert "hunter2" not in repr(plugged.endpoint(PLUGINS, **raw))
    types = {key: (wanted, "proxy") for key, wanted in proxy.watcher_options().items()}
    assert OptionTypes(types).masked(raw) == {"proxy": "***"}
