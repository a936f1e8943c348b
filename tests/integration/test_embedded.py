"""The life of the embedded PostgreSQL, with real processes, really ended, looked at from outside."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from owners import AS_ROOT, Owner, alive, ask, family, linux_only, silent

from watcher.errors import DatabaseUnavailable
from watcher.store import embedded


def test_first_start_gives_a_database_that_only_its_owner_reaches(data_dir: Path) -> None:
    with embedded.serve(data_dir, silent) as server:
        assert ask(server.dsn, "SELECT current_database()") == "watcher"
        assert ask(server.dsn, "SHOW server_encoding") == "UTF8"
        assert ask(server.dsn, "SHOW timezone") in ("UTC", "Etc/UTC")
        assert ask(server.dsn, "SHOW listen_addresses") == ""
        assert ask(server.dsn, "SHOW synchronous_commit") == "on"
        assert ask(server.dsn, "SHOW unix_socket_permissions") == "0700"
        for directory in (data_dir / "postgres", data_dir / "postgres/data", data_dir / "postgres/run"):
            assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert stat.S_IMODE((data_dir / "postgres.log").stat().st_mode) == 0o600


def test_data_survive_a_restart_under_the_same_address(data_dir: Path) -> None:
    with embedded.serve(data_dir, silent) as server:
        first = server.dsn
        ask(server.dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
    with embedded.serve(data_dir, silent) as server:
        assert server.dsn == first
        assert ask(server.dsn, "SELECT answer FROM kept") == 42


@linux_only
@pytest.mark.parametrize("how", ["end of input", "exception", "SIGTERM", "SIGINT", "SIGKILL"])
def test_nothing_is_left_however_the_owner_ends(
    how: str, own: Callable[..., Owner], prepared_dir: Path, eventually: Callable[..., Any]
) -> None:
    owner = own(prepared_dir, stderr=subprocess.DEVNULL)
    (dsn,) = eventually(lambda: owner.told("dsn"))
    ask(dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
    processes = family(owner.told("pid")[0])
    assert len(processes) > 3  # checkpointer, writer and others
    if how == "end of input":
        owner.end()
    elif how == "exception":
        owner.order("raise")
    else:
        owner.process.send_signal(getattr(signal, how))
    owner.process.wait(timeout=40)

    eventually(lambda: not any(map(alive, processes)))
    assert owner.told("ended") == ([True] if how == "end of input" else [])
    with embedded.serve(prepared_dir, silent) as server:
        assert ask(server.dsn, "SELECT answer FROM kept") == 42


@linux_only
def test_owner_killed_during_the_first_start_leaves_nothing_that_hinders_the_next(
    own: Callable[..., Owner], data_dir: Path, eventually: Callable[..., Any]
) -> None:
    owner = own(data_dir)
    eventually((data_dir / "postgres/data.new/PG_VERSION").exists)
    owner.process.kill()
    with embedded.serve(data_dir, silent) as server:
        assert ask(server.dsn, "SELECT current_database()") == "watcher"
    assert not (data_dir / "postgres/data.new").exists()


@linux_only
def test_interrupt_at_the_terminal_reaches_the_owner_and_not_the_server(
    own: Callable[..., Owner], prepared_dir: Path, eventually: Callable[..., Any]
) -> None:
    owner = own(prepared_dir, stderr=subprocess.DEVNULL)
    eventually(lambda: owner.told("dsn"))
    (pid,) = owner.told("pid")
    assert os.getpgid(owner.process.pid) == owner.process.pid
    assert os.getpgid(pid) == pid and os.getsid(pid) == pid
    os.killpg(owner.process.pid, signal.SIGINT)  # what a terminal does
    assert owner.process.wait(timeout=40) != 0
    assert not alive(pid)


def test_second_process_joins_and_takes_over_when_the_first_ends(
    own: Callable[..., Owner], prepared_dir: Path, eventually: Callable[..., Any]
) -> None:
    first = own(prepared_dir)
    (dsn,) = eventually(lambda: first.told("dsn"))
    ask(dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
    with embedded.serve(prepared_dir, silent) as second:
        assert (second.dsn, second.pid) == (dsn, None)
        assert second.ensure() is False
        first.end()
        with pytest.raises(psycopg2.OperationalError):
            ask(dsn, "SELECT 1")
        assert second.ensure() is True
        second.wait()
        assert ask(dsn, "SELECT answer FROM kept") == 42
        assert second.ensure() is False


def test_who_joined_leaves_the_server_alone(own: Callable[..., Owner], prepared_dir: Path, eventually: Any) -> None:
    first = own(prepared_dir)
    (dsn,) = eventually(lambda: first.told("dsn"))
    with embedded.serve(prepared_dir, silent):
        pass
    assert ask(dsn, "SELECT 1") == 1


def test_processes_that_start_at_once_share_one_server(
    own: Callable[..., Owner], data_dir: Path, eventually: Callable[..., Any]
) -> None:
    owners = [own(data_dir) for _ in range(4)]
    for owner in owners:
        eventually(lambda owner=owner: owner.told("dsn"), within_s=30)
    assert len({owner.told("dsn")[0] for owner in owners}) == 1
    assert sum(owner.told("pid")[0] is not None for owner in owners) == 1
    assert ask(owners[0].told("dsn")[0], "SELECT 1") == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGQUIT, signal.SIGINT])
def test_server_that_died_is_started_again(
    number: signal.Signals, prepared_dir: Path, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., Any]
) -> None:
    monkeypatch.setattr(embedded, "RETRY_S", 0.1)
    said: list[str] = []
    with embedded.serve(prepared_dir, said.append) as server:
        ask(server.dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
        dsn, pid = server.dsn, server.pid
        os.kill(pid, number)
        eventually(lambda: not alive(pid))
        eventually(server.ensure)  # not at once: its other processes may take a moment to notice
        server.wait()
        assert server.dsn == dsn
        assert server.pid != pid
        assert ask(dsn, "SELECT answer FROM kept") == 42
        assert server.ensure() is False
    assert any("has ended and starts again" in line for line in said)


@linux_only
def test_process_id_in_a_stale_file_may_belong_to_anybody(prepared_dir: Path, eventually: Callable[..., Any]) -> None:
    """As in a container that was killed and starts again: the same ids, for other processes."""
    with embedded.serve(prepared_dir, silent) as server:
        ask(server.dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
        lines = (prepared_dir / "postgres/data/postmaster.pid").read_text("utf-8").splitlines()
        account = (prepared_dir / "postgres").stat()
        os.kill(server.pid, signal.SIGKILL)
        eventually(lambda: not alive(server.pid))
    who = {"user": account.st_uid, "group": account.st_gid, "extra_groups": ()} if AS_ROOT else {}
    with subprocess.Popen(["sleep", "60"], **who) as other:
        lines[0] = str(other.pid)
        (prepared_dir / "postgres/data/postmaster.pid").write_text("\n".join(lines) + "\n")
        with embedded.serve(prepared_dir, silent) as server:
            assert ask(server.dsn, "SELECT answer FROM kept") == 42
        assert other.poll() is None
        other.kill()


@linux_only
def test_server_without_an_owner_is_ended_before_ours_starts(
    own: Callable[..., Owner], prepared_dir: Path, eventually: Callable[..., Any]
) -> None:
    """As where the kernel does not end a child with its parent."""
    owner = own(prepared_dir, "untied")
    (dsn,) = eventually(lambda: owner.told("dsn"))
    (left,) = owner.told("pid")
    ask(dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
    owner.process.kill()
    owner.process.wait()
    assert ask(dsn, "SELECT 1") == 1  # it does live on
    with embedded.serve(prepared_dir, silent) as server:
        eventually(lambda: not alive(left))  # it let go of its lock just before it ended
        assert server.pid not in (None, left)
        assert ask(server.dsn, "SELECT answer FROM kept") == 42


def test_server_whose_socket_was_cleaned_away_is_started_again(
    prepared_dir: Path, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., Any]
) -> None:
    monkeypatch.setattr(embedded, "RETRY_S", 0.1)
    with embedded.serve(prepared_dir, silent) as server:
        shutil.rmtree(prepared_dir / "postgres/run")
        eventually(server.ensure)  # starts keep a distance
        server.wait()
        assert ask(server.dsn, "SELECT 1") == 1


def test_starting_can_be_given_up(data_dir: Path) -> None:
    with pytest.raises(DatabaseUnavailable), embedded.serve(data_dir, silent, give_up=lambda: True):
        pass


def test_server_can_be_run_by_a_thread(prepared_dir: Path) -> None:
    values: list[int] = []

    def run() -> None:
        with embedded.serve(prepared_dir, silent) as server:
            values.append(ask(server.dsn, "SELECT 42"))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(timeout=60)
    assert values == [42]


def test_needs_neither_psycopg2_nor_gevent() -> None:
    code = "import sys; import watcher.store.embedded; print({'psycopg2', 'gevent', 'requests'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"
