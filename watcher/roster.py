"""The endpoints of one worker: read from the table, followed by LISTEN/NOTIFY, compiled into plans.

Owns one database connection. Nothing that did not change is touched; an endpoint that cannot be used gets a plan that
says so.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import gevent
import pluggy

from watcher import config, registry
from watcher.breath import Breath
from watcher.config.sealing import Keyring
from watcher.errors import ConfigError, DatabaseError, in_one_line
from watcher.green import offload
from watcher.leases import Share
from watcher.ledger import Ledger
from watcher.models import Endpoint
from watcher.named_files import NamedFiles, Stamp, stamps
from watcher.plan import Plan, Unusable, compile_plan, unusable
from watcher.roster_copy import RosterCopy
from watcher.schedule import shard
from watcher.store import connection as store_connection
from watcher.store import endpoints as table
from watcher.transport import forget_files

BREATH_S = 0.002  # of reading between two pauses: the checks go on while a large table is read
FROZEN_ROWS = 500  # what was made of so many is nothing for the garbage collector: it would hold up the hub for 0.2 s;
# at the first reading alone, for with it is frozen for good what was garbage then
LISTEN_S = 60.0  # after which the table is read without a notice
DEBOUNCE_S = 0.2
RETRY_S = 2.0
SAID_MOST = 5
STATS_S = 10.0


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
        say: told, in a line, of files that cannot be used any more.
        loaded: told when the whole table was read.
        ledger: where the plugins' time and errors are written down.
        copy: what is on disk of them, for a start without the database.
        data_dir: where the agent remembers what plugins offered.
        keyring: what decrypts secrets in the table.
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
        copy: RosterCopy,
        data_dir: Path | None = None,
        keyring: Keyring = Keyring(),
    ) -> None:
        self._dsn = dsn
        self._plugins = plugins
        self._types = registry.option_types(plugins)
        if data_dir:
            self._types.recall(data_dir)
        self._types.keyring = keyring
        self._follower = follower
        self._share = share
        self._location = location
        self._say = say
        self._loaded = loaded
        self._ledger = ledger
        self.copy = copy
        self._cursor: Any = None
        self._is_first = True  # of the readings of the whole table
        self._files = NamedFiles()
        self._unread: set[int] = set()  # endpoints whose files changed, and which could not be read since
        self._looks = False

    def follow(self, recalled: bool = False) -> None:
        """Follow the table for ever; to be run in a greenlet.

        Args:
            recalled: the database is away: begin with the copy. What the table has then comes as a difference.

        Raises:
            OtherDatabase: ids mean other endpoints now.
        """
        connection = None
        if recalled:
            self._recall()
        while True:
            try:
                if connection is None:
                    connection = self._connect()
                    table.listen(connection)
                self._read_changes(connection)
                if self.copy.worn:
                    self._cursor = None
                notices = table.wait_for_notice(connection, LISTEN_S)
                if table.DELETED in notices:
                    self._cursor = None
                if table.FILES in notices or self._files.is_due():
                    self._read_files(connection)
                if notices:
                    gevent.sleep(DEBOUNCE_S)
            except DatabaseError:
                if connection is not None:
                    store_connection.close(connection)
                connection = None
                self._cursor = None  # what was deleted meanwhile leaves no trace: read the whole table
                gevent.sleep(RETRY_S)

    def _connect(self) -> Any:
        database = self.copy.database
        return store_connection.connect(self._dsn, name="watcher roster", autocommit=True, database=database)

    def _read_all(self, connection: Any) -> None:
        rows, self._cursor = table.load(connection)
        ours = set()
        is_first, self._is_first = self._is_first, False
        with self.copy.renewed(time.time()):
            for row in _breathing(rows, freeze=is_first):
                if self._is_ours(row):
                    ours.add(row["id"])
                    self._take(row)
                    self.copy.note(row)
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
                self.copy.note(row)
            else:
                self._drop(row["id"])
        for endpoint_id in gone:
            self._drop(endpoint_id)
        self.copy.flush()
        self._cursor = cursor

    def _drop(self, endpoint_id: int) -> None:
        if endpoint_id in self._follower.known():
            self.copy.note_gone(endpoint_id)
            self._follower.drop(endpoint_id)

    def _recall(self) -> None:
        """Take what the table had when it was last read here."""
        for row in _breathing(self.copy.rows(), freeze=True):
            if "gone" in row:
                self._follower.drop(row["gone"])
            elif self._is_ours(row):
                self._take(row)
            else:
                self._follower.drop(row["id"])

    def _read_files(self, connection: Any) -> None:
        """Plan anew what names a file that is another one now; where that cannot be used, what was read before holds.

        So the half of a pair of files that are replaced one after the other ends no check.
        """
        if self._looks:  # that which was given up holds a thread yet; more of them would leave the checks none
            return
        with gevent.Timeout(STATS_S, False):  # a disk over the network may be away
            changed = self._files.changed(self._follower.known(), lambda paths: offload(self._look, [*paths]))
            self._unread.update(changed)
        if not self._unread:
            return
        self._types.forget_files()
        forget_files()
        kept = []
        for row in _breathing(table.some(connection, sorted(self._unread))):
            if self._is_ours(row) and (why := self._take_anew(row)):
                kept.append(why)
        self._unread.clear()
        for why in kept[:SAID_MOST]:
            self._say(f"{why}; the files as they were before are used")
        if len(kept) > SAID_MOST:
            self._say(f"{len(kept) - SAID_MOST:,} more endpoints use their files as they were before")

    def _look(self, paths: list[str]) -> dict[str, Stamp]:
        self._looks = True
        try:
            return stamps(paths)
        finally:
            self._looks = False

    def _take_anew(self, row: Mapping[str, Any]) -> str | None:
        """Take a row whose files changed, or give why what is known of it goes on."""
        plan = self._planned(row, anew=True)
        known = self._follower.known().get(row["id"])
        if plan is None or known is None:
            return None
        if isinstance(plan.prober, Unusable) and not isinstance(known.plan.prober, Unusable):
            return f'endpoint "{row["name"]}": {plan.prober.why}'
        self._follower.put(plan)
        return None

    def _is_ours(self, row: Mapping[str, Any]) -> bool:
        here = not row["locations"] or self._location in row["locations"]
        return bool(here and row["enabled"] and shard(row["id"]) in self._share)

    def _take(self, row: Mapping[str, Any]) -> None:
        plan = self._planned(row)
        if plan is not None:
            self._follower.put(plan)

    def _planned(self, row: Mapping[str, Any], anew: bool = False) -> Plan | None:
        """Give the plan of a row, None when that which is known is right; `anew`: whatever is known."""
        self._files.note(row["id"], config.named_files(row, self._types))
        try:
            endpoint = config.endpoint(row, self._types)
        except ConfigError as error:
            return self._unusable(row, "; ".join(error.problems))
        except Exception as error:  # pylint: disable=broad-exception-caught  # a plugin's check of its option broke
            return self._unusable(row, f"{type(error).__name__}: {in_one_line(error)}")
        known = self._follower.known().get(endpoint.id)
        if not anew and known is not None and known.plan.endpoint == endpoint:
            return None
        return compile_plan(endpoint, self._plugins, self._ledger)

    def _unusable(self, row: Mapping[str, Any], why: str) -> Plan:
        endpoint = Endpoint(id=row["id"], name=row["name"], url=row["url"], interval_s=row["interval_s"], timeout_s=1.0)
        return unusable(endpoint, [why], self._ledger)


def _breathing(rows: Iterable[Mapping[str, Any]], freeze: bool = False) -> Iterator[Mapping[str, Any]]:
    breathe = Breath(BREATH_S)
    for number, row in enumerate(rows, 1):
        yield row
        if freeze and number % FROZEN_ROWS == 0:
            gc.freeze()
        breathe()
