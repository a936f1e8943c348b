"""The copy of the endpoints on disk: what is in it, and what is done with it while the database is away."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from owners import ask
from scripted import page, request, scripted
from worker_process import Running, put, query, spec

from watcher import config, registry
from watcher.agent.agent import Agent
from watcher.roster_copy import Origin, RosterCopy, newest
from watcher.screen.fleet import Fleet
from watcher.store import embedded, endpoints, migrations
from watcher.store.connection import connect, place

HERE = Origin("the database", "host", "here", "default")


def row(number: int, **values: Any) -> dict[str, Any]:
    """Give a row as the table has it."""
    return {
        "id": number, "name": f"e{number}", "url": "http://127.0.0.1:9/", "interval_s": 5.0, "timeout_s": 1.0,
        "priority": 0, "enabled": True, "labels": {}, "locations": [], "options": {}, "source": "test",
    } | values  # fmt: skip


@pytest.fixture(name="make")
def fixture_make(tmp_path: Path) -> Callable[..., RosterCopy]:
    """Give a function that opens the copy of a worker, complaints into `make.said`."""

    def make(index: int = 0, of: int = 1, origin: Origin = HERE) -> RosterCopy:
        copy = RosterCopy(tmp_path, index, of, origin, make.said.append)
        copy.agent_id = 7
        return copy

    make.said = []
    return make


def renew(copy: RosterCopy, *rows: dict[str, Any], now: float = 1000.0) -> None:
    """Have the copy hold these rows."""
    with copy.renewed(now):
        for one in rows:
            copy.note(one)


def test_rows_come_back_as_they_were_and_changes_after_them(make: Callable[..., RosterCopy]) -> None:
    odd = row(2, name="ünï\n\"cödé\" \u2028", options={"n": 2**70, "deep": [{"a": None}]}, labels={"a": "b"})
    copy = make()
    renew(copy, row(1), odd)
    copy.note(row(1, url="http://changed/"))
    copy.note_gone(2)
    copy.flush()
    again = make()
    assert list(again.rows()) == [row(1), odd, row(1, url="http://changed/"), {"gone": 2}]
    assert (again.head().agent_id, again.head().at) == (7, 1000.0)
    renew(again, row(3), now=2000.0)
    assert list(make().rows()) == [row(3)]
    assert not make.said


def test_a_copy_is_for_its_owner_alone(make: Callable[..., RosterCopy], tmp_path: Path) -> None:
    renew(make(), row(1))
    assert stat.S_IMODE((tmp_path / "endpoints/0.ndjson").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "endpoints").stat().st_mode) == 0o700


def test_a_line_that_a_crash_cut_off_is_passed_over(make: Callable[..., RosterCopy], tmp_path: Path) -> None:
    copy = make()
    renew(copy, row(1))
    copy.note(row(2))
    copy.flush()
    file = tmp_path / "endpoints/0.ndjson"
    for size in range(file.stat().st_size - 1, len(file.read_bytes().partition(b"\n")[0]), -1):
        os.truncate(file, size)
        assert [one["id"] for one in make().rows()] in ([], [1], [1, 2])
    os.truncate(file, 10)
    assert (make().head(), list(make().rows())) == (None, [])


def test_a_table_that_is_not_read_to_its_end_leaves_the_copy_as_it_was(make: Callable[..., RosterCopy]) -> None:
    copy = make()
    renew(copy, row(1))
    with pytest.raises(ConnectionError), copy.renewed(2000.0):
        copy.note(row(2))
        raise ConnectionError
    copy.note(row(3))
    copy.flush()
    assert list(make().rows()) == [row(1)]


def test_a_copy_of_another_database_or_agent_is_none(make: Callable[..., RosterCopy], tmp_path: Path) -> None:
    renew(make(), row(1))
    assert newest(tmp_path, HERE).at == 1000.0
    for other in (
        Origin("another database", "host", "here", "default"),
        Origin("the database", "renamed", "here", "default"),
        Origin("the database", "host", "there", "default"),
        Origin("the database", "host", "here", "b"),
    ):
        assert (make(origin=other).head(), list(make(origin=other).rows())) == (None, [])


def test_rows_of_workers_that_read_another_table_last_are_none(make: Callable[..., RosterCopy]) -> None:
    for index, database in enumerate(["former", "now"]):
        copy = make(index, 2)
        copy.database = database
        renew(copy, row(index), now=1000.0 + index)
    copy = make()
    copy.database = copy.head().database
    assert (copy.database, list(copy.rows())) == ("now", [row(1)])


def test_the_number_of_workers_may_change(make: Callable[..., RosterCopy], tmp_path: Path) -> None:
    for index in range(3):
        renew(make(index, 3), row(index), now=1000.0 + index)
    assert [one["id"] for one in make(0, 1).rows()] == [0, 1, 2]
    renew(make(1, 2), row(1), row(3), now=2000.0)
    assert sorted(path.name for path in (tmp_path / "endpoints").iterdir()) == ["0.ndjson", "1.ndjson", "2.ndjson"]
    renew(make(0, 2), row(0), row(2), now=2000.0)
    assert sorted(path.name for path in (tmp_path / "endpoints").iterdir()) == ["0.ndjson", "1.ndjson"]


def test_a_copy_of_many_changes_is_worn(make: Callable[..., RosterCopy], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watcher.roster_copy.WORN", 3)
    copy = make()
    renew(copy, row(1))
    for _ in range(3):
        copy.note(row(1))
    assert not copy.worn
    copy.note_gone(1)
    assert copy.worn
    renew(copy, row(1))
    assert not copy.worn


def test_a_disk_that_refuses_is_said_once(make: Callable[..., RosterCopy], tmp_path: Path) -> None:
    (tmp_path / "endpoints").write_text("in the way")
    copy = make()
    renew(copy, row(1))
    renew(copy, row(1))
    assert len(make.said) == 1 and "this copy of the endpoints" in make.said[0]
    (tmp_path / "endpoints").unlink()
    renew(copy, row(1))
    assert list(copy.rows()) == [row(1)]
    copy.forget()
    assert copy.head() is None


@pytest.fixture
def site() -> Iterator[str]:
    """Serve pages."""

    def serve(connection) -> None:
        request(connection)
        connection.sendall(page(b"hello"))

    with scripted(serve) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Start workers on one data directory; those that still run at the end are ended."""
    running: list[Running] = []

    def run(dsn: str, **job: Any) -> Running:
        running.append(Running(dsn, tmp_path, batch_age_s=0.2, **job))
        return running[-1]

    yield run
    for one in running:
        one.end()


