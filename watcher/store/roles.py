"""Roles with no more rights than their part needs: one owns the schema, one writes results, one reads.

They are groups that nobody logs in as: users join them, so watcher knows no passwords. What each may do is here, and
later migrations grant it anew; what else the two lesser ones were granted on watcher's tables is taken from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec
import psycopg2
from psycopg2 import extensions, sql

from watcher.errors import DatabaseError, UsageError
from watcher.store.connection import NOT_ALLOWED, place, raw_transaction, transaction, translated
from watcher.store.queries import composed, queries

# Besides SELECT on everything, which is what an agent looks at. Who only writes changes and deletes no result.
WRITE: Mapping[str, str] = MappingProxyType(
    {
        "agent_health": "INSERT, DELETE",
        "agents": "INSERT, UPDATE",
        "endpoints": "INSERT, UPDATE",
        "metrics": "INSERT",
        "metrics_days": "INSERT, UPDATE",
        "metrics_hours": "INSERT, UPDATE",
        "metrics_late": "DELETE",
        "metrics_minutes": "INSERT, UPDATE",
        "rollup_progress": "UPDATE",
    }
)
RELATIONS = (
    *WRITE, "availability_daily", "availability_hourly", "availability_minutely", "endpoint_checks", "endpoint_status",
    "metrics_named", "watcher_database", "watcher_migrations", "watcher_roles",
)  # fmt: skip
FOR_OWNER = ("add_partition(text, timestamptz)", "drop_partition(text)", "drop_chunks(int)")
HIDDEN_COLUMNS = frozenset({"options"})  # of endpoints, from who only reads: headers, bodies, credentials


class Names(msgspec.Struct, frozen=True):
    """How the roles are called."""

    migrate: str = "watcher_migrate"
    write: str = "watcher_write"
    read: str = "watcher_read"


class _Place(msgspec.Struct, frozen=True):
    schema: str
    owner: str
    owner_is_superuser: bool
    user: str
    database: str
    is_standby: bool


def script(connection: extensions.connection, names: Names) -> str:
    """Give the statements that `make` would execute, for somebody else to do so."""
    with transaction(connection) as cursor:
        return "\n".join(f"{statement.as_string(cursor)};" for statement in _statements(cursor, names))


def make(connection: extensions.connection, names: Names) -> bool:
    """Make the roles, with the rights that they need, in one transaction; tell whether anything is other than before.

    The database must be at the newest level. Who owned the schema until now joins those who may migrate.

    Raises:
        UsageError: names that cannot be taken.
        DatabaseError: we may not do that.
    """
    with translated(connection):
        try:
            with raw_transaction(connection) as cursor:
                schema = _place(cursor).schema
                before = _rights(cursor, schema)
                for statement in _statements(cursor, names):
                    cursor.execute(statement)
                return _rights(cursor, schema) != before
        except psycopg2.Error as error:
            if error.pgcode != NOT_ALLOWED:
                raise
            raise DatabaseError(
                f"{place(connection.dsn)}: {str(error).splitlines()[0]}; give the DSN of a superuser, or let one run "
                "what `watcher db roles --sql` prints"
            ) from error


def grant(cursor: extensions.cursor) -> None:
    """Give the roles that were made here what they need after a migration; to be called as the owner."""
    cursor.execute(queries("roles")["known"])
    known = dict(cursor.fetchall())
    if len(known) == len(Names.__struct_fields__):
        for statement in _grants(cursor, _place(cursor), Names(**known)):
            cursor.execute(statement)


def _place(cursor: extensions.cursor) -> _Place:
    cursor.execute(queries("roles")["here"])
    found = cursor.fetchone()
    if found is None:
        where = place(cursor.connection.dsn)
        raise DatabaseError(f"{where} has no tables of watcher's; run `watcher db migrate` first")
    return _Place(*found)


def _rights(cursor: extensions.cursor, schema: str) -> set[tuple[Any, ...]]:
    cursor.execute(queries("roles")["rights"], {"schema": _quoted(schema)})
    return set(cursor.fetchall())


def _statements(cursor: extensions.cursor, names: Names) -> Iterator[sql.Composed]:
    here = _place(cursor)
    there = _fit(cursor, here, names)
    for name in msgspec.structs.astuple(names):
        if name not in there:
            yield composed("roles", "create", role=sql.Identifier(name))
    about = _identifiers(here, names)
    for member in dict.fromkeys((here.user, here.owner)):
        is_superuser = here.owner_is_superuser and member == here.owner
        if member not in msgspec.structs.astuple(names) and not is_superuser:
            if names.migrate not in there or not _is_member(cursor, member, names.migrate):
                yield composed("roles", "join", role=sql.Identifier(member), **about)
    for query in ("schema", "schema_create", "schema_closed", "database", "temporary"):
        yield composed("roles", query, **about)
    yield from _owned(cursor, here, names)
    literals = {kind: sql.Literal(getattr(names, kind)) for kind in names.__struct_fields__}
    yield composed("roles", "note", **{**about, **literals})
    yield from _grants(cursor, here, names)


def _fit(cursor: extensions.cursor, here: _Place, names: Names) -> frozenset[str]:
    """Give those of the roles that are there, after making sure that none could do more than we say."""
    given = msgspec.structs.astuple(names)
    if len(set(given)) < len(given):
        raise UsageError("the three roles need three names")
    if here.is_standby:
        raise DatabaseError(f"{place(cursor.connection.dsn)} is a standby; make the roles on its primary")
    cursor.execute(queries("roles")["found"], {"names": list(given)})
    there = dict(cursor.fetchall())
    for name in (names.write, names.read):
        if there.get(name):
            raise UsageError(f'role "{name}" has rights over the whole server; choose another name')
    for name in (names.write, names.read):
        for more in {names.migrate, names.write} - {name}:
            if name in there and more in there and _is_member(cursor, name, more):
                raise UsageError(
                    f'role "{name}" is a member of "{more}" and could do all that it may; '
                    f'REVOKE "{more}" FROM "{name}", or choose another name'
                )
    return frozenset(there)


def _is_member(cursor: extensions.cursor, role: str, of: str) -> bool:
    cursor.execute(queries("roles")["is_member"], {"role": role, "of": of})
    return cursor.fetchone()[0]


def _owned(cursor: extensions.cursor, here: _Place, names: Names) -> Iterator[sql.Composed]:
    """Give all that is watcher's to the role that migrates."""
    about = _identifiers(here, names)
    values = {"schema": _quoted(here.schema)}
    for name, is_view, owner in _relations(cursor, here):
        if owner != names.migrate:
            yield composed("roles", "own_view" if is_view else "own_table", relation=sql.Identifier(name), **about)
    cursor.execute(queries("roles")["functions"], values)
    for signature, owner in cursor.fetchall():
        if owner != names.migrate:  # the server wrote the signature, quoted where it must be
            yield composed("roles", "own_function", function=sql.SQL(signature), **about)
    cursor.execute(queries("roles")["types"], values)
    for name, owner in cursor.fetchall():
        if owner != names.migrate:
            yield composed("roles", "own_type", type=sql.Identifier(name), **about)


