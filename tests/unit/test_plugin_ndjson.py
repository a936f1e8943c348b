"""The output `ndjson`: what a line holds, rotation, and several processes at one file."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import plugged
import pytest

from watcher import Endpoint, Reason, Result, Status
from watcher.plugins.outputs import ndjson
from watcher.plugins.outputs._rotation import File, append

SITE = Endpoint(name='shop "é"', url="https://shop.test/", labels={"team": "web"})
UP = Result(
    SITE, 1_784_900_000_000_001, Status.UP, None, 200, 15, 1, 2, 3, 4, 5, 6, True, 7, 8, "192.0.2.1"
)  # fmt: skip
PLUGINS = plugged.manager()
PLUGINS.register(ndjson, "ndjson")

WRITER = """
import json, sys
from pathlib import Path
from watcher.plugins.outputs._rotation import File, append
file = File(path=Path(sys.argv[1]), max_bytes=100_000, keep=int(sys.argv[3]))
sys.stdin.readline()
for number in range(200):
    lines = b"".join(json.dumps([sys.argv[2], number, part, "x" * 400]).encode() + b"\\n" for part in range(5))
    append(file, lines)
"""


def output(directory: Path, **table: Any) -> Callable[..., None]:
    """Give the output for `[plugins.ndjson]` of a configuration in a directory."""
    found, mistakes = plugged.settings(PLUGINS, {"ndjson": table}, directory)
    assert not mistakes
    (made,) = PLUGINS.hook.watcher_output(settings=found)
    return made


def test_nothing_is_written_unless_configured(tmp_path: Path) -> None:
    assert PLUGINS.hook.watcher_output(settings=plugged.settings(PLUGINS, {})[0]) == []
    assert not list(tmp_path.iterdir())


def test_a_line_a_result(tmp_path: Path) -> None:
    made = output(tmp_path, path="a.ndjson")
    made([UP, Result(SITE, 0, Status.MISSED, Reason.OVERLOAD, detail="no room")])
    made([Result(Endpoint(name="x", url="tcp://x:1"), 1_000_000, Status.DOWN, Reason.CONNECT, latency_us=0)])
    made.close()
    first, second, third = [json.loads(line) for line in (tmp_path / "a.ndjson").read_text().splitlines()]
    assert first == {
        "time": "2026-07-24T13:33:20.000001+00:00", "name": 'shop "é"', "location": "here",
        "status": "up", "http_status": 200, "latency_us": 15, "dns_us": 1, "connect_us": 2, "tls_us": 3, "ttfb_us": 4,
        "transfer_us": 5, "body_bytes": 6, "regex_found": True, "lag_us": 7, "late_us": 8, "address": "192.0.2.1",
        "labels": {"team": "web"},
    }  # fmt: skip
    assert (second["status"], second["reason"], second["detail"]) == ("missed", "overload", "no room")
    assert third == {
        "time": "1970-01-01T00:00:01.000000+00:00", "name": "x", "location": "here",
        "status": "down", "reason": "connect", "latency_us": 0,
    }  # fmt: skip


def test_every_field_of_a_result_is_there() -> None:
    named = {"endpoint": {"name", "labels"}, "time_us": {"time"}}
    fields = set().union(*(named.get(name, {name}) for name in Result.__struct_fields__))
    full = Result(SITE, 0, *(Status.DOWN, Reason.DNS), *[1] * 8, True, 1, 1, "192.0.2.1", "no such host")
    assert set(ndjson.record(full, "here")) == fields | {"location"}


def test_no_secret_of_a_url_is_written() -> None:
    endpoint = Endpoint(name="https://x.test/?token=hunter2", url="https://x.test/?token=hunter2")
    assert "hunter2" not in str(ndjson.record(Result(endpoint, 0, Status.UP), "here"))


def test_many_results_are_written_in_their_order(tmp_path: Path) -> None:
    made = output(tmp_path, path="a.ndjson")
    made([Result(SITE, number * 1_000_000, Status.UP) for number in range(1001)])
    made.close()
    seconds = [json.loads(line)["time"][14:19] for line in (tmp_path / "a.ndjson").read_text().splitlines()]
    assert seconds == [f"{number // 60:02}:{number % 60:02}" for number in range(1001)]


@pytest.mark.parametrize(("keep", "names"), [(0, {"a"}), (1, {"a", "a.1"}), (3, {"a", "a.1", "a.2", "a.3"})])
def test_a_full_file_becomes_an_older_one(tmp_path: Path, keep: int, names: set[str]) -> None:
    file = File(path=tmp_path / "a", max_bytes=100_000, keep=keep)
    for number in range(9):  # two fit
        append(file, bytes([48 + number]) * 49_999 + b"\n")
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != "a.lock"}
    assert set(found) == names
    assert {name: (text[:1], len(text)) for name, text in found.items()} == {
        name: [(b"8", 50_000), (b"6", 100_000), (b"4", 100_000), (b"2", 100_000)][number]
        for number, name in enumerate(sorted(names))
    }


def test_more_than_a_whole_file_at_once_is_kept_whole(tmp_path: Path) -> None:
    file = File(path=tmp_path / "a", max_bytes=100_000, keep=2)
    for size in (150_000, 10, 150_000):
        append(file, b"x" * size)
    assert [(tmp_path / name).stat().st_size for name in ("a.2", "a.1", "a")] == [150_000, 10, 150_000]


def test_processes_share_a_file_and_its_rotation(tmp_path: Path) -> None:
    path, names = tmp_path / "a.ndjson", "abcd"
    command = [sys.executable, "-c", WRITER, str(path)]
    with ExitStack() as stack:
        writers = [
            stack.enter_context(subprocess.Popen([*command, name, "1000"], stdin=subprocess.PIPE)) for name in names
        ]
        for writer in writers:
            writer.stdin.write(b"go\n")
            writer.stdin.flush()
        assert [writer.wait(60) for writer in writers] == [0] * 4
    sizes = [found.stat().st_size for found in tmp_path.glob("a.ndjson*") if found.suffix != ".lock"]
    assert len(sizes) > 15 and max(sizes) <= 100_000
    rotated = sorted(tmp_path.glob("a.ndjson.[0-9]*"), key=lambda found: -int(found.suffix[1:]))
    lines = [json.loads(line) for found in (*rotated, path) for line in found.read_text().splitlines()]
    for name in names:  # each process's lines are all there, whole, once and in their order
        expected = [[name, number, part, "x" * 400] for number in range(200) for part in range(5)]
        assert [line for line in lines if line[0] == name] == expected


def test_a_file_that_another_program_renames_is_made_anew(tmp_path: Path) -> None:
    made = output(tmp_path, path="a.ndjson")
    made([UP])
    os.rename(tmp_path / "a.ndjson", tmp_path / "a.ndjson.old")  # as logrotate does
    made([UP])
    made.close()
    assert (tmp_path / "a.ndjson").read_text() == (tmp_path / "a.ndjson.old").read_text() != ""


def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys; from pathlib import Path; from watcher.plugins.outputs._rotation import *\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "file = File(path=Path(sys.argv[1])); append(file, b'x' * 3999 + b'\\n')\n"
        "try: append(file, b'y' * 3999 + b'\\n')\n"
        "except OSError as error: print(error.errno)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a")], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == f"{errno.EFBIG}\n"
    assert (tmp_path / "a").read_bytes() == b"x" * 3999 + b"\n"


def test_what_cannot_be_written_is_told_and_the_next_batch_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    made = output(tmp_path, path="logs/a.ndjson")
    (tmp_path / "logs").rmdir()
    with pytest.raises(FileNotFoundError):
        made([UP])
    (tmp_path / "logs").mkdir()
    made([UP])
    made.close()
    assert len((tmp_path / "logs/a.ndjson").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, 'plugins.ndjson: "path" is missing; add "path"'),
        ({"path": "a", "max_bytes": 5}, "plugins.ndjson.max_bytes: expected a whole number of at least 100000, got 5"),
        ({"path": "none/a"}, "none is no directory that this user can write to; make it, or name another path"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, table: dict[str, Any], said: str) -> None:
    _, (line,) = plugged.settings(PLUGINS, {"ndjson": table}, tmp_path)
    assert line.endswith(said)
