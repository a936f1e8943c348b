"""Secrets in the endpoints table, from the files of a user to the check: never readable on the way."""

from __future__ import annotations

import base64
import os
import subprocess
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from agent_process import AGENT, AgentProcess, Eventually, Run, Write

from watcher.store import postgres_binaries

LITERAL = "hunter2-geheim"
ENDPOINTS = """
[[endpoints]]
name = "shop"
url = "{site}/headers"
interval = 5
basic_auth = {{ username = "probe", password = "hunter2-geheim" }}
headers = {{ X-Api-Key = "hunter2-geheim-too" }}
contains = "aHVudGVyMi1nZWhlaW0"

[[endpoints]]
name = "plain"
url = "{site}/"
interval = 5
headers = {{ X-Api-Key = "${{API_KEY}}" }}
"""
API = {"API_KEY": "hunter2-from-the-environment"}


def new_key() -> str:
    """Make a key as `openssl rand -base64 32` does."""
    return base64.b64encode(os.urandom(32)).decode()


def rows(dsn: str, statement: str) -> list[tuple]:
    """Ask the database."""
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def status(dsn: str) -> dict[str, str]:
    """Give the last status of each endpoint, and why."""
    try:
        found = rows(dsn, "SELECT name, status::text || coalesce(' ' || reason::text, '') FROM endpoint_status")
    except psycopg2.Error:  # not there yet
        return {}
    return {name: said for name, said in found if said}


