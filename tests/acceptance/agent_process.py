"""An agent as a process: started, listened to line by line, ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Self

WATCHER = (sys.executable, "-m", "watcher")
PATIENCE_S = 90.0
AGENT = """
[database]
dsn = "{dsn}"

[agent]
workers = 1
data_dir = "data"
"""
EVERY_5_S = """
[defaults]
interval = 5
"""
TWO_SITES = f"""{AGENT}{EVERY_5_S}
[[endpoints]]
name = "page"
url = "{{site}}/"

[[endpoints]]
name = "broken"
url = "{{site}}/status/500"
"""

Run = Callable[..., subprocess.CompletedProcess[str]]  # watcher with these arguments, to its end
Write = Callable[[str], Path]  # the text of a configuration into its file
Eventually = Callable[..., Any]  # the first true value of a condition


def own_data_dir(directory: Path, files: str = "*.toml") -> dict[str, str]:
    """Give the variable that keeps root's commands out of the system's directory, unless a configuration names one."""
    named = any("data_dir" in path.read_text(encoding="utf-8") for path in directory.glob(files))
    return {} if named else {"WATCHER_DATA_DIR": str(directory / "data")}


class AgentProcess:
    """A context in which `watcher --config PATH` runs; it gets SIGKILL at the end if it is still there."""

    def __init__(self, path: Path, *options: str, **environment: str) -> None:
        self.output: list[str] = []
        self.trouble: list[str] = []
        self.process = subprocess.Popen(  # pylint: disable=consider-using-with  # ended by __exit__
            [*WATCHER, "--config", str(path), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=path.parent,
            env={**os.environ, **own_data_dir(path.parent, path.name), **environment},
        )
        streams = (self.process.stdout, self.output), (self.process.stderr, self.trouble)
        self._readers = [threading.Thread(target=_read, args=one) for one in streams]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            for child in self.children():
                os.kill(child, signal.SIGKILL)
            self.process.kill()
        for reader in self._readers:
            reader.join()
        self.process.stdout.close()
        self.process.stderr.close()
        self.process.wait()

    def close_streams(self) -> None:
        """Read one more line of each, and nothing after it."""
        nothing = os.open(os.devnull, os.O_RDONLY)
        for stream in (self.process.stdout, self.process.stderr):
            os.dup2(nothing, stream.fileno())
        os.close(nothing)

    def said(self, words: str) -> list[str]:
        """Give the lines of either stream that hold these words."""
        return [line for line in [*self.output, *self.trouble] if words in line]

    def wait_for(self, words: str, times: int = 1) -> None:
        """Wait until these words were said so many times; fail with all that was said."""
        until = time.monotonic() + PATIENCE_S
        while len(self.said(words)) < times:
            assert (
                time.monotonic() < until and self.process.poll() is None
            ), f"{words!r} is not in:\n{self.everything()}"
            time.sleep(0.01)

    def everything(self) -> str:
        """Give all that was said."""
        return "".join([*self.output, "---\n", *self.trouble])

    def children(self, command: str = "") -> list[int]:
        """Give the process ids of its children whose command line holds these words."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and f"\nPPid:\t{self.process.pid}\n" in (entry / "status").read_text(
                    encoding="ascii", errors="replace"
                ):
                    found += [int(entry.name)] if command in (entry / "cmdline").read_text(errors="replace") else []
            except OSError:  # it ended meanwhile
                continue
        return found

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and give the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


def _read(stream: IO[str], lines: list[str]) -> None:
    for line in stream:
        lines.append(line)
