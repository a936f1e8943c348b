"""Writes each result as a line of JSON to a file: `[plugins.ndjson]`, for log shippers, `jq`, DuckDB.

All workers write to one file, in whole lines. At `max_bytes` it becomes `PATH.1`, `PATH.1` becomes `PATH.2` and so on;
`logrotate` may do that too. `PATH.lock` stays beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from watcher import Result, hookimpl
from watcher.breath import next_turn
from watcher.config.references import masked
from watcher.plugins.outputs._rotation import File, append

SLICE_ROWS = 250  # encoded between two pauses: the checks come first
NUMBERS = (
    "http_status", "latency_us", "dns_us", "connect_us", "tls_us", "ttfb_us", "transfer_us", "body_bytes", "lag_us",
    "late_us", "regex_found", "address", "detail",
)  # fmt: skip


@hookimpl
def watcher_settings() -> Any:
    """Take `[plugins.ndjson]`."""
    return File


@hookimpl
def watcher_output(settings: Any) -> NdjsonFile | None:
    """Write results when a file is configured."""
    file = settings.plugins.get("ndjson")
    return None if file is None else NdjsonFile(file, settings.agent.location)


def record(result: Result, location: str) -> dict[str, Any]:
    """Give a result as its line has it; what does not apply is left out, the URL for what references put into it."""
    found = {
        "time": datetime.fromtimestamp(result.time_us / 1e6, UTC).isoformat(timespec="microseconds"),
        "name": masked(result.endpoint.name),
        "location": location,
        "status": result.status.value,
    }
    if result.reason is not None:
        found["reason"] = result.reason.value
    for key in NUMBERS:
        if (value := getattr(result, key)) is not None:
            found[key] = value
    if result.endpoint.labels:
        found["labels"] = result.endpoint.labels
    return found


class NdjsonFile:
    """An output into a file that other processes write and rotate too."""

    def __init__(self, file: File, location: str) -> None:
        from gevent.threadpool import ThreadPool

        self._file = file
        self._location = location
        self._encoder = msgspec.json.Encoder()
        self._disk = ThreadPool(1)  # of its own: a disk that stalls holds up nobody else

    def __call__(self, results: Sequence[Result]) -> None:
        for first in range(0, len(results), SLICE_ROWS):
            rows = [record(result, self._location) for result in results[first : first + SLICE_ROWS]]
            lines = self._encoder.encode_lines(rows)
            error = self._disk.apply(_attempt, (self._file, lines))
            if error is not None:
                raise error
            next_turn()

    def close(self) -> None:
        """End the thread."""
        self._disk.kill()


def _attempt(file: File, lines: bytes) -> OSError | None:
    """Append, and carry an error over to the caller: one that leaves a thread is printed by gevent."""
    try:
        append(file, lines)
        return None
    except OSError as error:
        return error
