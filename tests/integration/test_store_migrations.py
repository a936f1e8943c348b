"""Migrations on a real server: from nothing, from every level with data, by several at once, against the documents."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from importlib import resources
from pathlib import Path

import psycopg2
import pytest
from statements import ask

from watcher.errors import DatabaseError, DatabaseUnavailable
from watcher.store import endpoints, migrations
from watcher.store.connection import connect, transaction

KNOWN = [
    "0001_endpoints", "0002_metrics", "0003_views", "0004_degraded", "0005_accuracy",
    "0006_addresses", "0007_rollups", "0008_accounting", "0009_roles", "0010_database", "0011_late",
    "0012_checks",
]  # fmt: skip
SCHEMA = Path(__file__).parents[2] / "docs" / "schema.md"


def test_a_fresh_database_is_brought_to_the_newest_level_once(empty_database: str) -> None:
    assert migrations.migrate(empty_database) == KNOWN
    assert not migrations.migrate(empty_database)
    with closing(connect(empty_database, name="test")) as connection:
        assert migrations.level(connection) == migrations.newest() == len(KNOWN)
        assert migrations.storage(connection) == "partitions"


def test_a_database_without_watcher_is_at_level_0(empty_database: str) -> None:
    with closing(connect(empty_database, name="test")) as connection:
        assert migrations.level(connection) == 0


def test_several_agents_that_start_together_migrate_once(empty_database: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(migrations.migrate, [empty_database] * 4))
    assert sorted(sum(applied, [])) == KNOWN


LEVELS = {
    1: "INSERT INTO agents (location, host, variant, version, clock) VALUES ('here', 'h', 'a', '0.1', 'kernel');"
    "INSERT INTO endpoints (name, url) VALUES ('kept', 'https://example.com/')",
    2: "CREATE TABLE metrics_20260301 PARTITION OF metrics"
    " FOR VALUES FROM ('2026-03-01 00:00+00') TO ('2026-03-02 00:00+00');"
    "INSERT INTO metrics (time, endpoint_id, agent_id, status) VALUES ('2026-03-01 12:00+00', 1, 1, 'up')",
    3: "",
}


@pytest.mark.parametrize("level", LEVELS)
def test_data_of_every_level_survives_the_way_to_the_newest(empty_database: str, level: int) -> None:
    with closing(connect(empty_database, name="test")) as connection, transaction(connection) as cursor:
        cursor.execute("CREATE TABLE watcher_migrations (level int PRIMARY KEY, name text, applied_at timestamptz)")
        for reached in range(1, level + 1):
            file = next(resources.files("watcher").joinpath("sql/migrations").glob(f"{reached:04d}_*.sql"))
            cursor.execute(file.read_text())
            cursor.execute("INSERT INTO watcher_migrations VALUES (%s, %s, now())", (reached, file.name))
            cursor.execute(LEVELS[reached] or "SELECT 1")
    assert migrations.migrate(empty_database) == KNOWN[level:]
    assert ask(empty_database, "SELECT name, url, enabled FROM endpoints") == [("kept", "https://example.com/", True)]
    expected = [("kept", "up", "here")] if level > 1 else [("kept", None, None)]
    assert ask(empty_database, "SELECT name, status::text, location FROM endpoint_status") == expected


def test_a_newer_database_is_refused(database: str) -> None:
    ask(database, "INSERT INTO watcher_migrations (level, name) VALUES (99, '0099_future.sql')")
    with pytest.raises(DatabaseError, match=rf"is at level 99 .* knows up to {len(KNOWN)}; install the newer watcher"):
        migrations.migrate(database)


def test_a_database_in_another_encoding_is_refused(server, empty_database: str) -> None:
    name = f"{empty_database.rpartition('?')[0].rpartition('/')[2]}_latin"
    with closing(connect(server.dsn, name="test", autocommit=True)) as connection:
        cursor = connection.cursor()
        cursor.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        try:
            with pytest.raises(DatabaseError, match="is encoded in LATIN1; create it with ENCODING 'UTF8'"):
                migrations.migrate(server.dsn.replace("/watcher?", f"/{name}?"))
        finally:
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_database_with_a_table_of_that_name_is_left_alone(empty_database: str) -> None:
    ask(empty_database, "CREATE TABLE endpoints (theirs int)")
    with pytest.raises(DatabaseError, match="give watcher a database of its own"):
        migrations.migrate(empty_database)
    assert ask(empty_database, "SELECT to_regclass('agents')") == [(None,)]


def test_a_user_who_may_not_create_tables_is_told(empty_database: str) -> None:
    ask(empty_database, "CREATE ROLE reader_only LOGIN")
    try:
        dsn = psycopg2.extensions.make_dsn(empty_database, user="reader_only")
        with pytest.raises(DatabaseError, match="permission denied"):
            migrations.migrate(dsn)
    finally:
        ask(empty_database, "DROP ROLE reader_only")


def test_rows_of_a_restored_dump_do_not_count_as_changed_for_ever(database: str) -> None:
    ask(database, "INSERT INTO endpoints (name, url) VALUES ('a', 'https://a/')")
    ask(database, "ALTER TABLE endpoints DISABLE TRIGGER USER")  # as pg_restore brings rows
    ask(database, "UPDATE endpoints SET changed_xid = '999999999999'")
    ask(database, "ALTER TABLE endpoints ENABLE TRIGGER USER")
    migrations.migrate(database)
    with closing(connect(database, name="test", autocommit=True)) as connection:
        _, cursor = endpoints.load(connection)
        changed, gone, _ = endpoints.changes(connection, cursor)
        assert (list(changed), gone) == ([], [])


@pytest.mark.parametrize("ended", [1, 2])
def test_a_server_that_ends_meanwhile_may_be_asked_again(
    ended: int, server, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an embedded one that was another process's."""
    opened = []

    def connect_and_end(dsn: str, **options) -> psycopg2.extensions.connection:
        opened.append(connect(dsn, **options))
        if len(opened) == ended:
            ask(server.dsn, f"SELECT pg_terminate_backend({opened[-1].get_backend_pid()}, 10000)")
        return opened[-1]

    monkeypatch.setattr(migrations, "connect", connect_and_end)
    with pytest.raises(DatabaseUnavailable):
        migrations.migrate(empty_database)
    assert len(opened) == ended
    assert migrations.migrate(empty_database) == KNOWN


