"""What psql is told, and what serves where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from watcher.errors import DatabaseError, EnvironmentProblem
from watcher.store import psql


def test_environment_says_what_the_dsn_says_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "elsewhere")
    monkeypatch.setenv("PGOPTIONS", "-c search_path=elsewhere")
    monkeypatch.setenv("PGSSLMODE", "disable")
    monkeypatch.setenv("PATH", "/usr/bin")
    found = psql.environment("postgresql://me:a%40b@db:6543/data?sslmode=require&application_name=x&keepalives=1")
    assert {name: value for name, value in found.items() if name.startswith("PG")} == {
        "PGHOST": "db",
        "PGPORT": "6543",
        "PGUSER": "me",
        "PGPASSWORD": "a@b",
        "PGDATABASE": "data",
        "PGSSLMODE": "require",
        "PGAPPNAME": "x",
    }
    assert psql.environment("dbname=x", Path("/opt/bin"))["PATH"] == "/opt/bin:/usr/bin"


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
    assert name not in psql.environment("host=db")


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
