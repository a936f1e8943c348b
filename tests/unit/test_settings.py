"""`watcher.config.settings`: what `[database]` and `[agent]` mean, with environment and defaults."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from watcher.config import settings
from watcher.config.documents import Document
from watcher.config.settings import Agent, Database, Settings
from watcher.models import Secret

DOCUMENT = Path("/etc/watcher/main.toml")


def read(tables: dict[str, Any], **environ: str) -> tuple[Database, Agent]:
    """Read tables that must be right."""
    mistakes: list[str] = []
    found = settings.settings(Document(DOCUMENT, tables), environ, lambda *mistake: mistakes.append(": ".join(mistake)))
    assert not mistakes
    return found


def mistakes_in(tables: dict[str, Any], **environ: str) -> list[str]:
    """Read tables that must be wrong."""
    mistakes: list[str] = []
    environ = {"HOME": "/home/me"} | environ
    settings.settings(Document(DOCUMENT, tables), environ, lambda *mistake: mistakes.append(": ".join(mistake)))
    return mistakes


def dsn(database: Database) -> str | None:
    """Give the DSN as PostgreSQL gets it."""
    return None if database.dsn is None else str.__str__(database.dsn)


def test_the_defaults_are_those_of_the_documents() -> None:
    database, agent = read({})
    assert database.dsn is None
    assert agent.workers == settings.cores()
    assert (agent.location, agent.variant, agent.disabled_plugins) == ("local", "default", ())
    assert (agent.concurrency, agent.keepers, agent.batch_rows, agent.buffer_rows) == (2000, 2, 2000, 100_000)
    assert agent.batch_age_s == 1.0


def test_every_key_is_taken() -> None:
    given = {
        "data_dir": "/srv/w", "location": "eu", "variant": "b", "workers": 3, "concurrency": 7, "keepers": 4,
        "batch_rows": 5, "batch_age": "250ms", "buffer_rows": 6, "disabled_plugins": ["x"],
        "source": "node 1",
    }  # fmt: skip
    assert set(given) == set(settings.AGENT_TYPES)
    _, agent = read({"agent": given})
    assert agent == Agent(
        data_dir=Path("/srv/w"), location="eu", variant="b", workers=3, concurrency=7, keepers=4, batch_rows=5,
        batch_age_s=0.25, buffer_rows=6, disabled_plugins=("x",), source="node 1",
    )  # fmt: skip


def test_what_is_written_for_plugins_is_not_in_a_representation() -> None:
    tables = {"tracker": {"token": "hunter2"}}
    whole = Settings(database=Database(dsn=Secret("hunter2")), agent=Agent(data_dir=Path("/d")), plugin_tables=tables)
    assert "hunter2" not in repr(whole) and "PosixPath('/d')" in repr(whole)


def test_root_keeps_its_data_where_the_system_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert settings.default_data_dir({}) == Path("/var/lib/watcher")


@pytest.mark.parametrize(
    ("environ", "directory"),
    [
        ({}, "/home/me/.local/share/watcher"),
        ({"XDG_DATA_HOME": "/data"}, "/data/watcher"),
        ({"XDG_DATA_HOME": "relative"}, "/home/me/.local/share/watcher"),  # to be ignored: XDG base directories
    ],
)
def test_others_keep_it_at_home(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], directory: str) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/me")
    assert settings.default_data_dir(environ) == Path(directory)


def test_the_environment_overrides_the_data_directory() -> None:
    assert read({"agent": {"data_dir": "/a"}}, WATCHER_DATA_DIR="/b")[1].data_dir == Path("/b")
    assert read({}, WATCHER_DATA_DIR="/b")[1].data_dir == Path("/b")


def test_paths_begin_at_the_file() -> None:
    assert read({"agent": {"data_dir": "data"}})[1].data_dir == Path("/etc/watcher/data")
    assert read({"agent": {"data_dir": "${D}/x"}}, D="/srv")[1].data_dir == Path("/srv/x")


def test_numbers_may_come_from_the_environment() -> None:
    assert read({"agent": {"workers": "${W:-2}", "batch_age": "${A}"}}, A="2")[1].workers == 2


def test_the_environment_serves_when_no_dsn_is_given() -> None:
    given = {"WATCHER_DATABASE_DSN": "postgresql://a/b"}
    assert dsn(read({}, **given)[0]) == "postgresql://a/b"
    assert dsn(read({"database": {"dsn": "postgresql://c/d"}}, **given)[0]) == "postgresql://c/d"
    assert read({}, WATCHER_DATABASE_DSN="")[0].dsn is None


def test_the_dsn_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "dsn").write_text("host=db dbname=w password='a b'\n")
    assert dsn(read({"database": {"dsn_file": str(tmp_path / "dsn")}})[0]) == "host=db dbname=w password='a b'"


@pytest.mark.parametrize(
    ("written", "password", "meant"),
    [
        ("postgresql://w:${P}@db/w", "simple", "postgresql://w:simple@db/w"),
        ("postgresql://w:${P}@db/w", "p@ss/w:rd#?%$ é", "postgresql://w:p%40ss%2Fw%3Ard%23%3F%25%24%20%C3%A9@db/w"),
        ("postgres://${P}:${P:-none}@db/w", "a/b", "postgres://a%2Fb:a%2Fb@db/w"),
        ("postgresql://w:x@${P}/w", "db:5432", "postgresql://w:x@db:5432/w"),
        ("postgresql://${P}/w", "w:x@db", "postgresql://w:x@db/w"),
        ("host=db password=${P}", "p@ss", "host=db password=p@ss"),
    ],
)
def test_a_password_from_the_environment_may_hold_any_character(written: str, password: str, meant: str) -> None:
    assert dsn(read({"database": {"dsn": written}}, P=password)[0]) == meant


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"database": {"dsn": "hunter2"}}, "database.dsn: is no PostgreSQL DSN; write"),
        ({"database": {"dsn": ""}}, "database.dsn: is empty; leave it out"),
        ({"database": {"dsn": 5}}, "database.dsn: expected a string, got a number"),
        ({"database": {"dsn": "postgresql://a/${NONE}"}}, "database.dsn: environment variable NONE is not set"),
        ({"database": {"dsn": "a=b", "dsn_file": "x"}}, 'database.dsn_file: excludes "dsn"'),
        ({"database": {"dsn_file": "none"}}, "database.dsn_file: cannot read /etc/watcher/none: No such file"),
        ({"database": {"dns": "x"}}, 'database.dns: unknown key; did you mean "dsn"?'),
        ({"agent": {"worker": 1}}, 'agent.worker: unknown key; did you mean "workers"?'),
        ({"agent": {"workers": 0}}, "agent.workers: expected a whole number from 1 to 1024, got 0"),
        ({"agent": {"workers": 1.5}}, "agent.workers: expected a whole number from 1 to 1024, got 1.5"),
        ({"agent": {"concurrency": "${N}"}}, 'agent.concurrency: expected a whole number from 1 to 100000, got "${N}"'),
        ({"agent": {"location": ""}}, "agent.location: expected a string that is not empty"),
        ({"agent": {"location": "a\0b"}}, "agent.location: must not contain the character U+0000"),
        ({"agent": {"batch_age": "2m"}}, "agent.batch_age: must be from 0.01 to 60 seconds, got 120"),
        ({"agent": {"batch_rows": 500, "buffer_rows": 100}}, "agent.buffer_rows: is less than a batch of 500 rows"),
        ({"agent": {"disabled_plugins": "regex"}}, 'agent.disabled_plugins: expected a list of strings, got "regex"'),
    ],
)
def test_reports_a_mistake(tables: dict[str, Any], said: str) -> None:
    lines = mistakes_in(tables, N="many")
    assert len(lines) == 1 and lines[0].startswith(said) and "hunter2" not in lines[0]


def test_reports_all_mistakes() -> None:
    tables = {"database": {"dsn": "x", "a": 1}, "agent": {"workers": 0, "keepers": 0, "b": 1}}
    assert sorted(line.partition(":")[0] for line in mistakes_in(tables)) == [
        "agent.b", "agent.keepers", "agent.workers", "database.a", "database.dsn",
    ]  # fmt: skip


def test_names_the_variable_that_is_wrong() -> None:
    lines = mistakes_in({}, WATCHER_DATABASE_DSN="hunter2")
    assert len(lines) == 1 and lines[0].startswith("WATCHER_DATABASE_DSN (environment): is no PostgreSQL DSN")
    assert "hunter2" not in lines[0]


@pytest.mark.parametrize(
    ("limit", "cores"), [("200000 100000", 2), ("150000 100000", 2), ("10000 100000", 1), ("max 100000", 8), ("", 8)]
)
def test_counts_the_cores_of_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, cores: int
) -> None:
    path = tmp_path / "cpu.max"
    path.write_text(limit)
    monkeypatch.setattr(settings, "CPU_LIMIT", path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert settings.cores() == cores


def accuracy(**table: Any) -> tuple[settings.Accuracy, list[str]]:
    """Read `[accuracy]`, and give what is wrong with it."""
    mistakes: list[str] = []
    document = Document(DOCUMENT, {"accuracy": table})
    found = settings.accuracy(document, {}, lambda *mistake: mistakes.append(": ".join(mistake)))
    return found, mistakes


def test_every_key_of_the_accuracy_is_taken() -> None:
    witnesses = ["icmp://192.0.2.1", "dns://[2001:db8::1]:5353"]
    given = {"max_lag": "20ms", "max_late": 1, "max_error": 0.002, "witnesses": witnesses}
    assert set(given) == set(settings.ACCURACY_TYPES)
    found, mistakes = accuracy(**given)
    assert not mistakes
    assert found == settings.Accuracy(
        max_lag_s=0.02, max_late_s=1.0, max_error_s=0.002, witnesses=tuple(witnesses)
    )
    assert accuracy() == (settings.Accuracy(), [])
    assert not accuracy(witnesses=[])[0].witnesses


@pytest.mark.parametrize("key", ["max_lag", "max_late", "max_error"])
def test_a_budget_of_the_accuracy_has_bounds(key: str) -> None:
    for value in (0, 11):
        _, (mistake,) = accuracy(**{key: value})
        assert mistake == f"accuracy.{key}: must be from 0.001 to 10 seconds, got {value}"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("router", "is no witness; known are"),
        ("http://192.0.2.1", "is no witness; known are"),
        ("tcp://192.0.2.1:443/path", "is no witness; known are"),
        ("tcp://192.0.2.1:70000", "is no witness: "),
        ("tcp://[192.0.2.1", "is no witness: "),
        ("tcp://router.example:443", "needs an address: a name would have to be looked up first"),
        ("icmp://192.0.2.1:7", "has a port, which a ping has not"),
        ("icmp://[2001:db8::1]", "is IPv6, which is not pinged"),
        ("", "is no witness; known are"),
    ],
)
def test_what_is_no_witness_is_told(name: str, words: str) -> None:
    _, (mistake,) = accuracy(witnesses=["resolver", name])
    assert mistake.startswith(f'accuracy.witnesses: "{name}" {words}')


def test_the_worker_is_told_all_of_the_accuracy() -> None:
    from watcher.worker import Job

    fields = set(settings.Accuracy.__struct_fields__)
    assert fields <= set(Job.__struct_fields__)
