"""How a worker comes to its agent's id: from the database, or from the copy of the endpoints while that is away."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

import gevent
from gevent.event import Event

from watcher import __version__
from watcher.errors import DatabaseError, DatabaseUnavailable, OtherDatabase
from watcher.roster_copy import RosterCopy
from watcher.store import agents
from watcher.store import connection as store_connection
from watcher.transport import clock

RETRY_S = 2.0
REGISTER_S = 15.0  # for a database that lets us in and then is silent


class Arrival:
    """Registers the agent of one worker.

    Args:
        location, variant: of the agent.
        copy: told the id, and which database it is; asked for them where the database does not answer.
        say: told, in a line, that there is nothing but to wait.
    """

    def __init__(
        self, dsn: str, location: str, variant: str, *, copy: RosterCopy, say: Callable[[str], None]
    ) -> None:
        self.recalled = False  # the id is that of the copy, and the database has yet to confirm it
        self._dsn = dsn
        self._location = location
        self._variant = variant
        self._copy = copy
        self._say = say

    def wait(self, ending: Event) -> int | None:
        """Give the agent's id; tried until it works, None when the end comes first."""
        told = False
        while not ending.is_set():
            try:
                self._copy.agent_id, self._copy.database = self._register()
                return self._copy.agent_id
            except DatabaseError as error:
                if head := self._copy.head():
                    self.recalled = True
                    self._copy.agent_id, self._copy.database = head.agent_id, head.database
                    return head.agent_id
                if not told:
                    self._say(f"waiting for the database: {error}")
                    told = True
                ending.wait(RETRY_S)
        return None

    def make_up(self) -> None:
        """Register at last, as soon as the database is back; to be run in a greenlet.

        Raises:
            OtherDatabase: nothing of the copy holds; it is deleted.
        """
        while True:
            with contextlib.suppress(DatabaseError):
                agent_id, database = self._register()
                break
            gevent.sleep(RETRY_S)
        if agent_id != self._copy.agent_id or database != (self._copy.database or database):
            self._copy.forget()  # a roster that read the other's table already has made it anew
            raise OtherDatabase("the database is another one than that which the copy of the endpoints came from")
        self._copy.database = database

    def _register(self) -> tuple[int, str]:
        late = DatabaseUnavailable(f"{store_connection.place(self._dsn)}: no answer within {REGISTER_S:g} s")
        with gevent.Timeout(REGISTER_S, late):
            connection = store_connection.connect(self._dsn, name="watcher worker", autocommit=True)
            with contextlib.closing(connection):
                database = store_connection.identity(connection)
                host = os.uname().nodename
                agent_id = agents.register(
                    connection, self._location, host, self._variant, __version__, clock.source()
                )
                return agent_id, database
