"""The level of the schema: numbered migrations, each in one transaction, one runner at a time.

`sql/migrations/NNNN_name.sql` is the migration to level NNNN.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib import resources
from importlib.resources.abc import Traversable

import psycopg2
from psycopg2 import extensions

from watcher.errors import DatabaseError, SchemaOutdated
from watcher.store import roles
from watcher.store.connection import NOT_ALLOWED, connect, meaning, place, transaction, translated
from watcher.store.queries import queries

OLDEST_TIMESCALEDB = (2, 13)

_FILE = re.compile(r"(\d{4})_\w+\.sql")


def migrate(dsn: str, say: Callable[[str], None] = lambda line: None) -> list[str]:
    """Bring the database to the level of this version and give the names of the migrations applied, none when it is.

    TimescaleDB is used where the server has it and lets us enable it; `say` is told when it has and does not.

    Raises:
        DatabaseError: the database is newer than this version, not in UTF-8, or refuses.
        SchemaOutdated: it is older, and this user may not change it.
    """
    with closing(connect(dsn, name="watcher migrate")) as connection:
        if level(connection) == 0:
            _enable_timescaledb(dsn, say)
        return list(_steps(connection))


def level(connection: extensions.connection) -> int:
    """Give the level of the database; 0 when watcher was never here."""
    with transaction(connection) as cursor:
        return _level(cursor)


def newest() -> int:
    """Give the level that this version of watcher works with."""
    return max(_files())


def storage(connection: extensions.connection) -> str:
    """Tell how `metrics` is kept: `hypertable` or `partitions`."""
    with transaction(connection) as cursor:
        cursor.execute(queries("schema")["storage"])
        return cursor.fetchone()[0]


def _level(cursor: extensions.cursor) -> int:
    cursor.execute(queries("schema")["has_migrations"])
    if not cursor.fetchone()[0]:
        return 0
    cursor.execute(queries("schema")["level"])
    return cursor.fetchone()[0]


def _steps(connection: extensions.connection) -> Iterator[str]:
    where, files = place(connection.dsn), _files()
    while True:
        with transaction(connection) as cursor:
            cursor.execute(queries("schema")["lock_schema"])
            now = _level(cursor)
            if now > max(files):
                raise DatabaseError(
                    f"{where} is at level {now} of the schema, this version of watcher knows up to {max(files)}; "
                    "install the newer watcher that brought it there"
                )
            if now == max(files):
                cursor.execute(queries("schema")["may_adopt"])
                if cursor.fetchone()[0]:
                    cursor.execute(queries("schema")["adopt_endpoints"])
                return
            become_owner(cursor, f"{where} is at level {now} of the schema, this watcher needs {max(files)}")
            if now == 0:
                _require(cursor, where)
                with _allowed(f"{where} has no tables of watcher's"):
                    cursor.execute(queries("schema")["create_migrations"])
            file = files[now + 1]
            with _named(file.name, now):
                cursor.execute(file.read_text(encoding="utf-8"))
            cursor.execute(queries("schema")["add_migration"], {"level": now + 1, "name": file.name})
            if now + 1 == max(files):
                roles.grant(cursor)
        yield file.name.removesuffix(".sql")


def become_owner(cursor: extensions.cursor, why: str) -> None:
    """Make what follows in the transaction the doing of who owns the schema, as far as there is one."""
    cursor.execute(queries("schema")["owner"])
    found = cursor.fetchone()
    if found is None:
        return
    owner, is_owner, is_member, user = found
    if not is_member:
        remedy = f'run `watcher db migrate` as a member of "{owner}"'
        raise SchemaOutdated(f'{why}; user "{user}" may not change it: {remedy}')
    if not is_owner:
        cursor.execute(queries("schema")["become"], {"owner": owner})


@contextmanager
def _allowed(why: str) -> Iterator[None]:
    try:
        yield
    except psycopg2.Error as error:
        if error.pgcode != NOT_ALLOWED:
            raise
        refusal = str(error).splitlines()[0]
        raise SchemaOutdated(f"{why} ({refusal}); run `watcher db migrate` as a user who may make them") from error


@contextmanager
def _named(file: str, level_before: int) -> Iterator[None]:
    """Say of an error in which migration it was, and where that leaves the database."""
    try:
        yield
    except psycopg2.Error as error:
        found = meaning(error, error.cursor.connection.dsn)
        name = file.removesuffix(".sql")
        raise type(found)(f"{found} (migration {name}; the schema stays at level {level_before})") from error


def _require(cursor: extensions.cursor, where: str) -> None:
    encoding = cursor.connection.get_parameter_status("server_encoding")
    if encoding != "UTF8":
        raise DatabaseError(f"{where} is encoded in {encoding}; create it with ENCODING 'UTF8'")
    cursor.execute(queries("schema")["timescaledb"])
    enabled = cursor.fetchone()[0]
    if enabled:
        require_timescaledb(enabled, where)


def require_timescaledb(version: str, where: str) -> None:
    """Refuse a TimescaleDB that is older than `OLDEST_TIMESCALEDB`."""
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST_TIMESCALEDB:
        oldest = ".".join(map(str, OLDEST_TIMESCALEDB))
        raise DatabaseError(
            f"{where} has TimescaleDB {version}, {oldest} is needed; ALTER EXTENSION timescaledb UPDATE"
        )


def _enable_timescaledb(dsn: str, say: Callable[[str], None]) -> None:
    # On a connection of its own: the extension must come first in a session, and a server that did not preload it
    # ends the session.
    with (
        closing(connect(dsn, name="watcher migrate", autocommit=True)) as connection,
        translated(connection),
        connection.cursor() as cursor,
    ):
        cursor.execute(queries("schema")["timescaledb"])
        enabled, available = cursor.fetchone()
        if enabled or not available:
            return
        try:
            cursor.execute(queries("schema")["enable_timescaledb"])
        except psycopg2.Error as error:
            reason = str(error).strip().splitlines()[0]
            say(f"{place(dsn)} has TimescaleDB {available} but does not enable it ({reason}); using daily partitions")


def _files() -> dict[int, Traversable]:
    files = resources.files("watcher").joinpath("sql", "migrations").iterdir()
    return {int(found[1]): file for file in files if (found := _FILE.fullmatch(file.name))}
