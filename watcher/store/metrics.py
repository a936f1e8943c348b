"""Writing the time series: results to array literals, and those into the table `metrics`."""

from __future__ import annotations

import functools
import re
import socket
from collections.abc import Callable, Iterable, Sequence
from types import NoneType
from typing import Any

import msgspec
import psycopg2
from psycopg2 import errors, extensions

from watcher.errors import DatabaseError, DatabaseUnavailable, Unstorable
from watcher.models import Reason, Result, Status
from watcher.store.connection import meaning, raw_transaction, require_identity, transaction
from watcher.store.partitions import Upkeep, add_days, upkeep
from watcher.store.queries import queries

__all__ = ["DETAIL_LENGTH", "NOTHING", "SLICE_ROWS", "Upkeep", "encode", "fits", "last", "now_us", "store", "upkeep"]

SLICE_ROWS = 250  # as many as the hub can be held for: below a millisecond
DETAIL_LENGTH = 1000

COLUMNS = len(Result.__struct_fields__)

Literals = tuple[str, ...]

NOTHING: Literals = ("{}",) * COLUMNS  # a slice without rows: storing it asks whether rows would be stored

_CHECK_VIOLATION = errors.lookup("23514")
_UNIQUE_VIOLATION = errors.lookup("23505")
_BUT_KNOWN = " ON CONFLICT DO NOTHING"
_NOT_THE_ROWS = frozenset({"0A", "28", "3D", "3F", "42", "58"})  # classes of SQLSTATE: the same befalls other rows
_ADDRESSES = 65_536
_INTEGER = b"0123456789-,nul"  # all that a column of integers and nulls consists of, as JSON
_BOOLEAN = b"truefals,n"
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]+")

_columns = msgspec.structs.astuple
_json = msgspec.json.encode


def encode(results: Sequence[Result]) -> Literals:
    """Give a slice of results as array literals, one a column in the order of the fields of `Result`.

    A JSON list of numbers, booleans, nulls or printable strings is an array literal but for its brackets, and nothing
    writes one faster. What a prober left in a result that its column cannot hold becomes null, or text that it can:
    it must not cost the other rows of the batch.
    """
    (
        endpoints, times, statuses, reasons, http_statuses, latencies, dns, connects, tls, ttfbs, transfers,
        sizes, found, lags, lates, addresses, details,
    ) = zip(*map(_columns, results), strict=True)  # fmt: skip
    return (
        _literal(_json([endpoint.id for endpoint in endpoints])),
        _literal(_json(times)),
        _literal(_json(statuses if {*map(type, statuses)} == {Status} else list(map(Status, statuses)))),
        _literal(_json(reasons if {*map(type, reasons)} <= {Reason, NoneType} else list(map(_reason, reasons)))),
        _plain(http_statuses, _INTEGER, _integer),
        _plain(latencies, _INTEGER, _integer),
        _plain(dns, _INTEGER, _integer),
        _plain(connects, _INTEGER, _integer),
        _plain(tls, _INTEGER, _integer),
        _plain(ttfbs, _INTEGER, _integer),
        _plain(transfers, _INTEGER, _integer),
        _plain(sizes, _INTEGER, _integer),
        _plain(found, _BOOLEAN, bool),
        _plain(lags, _INTEGER, _integer),
        _plain(lates, _INTEGER, _integer),
        _literal(_json([None if address is None else _inet(address) for address in addresses])),
        _literal(_json(_lines(details))),
    )


def store(
    connection: extensions.connection,
    slices: Sequence[Literals],
    agent_id: int,
    answered: Callable[[], None] = lambda: None,
    database: str = "",
) -> int:
    """Store encoded slices in one transaction and give the number of rows that are new.

    Rows that are there already (same endpoint, agent and time) change nothing, so a batch whose fate is unknown may be
    stored again. `answered` is called after each slice, for who waits for an answer with patience for one. `database`
    is the one that they are for, by its `store.connection.identity`, if that is known.

    Raises:
        OtherDatabase: nothing was stored; it is not that one.
        DatabaseUnavailable: nothing was stored as far as is known; trying again may help.
        Unstorable: nothing was stored; it is about these rows.
        DatabaseError: nothing was stored; trying again helps only after a change.
    """
    try:
        query = queries("metrics")["insert"]
        try:
            return _insert(connection, query, slices, agent_id, answered, database=database)
        except _UNIQUE_VIOLATION:  # rare; to have the server look first would cost it a fifth more, each time
            return _insert(connection, query + _BUT_KNOWN, slices, agent_id, answered, database=database)
    except psycopg2.Error as error:
        told = meaning(error, connection.dsn)
        about_rows = not isinstance(told, DatabaseUnavailable) and (error.pgcode or "")[:2] not in _NOT_THE_ROWS
        raise (Unstorable(str(told)) if about_rows else told) from error
    except DatabaseUnavailable:
        raise
    except (DatabaseError, ValueError, TypeError) as error:  # of `add_days`; of psycopg2, for a text with a NUL
        raise Unstorable(str(error)) from error


