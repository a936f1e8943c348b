"""The supervisor with real processes that really die; the workers are `fake_worker.py`."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from watcher.agent.child import Limits
from watcher.agent.signals import Signals
from watcher.agent.supervisor import Supervisor
from watcher.errors import WatcherError

HERE = Path(__file__).parent
FAKE = (sys.executable, "-IS", str(HERE / "fake_worker.py"))
QUICK = Limits(drain_s=5.0, hang_s=1.0, boot_s=10.0, backoff_min_s=0.05, backoff_max_s=0.2, healthy_s=60.0)
PATIENCE_S = 60.0

Script = Iterator[None]


class Director:
    """Duties that record all, and play a script: a generator that is resumed at each tick and ends the run."""

    def __init__(self, fakes: Sequence[str] = ("steady",), script: Callable[[Director], Script] | None = None) -> None:
        self.jobs = [{"index": index, "fake": fake} for index, fake in enumerate(fakes)]
        self.said, self.heard, self.buried, self.reloads, self.ensured = [], [], [], 0, 0
        self.gave_up = threading.Event()
        self.gone = False
        self.script = script(self) if script else None
        self.until = time.monotonic() + PATIENCE_S

    def prepare(self) -> list[dict[str, Any]]:
        """Give the jobs."""
        return self.jobs

    def reload(self) -> None:
        """Count."""
        self.reloads += 1

    def ensure(self) -> None:
        """Count."""
        self.ensured += 1

    def give_up(self) -> None:
        """Note."""
        self.gave_up.set()

    def terminal_gone(self) -> bool:
        """Tell what the test wants."""
        return self.gone

    def hear(self, line: Mapping[str, Any]) -> None:
        """Record, in bounded memory."""
        self.heard = self.heard[-500:] + [{**line, "changes": ()}]

    def lost(self, index: int) -> str:
        """Record."""
        self.buried.append(index)
        return ", with 5 rows"

    def say(self, text: str) -> None:
        """Record, in bounded memory."""
        self.said = self.said[-500:] + [text]

    def tick(self) -> None:
        """Play on; a script that ends is followed by SIGTERM."""
        assert time.monotonic() < self.until, self.said
        if self.script and next(self.script, "end") == "end":
            self.script = None
            os.kill(os.getpid(), signal.SIGTERM)

    def pids(self, index: int = 0) -> list[int]:
        """Give the process ids that a worker had, in their order."""
        return list(dict.fromkeys(line["pid"] for line in self.heard if line["worker"] == index))


def supervise(director: Director, limits: Limits = QUICK, **options: Any) -> int:
    """Run a supervisor to its end in this process."""
    with Signals() as signals:
        return Supervisor(director, signals, command=options.pop("command", FAKE), limits=limits, **options).run()


def alive(pid: int) -> bool:
    """Tell whether a process exists and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_workers_run_and_drain_on_sigterm() -> None:
    def script(director: Director) -> Script:
        while not (director.pids(0) and director.pids(1)):
            yield

    director = Director(["steady", "steady"], script)
    assert supervise(director) == 0
    drained = {line["worker"] for line in director.heard if line.get("drained")}
    assert drained == {0, 1}, "the last words of a worker are heard"
    assert director.said == ["SIGTERM: draining, 5 s at most"]
    assert not alive(director.pids()[0])


def test_sigint_does_not_reach_the_workers() -> None:
    def script(director: Director) -> Script:
        while not director.pids():
            yield
        os.kill(director.pids()[0], signal.SIGINT)  # as a terminal does, to the whole group
        os.kill(director.pids()[0], signal.SIGHUP)
        count = len(director.heard)
        while len(director.heard) < count + 3:
            yield
        os.kill(os.getpid(), signal.SIGINT)
        while not director.gave_up.is_set():
            yield

    director = Director(script=script)
    assert supervise(director) == 0
    assert len(director.pids()) == 1
    assert director.said == ["SIGINT: draining, 5 s at most"]


def test_a_killed_worker_is_started_again() -> None:
    def script(director: Director) -> Script:
        while not director.pids():
            yield
        os.kill(director.pids()[0], signal.SIGKILL)
        while len(director.pids()) < 2:
            yield

    director = Director(script=script)
    assert supervise(director) == 0
    assert len(director.pids()) == 2
    first, second = director.pids()  # pylint: disable=unbalanced-tuple-unpacking  # there are two
    assert director.said[0] == f"worker 0 (pid {first}) died of SIGKILL, with 5 rows; a new one starts in 0.05 s"
    assert not alive(first) and not alive(second)


