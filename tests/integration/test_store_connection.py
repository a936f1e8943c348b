"""Connections against a real server: what they say when it refuses, how they end, in a plain and in a green process."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from green_process import run_green
from statements import execute

from watcher.errors import DatabaseError, DatabaseUnavailable, OtherDatabase
from watcher.models import Endpoint, Result, Status
from watcher.store import embedded, metrics, migrations, postgres_binaries
from watcher.store.connection import (
    close,
    connect,
    identity,
    place,
    require_version,
    transaction,
    wait,
)

SECRET = "geheim/&?= '\\"
DAY = "SELECT FROM pg_class WHERE relname = 'metrics_20260310'"
HBA = "local all locked scram-sha-256\nlocal all barred reject\nlocal all all trust\n"


@pytest.fixture(name="guarded", scope="module")
def start_guarded_server(public_dir: Path) -> Iterator[str]:
    """Run a server that asks one user for a password and lets another not in; give its DSN."""
    with embedded.serve(public_dir / "guarded", lambda line: None) as server:
        with contextlib.closing(psycopg2.connect(server.dsn)) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE ROLE locked LOGIN PASSWORD 'right'")
            cursor.execute("CREATE ROLE barred LOGIN")
            cursor.execute("SHOW hba_file")
            Path(cursor.fetchone()[0]).write_text(HBA, encoding="ascii")
            cursor.execute("SELECT pg_reload_conf()")
            connection.commit()
        yield server.dsn


def as_user(dsn: str, **changed: str) -> str:
    """Give the DSN with other parts."""
    return psycopg2.extensions.make_dsn(dsn, **changed)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"user": "locked", "password": SECRET}, 'refused the password for user "locked"; check [database] dsn'),
        ({"user": "locked"}, 'wants a password for user "locked"'),
        ({"user": "barred", "password": SECRET}, 'does not let user "barred" in'),
        ({"user": "nobody_knows", "password": SECRET}, 'knows no user "nobody_knows"'),
        ({"dbname": "missing", "password": SECRET}, "does not exist; create it (createdb)"),
    ],
)
def test_a_refusal_says_what_to_do_and_no_password(guarded: str, changed: dict[str, str], expected: str) -> None:
    with pytest.raises(DatabaseError) as caught:
        connect(as_user(guarded, **changed), name="test")
    assert expected in str(caught.value)
    assert not isinstance(caught.value, DatabaseUnavailable)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql//watcher:geheim@db/watcher",
        "host=db password=geheim nonsense",
        "postgresql://watcher:geheim@db:port/watcher",
        "postgresql://watcher:geheim@db/watcher?colour=geheim",
        "postgresql://watcher:geheim%@db/watcher",
        "postgresql://watcher:12/geheim@db/watcher",
        "postgresql://watcher:x@geheim@db/watcher",
        "geheim",
    ],
)
def test_a_dsn_that_is_none_is_not_quoted(dsn: str) -> None:
    with pytest.raises(DatabaseError) as caught:
        connect(dsn, name="test")
    assert "[database] dsn" in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_an_unknown_parameter_is_named() -> None:
    with pytest.raises(DatabaseError, match="colour"):
        connect("postgresql://db/watcher?colour=red", name="test")


def test_nobody_listening_may_change() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(DatabaseUnavailable) as caught:
        connect(f"postgresql://w:geheim@127.0.0.1:{port}/watcher", name="test")
    assert str(caught.value) == (
        f"the database at 127.0.0.1:{port}/watcher does not answer; is PostgreSQL running there?"
    )


def test_a_server_that_says_nothing_ends_the_connect_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        dsn = f"postgresql://w@127.0.0.1:{listener.getsockname()[1]}/watcher"
        with pytest.raises(DatabaseUnavailable, match="did not answer in time"):
            connect(dsn, name="test", timeout_s=1.0)


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("postgresql://u:p@db/watcher", "the database at db:5432/watcher"),
        ("host=10.0.0.7 port=6000 user=u dbname=w password=p", "the database at 10.0.0.7:6000/w"),
        ("postgresql://u:p@[::1]:6000/w", "the database at [::1]:6000/w"),
        ("postgresql://u@/watcher?host=/run/pg", "the database watcher at the socket in /run/pg"),
        ("dbname=w", "the database w at the local socket"),
    ],
)
def test_a_place_is_named_without_user_and_password(dsn: str, expected: str) -> None:
    assert place(dsn) == expected


def test_an_old_server_is_refused() -> None:
    require_version(130000, "x")
    with pytest.raises(DatabaseError, match=r"x is PostgreSQL 12\.22; watcher needs 13 or newer"):
        require_version(120022, "x")


def test_the_server_sees_who_is_connected(database: str) -> None:
    with contextlib.closing(connect(database, name="watcher keeper 2")) as connection:
        with transaction(connection) as cursor:
            cursor.execute("SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()")
            assert cursor.fetchone() == ("watcher keeper 2",)


@pytest.mark.parametrize("autocommit", [False, True])
def test_a_transaction_is_all_or_nothing(database: str, autocommit: bool) -> None:
    with contextlib.closing(connect(database, name="test", autocommit=autocommit)) as connection:
        with transaction(connection) as cursor:
            cursor.execute("CREATE TABLE kept (n int)")
        with pytest.raises(ZeroDivisionError), transaction(connection) as cursor:
            cursor.execute("INSERT INTO kept VALUES (1)")
            raise ZeroDivisionError
        with pytest.raises(DatabaseError, match="division by zero"), transaction(connection) as cursor:
            cursor.execute("INSERT INTO kept VALUES (1)")
            cursor.execute("SELECT 1 / 0")
        with transaction(connection) as cursor:
            cursor.execute("SELECT count(*) FROM kept")
            assert cursor.fetchone() == (0,)
        assert connection.info.transaction_status == psycopg2.extensions.TRANSACTION_STATUS_IDLE


def test_a_database_that_is_another_one_is_refused(database: str, empty_database: str) -> None:
    with contextlib.closing(connect(database, name="test")) as connection:
        own = identity(connection)
    connect(database, name="test", database=own).close()
    with pytest.raises(DatabaseError, match="run `watcher db migrate`") as missing:
        connect(empty_database, name="test", database=own)
    assert not isinstance(missing.value, OtherDatabase), "it may yet become the one that it was"
    migrations.migrate(empty_database)
    with pytest.raises(OtherDatabase, match="^the database .* is another one than before$"):
        connect(empty_database, name="test", database=own)


def test_a_database_that_is_being_restored_has_no_id_yet(database: str) -> None:
    with contextlib.closing(connect(database, name="test")) as connection:
        own = identity(connection)
        execute(connection, "DELETE FROM watcher_database")
        with pytest.raises(DatabaseUnavailable, match="watcher_database has no row; is a backup being restored"):
            identity(connection)
    with pytest.raises(DatabaseUnavailable):
        connect(database, name="test", database=own)


def test_a_batch_for_another_database_is_not_stored(database: str) -> None:
    batch = [metrics.encode([Result(Endpoint(id=1, name="a", url="http://a/"), 1_773_144_000_000_000, Status.UP)])]
    with contextlib.closing(connect(database, name="test")) as connection:
        own = identity(connection)
        with pytest.raises(OtherDatabase):
            metrics.store(connection, batch, 1, database="0f7c4a0e-8d0b-4a44-9a4e-3c1c3c5f8f11")
        assert not execute(connection, DAY), "nor is its day made"
        execute(connection, "DELETE FROM watcher_database")  # as it is amid a restore
        with pytest.raises(DatabaseUnavailable):
            metrics.store(connection, batch, 1, database=own)
        assert execute(connection, "SELECT count(*) FROM metrics") == [(0,)]
        execute(connection, "INSERT INTO watcher_database (id) VALUES (%s)", own)
        assert metrics.store(connection, batch, 1, database=own) == 1


def test_what_was_restored_from_a_dump_is_the_same_database(
    database: str, empty_database: str, tmp_path: Path
) -> None:
    with contextlib.closing(connect(database, name="test")) as connection:
        own = identity(connection)
    programs = next(postgres_binaries.directories())[1]
    if not (programs / "pg_restore").exists():
        pytest.skip(f"no pg_restore in {programs}")
    dump = tmp_path / "dump"
    subprocess.run([programs / "pg_dump", "--format=custom", f"--file={dump}", database], check=True, timeout=60)
    subprocess.run([programs / "pg_restore", f"--dbname={empty_database}", dump], check=True, timeout=60)
    assert not migrations.migrate(empty_database)
    connect(empty_database, name="test", database=own).close()


def test_a_table_that_is_missing_has_its_remedy(empty_database: str) -> None:
    with contextlib.closing(connect(empty_database, name="test")) as connection:
        with pytest.raises(DatabaseError, match=r"run `watcher db migrate`"), transaction(connection) as cursor:
            cursor.execute("SELECT * FROM metrics")


def test_a_connection_that_the_server_ends_may_be_made_again(database: str) -> None:
    with contextlib.closing(connect(database, name="test")) as connection:
        with contextlib.closing(connect(database, name="killer", autocommit=True)) as other:
            other.cursor().execute("SELECT pg_terminate_backend(%s, 10000)", (connection.get_backend_pid(),))
        for _ in range(2):  # noticed, then known
            with pytest.raises(DatabaseUnavailable), transaction(connection) as cursor:
                cursor.execute("SELECT 1")
        close(connection)
        close(connection)


def test_waiting_says_it_once_and_ends_when_the_server_is_there(data_dir: Path) -> None:
    said: list[str] = []
    first = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        first.set()

    with embedded.serve(data_dir, lambda line: None) as server:
        dsn = server.dsn
    outcome: list[bool] = []
    waiting = threading.Thread(target=lambda: outcome.append(wait(dsn, say, lambda: False)))
    waiting.start()
    assert first.wait(30)
    with embedded.serve(data_dir, lambda line: None):
        waiting.join(60)
    assert outcome == [True]
    assert said == [f"{place(dsn)} does not answer; is PostgreSQL running there?; waiting for it"]


def test_waiting_ends_when_told(data_dir: Path) -> None:
    asked = iter([False, False, True])
    assert wait(f"host={data_dir} dbname=w user=w", lambda line: None, lambda: next(asked)) is False


def test_waiting_for_a_server_that_refuses_would_be_for_ever(guarded: str) -> None:
    with pytest.raises(DatabaseError, match="refused the password"):
        wait(as_user(guarded, user="locked", password=SECRET), lambda line: None, lambda: False)


def test_green_a_timeout_in_a_query_passes_through_and_closes_the_connection(database: str) -> None:
    printed = run_green(
        """
        import sys, gevent
        from watcher.store.connection import close, connect, transaction
        connection = connect(sys.argv[1], name="test")
        try:
            with gevent.Timeout(0.2), transaction(connection) as cursor:
                cursor.execute("SELECT pg_sleep(60)")
        except gevent.Timeout:
            print("timeout", bool(connection.closed))
        close(connection)
        """,
        database,
    )
    assert printed == "timeout True\n"


def test_green_the_hub_turns_while_a_query_runs(database: str) -> None:
    printed = run_green(
        """
        import sys, gevent
        from watcher.store.connection import connect, transaction
        done = []
        def sleep():
            with transaction(connect(sys.argv[1], name="test")) as cursor:
                cursor.execute("SELECT pg_sleep(0.5)")
            done.append("query")
        query = gevent.spawn(sleep)
        gevent.spawn_later(0.01, done.append, "other")
        query.join()
        print(done)
        """,
        database,
    )
    assert printed == "['other', 'query']\n"


def test_green_a_server_that_says_nothing_ends_the_connect_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        printed = run_green(
            """
            import sys
            from watcher.errors import DatabaseUnavailable
            from watcher.store.connection import connect
            try:
                connect(sys.argv[1], name="test", timeout_s=0.2)
            except DatabaseUnavailable as error:
                print(error)
            """,
            f"postgresql://w:geheim@localhost:{listener.getsockname()[1]}/watcher",
        )
        port = listener.getsockname()[1]
    assert printed == f"the database at localhost:{port}/watcher did not answer in time\n"


def test_green_a_first_host_that_says_nothing_leaves_time_for_the_second(database: str) -> None:
    there = psycopg2.extensions.parse_dsn(database)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        dsn = as_user(database, host=f"127.0.0.1,{there['host']}", port=f"{port},{there.get('port', 5432)}")
        printed = run_green(
            """
            import sys
            from watcher.store.connection import connect
            connection = connect(sys.argv[1] + " target_session_attrs=read-write", name="test", timeout_s=20.0)
            print(connection.info.host)
            """,
            dsn,
        )
    assert printed == f"{there['host']}\n"


def test_green_of_several_hosts_the_one_that_refuses_is_told_of(guarded: str) -> None:
    there = psycopg2.extensions.parse_dsn(guarded)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ports = f"{there.get('port', 5432)},{listener.getsockname()[1]}"
    dsn = as_user(guarded, host=f"{there['host']},127.0.0.1", port=ports, user="locked", password="x")
    printed = run_green(
        """
        import sys
        from watcher.errors import DatabaseError
        from watcher.store.connection import connect
        try:
            connect(sys.argv[1], name="test")
        except DatabaseError as error:
            print(type(error).__name__, error)
        """,
        dsn,
    )
    assert printed.startswith("DatabaseError ")
    assert 'refused the password for user "locked"' in printed


def test_green_a_transaction_that_nobody_goes_on_with_keeps_nobody_from_its_rows(database: str) -> None:
    printed = run_green(
        """
        import sys
        from watcher.store import connection as store
        store.IDLE_S = 0.5
        row = "INSERT INTO agents (location, host, variant, version, clock) VALUES ('here', 'host', '', '1', 'tsc')"
        cut_off = store.connect(sys.argv[1], name="test")
        cut_off.cursor().execute(row)
        with store.transaction(store.connect(sys.argv[1], name="test")) as cursor:
            cursor.execute("SET lock_timeout = '30s'")
            cursor.execute(row)
        print("stored")
        """,
        database,
    )
    assert printed == "stored\n"