def last(
    connection: extensions.connection, agent_id: int, ids: Sequence[int], since_us: int, until_us: int
) -> dict[int, int]:
    """Give when each of these endpoints was checked last by an agent, within a time: µs since the epoch, by id."""
    values = {"ids": list(ids), "agent_id": agent_id, "since_us": since_us, "until_us": until_us}
    with transaction(connection) as cursor:
        cursor.execute(queries("metrics")["last"], values)
        return dict(cursor.fetchall())


def now_us(connection: extensions.connection) -> int:
    """Give what the server's clock shows, in µs since the epoch."""
    with transaction(connection) as cursor:
        cursor.execute(queries("metrics")["now"])
        return int(cursor.fetchone()[0].timestamp() * 1e6)


def joined(slices: Sequence[Literals], count: int) -> list[Literals]:
    """Put each `count` slices together."""
    groups = [slices[first : first + count] for first in range(0, len(slices), count)]
    return [tuple("{" + ",".join(part[1:-1] for part in column) + "}" for column in zip(*group, strict=True))
            for group in groups]  # fmt: skip


def fits(slices: Sequence[Literals]) -> bool:
    """Tell whether slices have the columns that `store` stores; those of another version may not."""
    return all(len(literals) == COLUMNS for literals in slices)


def _insert(
    connection: extensions.connection, query: str, slices: Sequence[Literals], *others: Any, database: str
) -> int:
    try:
        return _insert_slices(connection, query, slices, *others, database)
    except _CHECK_VIOLATION:  # a day without partition: replayed late, or upkeep is behind
        add_days(connection, _days(connection, slices, database))
        return _insert_slices(connection, query, slices, *others, database)


def _insert_slices(
    connection: extensions.connection,
    query: str,
    slices: Sequence[Literals],
    agent_id: int,
    answered: Callable[[], None],
    database: str,
) -> int:
    stored = 0
    with raw_transaction(connection) as cursor:
        for literals in slices:
            cursor.execute(query, (agent_id, *literals))
            stored += cursor.rowcount
            answered()
        # After the rows: DROP SCHEMA takes its locks in the same order, that of the tables' making.
        require_identity(cursor, database)
    return stored


def _days(connection: extensions.connection, slices: Iterable[Literals], database: str) -> set[Any]:
    days = set()
    with raw_transaction(connection) as cursor:
        for literals in slices:
            cursor.execute(queries("metrics")["days"], {"times": literals[1]})
            days.update(day for (day,) in cursor)
        require_identity(cursor, database)  # no day is made in another, which may be at its migrations
    return days


def _literal(payload: bytes) -> str:
    return "{" + payload[1:-1].decode() + "}"


def _plain(column: Sequence[Any], signs: bytes, convert: Callable[[Any], Any]) -> str:
    """Give a column as a literal of no more than these signs, converting the values of one that has others."""
    try:
        payload = _json(column)
        odd = payload[1:-1].translate(None, signs)
    except (TypeError, ValueError, OverflowError):  # nothing that JSON knows
        odd = b"?"
    if odd:
        payload = _json([None if value is None else convert(value) for value in column])
    return _literal(payload)


def _integer(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _reason(value: Any) -> Reason | None:
    try:
        return value if value is None else Reason(value)
    except ValueError:
        return Reason.PLUGIN


@functools.lru_cache(_ADDRESSES)
def _inet(address: str) -> str | None:
    """Give the address as the type inet takes it; None for what is none, such as a Unix socket's path."""
    try:
        address = address.partition("%")[0]  # fe80::1%eth0: the zone is the agent's affair
        socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    except (OSError, ValueError, TypeError):
        return None
    return address


def _lines(details: Sequence[Any]) -> list[str | None]:
    try:
        return [
            text if text is None or (text.isprintable() and len(text) <= DETAIL_LENGTH) else _line(text)
            for text in details
        ]
    except AttributeError:
        return [None if text is None else _line(str(text)) for text in details]


def _line(text: str) -> str:
    return _UNPRINTABLE.sub(" ", text[:DETAIL_LENGTH])
