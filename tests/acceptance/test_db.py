"""`watcher db` as a user types it."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from click.testing import CliRunner

from watcher.cli import cli
from watcher.store import embedded, migrations, postgres_binaries

WATCHER = (sys.executable, "-m", "watcher")


@pytest.fixture(name="config")
def fixture_config(prepared_dir: Path, tmp_path: Path) -> Path:
    """Write a configuration with an embedded database; its endpoints are wrong, which is no matter here."""
    path = tmp_path / "endpoints.toml"
    path.write_text(f'[agent]\ndata_dir = "{prepared_dir}"\n\n[[endpoints]]\nurl = "no URL"\n', encoding="utf-8")
    return path


def db(config: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `watcher db` with a configuration."""
    command, *rest = arguments
    line = [*WATCHER, "db", command, "--config", str(config), *rest]
    return subprocess.run(line, check=False, capture_output=True, text=True, timeout=60, **options)


def remote(tmp_path: Path, dsn: str) -> Path:
    """Write a configuration with a DSN."""
    path = tmp_path / "remote.toml"
    path.write_text(f'[database]\ndsn = "{dsn}"\n[agent]\ndata_dir = "{tmp_path}"\n', encoding="utf-8")
    return path


def ask(dsn: str, statement: str) -> Any:
    """Execute a statement and give its first value."""
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(statement)
        return cursor.fetchone()[0] if cursor.description else None


