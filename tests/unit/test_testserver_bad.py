"""The test server's bad answers and traps: each is what its name says, for clients and parsers that are not ours."""

from __future__ import annotations

import http.client
import ssl
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import brotli
import httptools
import pytest
import requests
from backports import zstd
from plain_client import IMPATIENT_S, PATIENT_S, connect, get

from watcher.models import Reason
from watcher.testserver import bad, bad_bodies, bad_heads
from watcher.testserver.bad import KINDS
from watcher.testserver.process import ServerProcess
from watcher.testserver.trap import TRAPS

CLOSED = (http.client.IncompleteRead, http.client.RemoteDisconnected, http.client.BadStatusLine, ConnectionResetError)


@pytest.fixture(scope="module", name="server")
def fixture_server() -> Iterator[ServerProcess]:
    """Run one server for the module."""
    with ServerProcess(tls=True, traps=True) as running:
        yield running


def named(*verdicts: object) -> list[str]:
    """Name the kinds whose best verdict is one of these."""
    return [kind.name for kind in KINDS.values() if kind.verdicts[0] in verdicts]


def test_there_are_many_kinds_with_unique_names() -> None:
    """A name given twice would hide a kind."""
    groups = [bad_heads.STATUS_LINES, bad_heads.HEADERS, bad_heads.REDIRECTS, bad.CONNECTIONS, bad.ODD]
    groups += [bad_bodies.LENGTHS, bad_bodies.CHUNKS, bad_bodies.CODINGS]
    assert len(KINDS) == sum(map(len, groups)) >= 70
    assert not KINDS.keys() & TRAPS.keys()


# http.client takes 103 for the answer, and no empty line before the status line
@pytest.mark.parametrize("name", sorted({*named(None)} - {"early-hints", "blank-line-first"}))
def test_http_client_takes_what_is_odd_but_right(server: ServerProcess, name: str) -> None:
    """What a monitor should call up is up for Python's own client too."""
    assert get(f"{server.url}/bad/{name}")[0] in (200, 204)


# http.client takes the end of the connection for the end of the head
@pytest.mark.parametrize("name", sorted({*named(Reason.CLOSED)} - {"close-in-headers"}))
def test_http_client_notices_a_connection_that_ends_too_early(server: ServerProcess, name: str) -> None:
    """What a monitor should call closed is no whole answer for Python's own client."""
    with pytest.raises(CLOSED):
        get(f"{server.url}/bad/{name}")


@pytest.mark.parametrize("name", named(Reason.TIMEOUT))
def test_an_answer_that_never_ends_stays_open(server: ServerProcess, name: str) -> None:
    """What a monitor should call a timeout is not closed by the server, and is not whole."""
    deadline = time.monotonic() + IMPATIENT_S
    received = b""
    with connect(server.url) as sock, pytest.raises(TimeoutError):
        sock.sendall(f"GET /bad/{name} HTTP/1.1\r\n\r\n".encode())
        while True:
            sock.settimeout(max(0.001, deadline - time.monotonic()))
            data = sock.recv(65_536)
            assert data, "closed"
            received += data
    assert len(received) < 500


@pytest.mark.parametrize("name", [kind.name for kind in KINDS.values() if kind.verdicts == (Reason.PROTOCOL,)])
def test_llhttp_refuses_what_is_no_http(server: ServerProcess, name: str) -> None:
    """What a monitor should call a protocol error is one for Node's parser too, or longer than any sane head."""
    received = bytearray()
    with connect(server.url) as sock:
        sock.sendall(f"GET /bad/{name} HTTP/1.1\r\n\r\n".encode())
        while data := sock.recv(65_536):
            received += data
    if name in ("huge-header", "many-headers"):
        assert received.index(b"\r\n\r\n") > 1_000_000
        return
    with pytest.raises(httptools.HttpParserError):
        httptools.HttpResponseParser(Found()).feed_data(bytes(received))


@pytest.mark.parametrize("name", ["early-hints", "blank-line-first"])
def test_llhttp_takes_what_http_client_does_not(server: ServerProcess, name: str) -> None:
    """The whole of the last answer is found."""
    with connect(server.url) as sock:
        sock.sendall(f"GET /bad/{name} HTTP/1.1\r\n\r\n".encode())
        received = sock.makefile("rb").read()
    found = Found()
    httptools.HttpResponseParser(found).feed_data(received)
    assert found.body == b"watcher test server\n"


class Found:
    """Takes what the parser finds, as its protocol."""

    def __init__(self) -> None:
        self.body = b""

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        self.body += body


@pytest.mark.parametrize("name", [name for name in KINDS if name.startswith(("endless-", "flood-", "huge-body"))])
def test_an_endless_answer_goes_on_while_others_are_served(server: ServerProcess, name: str) -> None:
    """More than any cap comes, and the server has time for others."""
    received = 0
    with connect(server.url) as sock:
        sock.sendall(f"GET /bad/{name} HTTP/1.1\r\n\r\n".encode())
        while received < 4 * 1024 * 1024:
            received += len(sock.recv(1024 * 1024))
        assert get(f"{server.url}/")[0] == 200


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("redirect-loop", requests.TooManyRedirects),
        ("redirect-endless", requests.TooManyRedirects),
        ("redirect-bad-url", (requests.exceptions.InvalidURL, ValueError)),
        ("redirect-other-scheme", requests.exceptions.InvalidSchema),
        ("redirect-nowhere", requests.ConnectionError),
    ],
)
def test_requests_cannot_follow_bad_redirects(server: ServerProcess, name: str, error: type[Exception]) -> None:
    """What a monitor should call a redirect is an error for requests too."""
    with pytest.raises(error):
        requests.get(f"{server.url}/bad/{name}", timeout=PATIENT_S)


