"""postgres:// against real servers, with pg_isready as the judge, and against peers that misbehave."""

from __future__ import annotations

import shutil
import signal
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
import trustme
from postgres_server import Running, cluster, reachable, running, running_with_tls
from probing import probing
from scripted import scripted, server_tls, silent

from watcher import Reason, Status
from watcher.plugins.protocols import connection, postgres
from watcher.store import postgres_binaries

pytestmark = pytest.mark.usefixtures("anchor")
check = probing(connection, postgres)
Start = Callable[..., object]


@pytest.fixture(scope="module", name="start")
def fixture_start(public_dir: Path, eventually: Callable) -> Start:
    """Give `start(name)`: a server with a data directory of its own, run until its context ends."""
    programs = reachable(public_dir)
    options = cluster(public_dir / "postgres-new", programs)

    def start(name: str) -> object:
        shutil.rmtree(public_dir / name, ignore_errors=True)
        subprocess.run(["cp", "-a", public_dir / "postgres-new", public_dir / name], check=True)
        return running(public_dir / name, programs, options, eventually)

    return start


@pytest.fixture(scope="module", name="server")
def fixture_server(start: Start) -> Iterator[Running]:
    """Run a server without TLS, as the wheel's is."""
    with start("postgres-plain") as server:
        yield server


@pytest.fixture(scope="module", name="secure")
def fixture_secure(public_dir: Path, authority: trustme.CA, eventually: Callable) -> Iterator[Running]:
    """Run a server with TLS."""
    with running_with_tls(public_dir / "postgres-tls", authority.issue_cert("127.0.0.1"), eventually) as server:
        yield server


def pg_isready(port: int, database: str) -> int:
    """Ask PostgreSQL's own program: 0 accepts connections, 1 rejects them, 2 does not answer."""
    program = next(postgres_binaries.directories())[1] / "pg_isready"
    command = [program, "--quiet", "--host=127.0.0.1", f"--port={port}", f"--dbname={database}", "--username=watcher"]
    return subprocess.run(command, check=False, timeout=20).returncode


@pytest.mark.parametrize("database", ["scram", "plain", "postgres"])
def test_a_server_that_asks_who_we_are_is_up(server: Running, database: str) -> None:
    result = check(f"postgres://127.0.0.1:{server.port}/{database}")
    assert (result.status, result.reason, result.detail) == (Status.UP, None, None)
    assert result.latency_us == result.connect_us + result.ttfb_us + (result.transfer_us or 0)
    assert pg_isready(server.port, database) == 0


def test_the_other_name_of_the_scheme_and_no_database(server: Running) -> None:
    assert check(f"PostgreSQL://127.0.0.1:{server.port}").detail is None


def test_a_server_that_lets_only_others_in_is_up_with_a_word(server: Running) -> None:
    result = check(f"postgres://127.0.0.1:{server.port}/other", postgres={"user": "probe"})
    assert result.status is Status.UP
    assert 'no pg_hba.conf entry for host "127.0.0.1", user "probe", database "other"' in result.detail
    assert result.detail.endswith("(28000)")
    assert pg_isready(server.port, "other") == 0


def test_checks_leave_no_complaint_in_the_log(server: Running, eventually: Callable) -> None:
    begun = len(server.log.read_text())
    for database in ("scram", "plain", "other"):
        check(f"postgres://127.0.0.1:{server.port}/{database}")
    eventually(lambda: '"other"' in server.log.read_text()[begun:])  # which is refused
    assert server.log.read_text()[begun:].count("FATAL") == 1


def test_a_server_without_a_free_connection_is_down(start: Start) -> None:
    with start("postgres-full") as server:
        clients = [psycopg2.connect(server.dsn) for _ in range(5)]
        result = check(f"postgres://127.0.0.1:{server.port}/scram")
        assert (result.status, result.reason) == (Status.DOWN, Reason.STATUS)
        assert result.detail == "FATAL: sorry, too many clients already (53300)"
        for client in clients:
            client.close()


def test_a_server_that_shuts_down_is_down(start: Start, eventually: Callable) -> None:
    with start("postgres-ending") as server, closing(psycopg2.connect(server.dsn)):
        server.process.send_signal(signal.SIGTERM)  # it waits for its client
        eventually(lambda: pg_isready(server.port, "scram") == 1)
        result = check(f"postgres://127.0.0.1:{server.port}/scram")
        assert (result.status, result.reason) == (Status.DOWN, Reason.STATUS)
        assert result.detail == "FATAL: the database system is shutting down (57P03)"


def test_a_server_that_is_gone_is_down(start: Start) -> None:
    with start("postgres-gone") as server:
        pass
    result = check(f"postgres://127.0.0.1:{server.port}/scram")
    assert (result.status, result.reason) == (Status.DOWN, Reason.CONNECT)
    assert pg_isready(server.port, "scram") == 2


def test_a_server_without_tls_is_down_where_it_is_asked_for(server: Running) -> None:
    result = check(f"postgres://127.0.0.1:{server.port}/scram", postgres={"tls": "require"})
    assert (result.status, result.reason) == (Status.DOWN, Reason.TLS)
    assert result.detail == "the server does not offer TLS"


def test_over_tls(secure: Running, ca_file: str) -> None:
    url = f"postgres://127.0.0.1:{secure.port}/secure"
    result = check(url, tls={"ca": ca_file}, postgres={"tls": "require"})
    assert (result.status, result.detail) == (Status.UP, None)
    assert result.tls_us > 0
    assert check(url, postgres={"tls": "require"}).reason is Reason.CERTIFICATE
    assert "no encryption" in check(url).detail  # hostssl: without TLS nobody gets in


