"""Credentials against httpbin, which verifies them, over both transports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpbin
import pytest
from credentialed import TRANSPORTS, plan, probed, serving
from scripted import verdict

from watcher.models import Reason, Status
from watcher.probe import probe

USER = {"username": "probe", "password": "sesame"}
DIGEST = "digest-auth/auth/probe/sesame"  # httpbin hashes the path without its escapes
UP = (Status.UP, None, 200)
REFUSED = (Status.DOWN, Reason.STATUS, 401)


class Site:
    """httpbin, and the credentials that it was shown."""

    def __init__(self) -> None:
        self.url = ""
        self.seen: list[str | None] = []
        self.challenges: list[str] = []  # to answer the next requests with

    def __call__(self, environ: dict[str, Any], start: Any) -> Any:
        self.seen.append(environ.get("HTTP_AUTHORIZATION"))
        if self.challenges:
            start("401 Stale", [("WWW-Authenticate", self.challenges.pop()), ("Content-Length", "0")])
            return [b""]
        return httpbin.app(environ, start)


@pytest.fixture(scope="module", name="httpbin_site")
def fixture_httpbin_site() -> Iterator[Site]:
    """Run httpbin."""
    site = Site()
    with serving(site) as site.url:
        yield site


@pytest.fixture(name="site")
def fixture_site(httpbin_site: Site, anchor: None) -> Site:
    """Give httpbin with nothing seen."""
    del anchor  # held for the session
    httpbin_site.seen.clear()
    return httpbin_site


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_basic_auth(plugins, site: Site, transport: str) -> None:
    url = f"{site.url}/basic-auth/probe/sesame"
    assert verdict(probed(plugins, url, basic_auth=USER, transport=transport)) == UP
    wrong = USER | {"password": "guess"}
    assert verdict(probed(plugins, url, basic_auth=wrong, transport=transport)) == REFUSED


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "SHA-512"])
def test_digest_auth_answers_a_challenge_once_and_then_counts(
    plugins, site: Site, algorithm: str, transport: str
) -> None:
    url = f"{site.url}/{DIGEST}/{algorithm}/never"
    with closing(plan(plugins, url, digest_auth=USER, transport=transport)) as made:
        assert [verdict(probe(made)) for _ in range(3)] == [UP] * 3
    assert site.seen[0] is None
    assert [f"nc={number:08x}" in (sent or "") for number, sent in enumerate(site.seen)] == [False, True, True, True]


def test_both_requests_of_a_first_digest_check_are_in_its_latency(plugins, site: Site) -> None:
    with closing(plan(plugins, f"{site.url}/{DIGEST}/MD5/never", digest_auth=USER)) as made:
        first = probe(made)
    assert first.latency_us > first.connect_us + first.ttfb_us + first.transfer_us  # phases are the last request's


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_digest_auth_takes_up_a_new_challenge(plugins, site: Site, transport: str) -> None:
    with closing(plan(plugins, f"{site.url}/{DIGEST}/MD5/never", digest_auth=USER, transport=transport)) as made:
        assert verdict(probe(made)) == UP
        site.challenges.append('Digest realm="me@kennethreitz.com", nonce="another", qop="auth", stale=true')
        assert verdict(probe(made)) == UP
        assert verdict(probe(made)) == UP
    numbers = [(sent or "").partition("nc=")[2][:8] for sent in site.seen]
    assert numbers == ["", "00000001", "00000002", "00000001", "00000002"]
    assert 'nonce="another"' in site.seen[3]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_wrong_password_is_asked_for_no_more_than_twice_a_check(plugins, site: Site, transport: str) -> None:
    wrong = USER | {"password": "guess"}
    url = f"{site.url}/{DIGEST}/MD5/never"
    with closing(plan(plugins, url, digest_auth=wrong, transport=transport)) as made:
        assert [verdict(probe(made)) for _ in range(3)] == [REFUSED] * 3
    assert len(site.seen) <= 6


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_bearer(plugins, site: Site, transport: str, tmp_path: Path) -> None:
    url, path = f"{site.url}/bearer", tmp_path / "token"
    assert verdict(probed(plugins, url, transport=transport)) == REFUSED
    assert verdict(probed(plugins, url, bearer="abc", transport=transport)) == UP
    with closing(plan(plugins, url, bearer={"token_file": str(path)}, transport=transport)) as made:
        none = probe(made)
        assert (none.status, none.reason, none.http_status) == (Status.MISSED, Reason.CREDENTIALS, None)
        assert none.detail == f"bearer.token_file {path}: No such file or directory"
        path.write_text("first")
        assert verdict(probe(made)) == UP
        path.write_text("second")
        assert verdict(probe(made)) == UP
    assert site.seen == [None, "Bearer abc", "Bearer first", "Bearer second"]