def documented(kind: str) -> dict[str, list[tuple[str, str, bool]]]:
    """Read the tables of columns under the headings of docs/schema.md: `| name | type | null | meaning |`."""
    found: dict[str, list[tuple[str, str, bool]]] = {}
    for section in re.split(r"^## ", SCHEMA.read_text(encoding="utf-8"), flags=re.M)[1:]:
        heading = re.match(rf"`(\w+)` \({kind}\)", section)
        if heading:
            rows = re.findall(r"^\| `(\w+)` \| ([^|]+?) \| (yes|no)? ?\|", section, flags=re.M)
            found[heading[1]] = [(name, kind_of, null == "yes") for name, kind_of, null in rows]
    return found


def actual(dsn: str, kind: str) -> dict[str, list[tuple[str, str, bool]]]:
    """Read the columns from the catalogue."""
    found: dict[str, list[tuple[str, str, bool]]] = {}
    for table, name, kind_of, null in ask(
        dsn,
        "SELECT class.relname, attname, format_type(atttypid, atttypmod), NOT attnotnull"
        "  FROM pg_attribute JOIN pg_class AS class ON class.oid = attrelid"
        f" WHERE relnamespace = 'public'::regnamespace AND relkind IN ({kind}) AND NOT relispartition"
        "   AND attnum > 0 AND NOT attisdropped ORDER BY class.relname, attnum",
    ):
        found.setdefault(table, []).append((name, kind_of, null))
    return found


def test_the_documents_describe_every_column_of_every_table(database: str) -> None:
    assert documented("table") == actual(database, "'r', 'p'")


def test_the_documents_describe_every_column_of_every_view(database: str) -> None:
    columns = {view: [column[:2] for column in found] for view, found in documented("view").items()}
    assert columns == {view: [column[:2] for column in found] for view, found in actual(database, "'v'").items()}


def test_the_documents_describe_every_value_of_the_enums(database: str) -> None:
    text = SCHEMA.read_text(encoding="utf-8")
    for name in ("check_status", "check_reason"):
        values = [value for (value,) in ask(database, f"SELECT unnest(enum_range(NULL::{name}))::text")]
        section = re.split(r"^## ", text, flags=re.M)
        (described,) = [part for part in section if part.startswith(f"`{name}` (type)")]
        assert re.findall(r"^\| `(\w+)` \|", described, flags=re.M) == values