@contextmanager
def overseen(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Have a process end with the test, whatever the test finds."""
    with process:
        try:
            yield process
        finally:
            process.kill()


def refused(dsn: str) -> bool:
    """Tell whether no server answers."""
    try:
        psycopg2.connect(dsn).close()
    except psycopg2.OperationalError:
        return True
    return False


def test_url_is_usable_while_a_server_runs_and_says_when_none_does(config: Path, prepared_dir: Path) -> None:
    alone = db(config, "url")
    assert alone.returncode == 0
    assert alone.stdout.startswith("postgresql://watcher@/watcher?host=/")
    assert "no agent runs" in alone.stderr
    assert refused(alone.stdout.strip())
    with embedded.serve(prepared_dir, lambda line: None):
        joined = db(config, "url")
        assert joined.stdout == alone.stdout
        assert joined.stderr == ""
        assert ask(joined.stdout.strip(), "SELECT 1") == 1


def test_url_hides_a_password_until_asked_for_it(tmp_path: Path) -> None:
    config = remote(tmp_path, "postgresql://me:hunter2@db.example:6543/data?sslmode=require")
    hidden = db(config, "url")
    assert hidden.stdout == "postgresql://me:***@db.example:6543/data?sslmode=require\n"
    assert "--with-password" in hidden.stderr
    shown = db(config, "url", "--with-password")
    assert shown.stdout == "postgresql://me:hunter2@db.example:6543/data?sslmode=require\n"
    assert shown.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "code", "output"),
    [
        (("-Atc", "SELECT 6 * 7"), 0, "42\n"),
        (("-At", "--command=SELECT current_database()"), 0, "watcher\n"),
        (("-c", "SELECT nothing"), 1, ""),  # psql(1), exit status: 1 a fatal error of its own, 3 an error in a script
        (("-v", "ON_ERROR_STOP=1", "-f", "-"), 3, ""),
    ],
)
def test_psql_gets_its_arguments_and_gives_its_exit_code(
    arguments: tuple[str, ...], code: int, output: str, config: Path
) -> None:
    ended = db(config, "psql", "--", *arguments, input="SELECT nothing;")
    assert (ended.returncode, ended.stdout) == (code, output)
    assert ("nothing" in ended.stderr) == (code != 0)


def test_psql_reads_a_script_and_leaves_nothing_running(config: Path) -> None:
    ended = db(config, "psql", input="CREATE TABLE kept AS SELECT 42;\n\\o /dev/null\nTABLE kept;\n")
    assert (ended.returncode, ended.stdout) == (0, "SELECT 1\n")
    assert refused(db(config, "url").stdout.strip())


def test_psql_joins_a_server_that_runs_and_leaves_it(config: Path, prepared_dir: Path) -> None:
    with embedded.serve(prepared_dir, lambda line: None) as server:
        started = ask(server.dsn, "SELECT pg_postmaster_start_time()::text")
        ended = db(config, "psql", "--", "-Atc", "SELECT pg_postmaster_start_time()::text")
        assert ended.stdout.strip() == started
        assert ask(server.dsn, "SELECT pg_postmaster_start_time()::text") == started


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_psql_reaches_a_remote_database_without_its_password_in_the_list_of_processes(
    database: str, tmp_path: Path
) -> None:
    config = remote(tmp_path, database.replace("watcher@", "watcher:hunter2@"))
    script = "\\! cat /proc/$PPID/cmdline; test $PGPASSWORD = hunter2 && echo known\nSELECT 6 * 7;\n"
    ended = db(config, "psql", "--", "-At", input=script)
    assert (ended.returncode, ended.stderr) == (0, "")
    command, answer = ended.stdout.splitlines()
    assert "psql\0-At" in command and command.endswith("known") and "hunter2" not in command
    assert answer == "42"


def test_psql_takes_from_the_environment_what_the_dsn_leaves_open(database: str, tmp_path: Path) -> None:
    config = remote(tmp_path, database)
    script = "\\! test $PGPASSWORD = hunter2 && echo known\nSELECT 6 * 7;\n"
    ended = db(config, "psql", "--", "-At", input=script, env={**os.environ, "PGPASSWORD": "hunter2"})
    assert (ended.returncode, ended.stdout) == (0, "known\n42\n")


@pytest.fixture(name="session")
def fixture_session(config: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `watcher db psql` that waits for its standard input, in a process group of its own."""
    line = [*WATCHER, "db", "psql", "--config", str(config), "--", "-At"]
    pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
    with overseen(subprocess.Popen(line, start_new_session=True, **pipes)) as process:
        process.stdin.write(b"SELECT 'ready';\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"ready\n"
        yield process


@pytest.fixture(name="dsn")
def fixture_dsn(prepared_dir: Path) -> str:
    """Give the address of the embedded server, as `watcher db url` prints it."""
    return f"postgresql://watcher@/watcher?host={prepared_dir}/postgres/run&port=5432"


def test_interrupt_cancels_the_query_and_not_the_session(
    session: subprocess.Popen[bytes], dsn: str, eventually: Callable[..., Any]
) -> None:
    session.stdin.write(b"SELECT pg_sleep(60);\n")
    session.stdin.flush()
    running = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60);' AND state = 'active'"
    eventually(lambda: ask(dsn, running) == 1)
    os.killpg(session.pid, signal.SIGINT)  # what Ctrl-C at a terminal does
    _, errors = session.communicate(timeout=60)  # psql that reads a pipe ends after that, and the server with it
    assert b"canceling statement due to user request" in errors
    assert refused(dsn)


def test_termination_ends_psql_and_the_server(session: subprocess.Popen[bytes], dsn: str) -> None:
    session.terminate()
    assert session.wait(timeout=60) == 128 + signal.SIGTERM  # and its standard input is still open
    assert refused(dsn)


def test_session_starts_the_server_again_when_the_agent_ends(
    config: Path, prepared_dir: Path, dsn: str, eventually: Callable[..., Any]
) -> None:
    line = [*WATCHER, "db", "psql", "--config", str(config), "--", "-At"]
    with ExitStack() as agent:
        agent.enter_context(embedded.serve(prepared_dir, lambda text: None))
        with overseen(subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE)) as session:
            session.stdin.write(b"SELECT 'ready';\n")
            session.stdin.flush()
            assert session.stdout.readline() == b"ready\n"  # one that is still connecting ends with the server
            agent.close()
            eventually(lambda: not refused(dsn), within_s=30)
            session.stdin.close()
            assert session.wait(timeout=60) == 0
    assert refused(dsn)


