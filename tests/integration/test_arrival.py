"""A worker's registration where the database lets it in and then is silent: it begins with its copy all the same."""

from __future__ import annotations

import contextlib

import psycopg2
from green_process import run_green


def test_green_a_database_that_is_silent_after_the_greeting_is_away(database: str) -> None:
    with contextlib.closing(psycopg2.connect(database)) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE agents")
        printed = run_green(
            """
            import sys
            from types import SimpleNamespace
            from gevent.event import Event
            from watcher import arrival
            arrival.REGISTER_S = 2.0
            copy = SimpleNamespace(agent_id=None, head=lambda: SimpleNamespace(agent_id=5, database=""))
            comes = arrival.Arrival(sys.argv[1], "here", "", copy=copy, say=print)
            print(comes.wait(Event()), comes.recalled)
            """,
            database,
        )
    assert printed == "5 True\n"
