"""A PostgreSQL server that listens on TCP, for the tests of those who look at it from outside."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme
from probing import free_ports

from watcher.store import postgres_account, postgres_binaries

# each database lets in by its own method
HBA = """\
host    postgres  all  127.0.0.1/32  trust
host    scram     all  127.0.0.1/32  scram-sha-256
host    plain     all  127.0.0.1/32  password
hostssl secure    all  127.0.0.1/32  scram-sha-256
"""
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "5",
    "superuser_reserved_connections": "0",
    "max_wal_senders": "0",
    "fsync": "off",
}


class Running(NamedTuple):
    """A server: where it listens, its process, its log, the DSN of who may do everything."""

    port: int
    process: subprocess.Popen
    log: Path
    dsn: str


def cluster(home: Path, programs: Path) -> dict[str, Any]:
    """Make a data directory in `home` with the programs of a directory; give `subprocess` options to run them."""
    account = postgres_account.choose(home)
    home.mkdir()
    if account.foreign:
        shutil.chown(home, account.name)
    options = {"cwd": "/", **account.popen_options()}
    command = [programs / "initdb", "-D", home / "data", "-U", "postgres", "--no-sync", "--locale=C", "--auth=reject"]
    subprocess.run(command, check=True, capture_output=True, timeout=60, **options)
    (home / "data/pg_hba.conf").write_text(HBA)
    return options


def reachable(data_dir: Path) -> Path:
    """Give the directory of the newest programs that the account of the server can run."""
    return postgres_binaries.choose(postgres_account.choose(data_dir), data_dir, None, lambda line: None).directory


@contextmanager
def running(
    home: Path, programs: Path, options: dict[str, Any], eventually: Callable, **settings: str
) -> Iterator[Running]:
    """Run a server on a data directory."""
    port = free_ports("postgres")["postgres"]
    chosen = {**SETTINGS, "port": str(port), **settings}
    command = [programs / "postgres", "-D", home / "data", *(f"--{name}={value}" for name, value in chosen.items())]
    with open(home / "log", "wb") as log, subprocess.Popen(command, stdout=log, stderr=log, **options) as process:
        try:
            pid_file = home / "data/postmaster.pid"
            eventually(lambda: pid_file.exists() and "ready" in pid_file.read_text())
            yield Running(port, process, home / "log", f"postgresql://postgres@127.0.0.1:{port}/postgres")
        finally:
            process.send_signal(signal.SIGINT)


@contextmanager
def running_with_tls(home: Path, certificate: trustme.LeafCert, eventually: Callable) -> Iterator[Running]:
    """Run a server with TLS: Debian's, as the wheel's cannot do it."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        pytest.skip("no PostgreSQL of Debian's is installed, and the wheel's cannot do TLS")
    options = cluster(home, found[-1].parent)
    path = home / "server.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(str(path))
    path.chmod(0o600)
    shutil.chown(path, *(home.stat().st_uid, home.stat().st_gid))
    tls = {"ssl": "on", "ssl_cert_file": str(path), "ssl_key_file": str(path)}
    with running(home, found[-1].parent, options, eventually, **tls) as server:
        yield server
