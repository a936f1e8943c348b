"""Writing the time series: results to array literals, and those into the table `metrics`."""

from __future__ import annotations

import functools
import re
import socket
from collections.abc import Callable, Iterable, Sequence
from types import NoneType
from typing import Any

import msgspec
from psycopg2 import errors, extensions

from watcher.models import Reason, Result, Status
from watcher.store.connection import raw_transaction, translated
from watcher.store.partitions import Upkeep, add_days, upkeep
from watcher.store.queries import queries

__all__ = ["DETAIL_LENGTH", "SLICE_ROWS", "Upkeep", "encode", "store", "upkeep"]

SLICE_ROWS = 250  # as many as the hub can be held for: below a millisecond
DETAIL_LENGTH = 1000

Literals = tuple[str, ...]

_CHECK_VIOLATION = errors.lookup("23514")
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
    pause: Callable[[], None] = lambda: None,
) -> int:
    """Store encoded slices in one transaction and give the number of rows that are new.

    Rows that are there already (same endpoint, agent and time) change nothing, so a batch whose fate is unknown may be
    stored again. `pause` is called between slices: a worker gives the hub its turn there.

    Raises:
        DatabaseUnavailable: nothing was stored as far as is known; trying again may help.
        DatabaseError: nothing was stored; trying again helps only after a change.
    """
    with translated(connection):
        try:
            return _insert(connection, slices, agent_id, pause)
        except _CHECK_VIOLATION:  # a day without partition: replayed late, or upkeep is behind
            add_days(connection, _days(connection, slices))
            return _insert(connection, slices, agent_id, pause)


def _insert(
    connection: extensions.connection, slices: Sequence[Literals], agent_id: int, pause: Callable[[], None]
) -> int:
    query, stored = queries("metrics")["insert"], 0
    with raw_transaction(connection) as cursor:
        for literals in slices:
            cursor.execute(query, (agent_id, *literals))
            stored += cursor.rowcount
            pause()
    return stored


def _days(connection: extensions.connection, slices: Iterable[Literals]) -> set[Any]:
    days = set()
    with raw_transaction(connection) as cursor:
        for literals in slices:
            cursor.execute(queries("metrics")["days"], {"times": literals[1]})
            days.update(day for (day,) in cursor)
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