def test_back_off_doubles_to_its_limit() -> None:
    def script(director: Director) -> Script:
        while len(director.buried) < 5:
            yield

    director = Director(["dies"], script)
    supervise(director)
    delays = [line.rpartition(" in ")[2] for line in director.said if "ended with exit code 7" in line]
    assert delays[:5] == ["0.05 s", "0.1 s", "0.2 s", "0.2 s", "0.2 s"]


def test_a_long_life_forgives() -> None:
    def script(director: Director) -> Script:
        while len(director.buried) < 3:
            yield

    director = Director(["dies"], script)
    supervise(director, Limits(backoff_min_s=0.05, healthy_s=0.0))
    assert {line.rpartition(" in ")[2] for line in director.said if "exit code 7" in line} == {"0.05 s"}


def test_a_worker_that_cannot_start_ends_everything() -> None:
    director = Director(["steady", "refuses"])
    with pytest.raises(WatcherError, match="worker 1 cannot start"):
        supervise(director)
    assert "worker 1: the port is taken" in director.said
    assert len(director.pids(0)) <= 1 and director.buried.count(1) == 1


def test_a_program_that_is_not_there_is_tried_again() -> None:
    def script(director: Director) -> Script:
        while sum("cannot be started" in line for line in director.said) < 2:
            yield

    director = Director(script=script)
    assert supervise(director, command=("/nonexistent/worker",)) == 0


def test_a_silent_worker_is_killed_and_started_again() -> None:
    def script(director: Director) -> Script:
        while len(director.pids()) < 2:
            yield

    director = Director(["hangs"], script)
    supervise(director, Limits(drain_s=0.2, hang_s=0.3, backoff_min_s=0.05))
    assert "hangs: no word for" in director.said[0] and "is killed" in director.said[0]
    assert "died of SIGKILL" in director.said[1]


def test_a_worker_that_will_not_drain_is_killed_and_said() -> None:
    def script(director: Director) -> Script:
        while not director.pids():
            yield

    director = Director(["stubborn"], script)
    assert supervise(director, Limits(drain_s=0.5)) == 1
    assert "has not drained within" in director.said[1]
    assert director.said[2].endswith("died of SIGKILL before it had drained, with 5 rows")


def test_a_worker_that_is_ended_while_it_starts_had_nothing_to_drain() -> None:
    def script(director: Director) -> Script:
        while "worker 0: loading" not in director.said:
            yield

    director = Director(["starts"], script)
    assert supervise(director) == 0
    assert director.said[1:] == ["SIGTERM: draining, 5 s at most"]


def test_a_second_signal_hurries() -> None:
    def script(director: Director) -> Script:
        while not director.pids():
            yield
        os.kill(os.getpid(), signal.SIGTERM)
        while not director.gave_up.is_set():
            yield
        until = time.monotonic() + 0.7
        while time.monotonic() < until:
            yield
        os.kill(os.getpid(), signal.SIGTERM)
        while not director.buried:
            yield

    director = Director(["stubborn"], script)
    started = time.monotonic()
    assert supervise(director, Limits(drain_s=3600.0)) == 1
    assert time.monotonic() - started < PATIENCE_S


def test_a_flood_is_taken_in_bounded_memory_and_does_not_deafen() -> None:
    def script(director: Director) -> Script:
        steady = set()
        while len(steady) < 40 or not any("more lines, not shown" in line for line in director.said):
            steady.update(line["at_us"] for line in director.heard if line["worker"] == 1)
            yield

    director = Director(["floods", "steady"], script)
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert supervise(director) == 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 50_000


def test_what_a_worker_prints_is_said() -> None:
    def script(director: Director) -> Script:
        while "worker 0: not a status" not in director.said:
            yield

    assert supervise(Director(["floods"], script)) == 0


def test_sighup_reloads_once_more_when_it_comes_during_a_reload() -> None:
    at_work, go_on = threading.Event(), threading.Event()

    class Slow(Director):
        """A director whose reload waits for the test."""

        def reload(self) -> None:
            """Wait, then count."""
            at_work.set()
            go_on.wait(PATIENCE_S)
            super().reload()

    def script(director: Director) -> Script:
        while not director.pids():
            yield
        os.kill(os.getpid(), signal.SIGHUP)
        while not at_work.is_set():
            yield
        count = len(director.heard)
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGHUP)
            yield
        while len(director.heard) < count + 3:  # the loop goes on during a reload
            yield
        go_on.set()
        while director.reloads < 2:
            yield

    director = Slow(script=script)
    assert supervise(director) == 0
    assert director.reloads == 2 and len(director.pids()) == 1


