"""The parts of the supervisor, each alone; with processes: tests/integration/test_processes.py."""

from __future__ import annotations

import ast
import importlib
import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from watcher.agent.child import Child, Limits, Lines
from watcher.agent.chores import Chores
from watcher.agent.signals import Signals
from watcher.agent.supervisor import _describe, _status

ROOT = Path(__file__).parents[2]
OWN = ("child", "chores", "reaper", "signals", "supervisor")


@pytest.mark.parametrize("name", OWN)
def test_it_needs_the_standard_library_alone(name: str) -> None:
    tree = ast.parse((ROOT / f"watcher/agent/{name}.py").read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    allowed = {f"watcher.agent.{module}" for module in OWN} | {"watcher.errors"}
    assert {module for module in imported if module.partition(".")[0] not in sys.stdlib_module_names} <= allowed


def test_an_agent_is_not_patched() -> None:
    program = "import watcher.commands.run, watcher.screen.live, socket; print(socket.socket.__module__)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == "socket\n"


def test_the_worker_ends_with_the_exit_code_and_in_the_time_that_is_expected() -> None:
    tree = ast.parse((ROOT / "watcher/worker.py").read_text(encoding="utf-8"))
    assigned = {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.targets[0], ast.Name)
    }
    imported = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "watcher.errors"]
    assert "BOOT_FAILED" in {alias.name for node in imported for alias in node.names}
    assert assigned["DRAIN_S"] < Limits().drain_s, "a worker ends by itself before it is killed"
    assert importlib.util.find_spec("watcher.worker")


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_lines_come_out_as_they_went_in(step: int) -> None:
    data = b"one\n\ntwo three\n" + "grün".encode() + b"\nunfinished"
    lines, found = Lines(), []
    for at in range(0, len(data), step):
        found += lines.feed(data[at : at + step])
    assert found == [b"one", b"", b"two three", "grün".encode()]


def test_a_line_without_an_end_takes_bounded_memory_and_its_rest_is_no_line() -> None:
    lines = Lines(limit_bytes=10)
    assert lines.feed(b"x" * 8) == []
    assert lines.feed(b"x" * 8) == []
    assert lines.feed(b"x" * 1_000_000) == []
    assert lines._rest == b"" and lines.dropped == 1  # pylint: disable=protected-access
    assert lines.feed(b"the end of it\nnext\n") == [b"next"]


def test_what_a_worker_prints_is_no_status() -> None:
    assert _status(b'{"worker": 0}') == {"worker": 0}
    for line in (b"", b"text", b"{", b'{"other": 1}', b"[1]", b'{"worker"', b"\xff\xfe"):
        assert _status(line) is None


def test_how_a_process_ended() -> None:
    assert _describe(7) == "ended with exit code 7"
    assert _describe(-signal.SIGSEGV) == "died of SIGSEGV"
    assert _describe(-40) == "died of signal 40"


def test_a_worker_hangs_after_its_silence_and_not_after_ours() -> None:
    worker = Child(["true"], {"index": 0}, Limits())
    assert worker.hangs(599.0) is None, "it may take its time to start"
    assert worker.hangs(601.0) == 601.0
    worker.heard(700.0)
    assert worker.hangs(730.0) is None
    assert worker.hangs(731.0) == 31.0
    worker.forgive(500.0)
    assert worker.hangs(1230.0) is None
    assert worker.hangs(1231.0) == 31.0


def test_back_off_doubles_from_half_a_second_to_thirty() -> None:
    worker = Child(["true"], {"index": 0}, Limits())
    assert [worker.postpone(0.0) for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    worker.heard(0.0)
    assert worker.postpone(59.0) == 30
    assert worker.postpone(61.0) == 0.5, "a minute of health forgives"


def test_signals_are_queued_in_their_order_and_wake() -> None:
    before = signal.getsignal(signal.SIGHUP)
    with Signals() as signals:
        assert not select.select([signals], [], [], 0)[0]
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
        assert select.select([signals], [], [], 10)[0]
        assert signals.take() == [signal.SIGHUP, signal.SIGTERM]
        assert signals.take() == []
        threading.Thread(target=signals.wake).start()
        assert select.select([signals], [], [], 10)[0]
        assert signals.take() == []
    assert signal.getsignal(signal.SIGHUP) is before


def test_chores_run_one_after_the_other_in_one_thread_and_tell_their_outcomes() -> None:
    woken, go_on = threading.Semaphore(0), threading.Event()
    chores = Chores(woken.release)
    assert chores.add("slow", lambda: go_on.wait(10) and threading.get_ident())
    assert not chores.add("slow", lambda: None), "it is not done yet"
    assert chores.add("broken", lambda: {}["nothing"])
    assert chores.add("last", threading.get_ident)
    assert chores.pending == {"slow", "broken", "last"} and not chores.outcomes()
    go_on.set()
    for _ in range(3):
        assert woken.acquire(timeout=10)  # pylint: disable=consider-using-with  # it counts, it guards nothing
    told = {name: (value, error) for name, value, error in chores.outcomes()}
    assert list(told) == ["slow", "broken", "last"]
    assert told["broken"][0] is None and isinstance(told["broken"][1], KeyError)
    assert told["slow"] == told["last"] != (threading.get_ident(), None)
    assert not chores.pending and chores.add("slow", lambda: None)
