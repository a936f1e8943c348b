"""What psql is told, and what serves where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from watcher.errors import DatabaseError, EnvironmentProblem
from watcher.store import psql


DSN = "postgresql://me:a%40b@db:6543/data?sslmode=require&application_name=x&keepalives=1"
SAID = {
    "PGHOST": "db",
    "PGPORT": "6543",
    "PGUSER": "me",
    "PGPASSWORD": "a@b",
    "PGDATABASE": "data",
    "PGSSLMODE": "require",
    "PGAPPNAME": "x",
}


@pytest.fixture(name="elsewhere")
def fixture_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set variables that are about another server."""
    monkeypatch.setenv("PGHOST", "elsewhere")
    monkeypatch.setenv("PGOPTIONS", "-c search_path=elsewhere")
    monkeypatch.setenv("PGSSLMODE", "disable")
    monkeypatch.setenv("PATH", "/usr/bin")


def libpq(environment: dict[str, str]) -> dict[str, str]:
    """Give what libpq reads of an environment."""
    return {name: value for name, value in environment.items() if name.startswith("PG")}


@pytest.mark.usefixtures("elsewhere")
def test_environment_says_what_the_dsn_says_and_keeps_what_it_leaves_open() -> None:
    found = psql.environment(DSN)
    assert libpq(found) == SAID | {"PGOPTIONS": "-c search_path=elsewhere"}
    assert found["PATH"] == "/usr/bin"


def test_password_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "hunter2")
    assert psql.environment("host=database dbname=watcher user=watcher")["PGPASSWORD"] == "hunter2"


@pytest.mark.usefixtures("elsewhere")
def test_environment_of_the_embedded_server_says_what_its_dsn_says_and_nothing_else() -> None:
    found = psql.embedded_environment(DSN, Path("/opt/bin"))
    assert libpq(found) == SAID
    assert found["PATH"] == "/opt/bin:/usr/bin"


def test_what_is_no_dsn_is_one_line_without_it() -> None:
    with pytest.raises(DatabaseError, match='"pasword" is no parameter') as caught:
        psql.environment("host=db pasword=hunter2")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "PGHOSTADDR", "PGPASSFILE", "PGREQUIREPEER", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGSSLCRL",
        "PGSSLMINPROTOCOLVERSION", "PGCHANNELBINDING", "PGTARGETSESSIONATTRS", "PGCONNECT_TIMEOUT",
        "PGCLIENTENCODING", "PGGSSENCMODE", "PGKRBSRVNAME", "PGREQUIREAUTH", "PGLOADBALANCEHOSTS", "PGSERVICE",
    ],
)  # fmt: skip
def test_names_are_those_of_the_manual(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """https://www.postgresql.org/docs/18/libpq-envars.html"""
    monkeypatch.setenv(name, "from outside")
    assert name not in psql.embedded_environment("host=db")


def test_statements_of_the_arguments() -> None:
    found = psql.statements(["-c", "SELECT 1", "--command=SELECT 2", "-cSELECT 3"])
    assert found == ["SELECT 1", "SELECT 2", "SELECT 3"]


@pytest.mark.parametrize("arguments", [[], ["-f", "file"], ["-c"], ["-c", "SELECT 1", "-x"]])
def test_other_arguments_need_psql_itself(arguments: list[str]) -> None:
    with pytest.raises(EnvironmentProblem, match="psql is not installed: .*postgresql-client"):
        psql.statements(arguments)


def test_result_is_aligned(database: str) -> None:
    statement = "SELECT 1 AS n, 'long text' AS t UNION ALL SELECT 12345, NULL ORDER BY 1"
    assert list(psql.execute(database, statement)) == [
        "  n   |     t",
        "------+----------",
        "1     | long text",
        "12345 |",
        "(2 rows)",
    ]


def test_statement_without_rows_gives_its_tag(database: str) -> None:
    assert list(psql.execute(database, "CREATE TABLE t (n int)")) == ["CREATE TABLE"]
    with pytest.raises(DatabaseError, match="nothing"):
        list(psql.execute(database, "SELECT nothing"))