def test_sighup_ends_when_the_terminal_is_gone() -> None:
    def script(director: Director) -> Script:
        while not director.pids():
            yield
        director.gone = True
        os.kill(os.getpid(), signal.SIGHUP)
        while not director.gave_up.is_set():
            yield

    director = Director(script=script)
    assert supervise(director) == 0
    assert director.reloads == 0 and director.said[0].startswith("the terminal is gone")


def test_a_chore_that_fails_is_said_once() -> None:
    class Broken(Director):
        """A director that cannot keep alive what it should."""

        def ensure(self) -> None:
            """Fail."""
            super().ensure()
            raise WatcherError("no space left")

    def script(director: Director) -> Script:
        while director.ensured < 2:
            yield

    director = Broken(script=script)
    assert supervise(director) == 0
    assert director.said.count("ensure: no space left") == 1


def test_what_prepare_raises_ends_the_run() -> None:
    class Broken(Director):
        """A director that cannot prepare."""

        def prepare(self) -> list[dict[str, Any]]:
            """Fail."""
            raise WatcherError("the data directory cannot be written")

    with pytest.raises(WatcherError, match="data directory"):
        supervise(Broken())


def test_a_signal_during_prepare_gives_up() -> None:
    class Waiting(Director):
        """A director whose database never answers."""

        def prepare(self) -> list[dict[str, Any]]:
            """Wait to be given up."""
            assert self.gave_up.wait(PATIENCE_S)
            return self.jobs

    director = Waiting(script=lambda director: iter([None]))
    assert supervise(director) == 0
    assert not director.heard


DRIVER = """
import sys
sys.path.insert(0, {here!r})
import test_processes as t
class Loud(t.Director):
    def say(self, text): print(text, flush=True)
    def reload(self): print("reload", flush=True)
    def hear(self, line):
        super().hear(line)
        print("pid", line["pid"], flush=True)
{setup}
sys.exit(t.supervise(Loud(["steady"]), {options}))
"""


def drive(setup: str = "", options: str = "") -> tuple[subprocess.Popen[str], int]:
    """Start a supervisor in a process of its own and return it with the pid of its worker."""
    program = DRIVER.format(here=str(HERE), setup=setup, options=options)
    command = [sys.executable, "-c", program]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # pylint: disable=consider-using-with
    for line in process.stdout:
        if line.startswith("pid "):
            return process, int(line.split()[1])
    raise AssertionError("the supervisor ended")


def wait_for(condition: Callable[[], object]) -> None:
    """Poll until a condition holds; fail after the patience."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_workers_end_when_the_supervisor_is_killed() -> None:
    process, worker = drive()
    with process:
        process.kill()
        wait_for(lambda: not alive(worker))


def test_workers_are_not_blamed_for_a_time_in_which_the_supervisor_itself_was_stopped() -> None:
    setup = "import watcher.agent.supervisor\nwatcher.agent.supervisor.GAP_S = 0.7"
    process, worker = drive(setup, "limits=t.Limits(hang_s=1.0)")
    with process:
        os.kill(worker, signal.SIGSTOP)  # the machine is frozen: both
        process.send_signal(signal.SIGSTOP)
        time.sleep(1.5)  # there is no event to wait for: the time is what is tested
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGHUP)
        assert any(line == "reload\n" for line in process.stdout), "it went around its loop while the worker stood"
        os.kill(worker, signal.SIGCONT)
        process.terminate()
        said = process.stdout.read()
    assert "hangs" not in said and process.returncode == 0


SUBREAPER = """
import ctypes, subprocess
PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
shell = subprocess.run(["sh", "-c", "true & echo $!"], stdout=subprocess.PIPE, text=True)
print("orphan", shell.stdout, flush=True)
"""


def test_orphans_are_reaped_as_by_process_1() -> None:
    program = DRIVER.format(here=str(HERE), setup=SUBREAPER, options="reap=True")
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        orphan = int(process.stdout.readline().split()[1])
        wait_for(lambda: not Path(f"/proc/{orphan}").exists())
        process.terminate()
