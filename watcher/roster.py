"""The endpoints of one worker: read from the table, followed by LISTEN/NOTIFY, compiled into plans.

Owns one database connection. Nothing that did not change is touched; an endpoint that cannot be used gets a plan that
says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import gevent
import pluggy

from watcher import config, registry
from watcher.errors import ConfigError, DatabaseError
from watcher.leases import Share
from watcher.ledger import Ledger
from watcher.models import Endpoint
from watcher.plan import Plan, compile_plan, unusable
from watcher.schedule import shard
from watcher.store import connection as store_connection
from watcher.store import endpoints as table

BREATH_ROWS = 20  # compiled between two pauses: the checks go on while a large table is read
LISTEN_S = 60.0  # after which the table is read without a notice
DEBOUNCE_S = 0.2
RETRY_S = 2.0


class Follower(Protocol):
    """Who works with the plans."""

    def put(self, plan: Plan) -> None:
        """Take a new plan, or one in place of that with the same endpoint id."""

    def drop(self, endpoint_id: int) -> None:
        """Forget an endpoint."""

    def known(self) -> Mapping[int, Any]:
        """Give what is held, by endpoint id; each value has a `plan`."""


class Roster:
    """Keeps a follower's plans in step with the table.

    Args:
        share: which shards are ours.
        location: endpoints that name locations are ours only when this is among them.
        say: told, in a line, of endpoints that cannot be used.
        loaded: told when the whole table was read.
        ledger: where the plugins' time and errors are written down.
        data_dir: where the agent remembers what plugins offered.
    """

    def __init__(  # pylint: disable=too-many-arguments
        self,
        dsn: str,
        plugins: pluggy.PluginManager,
        follower: Follower,
        *,
        share: Share,
        location: str,
        say: Callable[[str], None],
        loaded: Callable[[], None],
        ledger: Ledger,
        data_dir: Path | None = None,
    ) -> None:
        self._dsn = dsn
        self._plugins = plugins
        self._types = registry.option_types(plugins)
        if data_dir:
            self._types.recall(data_dir)
        self._follower = follower
        self._share = share
        self._location = location
        self._say = say
        self._loaded = loaded
        self._ledger = ledger
        self._cursor: Any = None

    def follow(self) -> None:
        """Follow the table for ever; to be run in a greenlet."""
        connection = None
        while True:
            try:
                if connection is None:
                    connection = self._connect()
                    table.listen(connection)
                self._read_changes(connection)
                notices = table.wait_for_notice(connection, LISTEN_S)
                if table.DELETED in notices:
                    self._cursor = None
                if notices:
                    gevent.sleep(DEBOUNCE_S)
            except DatabaseError:
                if connection is not None:
                    store_connection.close(connection)
                connection = None
                self._cursor = None  # what was deleted meanwhile leaves no trace: read the whole table
                gevent.sleep(RETRY_S)

    def _connect(self) -> Any:
        return store_connection.connect(self._dsn, name="watcher roster", autocommit=True)

    def _read_all(self, connection: Any) -> None:
        rows, self._cursor = table.load(connection)
        ours = set()
        for row in _breathing(rows):
            if self._is_ours(row):
                ours.add(row["id"])
                self._take(row)
        for endpoint_id in [known for known in self._follower.known() if known not in ours]:
            self._follower.drop(endpoint_id)
        self._loaded()

    def _read_changes(self, connection: Any) -> None:
        if self._cursor is None:
            self._read_all(connection)
            return
        changed, gone, cursor = table.changes(connection, self._cursor)
        for row in _breathing(changed):
            if self._is_ours(row):
                self._take(row)
            else:
                self._follower.drop(row["id"])
        for endpoint_id in gone:
            self._follower.drop(endpoint_id)
        self._cursor = cursor

    def _is_ours(self, row: Mapping[str, Any]) -> bool:
        here = not row["locations"] or self._location in row["locations"]
        return bool(here and row["enabled"] and shard(row["id"]) in self._share)

    def _take(self, row: Mapping[str, Any]) -> None:
        try:
            endpoint = config.endpoint(row, self._types)
        except ConfigError as error:
            self._take_unusable(row, error.problems)
            return
        except Exception as error:  # pylint: disable=broad-exception-caught  # a plugin's check of its option broke
            self._take_unusable(row, (f'endpoint "{row["name"]}": {type(error).__name__}: {error}',))
            return
        known = self._follower.known().get(endpoint.id)
        if known is None or known.plan.endpoint != endpoint:
            self._follower.put(compile_plan(endpoint, self._plugins, self._ledger))

    def _take_unusable(self, row: Mapping[str, Any], problems: Sequence[str]) -> None:
        for problem in problems:
            self._say(problem)
        endpoint = Endpoint(id=row["id"], name=row["name"], url=row["url"], interval_s=row["interval_s"], timeout_s=1.0)
        self._follower.put(unusable(endpoint, "; ".join(problems), self._ledger))


def _breathing(rows: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for number, row in enumerate(rows):
        yield row
        if number % BREATH_ROWS == 0:
            gevent.sleep(0)
