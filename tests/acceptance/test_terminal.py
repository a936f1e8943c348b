"""The live table on a terminal: a real one (pty), read by a terminal emulator that we did not write."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pyte
import pytest
from agent_process import AGENT, EVERY_5_S, PATIENCE_S, WATCHER, Write

from watcher import __version__

MakePath = Callable[..., Path]  # a file with so many endpoints, so many of them down

FILE = AGENT + EVERY_5_S
ENDPOINT = """
[[endpoints]]
name = "page {number}"
url = "{site}/{path}"
"""


class Terminal:
    """A context in which a command runs on a terminal; `screen` is what one sees."""

    def __init__(self, command: list[str], columns: int, lines: int, **environment: str) -> None:
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self._ours, theirs = pty.openpty()
        self._set_size(columns, lines)
        kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
        # pylint: disable-next=consider-using-with,subprocess-popen-preexec-fn  # ended by __exit__; no thread runs here
        self.process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_take_terminal,
            env=kept | {"TERM": "xterm-256color"} | environment,
        )
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.hang_up()

    def wait_for(self, seen: Callable[[list[str]], object]) -> list[str]:
        """Read until the lines on the screen are as wanted, and give them."""
        until = time.monotonic() + PATIENCE_S
        while not seen(self.lines()):
            assert time.monotonic() < until, "\n".join(self.lines())
            self.read(0.2)
        return self.lines()

    def read(self, timeout_s: float) -> bool:
        """Take in what comes; False at the end."""
        if select.select([self._ours], [], [], timeout_s)[0]:
            try:
                data = os.read(self._ours, 65536)
            except OSError:  # the other end is closed
                return False
            self.raw += data
            self._stream.feed(data)
        return True

    def lines(self) -> list[str]:
        """Give the lines on the screen without the blanks at their ends."""
        return [line.rstrip() for line in self.screen.display]

    def resize(self, columns: int, lines: int) -> None:
        """Change the size as a window does."""
        self.screen.resize(lines, columns)
        self._set_size(columns, lines)

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._ours, keys)

    def end(self) -> int:
        """Read all that still comes and give the exit code."""
        until = time.monotonic() + PATIENCE_S
        while self.read(0.2):
            assert time.monotonic() < until, "\n".join(self.lines())
        return self.process.wait(PATIENCE_S)

    def hang_up(self) -> None:
        """Close the terminal, as when a window is closed or a connection lost."""
        if self._ours >= 0:
            os.close(self._ours)
            self._ours = -1

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture(name="path")
def _path(write: Write, database: str, site: str) -> MakePath:
    def make(count: int, down: int = 0) -> Path:
        kinds = ["status/500"] * down + ["ok"] * (count - down)
        pages = (ENDPOINT.format(number=number, site=site, path=kind) for number, kind in enumerate(kinds))
        return write(FILE.format(dsn=database) + "".join(pages))

    return make


def watch(path: Path, columns: int = 80, lines: int = 24, **environment: str) -> Terminal:
    """Run an agent on a terminal."""
    return Terminal([*WATCHER, "--config", str(path)], columns, lines, **environment)


def table(lines: list[str]) -> list[str]:
    """Give what is seen from the first line of the live table on."""
    tops = [number for number, line in enumerate(lines) if line.startswith(f"watcher {__version__}  ")]
    return lines[tops[-1] :] if tops else [""] * len(lines)


def statuses(lines: list[str]) -> list[str]:
    """Give the first words beneath the heading of the table."""
    shown = table(lines)
    return [line.split(" ")[0] for line in shown[5:]] if shown[4:5] and shown[4].startswith("status ") else []


def is_whole(lines: list[str]) -> bool:
    """Tell whether there is one table, in its place: nothing of an older picture is left."""
    return sum("   38 up   2 down" in line for line in lines) == 1 and "   38 up   2 down" in table(lines)[1]


def test_a_day_in_the_life_of_a_terminal(path: MakePath) -> None:
    with watch(path(40, down=2)) as terminal:
        terminal.wait_for(lambda lines: is_whole(lines) and statuses(lines)[:3] == ["down", "down", "up"])
        terminal.wait_for(lambda lines: any("page 0 status: 500" in line for line in lines[-4:]))

        terminal.resize(60, 14)
        terminal.wait_for(lambda lines: is_whole(lines) and len(table(lines)) >= 13)

        os.kill(terminal.process.pid, signal.SIGHUP)  # what it says is in sight, and tears nothing
        terminal.wait_for(lambda lines: is_whole(lines) and any(": 40 unchanged" in line for line in lines[-4:]))

        terminal.resize(100, 50)
        terminal.wait_for(lambda lines: is_whole(lines) and statuses(lines).count("up") >= 30)
        assert (
            terminal.raw.count(b"\x1b[2J") == 2
        ), "cleared at each change: most terminals fold the old lines, this does not"

        terminal.type(b"\x03")
        assert terminal.end() == 0
        assert any("SIGINT: draining" in line for line in terminal.lines())
        assert is_whole(terminal.lines()), "the last state stays"
        assert terminal.raw.rindex(b"\x1b[?25h") > terminal.raw.rindex(b"\x1b[?25l"), "the cursor is to be seen again"
        assert b"\x1b[31m" in terminal.raw or b"\x1b[1;31m" in terminal.raw


def test_without_colors_and_for_a_very_small_terminal(path: MakePath) -> None:
    with watch(path(3), 30, 6, NO_COLOR="1") as terminal:
        terminal.wait_for(lambda lines: any("3 endpoints   3 up" in line for line in lines))
        terminal.type(b"\x03")
        assert terminal.end() == 0
        assert not any(code in terminal.raw for code in (b"\x1b[32m", b"\x1b[31m", b"\x1b[33m"))


def test_a_terminal_that_goes_away_ends_it(path: MakePath, query_workers: Callable[[int], list[int]]) -> None:
    with watch(path(3)) as terminal:
        terminal.wait_for(lambda lines: any("3 endpoints   3 up" in line for line in lines))
        workers = query_workers(terminal.process.pid)
        assert workers
        terminal.hang_up()
        assert terminal.process.wait(PATIENCE_S) == 0
        assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


@pytest.fixture(name="query_workers")
def _query_workers() -> Callable[[int], list[int]]:
    def find(parent: int) -> list[int]:
        listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=True)
        return [int(word) for word in listed.stdout.split()]

    return find


def test_a_dumb_terminal_gets_log_lines(path: MakePath) -> None:
    with watch(path(1, down=1), TERM="dumb") as terminal:
        terminal.wait_for(lambda lines: any("down   page 0: status" in line for line in lines))
        terminal.type(b"\x03")
        assert terminal.end() == 0
        assert b"\x1b" not in terminal.raw
