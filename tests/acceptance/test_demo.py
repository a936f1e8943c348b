"""`watcher demo`: everything together without a network, and nothing left of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PATIENCE_S = 90.0
COMMAND = (sys.executable, "-m", "watcher", "demo")


@pytest.fixture(name="directory")
def fixture_directory(public_dir: Path) -> Iterator[Path]:
    """Give a directory for temporary files that PostgreSQL's account can pass through, empty again at the end."""
    directory = public_dir / "demo"
    directory.mkdir(mode=0o711)
    yield directory
    assert not list(directory.iterdir())
    directory.rmdir()


def environment(directory: Path) -> dict[str, str]:
    """Give the environment of a demo that leaves its files there."""
    return {**os.environ, "TMPDIR": str(directory)}


def test_it_ends_by_itself_and_shows_what_was_stored(directory: Path, tmp_path: Path) -> None:
    """Sites that are up and sites that fail are rows of the table at the end; the user's own data are left alone."""
    data_dir = tmp_path / "data"
    usual = {"WATCHER_DATA_DIR": str(data_dir), "WATCHER_DATABASE_DSN": "postgresql://127.0.0.1:1/elsewhere"}
    done = subprocess.run(
        [*COMMAND, "--endpoints", "40", "--seconds", "9"],
        check=False, capture_output=True, text=True, timeout=PATIENCE_S, env=environment(directory) | usual,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not data_dir.exists()
    found = re.search(r"(\d+) rows in the table metrics", done.stdout)
    assert found is not None and int(found[1]) >= 40, done.stdout
    assert re.search(r"^up +\| +\| \d+ +\| ", done.stdout, re.MULTILINE), done.stdout
    assert re.search(r"^down +\| \w+ +\| \d+ +\| ", done.stdout, re.MULTILINE), done.stdout
    assert re.search(r" \| \d{7} down: .+ \| down +\| ", done.stdout), done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_told(directory: Path, number: signal.Signals) -> None:
    """Ctrl-C at any moment, here while PostgreSQL starts, ends and removes everything."""
    with subprocess.Popen(
        COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(directory)
    ) as process:
        assert process.stdout.readline().startswith("A test server is at http://127.0.0.1:")
        process.send_signal(number)
        try:
            process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
    assert process.returncode == 128 + number
