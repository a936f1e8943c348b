"""The table `endpoints`: a source's specs into it, its rows and their changes out of it.

A removed endpoint keeps its row, which names its history: it is hidden, and has its id again when the name comes back.
"""

from __future__ import annotations

import difflib
import itertools
import select
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec
from psycopg2 import extensions

from watcher.errors import ConfigError
from watcher.store.connection import transaction, translated
from watcher.store.queries import queries

DELETED = "deleted"
"""The notice that rows were deleted for good: they leave no change to find, so `load` anew."""
FILES = "files"
"""The notice that somebody wants the files looked at that options name; see `call_files`."""

Row = dict[str, Any]

_SPECS = 2000  # a statement: about 1 MB
_FETCHED = 250
_WATCHED = (
    "id", "name", "url", "interval_s", "timeout_s", "priority", "enabled", "labels", "locations", "options", "source",
)  # fmt: skip
_FOUND = (*_WATCHED, "created_at", "updated_at", "removed_at")


class Spec(Protocol):
    """An endpoint as written, such as `watcher.config.EndpointSpec`."""

    name: str
    url: str
    interval_s: float
    timeout_s: float
    priority: int
    enabled: bool
    labels: Mapping[str, str]
    locations: Sequence[str]
    options: Mapping[str, Any]


class Synced(msgspec.Struct, frozen=True):
    """What a sync did, in rows; `taken` has each name that was another source's, with that source."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    taken: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        """Give the numbers in words: `3 added, 1 removed, 1,200 unchanged`."""
        kinds = ("added", "changed", "removed", "unchanged")
        return ", ".join(f"{count:,} {kind}" for kind in kinds if (count := getattr(self, kind))) or "no endpoints"

    def __bool__(self) -> bool:
        """Tell whether anything is other than before."""
        return bool(self.added or self.changed or self.removed)


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which endpoints: those for which everything given here is true."""

    names: tuple[str, ...] | None = None
    labels: dict[str, str] = {}
    source: str | None = None
    enabled: bool | None = None
    removed: bool = False


def sync(connection: extensions.connection, specs: Iterable[Spec], source: str, *, replace: bool = True) -> Synced:
    """Make the table hold these specs as the source's, by name; in one transaction, touching only rows that differ.

    Args:
        connection: in whatever mode.
        specs: with distinct names; their own `source` is not looked at.
        source: who they come from, e.g. "file:/etc/watcher/endpoints.toml".
        replace: remove what else the table has of that source.

    Raises:
        ConfigError: something that PostgreSQL cannot hold.
        DatabaseError: nothing was changed.
    """
    statements, values = queries("endpoints"), {"source": source}
    with transaction(connection) as cursor:
        cursor.execute(statements["lock_sync"])
        cursor.execute(statements["create_wanted"])
        wanted = _add_wanted(cursor, specs)
        cursor.execute(statements["taken"], values)
        taken = tuple(cursor.fetchall())
        cursor.execute(statements["count_revived"])
        revived = cursor.fetchone()[0]
        cursor.execute(statements["update_wanted"], values)
        changed = cursor.rowcount - revived
        cursor.execute(statements["insert_wanted"], values)
        added = cursor.rowcount + revived
        if replace:
            cursor.execute(statements["remove_unwanted"], values)
        removed = cursor.rowcount if replace else 0
    return Synced(added, changed, removed, wanted - added - changed, taken)


def _add_wanted(cursor: extensions.cursor, specs: Iterable[Spec]) -> int:
    wanted, waiting = 0, iter(specs)
    while some := list(itertools.islice(waiting, _SPECS)):
        cursor.execute(queries("endpoints")["add_wanted"], {"specs": _document(some)})
        wanted += len(some)
    cursor.execute(queries("endpoints")["analyze_wanted"])
    return wanted


def _document(specs: Sequence[Spec]) -> str:
    rows = [
        {
            "name": spec.name,
            "url": spec.url,
            "interval_s": spec.interval_s,
            "timeout_s": spec.timeout_s,
            "priority": spec.priority,
            "enabled": spec.enabled,
            "labels": spec.labels,
            "locations": spec.locations,
            "options": spec.options,
        }
        for spec in specs
    ]
    document = msgspec.json.encode(rows, enc_hook=str)
    if b"\\u0000" in document:  # perhaps: the same characters stand for a backslash and "u0000"
        wrong = [spec for spec, row in zip(specs, rows, strict=True) if _holds_nul(row)]
        if wrong:
            raise ConfigError([f"endpoint {spec.name!r}: contains the character NUL; take it out" for spec in wrong])
    return document.decode()


