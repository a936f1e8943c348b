"""An agent that is killed with all its processes, and one whose database hangs when it is to end."""

from __future__ import annotations

import os
import signal
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
from agent_process import AGENT, EVERY_5_S, PATIENCE_S, AgentProcess, Eventually, Write
from process_tree import processes_of, tell

from watcher.gaps import CUT_SHORT
from watcher.store import embedded

ENDPOINTS = 30
FILE = f"{AGENT}{EVERY_5_S}" + "".join(
    f'\n[[endpoints]]\nname = "page {number}"\nurl = "{{site}}/"\n' for number in range(ENDPOINTS)
)


def ask(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    """Execute a statement and give its rows."""
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def count(dsn: str, condition: str = "true") -> int:
    """Count results."""
    return ask(dsn, f"SELECT count(*) FROM metrics WHERE {condition}")[0][0]


def measured(dsn: str) -> bool:
    """Tell whether there are results; before the agent's first start there is no table."""
    return bool(ask(dsn, "SELECT to_regclass('metrics') IS NOT NULL")[0][0]) and count(dsn) >= ENDPOINTS


def test_when_all_of_an_agent_is_killed_the_next_one_tells_what_is_missing(
    empty_database: str, site: str, write: Write, eventually: Eventually
) -> None:
    path = write(FILE.format(dsn=empty_database, site=site))
    with AgentProcess(path) as agent:
        eventually(lambda: measured(empty_database), PATIENCE_S)
        workers = agent.children("watcher.worker")
        assert workers
        agent.process.kill()  # first, or it would start new ones
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
    with AgentProcess(path) as agent:
        agent.wait_for(CUT_SHORT)
        told = f"status = 'missed' AND reason = 'suspended' AND detail LIKE '{CUT_SHORT}%'"
        eventually(lambda: count(empty_database, told), PATIENCE_S)
        assert agent.end() == 0
    assert not list((path.parent / "data/running").glob("*.json"))


def test_an_agent_ends_in_order_while_its_database_hangs(
    data_dir: Path, site: str, write: Write, eventually: Eventually
) -> None:
    with embedded.serve(data_dir, lambda line: None) as server:
        path = write(FILE.format(dsn=server.dsn, site=site))
        with AgentProcess(path) as agent:
            eventually(lambda: measured(server.dsn), PATIENCE_S)
            frozen = processes_of(server.pid)
            tell(frozen, signal.SIGSTOP)
            try:
                agent.process.send_signal(signal.SIGHUP)  # makes a chore wait for the database
                spool = path.parent / "data/spool"
                eventually(lambda: list(spool.glob("*/*.rows")), PATIENCE_S)
                assert agent.end() == 0
            finally:
                tell(frozen, signal.SIGCONT)
        assert list(spool.glob("*/*.rows"))
        assert not list((path.parent / "data/running").glob("*.json"))
