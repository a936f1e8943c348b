"""`certificate`, `tls_version` and the phase `tls`, judged on the handshake of the check itself."""

from __future__ import annotations

import datetime
import hashlib
import socket
import ssl
import threading
from contextlib import closing
from typing import Any

import pytest
import trustme
from credentialed import plan, probed
from scripted import answers, page, request, scripted, server_tls, silent

from watcher.models import Reason, Result, Status
from watcher.probe import probe

PAGE = page(b"hello")
SCHEMES = ("https", "tls")

pytestmark = pytest.mark.usefixtures("anchor")


def lasting(authority: trustme.CA, days: float, *names: str) -> trustme.LeafCert:
    """Issue a certificate that ends in so many days."""
    now = datetime.datetime.now(datetime.UTC)
    start = min(now, now + datetime.timedelta(days)) - datetime.timedelta(1)
    return authority.issue_cert(*names or ("localhost",), not_before=start, not_after=now + datetime.timedelta(days))


def der(leaf: trustme.LeafCert) -> bytes:
    """Give a certificate as it goes over the wire."""
    return ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())


@pytest.fixture(name="judged")
def fixture_judged(plugins, ca_file: str):
    """Check a server with this certificate, by this scheme, with options."""

    def check(
        leaf: trustme.LeafCert, scheme: str = "https", version: ssl.TLSVersion | None = None, **raw: Any
    ) -> Result:
        tls = server_tls(leaf)
        tls.minimum_version = tls.maximum_version = version or ssl.TLSVersion.TLSv1_3
        with scripted(answers(PAGE) if scheme == "https" else silent, tls) as port:
            return probed(plugins, f"{scheme}://localhost:{port}", **{"tls": {"ca": ca_file}} | raw)

    return check


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    ("days", "status", "words"),
    [
        (60, Status.UP, ""),
        (20, Status.DEGRADED, "certificate ends in 20.0 days, on "),
        (10, Status.DOWN, "certificate ends in 10.0 days, on "),
    ],
)
def test_a_certificate_that_ends_soon(judged, authority, scheme: str, days: float, status: Status, words: str) -> None:
    result = judged(lasting(authority, days), scheme, certificate={"days": 14, "degraded_days": 30})
    assert (result.status, result.reason) == (status, Reason.CERTIFICATE if words else None), result
    assert (result.detail or "").startswith(words)


def test_one_that_has_ended_is_down_even_where_it_need_not_be_trusted(judged, authority) -> None:
    ended = judged(lasting(authority, -2), tls={"verify": False}, certificate={})
    assert (ended.status, ended.reason) == (Status.DOWN, Reason.CERTIFICATE)
    assert ended.detail.startswith("certificate ended on ")
    assert judged(lasting(authority, -2), tls={"verify": False}).status is Status.UP


@pytest.mark.parametrize("scheme", SCHEMES)
def test_whose_it_is_by_whom_and_which(judged, authority, scheme: str) -> None:
    leaf = lasting(authority, 60, "localhost", "shop.example")
    digest = hashlib.sha256(der(leaf)).hexdigest()
    good = {"names": "shop.example", "issuer": {"contains": "trustme"}, "fingerprint": digest}
    assert judged(leaf, scheme, certificate=good).status is Status.UP
    for changed in ({"names": "other.example"}, {"issuer": "Other"}, {"fingerprint": "0" * 64}):
        bad = judged(leaf, scheme, certificate=good | changed)
        assert (bad.status, bad.reason) == (Status.DOWN, Reason.CERTIFICATE)
        assert bad.detail.startswith(f"certificate {next(iter(changed))}")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_version(judged, authority, scheme: str) -> None:
    leaf = lasting(authority, 60)
    assert judged(leaf, scheme, tls_version="1.3").status is Status.UP
    old = judged(leaf, scheme, ssl.TLSVersion.TLSv1_2, tls_version="1.3")
    assert (old.status, old.reason, old.detail) == (Status.DOWN, Reason.TLS, "TLSv1.2, wanted at least TLSv1.3")
    assert judged(leaf, scheme, ssl.TLSVersion.TLSv1_2, tls_version="1.2").status is Status.UP


def test_a_certificate_that_nobody_trusts_has_the_words_of_the_handshake(judged) -> None:
    refused = judged(lasting(trustme.CA(), 60), certificate=14)
    assert (refused.status, refused.reason) == (Status.DOWN, Reason.CERTIFICATE)
    assert "unable to get local issuer" in (refused.detail or "")


def test_a_redirect_away_from_tls_is_no_silence(plugins, authority, ca_file: str) -> None:
    with scripted(answers(PAGE)) as plain:
        away = page(b"", f"Location: http://localhost:{plain}/", status="302 Found")
        with scripted(answers(away), server_tls(lasting(authority, 60))) as port:
            url, tls = f"https://localhost:{port}/", {"ca": ca_file}
            result = probed(plugins, url, tls=tls, certificate=14)
            version = probed(plugins, url, tls=tls, tls_version="1.2")
    assert (result.reason, result.detail) == (
        Reason.CERTIFICATE, "no certificate: there is no TLS where the check ended",
    )  # fmt: skip
    assert (version.reason, version.detail) == (Reason.TLS, "no TLS where the check ended, wanted at least TLSv1.2")


def test_with_keep_alive_the_kept_connection_is_judged_and_a_new_certificate_seen(
    plugins, authority, ca_file: str
) -> None:
    tls = server_tls(lasting(authority, 60))
    handshakes: list[int] = []
    leave = threading.Event()

    def script(connection: socket.socket) -> None:
        handshakes.append(1)
        leaving = False
        while not leaving and request(connection):
            leaving = leave.is_set()
            connection.sendall(page(b"hello", "Connection: close") if leaving else PAGE)

    options = {
        "keep_alive": True, "tls": {"ca": ca_file}, "certificate": 14,
        "latency": {"degraded": "9s", "phase": "tls"},
    }  # fmt: skip
    with scripted(script, tls) as port, closing(plan(plugins, f"https://localhost:{port}/", **options)) as watched:
        first, second = probe(watched), probe(watched)
        assert (first.status, second.status, second.tls_us) == (Status.UP, Status.UP, None)
        assert len(handshakes) == 1
        leave.set()
        lasting(authority, 5).configure_cert(tls)  # for the connections to come
        kept, renewed = probe(watched), probe(watched)
    assert kept.status is Status.UP
    assert (renewed.status, renewed.reason) == (Status.DOWN, Reason.CERTIFICATE)
    assert renewed.detail.startswith("certificate ends in 5.0 days")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "ws://127.0.0.1:1/"])
@pytest.mark.parametrize("option", [{"certificate": 14}, {"tls_version": "1.3"}])
def test_where_there_can_be_no_tls_it_is_refused(plugins, url: str, option: dict[str, Any]) -> None:
    result = probed(plugins, url, **option)
    assert (result.status, result.reason) == (Status.MISSED, Reason.CONFIG)
    assert f'"{next(iter(option))}" judges the TLS handshake' in (result.detail or "")


def test_a_plain_tcp_check_has_no_certificate(plugins) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        result = probed(plugins, f"tcp://127.0.0.1:{server.getsockname()[1]}", certificate=14)
    assert (result.status, result.reason) == (Status.DOWN, Reason.CERTIFICATE)
