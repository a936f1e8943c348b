"""`watcher --config F` as a whole: real PostgreSQL, real workers, real signals."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from agent_process import PATIENCE_S, TWO_SITES, AgentProcess, Eventually, Write

from watcher import __version__
from watcher.store import embedded
from watcher.store.queries import queries

Query = Callable[[str], list[tuple[Any, ...]]]

ANOTHER = """
[[endpoints]]
name = "{name}"
url = "{site}/{name}"
"""


@pytest.fixture(name="query")
def _query(database: str) -> Query:
    def query(statement: str) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()

    return query


def embedded_file(site: str, data_dir: Path) -> str:
    """Give the file with the embedded database in a data directory."""
    return TWO_SITES.format(dsn="", site=site).replace('[database]\ndsn = ""', "").replace('"data"', f'"{data_dir}"')


def stored(agent: AgentProcess) -> int:
    """Give how many rows the last summary says are stored."""
    found = re.findall(r"stored ([\d,]+)", "".join(agent.output))
    return int(found[-1].replace(",", "")) if found else 0


@pytest.fixture(name="path")
def _path(write: Write, database: str, site: str) -> Path:
    return write(TWO_SITES.format(dsn=database, site=site))


@pytest.fixture(name="for_two")
def _for_two(path: Path) -> Path:
    path.write_text(path.read_text(encoding="utf-8").replace("workers = 1", "workers = 2"), encoding="utf-8")
    return path


def results(query: Query, name: str) -> Callable[[], list[tuple[Any, ...]]]:
    """Give the condition that results of an endpoint are stored."""
    statement = f"SELECT status, http_status FROM metrics JOIN endpoints ON id = endpoint_id WHERE name = '{name}'"
    return lambda: query(statement)


def test_from_the_file_to_the_rows(for_two: Path, query: Query, eventually: Eventually) -> None:
    with AgentProcess(for_two) as agent:
        agent.wait_for("down   broken")
        assert agent.output[0] == f"watcher {__version__}: 2 endpoints from {for_two}\n"
        assert eventually(results(query, "page"), 30)[0] == ("up", 200)
        assert eventually(results(query, "broken"), 30)[0] == ("down", 500)
        assert len(agent.children("watcher.worker")) == 2
        assert agent.end() == 0, agent.everything()
    assert "2 endpoints: 1 up, 1 down, 0 unknown" in agent.output[-1] and "database ok" in agent.output[-1]
    stored = sum(len(results(query, name)()) for name in ("page", "broken"))
    assert f"stored {stored}, buffered 0, spooled 0" in agent.output[-1], "nothing measured is lost at the end"
    assert [line.split(" ", 1)[1] for line in agent.trouble] == ["SIGTERM: draining, 15 s at most\n"]


def test_the_data_directory_can_hold_the_embedded_database_later(for_two: Path) -> None:
    with AgentProcess(for_two) as agent:
        agent.wait_for("down   broken")
        mode = (for_two.parent / "data").stat().st_mode & 0o777
        assert mode == (0o711 if os.geteuid() == 0 else 0o700)  # root runs PostgreSQL as another account
        assert agent.end() == 0, agent.everything()


def test_a_reload_applies_the_difference(path: Path, site: str, query: Query, eventually: Eventually) -> None:
    text = path.read_text(encoding="utf-8")
    with AgentProcess(path) as agent:
        eventually(results(query, "page"), 30)
        workers = agent.children("watcher.worker")
        path.write_text(
            text.replace("status/500", "status/503") + ANOTHER.format(site=site, name="new"), encoding="utf-8"
        )
        agent.process.send_signal(signal.SIGHUP)
        agent.wait_for(": 1 added, 1 changed, 1 unchanged")
        assert eventually(results(query, "new"), 30)[0] == ("up", 200)
        eventually(lambda: ("down", 503) in results(query, "broken")(), 30)
        path.write_text(text.replace("workers = 1", "workers = 2"), encoding="utf-8")
        agent.process.send_signal(signal.SIGHUP)
        agent.wait_for("agent.workers has changed; this takes effect after a restart")
        agent.wait_for(": 1 changed, 1 removed, 1 unchanged")
        assert agent.children("watcher.worker") == workers
        assert agent.end() == 0


def test_a_bad_file_keeps_what_runs(path: Path, query: Query, eventually: Eventually) -> None:
    text = path.read_text(encoding="utf-8")
    with AgentProcess(path) as agent:
        eventually(results(query, "page"), 30)
        path.write_text(text.replace("interval = 5", "interval = 1").replace("workers", "wrkers"), encoding="utf-8")
        agent.process.send_signal(signal.SIGHUP)
        agent.wait_for("not reloaded, 2 mistakes")
        assert agent.said("agent.wrkers") and agent.said("interval")
        before = len(results(query, "page")())
        eventually(lambda: len(results(query, "page")()) > before, 30)
        assert agent.end() == 0


def test_a_killed_worker_is_replaced_and_its_endpoints_are_checked_on(
    for_two: Path, query: Query, eventually: Eventually
) -> None:
    with AgentProcess(for_two) as agent:
        eventually(results(query, "page"), 30)
        for worker in agent.children("watcher.worker"):
            os.kill(worker, signal.SIGKILL)
        agent.wait_for("died of SIGKILL", 2)
        before = [len(results(query, name)()) for name in ("page", "broken")]
        eventually(lambda: all(len(results(query, n)()) > b for n, b in zip(("page", "broken"), before)), 30)
        assert agent.end() == 0


def test_endpoints_of_other_sources_are_told_of(
    path: Path, query: Query, site: str, eventually: Eventually, tmp_path: Path
) -> None:
    with AgentProcess(path) as agent:
        eventually(results(query, "page"), 30)
        assert agent.end() == 0
    other = tmp_path / "other.toml"
    dsn = path.read_text(encoding="utf-8").partition("[defaults]")[0]
    other.write_text(
        dsn + ANOTHER.format(site=site, name="other") + ANOTHER.format(site=site, name="page"), encoding="utf-8"
    )
    with AgentProcess(other) as agent:
        agent.wait_for(f"the table also has 1 endpoint from file:{path}")
        agent.wait_for(f'endpoint "page" is taken over from file:{path}')
        assert agent.end() == 0


def test_a_log_that_nobody_reads_any_more_is_no_reason_to_stop(
    path: Path, query: Query, eventually: Eventually
) -> None:
    with AgentProcess(path) as agent:
        eventually(results(query, "page"), 30)
        agent.close_streams()
        for worker in agent.children("watcher.worker"):
            os.kill(worker, signal.SIGKILL)  # there is something to say
        before = len(results(query, "page")())
        eventually(lambda: len(results(query, "page")()) > before, 60)
        assert agent.end() == 0


def test_a_database_that_refuses_ends_it_with_a_line(write: Write, database: str, site: str) -> None:
    wrong = database.replace("/test_", "/missing_")
    with AgentProcess(write(TWO_SITES.format(dsn=wrong, site=site))) as agent:
        assert agent.process.wait(60) == 1
    assert agent.trouble[-1].startswith("watcher: the database") and "does not exist" in agent.trouble[-1]


def test_a_signal_ends_the_wait_for_a_database(write: Write, site: str) -> None:
    with AgentProcess(write(TWO_SITES.format(dsn="postgresql://127.0.0.1:1/watcher", site=site))) as agent:
        agent.wait_for("127.0.0.1:1/watcher does not answer")
        assert agent.end(signal.SIGINT) == 0
        assert not agent.said("Traceback")


def test_a_database_that_comes_late_is_waited_for(write: Write, site: str, data_dir: Path) -> None:
    with embedded.serve(data_dir, lambda line: None) as server:
        dsn = server.dsn
    with AgentProcess(write(TWO_SITES.format(dsn=dsn, site=site))) as agent:
        agent.wait_for("waiting for it")
        with embedded.serve(data_dir, lambda line: None):
            agent.wait_for("down   broken")
            assert agent.end() == 0, agent.everything()


def test_without_a_dsn_it_brings_its_own_database_and_keeps_it_alive(
    write: Write, site: str, data_dir: Path, eventually: Eventually
) -> None:
    with AgentProcess(write(embedded_file(site, data_dir)), "--log-level", "debug") as agent:
        agent.wait_for("down   broken")
        agent.wait_for("checks/s", 3)  # debug: a summary each second
        [server] = agent.children("postgres")
        os.kill(server, signal.SIGKILL)
        agent.wait_for("PostgreSQL has ended and starts again")
        eventually(lambda: agent.children("postgres") not in ([], [server]), 30)
        before = stored(agent)
        eventually(lambda: stored(agent) > before, 60)
        assert agent.end() == 0, agent.everything()
        assert not agent.children()


def test_it_serves_the_database_itself_when_the_process_that_did_so_ends(
    write: Write, site: str, prepared_dir: Path, eventually: Eventually
) -> None:
    """As when it starts while `watcher db psql` runs."""
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with ExitStack() as owner, ExitStack() as agents:
        dsn = owner.enter_context(embedded.serve(prepared_dir, lambda line: None)).dsn
        connection = owner.enter_context(closing(psycopg2.connect(dsn)))
        cursor = connection.cursor()
        cursor.execute(queries("schema")["lock_schema"])
        agent = agents.enter_context(AgentProcess(write(embedded_file(site, prepared_dir))))

        def migrates() -> bool:
            """the agent has joined the server"""
            cursor.execute(waiting)
            return cursor.fetchone()[0] == 1

        eventually(migrates, 30)
        owner.close()
        agent.wait_for("starting PostgreSQL")
        agent.wait_for("down   broken")
        assert agent.end() == 0, agent.everything()


PLUGIN = """
from watcher import hookimpl