def dump(dsn: str) -> str:
    """Give all that a backup holds, by the program of the server's version."""
    program = next(postgres_binaries.directories())[1] / "pg_dump"
    return subprocess.run([program, dsn], capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.fixture(name="config")
def fixture_config(database: str, site: str, write: Write) -> Path:
    """Write a configuration with a literal secret and a reference."""
    return write(AGENT.format(dsn=database) + ENDPOINTS.format(site=site))


def test_they_are_used_and_nowhere_readable(config: Path, database: str, run: Run, eventually: Eventually) -> None:
    key = {"WATCHER_SECRET_KEY": new_key(), **API}
    with AgentProcess(config, "--log-level", "debug", **key) as agent:
        eventually(lambda: status(database) == {"shop": "up", "plain": "up"}, 60)
        before = rows(database, "SELECT name, updated_at FROM endpoints ORDER BY name")
        agent.process.send_signal(1)
        agent.wait_for("2 unchanged")
        assert rows(database, "SELECT name, updated_at FROM endpoints ORDER BY name") == before
        assert agent.end() == 0
        assert "hunter2" not in agent.everything() and "readable" not in agent.everything()
    stored = str(rows(database, "SELECT endpoints::text FROM endpoints"))
    assert "hunter2" not in stored and "${API_KEY}" in stored and stored.count("${sealed:") == 2
    for copy in (config.parent / "data/endpoints").iterdir():
        assert "hunter2" not in copy.read_text() and "${sealed:" in copy.read_text()
    for command in ("list --json", "show shop", "export --format ndjson"):
        done = run("endpoints", *command.split(), "--config", str(config), **key)
        assert done.returncode == 0 and "hunter2" not in done.stdout + done.stderr, command


def test_a_backup_holds_none(config: Path, database: str, run: Run, tmp_path: Path) -> None:
    key = {"WATCHER_SECRET_KEY": new_key()}
    sites = tmp_path / "sites.ndjson"
    sites.write_text('{"name": "a", "url": "https://a/", "bearer": {"token": "%s"}}\n' % LITERAL)
    assert run("endpoints", "import", str(sites), "--config", str(config), **key).returncode == 0
    text = dump(database)
    assert "hunter2" not in text and "${sealed:" in text


def test_what_is_exported_comes_back_where_the_key_is_the_same(
    config: Path, database: str, run: Run, tmp_path: Path
) -> None:
    key, other = ({"WATCHER_SECRET_KEY": new_key()} for _ in range(2))
    sites, exported = tmp_path / "sites.ndjson", tmp_path / "exported.csv"
    sites.write_text('{"name": "a", "url": "https://a/", "bearer": {"token": "%s"}}\n' % LITERAL)
    where = ("--config", str(config))
    assert run("endpoints", "import", str(sites), *where, **key).returncode == 0
    done = run("endpoints", "export", str(exported), *where, **key)
    assert done.stderr == "1 endpoints written\n" and "hunter2" not in exported.read_text()
    again = run("endpoints", "import", str(exported), *where, "--source", f"import:{sites}", **key)
    assert again.returncode == 0 and "1 unchanged" in again.stdout
    refused = run("endpoints", "import", str(exported), *where, **other)
    assert refused.returncode == 2 and 'endpoint "a": bearer.token: is encrypted with the key' in refused.stderr
    assert rows(database, "SELECT count(*) FROM endpoints") == [(1,)]


def test_a_lost_key_ends_the_checks_of_those_endpoints_alone(
    config: Path, database: str, run: Run, site: str, eventually: Eventually
) -> None:
    sites = config.parent / "sites.ndjson"
    sites.write_text('{"name": "sealed", "url": "%s/", "interval": 5, "bearer": {"token": "%s"}}\n' % (site, LITERAL))
    first = run("endpoints", "import", str(sites), "--config", str(config), WATCHER_SECRET_KEY=new_key())
    assert first.returncode == 0
    with AgentProcess(config, WATCHER_SECRET_KEY=new_key(), **API) as agent:
        expected = {"sealed": "missed config", "shop": "up", "plain": "up"}
        eventually(lambda: status(database) == expected, 60)
        detail = rows(database, "SELECT detail FROM endpoint_status WHERE name = 'sealed'")[0][0]
        remedy = "set WATCHER_SECRET_KEY or [database] secret_key_file"
        assert "bearer.token" in detail and "is encrypted with the key" in detail and remedy in detail
        agent.wait_for('endpoint "sealed" is not checked')
        assert agent.end() == 0


def test_without_a_key_it_is_said_that_they_are_readable(config: Path, run: Run) -> None:
    said = "secrets of 1 endpoint"
    validated = run("validate", "--config", str(config), **API)
    assert validated.returncode == 0 and f"{said} will stand readable in the table; write them as" in validated.stderr
    quiet = run("validate", "--config", str(config), WATCHER_SECRET_KEY=new_key(), **API)
    assert quiet.returncode == 0 and not quiet.stderr
    with AgentProcess(config, **API) as agent:
        agent.wait_for(f"{said} stand readable in the table; write them as ${{NAME}}, or encrypt them")
        assert agent.end() == 0


def test_a_key_that_is_none_is_told(config: Path, run: Run) -> None:
    done = run("validate", "--config", str(config), WATCHER_SECRET_KEY="hunter2", **API)
    assert done.returncode == 2
    assert "WATCHER_SECRET_KEY (environment): is no key of 32 bytes in base64; `openssl rand" in done.stderr
    assert "hunter2" not in done.stderr


def test_the_key_is_changed(config: Path, database: str, run: Run) -> None:
    old, new = new_key(), new_key()
    where = ("--config", str(config))
    sites = config.parent / "sites.ndjson"
    sites.write_text('{"name": "a", "url": "https://a/", "bearer": {"token": "%s"}}\n' % LITERAL)
    assert run("endpoints", "import", str(sites), *where).returncode == 0
    assert "hunter2" in str(rows(database, "SELECT options FROM endpoints"))
    refused = run("db", "seal", *where)
    assert refused.returncode == 2 and "there is no key to encrypt with; set WATCHER_SECRET_KEY" in refused.stderr
    steps = (old, 0, "1 endpoint"), (f"{new},{old}", 0, "1 endpoint"), (new, 0, "0 endpoints"), (old, 1, "0 endpoints")
    for keys, code, said in steps:
        done = run("db", "seal", *where, WATCHER_SECRET_KEY=keys)
        assert (done.returncode, said in done.stdout) == (code, True), done
        assert "hunter2" not in str(rows(database, "SELECT options FROM endpoints")) + done.stdout + done.stderr
    assert 'endpoint "a": bearer.token: is encrypted with the key' in done.stderr


def test_another_key_takes_effect_after_a_restart(config: Path, database: str, eventually: Eventually) -> None:
    key = config.parent / "key"
    key.write_text(new_key())
    config.write_text(config.read_text().replace("[database]", '[database]\nsecret_key_file = "key"'))
    with AgentProcess(config, **API) as agent:
        eventually(lambda: status(database) == {"shop": "up", "plain": "up"}, 60)
        before = rows(database, "SELECT id, options FROM endpoints ORDER BY id")
        key.write_text(new_key())
        agent.process.send_signal(1)
        agent.wait_for("database.secret_key has changed; this takes effect after a restart")
        agent.wait_for("2 unchanged")
        assert rows(database, "SELECT id, options FROM endpoints ORDER BY id") == before
        assert agent.end() == 0


def test_the_embedded_database_has_a_key_beside_it(
    prepared_dir: Path, run: Run, site: str, write: Write, eventually: Eventually
) -> None:
    config = write(ENDPOINTS.format(site=site) + f'[agent]\ndata_dir = "{prepared_dir}"\nworkers = 1\n')
    url = run("db", "url", "--config", str(config)).stdout.strip()
    with AgentProcess(config, **API) as agent:
        eventually(lambda: status(url) == {"shop": "up", "plain": "up"}, 60)
        assert "hunter2" not in str(rows(url, "SELECT endpoints::text FROM endpoints"))
        assert agent.end() == 0
        assert "readable" not in agent.everything()
    assert (prepared_dir / "secret.key").stat().st_mode & 0o777 == 0o600
