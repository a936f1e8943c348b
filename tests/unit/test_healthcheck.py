"""The container's health check, over invented /proc trees; their form is that of proc(5)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from watcher.agent.supervisor import WORKER_COMMAND

SCRIPT = Path(__file__).parents[2] / "deploy/docker/healthcheck.py"
TICKS = os.sysconf("SC_CLK_TCK")
UPTIME_S = 1000
WATCHER = ["/opt/watcher/bin/python3", "/opt/watcher/bin/watcher", "--config", "/etc/watcher/endpoints.toml"]
WORKER = ["/opt/watcher/bin/python3", *WORKER_COMMAND[1:]]


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Give a /proc with a supervisor as process 1 and what is no process."""
    (tmp_path / "uptime").write_text(f"{UPTIME_S}.12 1999.34\n", encoding="ascii")
    (tmp_path / "sys").mkdir()
    add(tmp_path, 1, WATCHER, parent=0)
    return tmp_path


def add(proc: Path, pid: int, command: list[str], state: str = "S", *, age_s: float = 60, parent: int = 1) -> None:
    """Add a process, with a name that is hard to read."""
    directory = proc / str(pid)
    directory.mkdir(exist_ok=True)
    (directory / "cmdline").write_bytes("".join(f"{word}\0" for word in command).encode())
    started = int((UPTIME_S - age_s) * TICKS)
    fields = [state, parent, *[0] * 17, started, *[0] * 30]
    (directory / "stat").write_text(f"{pid} (a) S 1 (b) {' '.join(map(str, fields))}\n", encoding="ascii")


def check(proc: Path) -> tuple[int, str]:
    """Run it as the image does; give exit code and output."""
    ended = subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT), str(proc)], check=False, capture_output=True, text=True
    )
    assert ended.stderr == ""
    return ended.returncode, ended.stdout


def test_workers_under_their_supervisor_are_healthy(proc: Path) -> None:
    add(proc, 41, WORKER, "R", age_s=70)
    add(proc, 42, WORKER, age_s=30)
    assert check(proc) == (0, "2 workers at work, the longest for 70 s\n")


def test_a_supervisor_that_waits_for_its_database_is_not(proc: Path) -> None:
    add(proc, 7, ["sh", "-c", "grep -m watcher.worker"])
    code, said = check(proc)
    assert (code, said.split(":")[0]) == (1, "no worker is at work")


@pytest.mark.parametrize("state", ["Z", "T", "t", "X"])
def test_a_worker_that_cannot_run_does_not_count(proc: Path, state: str) -> None:
    add(proc, 41, WORKER, state)
    assert check(proc)[0] == 1


def test_a_worker_of_a_stopped_supervisor_does_not_count(proc: Path) -> None:
    add(proc, 1, WATCHER, "T", parent=0)
    add(proc, 41, WORKER)
    assert check(proc)[0] == 1


def test_a_worker_that_has_just_started_does_not_count_yet(proc: Path) -> None:
    add(proc, 41, WORKER, age_s=1)
    assert check(proc)[0] == 1
    add(proc, 42, WORKER, age_s=10)
    assert check(proc) == (0, "1 worker at work, the longest for 10 s\n")


def test_a_process_that_ends_meanwhile_is_passed_over(proc: Path) -> None:
    (proc / "40").mkdir()
    add(proc, 41, WORKER)
    assert check(proc)[0] == 0