@pytest.mark.parametrize(
    ("name", "decoder"),
    [
        ("gzip-bomb", lambda: zlib.decompressobj(zlib.MAX_WBITS | 16)),
        ("zstd-bomb", zstd.ZstdDecompressor),
    ],
)
def test_a_bomb_is_small_and_becomes_large(server: ServerProcess, name: str, decoder: Callable[[], Any]) -> None:
    """It is a valid stream: the whole of it can be decoded."""
    _, body = get(f"{server.url}/bad/{name}")
    assert len(body) < 300_000
    unpacked, size = decoder(), 0
    while not unpacked.eof:
        size += len(unpacked.decompress(body, 1024 * 1024))
        body = getattr(unpacked, "unconsumed_tail", b"")
    assert size == 256 * 1024 * 1024


def test_the_brotli_bomb_is_smaller_still(server: ServerProcess) -> None:
    """52 bytes become 64 MiB."""
    _, body = get(f"{server.url}/bad/br-bomb")
    assert (len(body), len(brotli.decompress(body))) == (52, 64 * 1024 * 1024)


# --- traps ---


def shake(server: ServerProcess, url: str, timeout_s: float = PATIENT_S) -> bytes:
    """Make a TLS connection as strictly as `ssl` does by default, and read the start of an answer."""
    context = ssl.create_default_context(cafile=server.ca_file)
    with connect(url, timeout_s) as sock, context.wrap_socket(sock, server_hostname="127.0.0.1") as secure:
        secure.sendall(b"GET / HTTP/1.1\r\n\r\n")
        return secure.recv(100)


def test_https_is_served_with_a_certificate_that_its_ca_vouches_for(server: ServerProcess) -> None:
    """Everything that plain HTTP has, over TLS."""
    for name in ("127.0.0.1", "localhost"):
        url = server.tls_url.replace("127.0.0.1", name)
        answer = requests.get(f"{url}/?size=3m&delay=10ms", verify=str(server.ca_file), timeout=PATIENT_S)
        assert len(answer.content) == 3 * 1024 * 1024


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("certificate-expired", "certificate has expired"),
        ("certificate-not-yet", "certificate is not yet valid"),
        ("certificate-other-name", "IP address mismatch"),
        ("certificate-no-name", "IP address mismatch"),
        ("certificate-self-signed", "self-signed certificate"),
        ("certificate-unknown-ca", "unable to get local issuer certificate"),
        ("certificate-no-chain", "unable to get local issuer certificate"),
        ("certificate-not-a-server", "unsuitable certificate purpose"),
        ("certificate-not-a-ca", "invalid CA certificate"),
        ("certificate-weak-key", "EE certificate key too weak"),
    ],
)
def test_openssl_refuses_a_bad_certificate_for_its_very_fault(server: ServerProcess, name: str, message: str) -> None:
    """Nothing else is wrong with it."""
    with pytest.raises(ssl.SSLCertVerificationError) as refused:
        shake(server, server.traps[name])
    assert refused.value.verify_message.startswith(message)


def test_a_certificate_over_sha1_is_signed_so(server: ServerProcess) -> None:
    """Whether OpenSSL refuses it depends on the system's security level; that it is one does not."""
    parts = urlsplit(server.traps["certificate-sha1"])
    pem = ssl.get_server_certificate((parts.hostname, parts.port))
    assert b"\x2a\x86\x48\xce\x3d\x04\x01" in ssl.PEM_cert_to_DER_cert(pem)  # ecdsa-with-SHA1, RFC 3279


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("tls-silent", TimeoutError),
        ("tls-half", TimeoutError),
        ("tls-garbage", ssl.SSLError),
        ("tls-plain", ssl.SSLError),
        ("tls-alert", ssl.SSLError),
        ("tls-old", ssl.SSLError),
        ("tls-client-certificate", ssl.SSLError),
        ("tls-reset", ConnectionResetError),
        ("tls-close", (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionResetError)),
    ],
)
def test_a_handshake_fails_as_it_should(server: ServerProcess, name: str, error: type[Exception]) -> None:
    """Python's ssl gives the error that the trap is there for."""
    with pytest.raises(error):
        shake(server, server.traps[name], IMPATIENT_S if error is TimeoutError else PATIENT_S)


def test_every_trap_has_a_port_and_a_test(server: ServerProcess) -> None:
    """What is added to the table is added here."""
    plain = {"refused", "backlog-full", "accept-reset", "accept-close", "accept-silent", "banner"}
    handshakes = {name for name in TRAPS if name.startswith("tls-")}
    certificates = {name for name in TRAPS if name.startswith("certificate-")}
    assert server.traps.keys() == TRAPS.keys() == plain | handshakes | certificates


def test_traps_of_plain_tcp_spring(server: ServerProcess) -> None:
    """Each fails in its phase."""
    with pytest.raises(ConnectionRefusedError):
        connect(server.traps["refused"])
    with pytest.raises(TimeoutError):
        connect(server.traps["backlog-full"], IMPATIENT_S)
    with pytest.raises(ConnectionResetError), connect(server.traps["accept-reset"]) as sock:
        sock.recv(1)
    with connect(server.traps["accept-close"]) as sock:
        assert sock.recv(1) == b""
    with connect(server.traps["banner"]) as sock:
        assert sock.recv(100).startswith(b"220 ")
    with connect(server.traps["accept-silent"], IMPATIENT_S) as sock, pytest.raises(TimeoutError):
        sock.recv(1)