def _holds_nul(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_holds_nul(key) or _holds_nul(part) for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return any(map(_holds_nul, value))
    return isinstance(value, str) and "\0" in value


def load(connection: extensions.connection) -> tuple[Iterator[Row], str]:
    """Give all endpoints that are to be watched, and the cursor from which `changes` goes on.

    Each row has the keys id, name, url, interval_s, timeout_s, priority, enabled, labels, locations, options, source.
    Rows are made as they are taken, which may be after the connection was closed.
    """
    rows, cursor = _read(connection, "load", {})
    return rows, cursor


def changes(connection: extensions.connection, since: str) -> tuple[Iterator[Row], list[int], str]:
    """Give the endpoints to be watched that changed since a cursor, the ids of those no longer to be, the next cursor.

    At least once: a change may come again, for as long as a transaction that is older is under way. A row that was
    deleted for good is not among them: that notice is `DELETED`.
    """
    rows, cursor = _read(connection, "changes", {"since": since})
    gone, watched = [], iter(())
    for row in rows:
        if row["enabled"]:
            watched = itertools.chain([row], rows)
            break
        gone.append(row["id"])
    return watched, gone, cursor


def some(connection: extensions.connection, ids: Sequence[int]) -> Iterator[Row]:
    """Give those of these endpoints that are to be watched, as `load` does."""
    return _read(connection, "some", {"ids": list(ids)})[0]


def call_files(connection: extensions.connection) -> None:
    """Have all workers look at the files that options name, which leave no change in the table."""
    with transaction(connection) as cursor:
        cursor.execute(queries("endpoints")["call_files"], {"notice": FILES})


def _read(connection: extensions.connection, query: str, values: Mapping[str, Any]) -> tuple[Iterator[Row], str]:
    with transaction(connection) as cursor:
        cursor.execute(queries("endpoints")[query], values)
        first = cursor.fetchone()
    if first[1] is None:
        return iter(()), first[0]
    return (dict(zip(_WATCHED, row[1:], strict=True)) for row in itertools.chain([first], _fetch(cursor))), first[0]


def _fetch(cursor: extensions.cursor) -> Iterator[tuple[Any, ...]]:
    # The whole answer is here already; a row becomes Python objects when it is fetched.
    while rows := cursor.fetchmany(_FETCHED):
        yield from rows


def listen(connection: extensions.connection) -> None:
    """Ask for notices of changes on this connection.

    Raises:
        ValueError: it is not in autocommit mode.
    """
    if not connection.autocommit:
        raise ValueError("notices need a connection in autocommit mode: none come during a transaction")
    with translated(connection), connection.cursor() as cursor:
        cursor.execute(queries("endpoints")["listen"])


def wait_for_notice(connection: extensions.connection, timeout_s: float) -> frozenset[str]:
    """Give the notices that came, waiting for the first; none after the timeout. `DELETED` is one of them.

    Raises:
        DatabaseUnavailable: the connection broke. Changes until the next `listen` come without notice, so `load` anew.
    """
    deadline = time.monotonic() + timeout_s
    waiting = select.poll()  # not select.select: it cannot watch descriptors from 1024 on
    with translated(connection):
        waiting.register(connection.fileno(), select.POLLIN)
        while not connection.notifies and waiting.poll(max(0.0, deadline - time.monotonic()) * 1000):
            connection.poll()  # what came may be a notice, or that the server goes
        notices = frozenset(notice.payload for notice in connection.notifies)
        connection.notifies.clear()
    return notices


def find(connection: extensions.connection, selection: Selection) -> Iterator[Row]:
    """Give the endpoints selected, by name; besides the keys that `load` gives: created_at, updated_at, removed_at."""
    values = {
        "names": list(selection.names) if selection.names is not None else None,
        "labels": msgspec.json.encode(selection.labels).decode(),
        "source": selection.source,
        "enabled": selection.enabled,
        "removed": selection.removed,
    }
    with transaction(connection) as cursor:
        cursor.execute(queries("endpoints")["find"], values)
    return (dict(zip(_FOUND, row, strict=True)) for row in _fetch(cursor))


def near(connection: extensions.connection, name: str, most: int = 3) -> list[str]:
    """Give names in the table that are like this one, the nearest first."""
    with transaction(connection) as cursor:
        cursor.execute(queries("endpoints")["names"], {"name": name})
        names = {known.casefold(): known for (known,) in cursor}
    return [names[found] for found in difflib.get_close_matches(name.casefold(), names, n=most)]


def enable(connection: extensions.connection, ids: Sequence[int], enabled: bool = True) -> int:
    """Enable or disable endpoints, and give how many were not so before."""
    return _update(connection, "set_enabled", {"ids": list(ids), "enabled": enabled})


def remove(connection: extensions.connection, ids: Sequence[int]) -> int:
    """Remove endpoints, which keep their rows and their history, and give how many there were."""
    return _update(connection, "remove", {"ids": list(ids)})


def change_options(
    connection: extensions.connection, change: Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
) -> int:
    """Give each endpoint, removed ones too, the options that `change` makes of its name and options; count the changed.

    In one transaction, while no sync is under way. Options that are no table stay.
    """
    with transaction(connection) as cursor:
        cursor.execute(queries("endpoints")["lock_sync"])
        cursor.execute(queries("endpoints")["all_options"])
        rows = [
            {"id": endpoint_id, "options": changed}
            for endpoint_id, name, options in _fetch(cursor)
            if isinstance(options, Mapping) and (changed := change(name, options)) != options
        ]
        for first in range(0, len(rows), _SPECS):
            document = msgspec.json.encode(rows[first : first + _SPECS]).decode()
            cursor.execute(queries("endpoints")["set_options"], {"rows": document})
    return len(rows)


def _update(connection: extensions.connection, query: str, values: Mapping[str, Any]) -> int:
    with transaction(connection) as cursor:
        cursor.execute(queries("endpoints")[query], values)
        return cursor.rowcount