def _grants(cursor: extensions.cursor, here: _Place, names: Names) -> Iterator[sql.Composed]:
    about = _identifiers(here, names)
    relations = [name for name, _, _ in _relations(cursor, here)]
    yield composed("roles", "revoke", relations=_listed(here, relations), **about)
    readable = [name for name in relations if name != "endpoints"]
    yield composed("roles", "grant_read", relations=_listed(here, readable), **about)
    endpoints = _listed(here, ["endpoints"])
    cursor.execute(queries("roles")["columns"], {"table": f"{_quoted(here.schema)}.endpoints"})
    columns = [sql.Identifier(name) for (name,) in cursor.fetchall() if name not in HIDDEN_COLUMNS]
    yield composed("roles", "grant_columns", columns=sql.SQL(", ").join(columns), relation=endpoints, **about)
    for table, rights in {**WRITE, "endpoints": f"SELECT, {WRITE['endpoints']}"}.items():
        yield composed("roles", "grant_write", rights=sql.SQL(rights), relation=_listed(here, [table]), **about)
    functions = [sql.SQL("{}.watcher_" + name).format(about["schema"]) for name in FOR_OWNER]
    yield composed("roles", "execute", functions=sql.SQL(", ").join(functions), **about)
    yield composed("roles", "default", **about)


def _relations(cursor: extensions.cursor, here: _Place) -> list[tuple[str, bool, str]]:
    cursor.execute(queries("roles")["relations"], {"schema": _quoted(here.schema), "known": list(RELATIONS)})
    return cursor.fetchall()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _listed(here: _Place, names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(here.schema, name) for name in names)


def _identifiers(here: _Place, names: Names) -> dict[str, sql.Identifier]:
    found = {kind: sql.Identifier(getattr(names, kind)) for kind in names.__struct_fields__}
    return {**found, "schema": sql.Identifier(here.schema), "database": sql.Identifier(here.database)}
