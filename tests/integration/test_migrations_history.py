"""Migrations of databases as they were: with data of every level, under agents of that time that go on, broken ones."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from old_agents import OldAgent, bring_to, everything
from statements import ask

from watcher.errors import DatabaseError, DatabaseUnavailable
from watcher.store import migrations
from watcher.store.connection import connect

NEWEST = migrations.newest()


@pytest.mark.parametrize("level", range(1, NEWEST + 1))
def test_data_of_every_level_come_to_the_newest_unchanged(empty_database: str, level: int) -> None:
    bring_to(empty_database, level)
    with closing(OldAgent(empty_database, level)) as agent:
        for number in range(3):
            agent.round(number)
    before = everything(empty_database)
    assert len(before["endpoints"]) == 4 and len(before.get("metrics", ())) == (6 if level >= 2 else 0)
    assert len(migrations.migrate(empty_database)) == NEWEST - level
    after = everything(empty_database)
    for table, rows in before.items():
        assert [_part(new, old) for new, old in zip(after[table], rows, strict=True)] == rows
    ((status,),) = ask(empty_database, "SELECT count(*) FROM endpoint_status WHERE name = 'kept'")
    assert status == 1


def _part(new: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    """Give of a row the columns that it had before."""
    return {name: value for name, value in new.items() if name in old}


@contextmanager
def going_on(agent: OldAgent) -> Iterator[list[int]]:
    """Have an agent do round after round in a thread; give the numbers of those that went well."""
    done: list[int] = []
    ending = threading.Event()

    def run() -> None:
        number = 100
        while not ending.is_set():
            agent.round(number)
            done.append(number)
            number += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield done
    finally:
        ending.set()
        thread.join()


@pytest.mark.parametrize("level", range(1, NEWEST))
def test_agents_of_every_level_go_on_while_and_after_it_is_brought_to_the_newest(
    empty_database: str, level: int, eventually
) -> None:
    bring_to(empty_database, level)
    with closing(OldAgent(empty_database, level)) as agent:
        with going_on(agent) as done:
            eventually(lambda: len(done) >= 3, 30)
            assert len(migrations.migrate(empty_database)) == NEWEST - level
            reached = len(done)
            eventually(lambda: len(done) >= reached + 5, 30)
        ((stored,),) = ask(empty_database, "SELECT count(*) FROM metrics")
        ((names,),) = ask(empty_database, "SELECT count(*) FROM endpoints")
        assert stored == agent.stored == (2 * len(done) if level >= 2 else 0)
        assert names == len(done) + 1


ROW = "INSERT INTO metrics (time, endpoint_id, agent_id, status) VALUES ('2026-03-01', %s, 1, 'up')"
BEGUN = "LOCK TABLE ONLY metrics IN ROW EXCLUSIVE MODE"  # as each writer does before it turns to the day of its rows


@pytest.mark.parametrize(("level", "under_way", "rows"), [(6, ROW, 2), (10, ROW, 2), (10, BEGUN, 1)])
def test_a_batch_that_is_under_way_is_waited_for(
    empty_database: str, eventually, level: int, under_way: str, rows: int
) -> None:
    """And batches that come after it wait in turn, and are stored."""
    bring_to(empty_database, level)
    with closing(psycopg2.connect(empty_database)) as writer, writer.cursor() as cursor:
        cursor.execute(under_way, (1,))
        thread = threading.Thread(target=migrations.migrate, args=(empty_database,))
        thread.start()
        eventually(lambda: ask(empty_database, "SELECT 1 FROM pg_locks WHERE NOT granted"), 30)
        cursor.execute(ROW, (2,))
        writer.commit()
        thread.join()
    assert ask(empty_database, "SELECT count(*) FROM metrics") == [(rows,)]
    assert ask(empty_database, "SELECT max(level) FROM watcher_migrations") == [(NEWEST,)]


@pytest.fixture(name="broken")
def fixture_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the file of a migration that comes after the newest, and breaks halfway."""
    path = tmp_path / f"{NEWEST + 1:04d}_broken.sql"
    path.write_text("CREATE TABLE half (n int);\nALTER TABLE endpoints ADD COLUMN half int;\nSELECT 1 / 0;\n", "utf-8")
    files = migrations._files() | {NEWEST + 1: path}  # pylint: disable=protected-access  # the next version's
    monkeypatch.setattr(migrations, "_files", lambda: files)
    return path


def test_a_migration_that_fails_leaves_the_level_and_says_which(database: str, broken: Path) -> None:
    stays = rf"division by zero \(migration {NEWEST + 1:04d}_broken; the schema stays at level {NEWEST}\)$"
    for _ in range(2):
        with pytest.raises(DatabaseError, match=stays) as caught:
            migrations.migrate(database)
        assert not isinstance(caught.value, DatabaseUnavailable), "trying again helps nobody"
    with closing(connect(database, name="test")) as connection:
        assert migrations.level(connection) == NEWEST
    assert ask(database, "SELECT to_regclass('half'), count(*) FROM endpoints") == [(None, 0)]
    broken.write_text("CREATE TABLE whole (n int);\n", "utf-8")
    assert migrations.migrate(database) == [f"{NEWEST + 1:04d}_broken"]
    assert ask(database, "SELECT max(level) FROM watcher_migrations") == [(NEWEST + 1,)]
