"""`watcher.config.urls`: which URLs can be watched, and what is said of the others."""

from __future__ import annotations

import pytest

from watcher.config.urls import fault, http_parts


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/",
        "https://example.com",
        "http://localhost:8080/a?b=c#d",
        "HTTPS://EXAMPLE.COM/",
        "http://192.0.2.1:65535/",
        "http://[2001:db8::1]:8080/x",
        "https://bücher.example/",
        "https://xn--bcher-kva.example/ä",
        "https://under_score.example.com./",
        "tcp://db:5432",
        "dns://192.0.2.53/example.com?type=A",
        "sftp://me@files.example/",
        "https://example.com/mail@host",
        "https://example.com?x=a@b",
    ],
)
def test_accepts(url: str) -> None:
    assert fault(url) is None


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "is empty"),
        ("example.com", "no scheme"),
        ("example.com:8080/x", "no scheme"),
        ("//example.com/", "no scheme"),
        ("mailto:me@example.com", "no scheme"),
        ("http:/example.com/", "no scheme"),
        ("https:///path", "no host"),
        ("https://:8080/", "no host"),
        ("https://example.com/a b", "space"),
        ("https://example.com/\n", "control character"),
        ("https://example.com:0/", "port 0"),
        ("https://example.com:65536/", "ort out of range"),
        ("https://example.com:http/", "port is not a number"),
        ("https://me:pw@example.com/", "basic_auth"),
        ("https://me@example.com/", "basic_auth"),
        ("redis://me:pw@cache.example/", "options for that"),
        ("http://[2001:db8::1/", "cannot be read"),
        ("http://[nonsense]/", "cannot be read"),
        ("https://a..b/", "no domain name"),
        ("https://-a.example/", "no domain name"),
        ("https://" + "a" * 64 + ".example/", "no domain name"),
        ("https://" + "a." * 130 + "example/", "no domain name"),
        ("https://ex%61mple.com/", "no domain name"),
        ("https://bü cher.example/", "space"),
        ("https://\u2028.example/", "space"),
        ("https://☃☃..example/", "no domain name"),
        ("https://example.com/" + "a" * 8192, "8192 is the most"),
    ],
)
def test_refuses(url: str, said: str) -> None:
    found = fault(url)
    assert found is not None and said in found


def test_never_repeats_the_url() -> None:
    for url in ("https://me:hunter2@example.com/", "hunter2", "https://h:hunter2/", "https://[hunter2/"):
        assert "hunter2" not in (fault(url) or "")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("HTTPS://Example.com:8443/a?b", "example.com"),
        ("http://[2001:db8::1]/", "2001:db8::1"),
        ("https://me:hunter2@example.com/", "example.com"),
        ("ftp://example.com/", None),
        ("https:///a", None),
        ("https://example.com:0/", None),
        ("https://example.com:x/", None),
        ("https://[example.com/", None),
        ("https://example.com/a b", None),
        ("example.com", None),
    ],
)
def test_the_parts_of_http_urls_alone(url: str, host: str | None) -> None:
    parts = http_parts(url)
    assert (parts and parts.hostname) == host
