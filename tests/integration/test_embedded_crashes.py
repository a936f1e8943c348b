"""The embedded PostgreSQL after what ought not to happen: all of it killed, half of it left, killed in the making."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from owners import AS_ROOT, Owner, alive, ask, family, linux_only, root_only, silent

from watcher.errors import EnvironmentProblem
from watcher.store import embedded

pytestmark = linux_only


def kill(*processes: int) -> None:
    """Kill processes; some may be gone already."""
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def at_work(directory: Path) -> list[int]:
    """Give the processes that were told of a directory, or work in it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            told = str(directory).encode() in (entry / "cmdline").read_bytes()
            if told or os.readlink(entry / "cwd").startswith(str(directory)):
                found.append(int(entry.name))
    return found


def test_all_processes_killed_at_once_lose_nothing_that_was_committed(
    own: Callable[..., Owner], prepared_dir: Path, eventually: Callable[..., Any]
) -> None:
    """As a power cut, but for the disk. Left are a file of process ids, the socket, its lock, and shared memory."""
    owner = own(prepared_dir, stderr=subprocess.DEVNULL)
    (dsn,) = eventually(lambda: owner.told("dsn"), 30)
    ask(dsn, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
    processes = family(owner.told("pid")[0])
    kill(owner.process.pid, *processes)
    eventually(lambda: not any(map(alive, processes)), 30)
    for left in ("data/postmaster.pid", "run/.s.PGSQL.5432", "run/.s.PGSQL.5432.lock"):
        assert (prepared_dir / "postgres" / left).exists()
    with embedded.serve(prepared_dir, silent) as server:
        assert ask(server.dsn, "SELECT sum(n) FROM kept") == 500_500


def test_all_process_ids_in_stale_files_may_belong_to_anybody(
    own: Callable[..., Owner], prepared_dir: Path, eventually: Callable[..., Any]
) -> None:
    owner = own(prepared_dir, stderr=subprocess.DEVNULL)
    eventually(lambda: owner.told("dsn"), 30)
    processes = family(owner.told("pid")[0])
    kill(owner.process.pid, *processes)
    eventually(lambda: not any(map(alive, processes)), 30)
    account = (prepared_dir / "postgres").stat()
    who = {"user": account.st_uid, "group": account.st_gid, "extra_groups": ()} if AS_ROOT else {}
    with subprocess.Popen(["sleep", "60"], cwd="/", **who) as other:
        for name in ("data/postmaster.pid", "run/.s.PGSQL.5432.lock"):
            file = prepared_dir / "postgres" / name
            file.write_text("\n".join([str(other.pid), *file.read_text("utf-8").splitlines()[1:]]) + "\n", "utf-8")
        with embedded.serve(prepared_dir, silent) as server:
            assert ask(server.dsn, "SELECT 1") == 1
        assert other.poll() is None, "it is somebody else's"
        other.kill()


def test_a_process_that_outlived_its_server_is_killed(
    own: Callable[..., Owner], prepared_dir: Path, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., Any]
) -> None:
    """One that is stopped, or stuck in a query: PostgreSQL starts no other as long as it holds the shared memory."""
    monkeypatch.setattr(embedded, "NOTICE_S", 0.5)
    owner = own(prepared_dir, stderr=subprocess.DEVNULL)
    (dsn,) = eventually(lambda: owner.told("dsn"), 30)
    ask(dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
    connection = psycopg2.connect(dsn)
    stopped = connection.get_backend_pid()
    os.kill(stopped, signal.SIGSTOP)
    kill(owner.process.pid, owner.told("pid")[0])
    owner.process.wait()
    said: list[str] = []
    with embedded.serve(prepared_dir, said.append) as server:
        assert ask(server.dsn, "SELECT answer FROM kept") == 42
    assert f"killing process {stopped} of a PostgreSQL that is gone" in said
    assert not alive(stopped)
    connection.close()


@pytest.mark.parametrize("program", ["initdb", "--boot", "--single"])  # these two are postgres, by initdb and by us
def test_a_kill_while_the_database_is_made_leaves_nothing_and_is_said(
    program: str, own: Callable[..., Owner], data_dir: Path, eventually: Callable[..., Any]
) -> None:
    """As the kernel does when memory runs out."""

    def victim() -> int | None:
        for pid in at_work(data_dir):
            with contextlib.suppress(OSError):
                if program in Path(f"/proc/{pid}/cmdline").read_text("utf-8").replace("/", "\0").split("\0"):
                    return pid
        return None

    owner = own(data_dir)
    eventually((data_dir / "postgres/data.new").exists, 30)
    kill(eventually(victim, 30))
    owner.process.wait(timeout=60)
    (error,) = owner.told("error")
    assert "memory runs out" in error and "start again" in error
    assert owner.told("code") == [2]
    eventually(lambda: not at_work(data_dir), 30)
    assert not (data_dir / "postgres/data").exists()
    with embedded.serve(data_dir, silent) as server:
        assert ask(server.dsn, "SELECT current_database()") == "watcher"
    assert not (data_dir / "postgres/data.new").exists()


def test_no_process_stays_when_the_owner_is_killed_while_the_database_is_made(
    own: Callable[..., Owner], data_dir: Path, eventually: Callable[..., Any]
) -> None:
    owner = own(data_dir)
    eventually((data_dir / "postgres/data.new/PG_VERSION").exists, 30)
    owner.process.kill()
    owner.process.wait()
    eventually(lambda: not at_work(data_dir), 60)


def test_data_that_others_may_read_are_refused_with_a_remedy(prepared_dir: Path) -> None:
    (prepared_dir / "postgres/data").chmod(0o755)
    with pytest.raises(EnvironmentProblem, match="does not start: .*invalid permissions.*: chmod 700 it"):
        with embedded.serve(prepared_dir, silent):
            pass


@root_only
def test_data_of_another_owner_are_refused_with_a_remedy(prepared_dir: Path) -> None:
    account = (prepared_dir / "postgres").stat()
    os.chown(prepared_dir / "postgres/data", 54321, 54321)
    with pytest.raises(EnvironmentProblem, match="wrong ownership: chown it|could not|Permission denied"):
        with embedded.serve(prepared_dir, silent):
            pass
    os.chown(prepared_dir / "postgres/data", account.st_uid, account.st_gid)
    with embedded.serve(prepared_dir, silent) as server:
        assert ask(server.dsn, "SELECT 1") == 1
