"""An agent with the embedded PostgreSQL in surroundings that could mislead it: its environment, another agent."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from agent_process import AGENT, EVERY_5_S, PATIENCE_S, WATCHER, AgentProcess, Run, Write

FILE = AGENT.replace('[database]\ndsn = "{dsn}"\n', "").replace('"data"', '"{data_dir}"') + EVERY_5_S
ENDPOINT = """
[[endpoints]]
name = "page"
url = "{site}/headers"
bearer = "${{PGPASSWORD}}"
contains = "Bearer hunter2"
"""

# What leads libpq to another server, or nowhere: each of these alone breaks a connection by the DSN.
ASTRAY = {
    "PGHOSTADDR": "192.0.2.1",
    "PGSERVICE": "elsewhere",
    "PGOPTIONS": "-c default_transaction_read_only=on -c nonsense=1",
    "PGREQUIREPEER": "somebody",
    "PGREQUIREAUTH": "scram-sha-256",
    "PGCHANNELBINDING": "require",
    "PGGSSENCMODE": "require",
    "PGTARGETSESSIONATTRS": "standby",
    "PGCONNECT_TIMEOUT": "none",
    "PGCLIENTENCODING": "LATIN1",
    "PGDATESTYLE": "none",
    "PGTZ": "none",
    "PGHOST": "192.0.2.1",
    "PGPORT": "1",
    "PGUSER": "somebody",
    "PGDATABASE": "elsewhere",
    "PGPASSFILE": "/nonexistent",
    "PGSSLMODE": "verify-full",
    "PGPASSWORD": "hunter2",
}
OF_SESSIONS = ("PGDATESTYLE", "PGTZ")  # how psql shows times is its user's to say


@pytest.fixture(name="path")
def fixture_path(write: Write, prepared_dir: Path, site: str) -> Path:
    """Write the configuration."""
    return write(FILE.format(data_dir=prepared_dir) + ENDPOINT.format(site=site))


def test_variables_about_other_servers_lead_nobody_astray(
    path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does a missing HOME; and what endpoints refer to is still there."""
    monkeypatch.delenv("HOME", raising=False)
    for name, value in ASTRAY.items():
        monkeypatch.setenv(name, value)
    with AgentProcess(path, "--log-level", "debug") as agent:
        agent.wait_for("1 endpoint: 1 up")
        with monkeypatch.context() as of_user:
            for name in OF_SESSIONS:
                of_user.delenv(name)
            asked = run("db", "psql", "--config", str(path), "--", "-Atc", "SELECT name FROM endpoints")
        assert (asked.returncode, asked.stdout) == (0, "page\n"), asked.stderr
        assert agent.end() == 0, agent.everything()
    status = run("db", "status", "--config", str(path), "--json")
    assert status.returncode == 0, status.stderr
    assert json.loads(status.stdout)["embedded"] is True
    assert not agent.said("away") and not agent.said("Traceback")


def test_a_second_agent_is_told_who_holds_the_data_directory(
    path: Path, prepared_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", ASTRAY["PGPASSWORD"])
    with AgentProcess(path, "--log-level", "debug") as agent:
        agent.wait_for("checks/s")
        with AgentProcess(path) as second:
            assert second.process.wait(PATIENCE_S) == 2
        (line,) = second.said("another agent runs with the data directory")
        assert f"{prepared_dir} (process {agent.process.pid}, {path})" in line and "set another agent.data_dir" in line
        assert agent.end() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes an ordinary user by a namespace")
def test_a_home_that_cannot_be_written_is_said_with_the_remedy(write: Write, site: str, data_dir: Path) -> None:
    """As of a service account; the default data directory is in it."""
    data_dir.mkdir(mode=0o555)
    os.chown(data_dir, 65534, 65534)  # somebody else, in the namespace too
    path = write(ENDPOINT.replace('bearer = "${{PGPASSWORD}}"\n', "").format(site=site))
    command = ("unshare", "--user", "--map-user=65534", "--map-group=65534", *WATCHER, "--config", str(path))
    environment = {name: value for name, value in os.environ.items() if name != "XDG_DATA_HOME"}
    environment["HOME"] = str(data_dir)
    ended = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=PATIENCE_S, env=environment
    )
    assert ended.returncode == 2, ended.stderr
    (line,) = ended.stderr.splitlines()[-1:]
    assert f"{data_dir}/.local: Permission denied: run watcher as its owner, or set agent.data_dir" in line
