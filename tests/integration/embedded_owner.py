"""A process that runs an embedded PostgreSQL and does what its standard input says: the owner that tests end."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

from watcher.errors import WatcherError
from watcher.store import embedded


def main() -> None:
    """Serve the directory given; tell in JSON lines what happens; end at the end of the input."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the shell that runs the tests ignores
    data_dir, *options = sys.argv[1:]
    if "untied" in options:
        embedded.LAUNCHER = untied(Path(data_dir))
    try:
        with embedded.serve(Path(data_dir), lambda line: tell(said=line)) as server:
            tell(dsn=server.dsn, pid=server.pid)
            for line in sys.stdin:
                if line.strip() == "raise":
                    raise RuntimeError("as told")
                tell(ensured=server.ensure(), pid=server.pid, dsn=server.dsn)
    except WatcherError as error:
        tell(error=str(error), kind=type(error).__name__, code=error.exit_code)
    tell(ended=True)


def untied(data_dir: Path) -> Path:
    """Give a launcher as on a system that cannot tie a process to its parent: where there is no prctl."""
    launcher = data_dir.with_name(f"{data_dir.name}-launch.py")
    tied = embedded.LAUNCHER.read_text("utf-8")
    launcher.write_text(tied.replace('sys.platform.startswith("linux")', "False"), "utf-8")
    return launcher


def tell(**fields: object) -> None:
    """Print a line for the test."""
    print(json.dumps(fields), flush=True)


if __name__ == "__main__":
    main()