def lines(tmp_path: Path) -> list[dict[str, Any]]:
    """Read the copy of the first worker."""
    file = tmp_path / "endpoints/0.ndjson"
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []


def test_a_worker_keeps_its_copy_in_step_with_the_table(
    database: str, site: str, start, eventually, tmp_path: Path
) -> None:
    put(database, spec("one", f"{site}/", options={"bearer": "${SITE_TOKEN}"}), spec("two", f"{site}/"))
    worker = start(database)
    eventually(lambda: [line["name"] for line in lines(tmp_path)[1:]] == ["one", "two"], 30)
    ids = dict(query(database, "SELECT name, id FROM endpoints"))
    assert {line["name"]: line["id"] for line in lines(tmp_path)[1:]} == ids
    assert lines(tmp_path)[1]["options"] == {"bearer": "${SITE_TOKEN}"}
    put(database, spec("one", f"{site}/changed"))
    eventually(lambda: {"gone": ids["two"]} in lines(tmp_path), 30)
    assert [line["url"] for line in lines(tmp_path)[3:] if "url" in line] == [f"{site}/changed"]
    assert worker.end()[0] == 0


def test_a_worker_begins_with_the_copy_and_takes_the_table_as_a_difference(
    prepared_dir: Path, site: str, start, eventually, tmp_path: Path
) -> None:
    with embedded.serve(prepared_dir, lambda line: None) as server:
        dsn = server.dsn
        migrations.migrate(dsn)
        put(dsn, *[spec(f"e{number}", f"{site}/") for number in range(40)])
        first = start(dsn, location="there")  # an id that is another's
        eventually(lambda: len(lines(tmp_path)) == 41, 30)
        first.end()
        second = start(dsn)
        eventually(lambda: lines(tmp_path)[0]["origin"]["location"] == "here", 30)
        second.end()
    worker = start(dsn)
    eventually(lambda: worker.last().get("spooled", 0) >= 20 and worker.last()["endpoints"] == 40, 30)
    with embedded.serve(prepared_dir, lambda line: None):
        put(dsn, *[spec(f"e{number}", f"{site}/") for number in range(1, 42)])
        eventually(lambda: (worker.last()["endpoints"], worker.last()["spooled"]) == (41, 0), 60)
        code, log = worker.end()
        assert (code, "Traceback" in log, "waiting" in log) == (0, False, False), log
        rows = query(
            dsn,
            "SELECT location, count(*) FROM metrics JOIN agents ON agents.id = agent_id"
            f" WHERE time >= to_timestamp({worker.lines[0]['at_us']} / 1e6 - 1) GROUP BY location",
        )
        assert rows == [("here", worker.last()["checks"])], "nothing is lost, nothing is another's"


