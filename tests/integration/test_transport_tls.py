"""TLS over the measured transport: trustme's certificates, good and bad, served by Python's `ssl`."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import pytest
import trustme
from scripted import answers, page, scripted, server_tls, silent, verdict

from watcher.models import Endpoint, Reason, Status
from watcher.plan import compile_plan
from watcher.transport.options import Tls
from watcher.probe import inspect

PAGE = page(b"hello")


def tls_options(**table: object) -> object:
    """Give the option `tls` as the configuration would."""
    return Tls(**{key: Path(value) if isinstance(value, str) else value for key, value in table.items()})


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_https_is_verified_and_its_handshake_is_a_phase(plugins, authority, ca_file, version) -> None:
    tls = server_tls(authority.issue_cert("localhost"))
    tls.minimum_version = tls.maximum_version = version
    with scripted(answers(PAGE), tls) as port:
        url = f"https://localhost:{port}/"
        options = {"tls": tls_options(ca=ca_file)}
        result, exchange = inspect(compile_plan(Endpoint(name=url, url=url, options=options), plugins))
    assert verdict(result) == (Status.UP, None, 200)
    assert result.tls_us > 0
    assert exchange.peer.version == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]
    assert ssl.DER_cert_to_PEM_cert(exchange.peer.certificate_der).startswith("-----BEGIN")


def test_each_bad_certificate_has_its_reason_and_words(check, authority, ca_file) -> None:
    other = trustme.CA()
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    cases = {
        "unable to get local issuer": server_tls(other.issue_cert("localhost")),
        "expired": server_tls(authority.issue_cert("localhost", not_before=past, not_after=past.replace(year=2021))),
        "hostname mismatch": server_tls(authority.issue_cert("other.example")),
    }
    for words, tls in cases.items():
        with scripted(answers(PAGE), tls) as port:
            result = check(f"https://localhost:{port}/", tls=tls_options(ca=ca_file))
            unverified = check(f"https://localhost:{port}/", tls=tls_options(verify=False))
        assert (result.status, result.reason) == (Status.DOWN, Reason.CERTIFICATE)
        assert words in result.detail.lower()
        assert unverified.status is Status.UP


def test_a_certificate_that_no_known_authority_signed_is_refused_by_default(check, authority) -> None:
    with scripted(answers(PAGE), server_tls(authority.issue_cert("localhost"))) as port:
        assert check(f"https://localhost:{port}/").reason is Reason.CERTIFICATE


def test_the_server_name_goes_with_a_pinned_address(check, authority, ca_file) -> None:
    names: list[str] = []
    tls = server_tls(authority.issue_cert("www.example.com"))
    tls.sni_callback = lambda _socket, name, _context: names.append(name)
    with scripted(answers(PAGE), tls) as port:
        result = check(f"https://www.example.com:{port}/", address="127.0.0.1", tls=tls_options(ca=ca_file))
    assert (result.status, names) == (Status.UP, ["www.example.com"])


def test_an_address_as_host_is_verified_too(check, authority, ca_file) -> None:
    with scripted(answers(PAGE), server_tls(authority.issue_cert("127.0.0.1"))) as port:
        assert check(f"https://127.0.0.1:{port}/", tls=tls_options(ca=ca_file)).status is Status.UP
    with scripted(answers(PAGE), server_tls(authority.issue_cert("127.0.0.9"))) as port:
        wrong = check(f"https://127.0.0.1:{port}/", tls=tls_options(ca=ca_file))
    assert wrong.reason is Reason.CERTIFICATE


def test_a_client_certificate_is_shown(check, authority, ca_file, tmp_path: Path) -> None:
    mine = authority.issue_cert("client@example.com")
    mine.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "client.pem"))
    tls = server_tls(authority.issue_cert("localhost"))
    authority.configure_trust(tls)
    tls.verify_mode = ssl.CERT_REQUIRED
    with scripted(answers(PAGE), tls) as port:
        url = f"https://localhost:{port}/"
        shown = check(url, tls=tls_options(ca=ca_file, cert=str(tmp_path / "client.pem")))
        hidden = check(url, tls=tls_options(ca=ca_file))
    assert shown.status is Status.UP
    assert (hidden.status, hidden.reason) == (Status.DOWN, Reason.TLS)
    assert "certificate required" in hidden.detail


@pytest.mark.parametrize(
    "script",
    [
        lambda c: c.recv(65536) and c.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        lambda c: c.recv(65536) and None,
        lambda c: c.recv(65536) and c.sendall(b"\x15\x03\x01\x00\x02\x02\x28"),  # alert: handshake failure
    ],
    ids=["http on the port", "closed", "alert"],
)
def test_a_handshake_that_fails_is_tls(check, script) -> None:
    with scripted(script) as port:
        assert check(f"https://127.0.0.1:{port}/").reason is Reason.TLS


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"<html>\r\n", b"220 mail.test ESMTP\r\n"])
def test_a_server_without_tls_is_told_in_plain_words(check, said: bytes) -> None:
    with scripted(lambda client: client.recv(65536) and client.sendall(said)) as port:
        result = check(f"https://127.0.0.1:{port}/")
    assert result.reason is Reason.TLS
    assert result.detail == "the server probably does not speak TLS on this port (wrong version number)"


def test_a_handshake_that_stalls_times_out_there(check) -> None:
    with scripted(silent) as port:
        result = check(f"https://127.0.0.1:{port}/", timeout_s=0.3)
    assert (result.reason, result.detail) == (Reason.TIMEOUT, "timeout in tls")
    assert 200_000 < result.tls_us <= 300_000


def test_a_large_page_over_tls_is_whole(check, authority, ca_file) -> None:
    body = bytes(range(256)) * 3000
    with scripted(answers(page(body)), server_tls(authority.issue_cert("localhost"))) as port:
        result = check(f"https://localhost:{port}/", tls=tls_options(ca=ca_file))
    assert (result.status, result.body_bytes) == (Status.UP, len(body))