class Found:
    @hookimpl
    def watcher_endpoints(self, settings):
        return [{{"name": "found", "url": "{site}/found", "interval": 5}}]

class Broken:
    @hookimpl
    def watcher_endpoints(self, settings):
        raise LookupError("no catalogue")

found, broken = Found(), Broken()
"""


def test_plugins_discover_endpoints(
    path: Path, site: str, query: Query, eventually: Eventually, tmp_path_factory: pytest.TempPathFactory
) -> None:
    there = tmp_path_factory.mktemp("site-packages")
    (there / "catalogue.py").write_text(PLUGIN.format(site=site), encoding="utf-8")
    package = there / "catalogue-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: catalogue\nVersion: 1.0\n", encoding="utf-8")
    points = "[watcher]\ncatalogue = catalogue:found\nbroken = catalogue:broken\n"
    (package / "entry_points.txt").write_text(points, encoding="utf-8")
    with AgentProcess(path, PYTHONPATH=str(there)) as agent:
        agent.wait_for("plugin:catalogue: 1 added")
        agent.wait_for("plugin:broken: LookupError: no catalogue; its endpoints stay as they are")
        assert eventually(results(query, "found"), 30)[0] == ("up", 200)
        assert agent.end() == 0


def test_a_second_agent_on_the_same_data_directory_is_refused(path: Path) -> None:
    with AgentProcess(path) as agent:
        agent.wait_for("down   broken")
        with AgentProcess(path) as second:
            assert second.process.wait(PATIENCE_S) == 2
            assert second.said("another agent runs with the data directory")
        assert agent.end() == 0