def test_migrate_says_what_it_did(config: Path) -> None:
    first = db(config, "migrate")
    assert first.returncode == 0
    assert first.stdout.startswith("applied 0001_")
    second = db(config, "migrate")
    assert "nothing to do" in second.stdout and "applied" not in second.stdout


def test_a_hypertable_needs_timescaledb(database: str, tmp_path: Path) -> None:
    ended = db(remote(tmp_path, database), "migrate", "--to-timescale")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "the server has no TimescaleDB; install it there" in ended.stderr and "nothing was changed" in ended.stderr
    assert json.loads(db(remote(tmp_path, database), "status", "--json").stdout)["storage"] == "partitions"


def test_status_before_and_after_the_first_migration(config: Path, prepared_dir: Path, dsn: str) -> None:
    before = json.loads(db(config, "status", "--json").stdout)
    assert (before["level"], before["storage"], before["metrics"]) == (0, None, None)
    assert "run: watcher db migrate" in db(config, "status").stdout
    db(config, "migrate")
    names = ("0/01769860800000000000-7-1-5000.rows", "1/01769860801000000000-7-1-7.rows")
    aside = ("1/0.bad", names[0].replace("0/", "0-1769860900000000000.bad/"))
    for name, content in ((names[0], b"12345"), (names[1], b"123"), (aside[0], b"?"), (aside[1], b"another's")):
        (prepared_dir / "spool" / name).parent.mkdir(parents=True, exist_ok=True)
        (prepared_dir / "spool" / name).write_bytes(content)
    with embedded.serve(prepared_dir, lambda line: None):
        for day in ("2026-01-30", "2026-01-31"):
            name = f"metrics_{day.replace('-', '')}"
            ask(dsn, f"CREATE TABLE {name} PARTITION OF metrics FOR VALUES FROM ('{day}') TO ('{day}'::date + 1)")
        ask(
            dsn,
            "INSERT INTO metrics (time, endpoint_id, agent_id, status) SELECT '2026-01-31T12:00:00Z'::timestamptz"
            " + make_interval(secs => n), n, 1, 'up' FROM generate_series(0, 999) AS n",
        )
        ask(dsn, "ANALYZE metrics")
        after = json.loads(db(config, "status", "--json").stdout)
        text = db(config, "status").stdout
        assert after["version"] == ask(dsn, "SHOW server_version")
    assert after["level"] == after["newest_level"] > 0
    assert (after["storage"], after["parts"], after["timescaledb"]) == ("partitions", 2, None)
    assert after["metrics"]["rows"] == 1000
    assert after["metrics"]["size_bytes"] > after["metrics"]["index_bytes"] > 30_000
    assert (after["compressed"], after["unmoved"], after["rollups"]["rows"]) == (None, 0, 0)
    assert after["oldest_at"] == 1769860800  # date -u -d 2026-01-31T12:00:00Z +%s
    assert after["spool"] == {"files": 2, "rows": 5007, "size_bytes": 8, "oldest_at": 1769860800.0, "damaged": 2}
    assert "\nrollups:    no rows known yet, " in text and "about 0" not in text
    assert "about 1,000 rows" in text and "in 2 partitions" in text and "2026-01-31T12:00:00Z" in text
    assert "2 files, 8 B, 5,007 rows, the oldest of 2026-01-31T12:00:00Z, 2 files set aside" in text


def test_database_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    config = remote(tmp_path, f"postgresql://me:hunter2@127.0.0.1:{port}/data")
    for command in ("status", "migrate"):
        ended = db(config, command)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert ended.stderr.count("\n") == 1
        assert f"127.0.0.1:{port}/data does not answer" in ended.stderr and "hunter2" not in ended.stderr


def test_configuration_that_is_not_there(tmp_path: Path) -> None:
    ended = db(tmp_path / "none.toml", "status")
    assert ended.returncode == 2
    assert "none.toml: no such file" in ended.stderr