# what the manual has, in bytes ("Message Formats"): a startup message, AuthenticationOk, AuthenticationSASL
STARTUP = (
    b"\x00\x00\x00\x40\x00\x03\x00\x00user\x00watcher\x00database\x00my shop\x00application_name\x00watcher\x00\x00"
)
OK = b"R\x00\x00\x00\x08\x00\x00\x00\x00"
SASL = b"R\x00\x00\x00\x17\x00\x00\x00\x0aSCRAM-SHA-256\x00\x00"
TERMINATE = b"X\x00\x00\x00\x04"


@pytest.mark.parametrize(("answer", "rest"), [(OK, TERMINATE), (SASL, b"")])
def test_what_is_sent_is_what_the_manual_says(answer: bytes, rest: bytes, eventually: Callable) -> None:
    heard: list[bytes] = []

    def script(peer) -> None:
        heard.append(peer.recv(100))
        peer.sendall(answer)
        heard.append(peer.recv(100))

    with scripted(script) as port:
        assert check(f"postgres://127.0.0.1:{port}/my%20shop").detail is None
        eventually(lambda: heard == [STARTUP, rest])


def test_tls_from_the_first_byte(authority: trustme.CA, ca_file: str) -> None:
    context = server_tls(authority.issue_cert("127.0.0.1"))
    context.set_alpn_protocols(["postgresql"])
    heard: list[object] = []

    def script(peer) -> None:
        heard.extend([peer.selected_alpn_protocol(), peer.recv(100)])
        peer.sendall(SASL)
        peer.recv(100)

    with scripted(script, context) as port:
        url = f"postgres://127.0.0.1:{port}/my%20shop"
        assert check(url, tls={"ca": ca_file}, postgres={"tls": "direct"}).detail is None
    assert heard == ["postgresql", STARTUP]


def error(text: bytes) -> bytes:
    """Write an ErrorResponse."""
    return b"E" + struct.pack("!I", 4 + len(text)) + text


def after(count: int, *answers: bytes) -> Callable[..., None]:
    """Make a script that answers each message of at least so many bytes."""

    def script(peer) -> None:
        for answer in answers:
            assert len(peer.recv(1000)) >= count
            peer.sendall(answer)

    return script


@pytest.mark.parametrize(
    ("script", "reason", "words"),
    [
        (after(8, error(b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0")),
         Reason.STATUS, "FATAL: the database system is starting up (57P03)"),
        (after(8, error(b"SFATAL\0C08P01\0Mno such\ndatabase\0\0")), Reason.STATUS, "no such database (08P01)"),
        (after(8, b"Ecould not fork new process for connection: no memory\n\0"), Reason.STATUS, "could not fork"),
        (after(8, b"HTTP/1.1 400 Bad Request\r\n\r\n"), Reason.PROTOCOL, "begins with b'HTTP/1.1 400"),
        (after(8, b"SSH-2.0-OpenSSH_9.2\r\n"), Reason.PROTOCOL, "not PostgreSQL"),
        (after(8, b"RFB 003.008\n"), Reason.PROTOCOL, "begins with b'RFB 003.008"),
        (after(8, b"Z\x00\x00\x00\x05I"), Reason.PROTOCOL, "not PostgreSQL"),
        (after(8, b"R\x00\x00"), Reason.CLOSED, "closed"),
        (after(8, b""), Reason.CLOSED, "closed"),
        (silent, Reason.TIMEOUT, "timeout in ttfb"),
    ],
)  # fmt: skip
def test_each_way_to_fail_has_its_reason(script: Callable, reason: Reason, words: str) -> None:
    with scripted(script) as port:
        result = check(f"postgres://127.0.0.1:{port}", timeout_s=0.5)
    assert (result.status, result.reason) == (Status.DOWN, reason)
    assert words in result.detail and "\n" not in result.detail


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"N", Reason.TLS),
        (b"S" + SASL, Reason.PROTOCOL),
        (error(b"Mforged\0\0"), Reason.PROTOCOL),
        (b"+", Reason.PROTOCOL),
    ],
)
def test_a_check_that_wants_tls_never_goes_on_in_plain(
    answer: bytes, reason: Reason, eventually: Callable
) -> None:
    heard: list[bytes] = []

    def script(peer) -> None:
        heard.append(peer.recv(100))
        peer.sendall(answer)
        heard.append(peer.recv(100))

    with scripted(script) as port:
        result = check(f"postgres://127.0.0.1:{port}", postgres={"tls": "require"})
        eventually(lambda: heard == [b"\x00\x00\x00\x08\x04\xd2\x16\x2f", b""])  # SSLRequest, and no more
    assert (result.status, result.reason) == (Status.DOWN, reason)
    assert "forged" not in result.detail


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgres://user:hunter2@127.0.0.1/shop", "no password is needed"),
        ("postgres://user@127.0.0.1/shop", 'postgres = { user = "…" }'),
        ("postgres://127.0.0.1/shop?sslmode=require", 'tls = "require"'),
        ("postgres://127.0.0.1/shop%00", "U+0000"),
    ],
)
def test_what_cannot_be_probed_says_so(url: str, words: str) -> None:
    result = check(url)
    assert (result.status, result.reason) == (Status.MISSED, Reason.CONFIG)
    assert words in result.detail and "hunter2" not in result.detail


@pytest.mark.parametrize("option", [{"user": ""}, {"user": "a\0b"}, {"tls": "prefer"}, {"password": "a"}])
def test_a_wrong_option_is_refused(option: dict) -> None:
    with pytest.raises(ValueError, match="postgres"):
        check("postgres://127.0.0.1", postgres=option)
