"""What many tests share: a PostgreSQL server for the session, a database for each test, waiting for a condition.

This process stays unpatched, as the supervisor's is; what must be green runs in a process of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from watcher.store import embedded, migrations

MEMORY = Path("/dev/shm")
ROOM_BYTES = 2 << 30
TEMPLATE = "watcher_template"
Eventually = Callable[..., Any]

# Files that take long, the longest first: so no process that tests is left with a long one at the end.
LONG = (
    "test_soak.py",  # five minutes in CI
    "test_run.py",
    "test_worker.py",
    "test_check.py",
    "test_third_party.py",
    "test_plugins_new.py",
)


def pytest_configure(config: pytest.Config) -> None:
    """Have pytest-xdist keep our order, and Ctrl-C mean something in the processes that tests start."""
    config.option.loadscopereorder = False  # or files of many tests would come first, of which most take no time
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:  # as in what a shell started by `&`, or nohup
            signal.signal(number, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of long files first."""
    rank = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.name, len(LONG)))


@pytest.fixture(scope="session", name="eventually")
def fixture_eventually() -> Eventually:
    """Wait for a condition: `eventually(function, within_s=10)` gives the first true value, or fails."""

    def wait(condition: Callable[[], Any], within_s: float = 10.0) -> Any:
        deadline = time.monotonic() + within_s
        while not (value := condition()):
            assert time.monotonic() < deadline, f"not within {within_s} s: {condition.__doc__ or condition}"
            time.sleep(0.01)
        return value

    return wait


@pytest.fixture(scope="session", name="public_dir")
def fixture_public_dir() -> Iterator[Path]:
    """Give a directory that every account can pass through: pytest's own are closed to PostgreSQL when we are root.

    In memory where there is room: a database begins with 50 MB in 1,600 files.
    """
    directory = Path(tempfile.mkdtemp(prefix="watcher-tests-", dir=MEMORY if _roomy(MEMORY) else None))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory)


def _roomy(directory: Path) -> bool:
    if not os.access(directory, os.W_OK):
        return False
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize > ROOM_BYTES and not found.f_flag & os.ST_NOEXEC


@pytest.fixture(name="data_dir")
def fixture_data_dir(public_dir: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Give the path of a data directory that does not exist yet, short enough for a socket."""
    directory = public_dir / f"data-{_number(request)}"
    yield directory
    if directory.is_dir():
        shutil.rmtree(directory)


@pytest.fixture(scope="session", name="prepared")
def fixture_prepared(public_dir: Path) -> Path:
    """Make a data directory once, with a database that nobody migrated, for `prepared_dir`."""
    directory = public_dir / "prepared"
    with embedded.serve(directory, lambda line: None):
        pass
    return directory


@pytest.fixture(name="prepared_dir")
def fixture_prepared_dir(prepared: Path, data_dir: Path) -> Path:
    """Give a data directory that was used before: starts in a tenth of the time of a first start."""
    subprocess.run(["cp", "-a", str(prepared), str(data_dir)], check=True)  # with owners and times
    return data_dir


@pytest.fixture(scope="session", name="server")
def fixture_server(public_dir: Path) -> Iterator[embedded.Server]:
    """Run PostgreSQL for the session, careless of power cuts; a test that ends or starves a server runs its own."""
    with embedded.serve(public_dir / "session", lambda line: None) as running:
        for statement in ("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"):
            execute(running.dsn, statement)
        yield running


@pytest.fixture(scope="session", name="template")
def fixture_template(server: embedded.Server) -> str:
    """Make the migrated database that `database` copies, and give its name."""
    execute(server.dsn, f"CREATE DATABASE {TEMPLATE}")
    migrations.migrate(address(server.dsn, TEMPLATE))
    return TEMPLATE


@pytest.fixture(name="database")
def fixture_database(server: embedded.Server, template: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the DSN of a fresh migrated database."""
    yield from _database(server.dsn, template, request)


@pytest.fixture(name="empty_database")
def fixture_empty_database(server: embedded.Server, request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the DSN of a fresh database without any table."""
    yield from _database(server.dsn, "template1", request)


def _database(dsn: str, template: str, request: pytest.FixtureRequest) -> Iterator[str]:
    name = f"test_{_number(request)}"
    execute(dsn, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield address(dsn, name)
    execute(dsn, f"DROP DATABASE {name} WITH (FORCE)")


def _number(request: pytest.FixtureRequest) -> int:
    """Count what tests got, for names that nobody has."""
    request.config.stash[_COUNT] = request.config.stash.get(_COUNT, 0) + 1
    return request.config.stash[_COUNT]


def address(dsn: str, name: str) -> str:
    """Return the DSN of another database of the embedded server."""
    return dsn.replace("/watcher?", f"/{name}?", 1)


def execute(dsn: str, statement: str) -> None:
    """Execute one statement outside of a transaction."""
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        connection.cursor().execute(statement)


_COUNT: pytest.StashKey[int] = pytest.StashKey()
