"""Keepers at the end of a worker, with a database that accepts and never answers."""

from __future__ import annotations

import socket
from pathlib import Path

from green_process import run_green

PROGRAM = """
import sys
from pathlib import Path
from watcher import Endpoint, Result, Status
from watcher.keeper import Buffer, Keepers
from watcher.spool import Spool

port, directory = sys.argv[1:]
buffer, spool = Buffer(limit=10_000, batch_rows=500), Spool(Path(directory))
keepers = Keepers(
    buffer, spool, f"postgresql://x@127.0.0.1:{port}/x", 1,
    count=1, age_s=0.05, handed_over=lambda batch: None, say=lambda text: None, broke=lambda greenlet: None,
)
keepers.start()
endpoint = Endpoint(id=1, name="x", url="http://x/")
for number in range(1700):
    buffer.add(Result(endpoint, number, Status.UP))
keepers.finish(2.0)
rows = sum(spool.read(path).rows for path in spool.files())
print(rows, len(buffer), keepers.tally.spooled, keepers.tally.dropped)
"""


def test_what_a_silent_database_does_not_take_is_on_disk_when_the_worker_ends(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert run_green(PROGRAM, str(silent.getsockname()[1]), str(tmp_path)).split() == ["1700", "0", "1700", "0"]
