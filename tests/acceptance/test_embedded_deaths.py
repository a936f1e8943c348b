"""An agent with the embedded PostgreSQL, ended in every way: no process stays, and the next start has all data."""

from __future__ import annotations

import contextlib
import os
import pty
import secrets
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from agent_process import AGENT, EVERY_5_S, PATIENCE_S, WATCHER, Eventually, Write

from watcher.store import embedded

MARK = "WATCHER_TEST_MARK"
FILE = AGENT.replace('[database]\ndsn = "{dsn}"\n', "").replace('"data"', '"{data_dir}"') + EVERY_5_S
ENDPOINT = """
[[endpoints]]
name = "page"
url = "{site}/"
"""

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")


class Run:
    """An agent in a session of its own, led by a shell at a terminal; all its processes can be found."""

    def __init__(self, path: Path, data_dir: Path) -> None:
        self._mark = secrets.token_hex(8)
        self._data_dir = data_dir
        self._hung_up = threading.Event()
        self._ours, theirs = pty.openpty()
        # pylint: disable-next=consider-using-with,subprocess-popen-preexec-fn  # ended by `close`; no thread runs here
        self.shell = subprocess.Popen(
            ["/bin/sh", "-c", '"$@"; exit', "sh", *WATCHER, "--config", str(path)],
            preexec_fn=lambda: os.login_tty(theirs),
            env={**os.environ, MARK: self._mark, "TERM": "dumb"},
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        """Read what is shown, so that nobody waits for a full terminal; at the end close it."""
        with contextlib.suppress(OSError):
            while not self._hung_up.is_set():
                if select.select([self._ours], [], [], 0.05)[0]:
                    os.read(self._ours, 65536)
        self._hung_up.wait()
        os.close(self._ours)

    def processes(self) -> dict[int, str]:
        """Give all that were started by it, by process id: by a mark in their environment, or where they work."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                marked = f"{MARK}={self._mark}".encode() in (entry / "environ").read_bytes()
                if command and (marked or os.readlink(entry / "cwd").startswith(str(self._data_dir))):
                    found[int(entry.name)] = command
        return found

    def find(self, words: str) -> int | None:
        """Give the process whose command line has these words, the oldest."""
        found = (pid for pid, command in self.processes().items() if words in command and "/bin/sh" not in command)
        return min(found, default=None)

    def hang_up(self) -> None:
        """Take the terminal away."""
        self._hung_up.set()
        self._reader.join()

    def close(self) -> None:
        """End what is left, if a test failed."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.shell.wait(PATIENCE_S)
        self.hang_up()


def kill_supervisor(run: Run) -> None:
    """As `kill -9`, or the kernel when memory runs out."""
    os.kill(run.find("-m watcher --config"), signal.SIGKILL)


def kill_worker_then_supervisor(run: Run) -> None:
    """One after the other."""
    os.kill(run.find("watcher.worker"), signal.SIGKILL)
    kill_supervisor(run)


def kill_group(run: Run) -> None:
    """All processes of the job at once, but for the server, which has a group of its own."""
    os.killpg(os.getpgid(run.find("-m watcher --config")), signal.SIGKILL)


def kill_leader(run: Run) -> None:
    """The shell of the terminal, which then closes; SIGHUP comes before that, when it looks like a reload."""
    run.shell.kill()
    run.shell.wait(PATIENCE_S)
    run.hang_up()


def hang_up(run: Run) -> None:
    """As a window that is closed, or a line that breaks."""
    run.hang_up()


@pytest.fixture(name="start")
def fixture_start(write: Write, site: str, prepared_dir: Path) -> Iterator[Callable[[], Run]]:
    """Give a function that starts an agent."""
    running: list[Run] = []
    path = write(FILE.format(data_dir=prepared_dir) + ENDPOINT.format(site=site))

    def start() -> Run:
        running.append(Run(path, prepared_dir))
        return running[-1]

    yield start
    for run in running:
        run.close()


def ask(dsn: str, statement: str) -> int:
    """Execute a statement and give its only number."""
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0]


@pytest.mark.parametrize("end", [kill_supervisor, kill_worker_then_supervisor, kill_group, kill_leader, hang_up])
def test_no_process_stays(
    end: Callable[[Run], None], start: Callable[[], Run], prepared_dir: Path, eventually: Eventually
) -> None:
    run = start()
    eventually(lambda: list((prepared_dir / "endpoints").glob("*.ndjson")), 60)
    assert run.find("postgres -D") and run.find("watcher.worker")
    end(run)
    eventually(lambda: not run.processes(), 60)
    with embedded.serve(prepared_dir, lambda line: None) as server:
        assert ask(server.dsn, "SELECT count(*) FROM endpoints WHERE name = 'page'") == 1


@pytest.mark.parametrize("moment", ["postgres_launch.py", "postgres -D"])
def test_no_process_stays_when_the_agent_is_killed_while_postgresql_starts(
    moment: str, start: Callable[[], Run], prepared_dir: Path, eventually: Eventually
) -> None:
    run = start()
    eventually(lambda: run.find(moment), 60)
    kill_supervisor(run)
    eventually(lambda: not run.processes(), 60)
    with embedded.serve(prepared_dir, lambda line: None) as server:
        assert ask(server.dsn, "SELECT 1") == 1
