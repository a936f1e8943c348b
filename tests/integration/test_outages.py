"""All that befalls a database, with a worker that goes on: nothing is lost or stored twice, checks stay in time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import outages
import postgres_server
import pytest
from outages import Outage, Server
from scripted import answers, page, scripted
from worker_process import Running

# A worker that gives up on a statement, asks again and tells its state sooner than others do.
HASTY = """
from watcher import green
green.patch()
from watcher import link, worker
link.STATEMENT_S, link.RETRY_MAX_S, worker.TELL_S = 1.5, 0.5, 0.25
worker.main()
"""
BEFALLS = {
    "gone": (outages.killed, outages.postmaster_killed, outages.restarted),
    "refusing": (outages.lets_nobody_in, outages.crowded, outages.password_changed, outages.read_only),
    "restored": (outages.dropped, outages.half_restored),
    "silent": (outages.hanging, outages.slow),
}


@pytest.fixture(scope="module", name="url")
def fixture_url() -> Iterator[str]:
    """Serve a page."""
    with scripted(answers(page(b"hello"))) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture(scope="module", name="new")
def fixture_new(public_dir: Path, eventually) -> Server:
    """Make a data directory; nothing is in it yet."""
    home = public_dir / "outages-new"
    programs = postgres_server.reachable(public_dir)
    options = postgres_server.cluster(home, programs)
    (home / "data/pg_hba.conf").write_text(outages.HBA.format(method="trust"))
    return Server(home, programs, options, eventually)


@pytest.fixture(scope="module", name="prepared")
def fixture_prepared(new: Server, public_dir: Path, url: str) -> Server:
    """Make a data directory with user, schema and endpoints; its server is ended."""
    server = outages.copied(new, public_dir / "outages-prepared")
    outages.prepare(server, url)
    return server


@pytest.fixture(name="server")
def fixture_server(prepared: Server, data_dir: Path) -> Iterator[Server]:
    """Run a server on a copy of them."""
    server = outages.copied(prepared, data_dir)
    server.start()
    yield server
    server.end()


def run(dsn: str, data_dir: Path, **job: object) -> Running:
    """Start a worker that sheds nothing: what is late on a busy machine is not the database's doing."""
    return Running(dsn, data_dir, ("-c", HASTY), batch_age_s=0.2, max_lag_s=10.0, max_late_s=10.0, **job)


@pytest.mark.parametrize("befalls", BEFALLS.values(), ids=BEFALLS)
def test_nothing_is_lost_nothing_is_twice_and_checks_go_on(
    befalls: Sequence[Outage], server: Server, url: str, tmp_path: Path, eventually
) -> None:
    worker = run(server.dsn(), tmp_path)
    try:
        outages.survives(worker, server, url, befalls, eventually, server.dsn)
    finally:
        worker.end()


def test_a_disk_that_is_full_loses_nothing(new: Server, data_dir: Path, url: str, tmp_path: Path, eventually) -> None:
    server = outages.copied(new, data_dir)
    with outages.small_disk(server):
        outages.fill(server, url)
        worker = run(server.dsn(), tmp_path)
        try:
            outages.survives(worker, server, url, [outages.disk_full], eventually, server.dsn)
        finally:
            worker.end()


def test_a_standby_takes_over(prepared: Server, data_dir: Path, url: str, tmp_path: Path, eventually) -> None:
    primary = outages.copied(prepared, data_dir, wal_level="replica", synchronous_commit="on")
    primary.start()
    standby = Server(data_dir / "standby", primary.programs, primary.options, eventually)
    try:
        standby_of(primary, standby)
        hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
        worker = run(f"postgresql://watcher:first@{hosts}/watcher?target_session_attrs=read-write", tmp_path)
        try:
            outages.survives(worker, primary, url, [lambda *_: promoted(primary, standby)], eventually, standby.dsn)
        finally:
            worker.end()
    finally:
        primary.end()
        standby.end()


def standby_of(primary: Server, standby: Server) -> None:
    """Make a standby that has what the primary has when that commits."""
    home = str(standby.home / "data")
    primary.run("pg_basebackup", "-D", home, "-d", primary.dsn("postgres"), "-R", "-X", "stream", "--checkpoint=fast")
    with open(standby.home / "data/postgresql.auto.conf", "a", encoding="utf-8") as file:
        file.write(f"primary_conninfo = '{primary.dsn('postgres')}?application_name=standby'\n")
    standby.start()
    primary.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'", "SELECT pg_reload_conf()")


def promoted(primary: Server, standby: Server) -> Iterator[None]:
    """Kill the primary; promote the standby."""
    primary.kill()
    yield
    standby.execute("SELECT pg_promote()")