def test_rows_of_the_table_come_back_from_the_copy_as_they_are_in_the_table(
    database: str, make: Callable[..., RosterCopy]
) -> None:
    """So that the table, when it is back, is no difference, and no endpoint is planned anew."""
    options = {"expect_status": [200, 1.5, None], "big": 2**63, "text": "\\u0000 \u2028 é", "nested": {"a": [{}]}}
    put(database, spec("one", "https://a/", options=options, labels={"team": "ü"}, locations=("here", "there")))
    put(database, spec("two", "https://b/", interval_s=7.25, timeout_s=0.1, priority=3), source="other")
    with closing(connect(database, name="test", autocommit=True)) as connection:
        rows = list(endpoints.load(connection)[0])
    renew(make(), *rows)
    assert list(make().rows()) == rows
    assert [one["name"] for one in rows] == ["one", "two"]


def test_a_worker_sees_when_the_database_is_another_one(
    prepared_dir: Path, site: str, start, eventually, tmp_path: Path
) -> None:
    with embedded.serve(prepared_dir, lambda line: None) as server:
        dsn = server.dsn
        migrations.migrate(dsn)
        put(dsn, spec("one", f"{site}/"))
        first = start(dsn)
        eventually(lambda: len(lines(tmp_path)) == 2, 30)
        first.end()
        ask(dsn, "TRUNCATE agents")
    worker = start(dsn)
    eventually(lambda: worker.last().get("endpoints") == 1, 30)
    with embedded.serve(prepared_dir, lambda line: None):
        assert worker.process.wait(60) == 4  # by which the supervisor knows
        assert "the database is another one than" in worker.end()[1]
        assert not lines(tmp_path)


class Silent:
    """A screen that keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        """Keep it."""
        self.said.append(text)


def test_an_embedded_server_that_repairs_itself_for_long_is_not_waited_for(
    prepared_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a crash, with much to replay: it waits here for a file of its log that does not come."""
    monkeypatch.setattr(embedded, "PATIENCE_S", 0.3)
    with embedded.serve(prepared_dir, lambda line: None) as server:
        dsn = server.dsn
    account = (prepared_dir / "postgres").stat()
    with open(prepared_dir / "postgres/data/postgresql.conf", "a", encoding="utf-8") as file:
        file.write("restore_command = 'sleep 60; false'\n")
    (prepared_dir / "postgres/data/recovery.signal").touch()
    os.chown(prepared_dir / "postgres/data/recovery.signal", account.st_uid, account.st_gid)
    copy = RosterCopy(prepared_dir, 0, 1, Origin.here(place(dsn), "local", "default"), pytest.fail)
    copy.agent_id = 1
    renew(copy, row(1), now=1_767_225_600.0)  # date -u -d 2026-01-01 +%s
    path = tmp_path / "endpoints.toml"
    path.write_text(f'[agent]\ndata_dir = "{prepared_dir}"\nworkers = 1\n', "utf-8")
    plugins = registry.plugin_manager()
    loaded = config.load(path, registry.option_types(plugins), registry.settings_types(plugins))
    screen = Silent()
    with Agent(path, loaded, (plugins, registry.option_types(plugins)), screen, Fleet(), {}) as agent:
        jobs = agent.prepare()
        assert [(job["index"], job["dsn"], job["embedded"]) for job in jobs] == [(0, dsn, True)]
        agent.ensure()
    (line,) = [text for text in screen.said if "meanwhile" in text]
    assert "is starting up" in line and "as the table had them at 2026-01-01T00:00:00Z" in line
    assert not [text for text in screen.said if "tried again" in text]
