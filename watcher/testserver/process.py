"""The test server as a child process, for tests and tools."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import TracebackType

from watcher.errors import WatcherError

_STOP_S = 5.0


class ServerProcess:
    """A test server on free ports of the loopback address, from `with` (or `start`) until its end.

    It ends with whoever started it, even if that is killed: its standard input is a pipe that nobody writes to.

    Args:
        tls: serve https as well, with a throw-away certificate.
        traps: open the ports of the traps as well, those of TLS if `tls`.
        workers: how many processes; only one counts exactly, see `flaky` and `pattern`.
        seed: decides which requests fail.
        port: 0 for a free one.
    """

    def __init__(
        self, *, tls: bool = False, traps: bool = False, workers: int = 1, seed: int = 0, port: int = 0
    ) -> None:
        self._arguments = ["--port", str(port), "--workers", str(workers), "--seed", str(seed), "--while-stdin"]
        self._arguments += ["--tls"] * tls + ["--traps"] * traps
        self._process: subprocess.Popen[str] | None = None
        self.url = ""
        self.tls_url = ""
        self.ca_file = Path()
        self.traps: dict[str, str] = {}

    @property
    def pid(self) -> int:
        """The process id of the first worker."""
        return self._process.pid

    def start(self) -> ServerProcess:
        """Start it and wait until it listens.

        Raises:
            WatcherError: it ended instead; its own words are on the standard error.
        """
        self._process = subprocess.Popen(  # pylint: disable=consider-using-with  # stopped in `stop`
            [sys.executable, "-m", "watcher", "testserver", *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C on a terminal is for whoever started it, who may need it still
        )
        for line in self._process.stdout:
            self._learn(line.split())
            if line.startswith("ready"):
                return self
        self.stop()
        raise WatcherError("the test server did not start")

    def stop(self) -> None:
        """End it; again does nothing."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_S)
        process.stdin.close()
        process.stdout.close()

    def _learn(self, words: list[str]) -> None:
        """Take in one line of what it says."""
        match words:
            case ["listening", "on", url] if url.startswith("https"):
                self.tls_url = url
            case ["listening", "on", url]:
                self.url = url
            case ["trust", path]:
                self.ca_file = Path(path)
            case ["trap", name, url]:
                self.traps[name] = url

    def __enter__(self) -> ServerProcess:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