def test_statement_without_psql(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_binaries, "psql", lambda: None)
    line = ["db", "psql", "--config", str(remote(tmp_path, database)), "--", "-c"]
    ended = CliRunner().invoke(cli, [*line, "SELECT 42 AS answer"])
    assert ended.stdout == "answer\n------\n42\n(1 row)\n"


def read_until(terminal: int, text: str) -> str:
    """Read what a terminal shows until a text comes."""
    shown = ""
    while text not in shown:
        assert select.select([terminal], [], [], 60)[0], f"nothing more after: {shown}"
        shown += os.read(terminal, 1000).decode()
    return shown


def test_session_at_a_terminal(config: Path) -> None:
    """A prompt, an answer, the way out: psql has the terminal to itself."""
    controller, terminal = pty.openpty()
    line = [*WATCHER, "db", "psql", "--config", str(config), "--", "--no-psqlrc", "--no-readline", "--pset=pager=off"]
    streams = {name: terminal for name in ("stdin", "stdout", "stderr")}
    with overseen(subprocess.Popen(line, start_new_session=True, **streams)) as session:
        os.close(terminal)
        assert "watcher: starting PostgreSQL" in read_until(controller, "watcher=# ")
        os.write(controller, b"SELECT 6 * 7;\n")
        assert "42" in read_until(controller, "(1 row)")
        os.write(controller, b"\\q\n")
        assert session.wait(timeout=60) == 0
    os.close(controller)


def test_data_move_to_a_new_major_version_by_the_commands_of_the_error(
    config: Path, prepared_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel, *others = [place for place in postgres_binaries.directories() if (place[1] / "pg_dump").is_file()]
    if not others:
        pytest.skip("there is only one PostgreSQL")
    shutil.rmtree(prepared_dir)
    monkeypatch.setattr(postgres_binaries, "directories", lambda: [others[-1]])
    with embedded.serve(prepared_dir, lambda line: None) as server:
        old = ask(server.dsn, "SHOW server_version_num")
        migrations.migrate(server.dsn)
        ask(server.dsn, "CREATE TABLE metrics_20260301 (LIKE metrics INCLUDING ALL)")
        ask(
            server.dsn,
            "ALTER TABLE metrics ATTACH PARTITION metrics_20260301"
            " FOR VALUES FROM ('2026-03-01 00:00+00') TO ('2026-03-02 00:00+00')",
        )
        ask(server.dsn, "INSERT INTO endpoints (name, url) VALUES ('kept', 'https://kept/')")
        ask(
            server.dsn,
            "INSERT INTO metrics (time, endpoint_id, agent_id, status, latency_us)"
            " SELECT '2026-03-01 12:00+00', id, 1, 'up', 42 FROM endpoints",
        )
    monkeypatch.setattr(postgres_binaries, "directories", lambda: [wheel])
    error = CliRunner().invoke(cli, ["db", "status", "--config", str(config)]).exception
    dump, move, _, restore = [step.strip() for step in str(error).splitlines()[1:5]]

    # the old version is on this machine, as it is after the first step, and serves its data
    for step in (dump, move, restore):
        command = step.replace("watcher db", " ".join(WATCHER) + " db").replace("FILE", str(config))
        ran = subprocess.run(["sh", "-c", command], check=False, capture_output=True, text=True, cwd=tmp_path)
        assert (ran.returncode, ran.stderr) == (0, "")
    assert "nothing to do" in db(config, "migrate").stdout
    ended = db(config, "psql", "--", "-Atc", "SELECT latency_us FROM endpoint_status", "-c", "SHOW server_version_num")
    answer, new = ended.stdout.split()
    assert (answer, int(new) // 10000 > int(old) // 10000) == ("42", True)
    assert (prepared_dir / f"postgres/data.{int(old) // 10000}/PG_VERSION").exists(), "the old data are kept"
