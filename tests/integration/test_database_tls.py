"""The database over TLS: whom a connection trusts, in a plain process and in a green one."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme
from green_process import run_green
from postgres_server import Running, running_with_tls

from watcher.errors import DatabaseError
from watcher.store.connection import connect

NAME = "localhost"
GREEN = """
    import sys
    from watcher.errors import DatabaseError
    from watcher.store.connection import connect
    try:
        connection = connect(sys.argv[1], name="test")
    except DatabaseError as error:
        print(type(error).__name__, error)
    else:
        cursor = connection.cursor()
        cursor.execute("SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl")
        print("verified", cursor.fetchone()[0])
    """


class Secure(NamedTuple):
    """A server whose certificate is for NAME, its authority, and another one."""

    server: Running
    right: Path
    wrong: Path

    def dsn(self, host: str, mode: str, root: Path | str) -> str:
        """Give a DSN."""
        return f"host={host} port={self.server.port} user=postgres dbname=postgres sslmode={mode} sslrootcert={root}"


@pytest.fixture(name="secure", scope="module")
def fixture_secure(
    public_dir: Path, authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory, eventually: Callable
) -> Iterator[Secure]:
    """Run a server."""
    directory = tmp_path_factory.mktemp("authorities")
    for name, one in {"right": authority, "wrong": trustme.CA()}.items():
        one.cert_pem.write_to_path(str(directory / name))
    with running_with_tls(public_dir / "database-tls", authority.issue_cert(NAME), eventually) as server:
        yield Secure(server, directory / "right", directory / "wrong")


def said(dsn: str, green: bool) -> str:
    """Connect and give what came of it."""
    if green:
        return run_green(GREEN, dsn).strip()
    try:
        with contextlib.closing(connect(dsn, name="test")) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl")
            return f"verified {cursor.fetchone()[0]}"
    except DatabaseError as error:
        return f"{type(error).__name__} {error}"


@pytest.mark.parametrize("green", [False, True], ids=["plain", "green"])
@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
def test_the_right_authority_and_name_are_let_in(secure: Secure, mode: str, green: bool) -> None:
    assert said(secure.dsn(NAME, mode, secure.right), green).startswith("verified TLSv1.")


@pytest.mark.parametrize("green", [False, True], ids=["plain", "green"])
@pytest.mark.parametrize(
    ("host", "mode", "root", "expected"),
    [
        (NAME, "verify-full", "wrong", "has a certificate that sslrootcert does not vouch for"),
        (NAME, "verify-ca", "wrong", "has a certificate that sslrootcert does not vouch for"),
        ("127.0.0.1", "verify-full", "right", "has a certificate of another name"),
        (NAME, "verify-full", "missing", "cannot be verified: the file of sslrootcert is not there"),
    ],
)
def test_others_are_refused_with_the_remedy(
    secure: Secure, host: str, mode: str, root: str, expected: str, green: bool
) -> None:
    text = said(secure.dsn(host, mode, secure.right.parent / root), green)
    assert text.startswith(f"DatabaseError the database at {host}:") and expected in text


def test_a_server_without_tls_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            peer, _ = listening.accept()
            with peer:
                peer.recv(8)  # the SSLRequest of the manual's 53.2.11
                peer.sendall(b"N")

        thread = threading.Thread(target=answer)
        thread.start()
        port = listening.getsockname()[1]
        with pytest.raises(DatabaseError, match="offers no TLS, which sslmode demands; set ssl = on there"):
            connect(f"host=127.0.0.1 port={port} sslmode=require user=x dbname=x gssencmode=disable", name="test")
        thread.join()
