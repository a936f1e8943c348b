"""tls:// against real TLS servers: the handshake is all of the check, and it is finished."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from probing import probing
from scripted import scripted, server_tls, silent
from third_party import third_party

from watcher import Reason, Status
from watcher.plugins.protocols import connection, tls

check = probing(tls, connection)
pytestmark = pytest.mark.usefixtures("anchor")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_handshake_is_up_and_is_finished(authority, ca_file: str, version: ssl.TLSVersion) -> None:
    context = server_tls(authority.issue_cert("localhost"))
    context.minimum_version = context.maximum_version = version
    shaken = threading.Event()
    with scripted(lambda caller: shaken.set(), context) as port:
        result = check(f"tls://localhost:{port}", tls={"ca": ca_file})
        assert shaken.wait(5)  # else the server would write a failure into its log at each check
    assert (result.status, result.reason, result.detail) == (Status.UP, None, None)
    assert result.tls_us > 0
    assert (result.ttfb_us, result.transfer_us, result.body_bytes) == (None, None, None)


@pytest.fixture(scope="module")
def openssl(tmp_path_factory: pytest.TempPathFactory, authority, eventually) -> Iterator[int]:
    """Run openssl's own server; give its port."""
    pem: Path = tmp_path_factory.mktemp("openssl") / "server.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(pem))
    options = ["s_server", "-accept", "127.0.0.1:{port}", "-cert", str(pem), "-quiet"]
    with third_party(eventually, "openssl", "openssl", *options) as port:
        yield port


def test_a_server_that_says_nothing_after_the_handshake_is_up(openssl: int, ca_file: str) -> None:
    assert check(f"tls://localhost:{openssl}", tls={"ca": ca_file}).status is Status.UP


def test_what_is_not_trusted_is_down_unless_that_is_asked_for(openssl: int, ca_file: str, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    url = f"tls://localhost:{openssl}"
    assert check(url).reason is Reason.CERTIFICATE
    assert check(url, tls={"ca": str(other)}).reason is Reason.CERTIFICATE
    assert check(url, tls={"ca": ca_file, "server_name": "www.example.com"}).reason is Reason.CERTIFICATE
    assert check(url, tls={"verify": False}).status is Status.UP


def test_what_speaks_no_tls_is_down() -> None:
    with scripted(lambda caller: caller.sendall(b"220 ready\r\n")) as port:
        assert check(f"tls://127.0.0.1:{port}", 2).reason is Reason.TLS
    with scripted(silent) as port:
        result = check(f"tls://127.0.0.1:{port}", 0.3)
    assert (result.reason, result.detail) == (Reason.TIMEOUT, "timeout in tls")
    assert result.tls_us > 100_000


def test_a_url_without_a_port_means_443() -> None:
    result = check("tls://127.0.0.1", 0.5, address="127.99.4.3")
    assert (result.reason, result.address) == (Reason.CONNECT, "127.99.4.3")  # nobody listens there
