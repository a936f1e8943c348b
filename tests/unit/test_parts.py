"""`[plugins.NAME]`: converted as options are, every mistake at once, told to workers as it is written."""

from __future__ import annotations

import json
from pathlib import Path

import plugged
import pytest

from watcher import Duration, Options, Secret, config
from watcher.agent.agent import differences
from watcher.config import SettingsTypes
from watcher.errors import ConfigError
from watcher.plugins.outputs import otlp, statsd
from watcher.worker import Job


class Pond(Options):
    """One table with all that there may be."""

    host: str
    token: Secret | None = None
    every: Duration = Duration(1)
    file: Path | None = None
    fish: int = 0


TYPES = SettingsTypes({"pond": Pond, "lakes": list[Pond]}, plain=["regex"], absent=["asleep"])


def load(directory: Path, text: str, types: SettingsTypes | None = TYPES) -> config.Settings:
    """Load a main file."""
    (directory / "main.toml").write_text(text)
    return config.load(directory / "main.toml", {}, types).settings


def mistakes_in(directory: Path, text: str, types: SettingsTypes | None = TYPES) -> list[str]:
    """Load what must be wrong; lines are without the directory."""
    with pytest.raises(ConfigError) as raised:
        load(directory, text, types)
    return [line.replace(f"{directory}/", "") for line in raised.value.problems]


def test_parts_are_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POND", "pond.test")
    monkeypatch.setenv("FISH", "3")
    (tmp_path / "token").write_text("hunter2\n")
    text = '[plugins.pond]\nhost = "${POND}"\ntoken_file = "token"\nevery = "5m"\nfile = "a/b"\nfish = "${FISH}"\n'
    found = load(tmp_path, text + '[[plugins.lakes]]\nhost = "a"\n[[plugins.lakes]]\nhost = "b"\nfish = 2')
    pond = Pond(host="pond.test", token=Secret("hunter2"), every=Duration(300), file=tmp_path / "a/b", fish=3)
    assert found.plugins == {"pond": pond, "lakes": [Pond(host="a"), Pond(host="b", fish=2)]}
    assert "hunter2" not in repr(found)


def test_without_a_part_there_is_none(tmp_path: Path) -> None:
    assert not load(tmp_path, "").plugins
    assert not load(tmp_path, "", None).plugins
    assert not config.default_settings().plugins


def test_every_mistake_is_reported_at_once(tmp_path: Path) -> None:
    lines = mistakes_in(
        tmp_path,
        '[plugins.pond]\nhots = "h"\nevery = "5 x"\n[plugins.regex]\n[plugins.asleep]\n[plugins.ponds]\n[plugins.zzz]\n'
        '[[plugins.lakes]]\nhost = "${NOT_SET}"\nfish = "x"\n[[plugins.lakes]]\nhost = 3\n[agent]\nworkers = 0',
    )
    place = "main.toml: plugins."
    assert sorted(lines) == [
        "main.toml: agent.workers: expected a whole number from 1 to 1024, got 0",
        place + 'asleep: the plugin "asleep" is installed but was not chosen to be loaded; load it, or take its part '
        "out",
        place + 'lakes[0].fish: expected a whole number, got "x"',
        place + "lakes[0].host: environment variable NOT_SET is not set; set it, or write ${NOT_SET:-text} for a "
        "fallback",
        place + "lakes[1].host: expected a string, got 3",
        place + 'pond.every: expected a duration such as 30 or "30s" ("500ms", "5m", "1h"), got "5 x"',
        place + 'pond.hots: unknown key; did you mean "host"?',
        place + 'ponds: no plugin "ponds" is installed; did you mean "pond"?',
        place + 'regex: the plugin "regex" has no settings of its own; take this part out',
        place + 'zzz: no plugin "zzz" is installed; with settings are lakes, pond (watcher plugins lists what is '
        "installed)",
    ]


def test_secrets_are_not_in_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "hunter2")
    (line,) = mistakes_in(tmp_path, '[plugins.pond]\nhost = "h"\ntoken = ["${TOKEN}"]')
    assert "hunter2" not in line and "plugins.pond.token" in line
    (line,) = mistakes_in(tmp_path, '[plugins.pond]\nhost = "h"\nfish = "${TOKEN}"')
    assert "hunter2" not in line and "plugins.pond.fish" in line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plugins = 3", "plugins: expected a table, got 3; write [plugins.NAME] above its keys"),
        ("[plugins]\npond = 3", "plugins.pond: expected a table, got a number"),
        ('[plugins.lakes]\nhost = "a"', "plugins.lakes: expected a list of tables, got a table"),
        ('[[plugins.pond]]\nhost = "a"', "plugins.pond: expected a table, got a list"),
        ("[plugins.pond]", 'plugins.pond: "host" is missing; add "host"'),
    ],
)
def test_the_shape_of_a_part_is_told(tmp_path: Path, text: str, said: str) -> None:
    assert mistakes_in(tmp_path, text) == [f"main.toml: {said}"]


def test_parts_belong_in_the_main_file(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[plugins.pond]\nhost = "a"')
    assert mistakes_in(tmp_path, 'include = ["a.toml"]') == ["a.toml: plugins: belongs in the main file; move it there"]


def test_no_plugin_has_settings_where_nobody_asked_the_plugins(tmp_path: Path) -> None:
    (line,) = mistakes_in(tmp_path, '[plugins.pond]\nhost = "a"', None)
    assert line == 'main.toml: plugins.pond: no plugin "pond" is installed (watcher plugins lists what is installed)'


def test_a_worker_is_told_what_is_written_and_converts_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POND", "pond.test")
    (tmp_path / "token").write_text("hunter2")
    text = '[plugins.pond]\nhost = "${POND}"\ntoken_file = "token"\nfile = "a"\n[[plugins.lakes]]\nhost = "b"'
    loaded = load(tmp_path, text)
    told = json.loads(json.dumps(loaded.plugin_tables))
    assert told["pond"] == {"host": "${POND}", "token_file": str(tmp_path / "token"), "file": str(tmp_path / "a")}
    monkeypatch.chdir("/")
    assert config.plugin_settings(told, TYPES) == (loaded.plugins, ())
    (tmp_path / "token").unlink()
    found, (problem,) = config.plugin_settings(told, TYPES)
    assert found == {"lakes": [Pond(host="b")]}
    assert problem.startswith(f"plugins.pond.token_file: cannot read {tmp_path / 'token'}: No such file")


def test_a_reload_tells_of_parts_that_workers_have_read(tmp_path: Path) -> None:
    old = load(tmp_path, '[plugins.pond]\nhost = "a"\n[[plugins.lakes]]\nhost = "b"')
    new = load(tmp_path, '[plugins.pond]\nhost = "b"')
    assert differences(old, new, ["lakes", "pond", "other"]) == ["plugins.lakes", "plugins.pond"]
    assert differences(old, new, ["pond"]) == ["plugins.pond"]  # lakes are for discovery, which asks anew
    assert not differences(old, load(tmp_path, '[plugins.pond]\nhost = "${NONE:-a}"'), ["pond"])


def test_a_worker_goes_on_without_a_part_that_cannot_be_used_any_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plugins = plugged.manager()
    plugins.register(statsd, "statsd")
    plugins.register(otlp, "otlp")
    tables = {
        "statsd": {"prefix": "probe"},
        "otlp": {"headers": {"Authorization": "${NOT_SET_ANY_MORE}"}},
    }
    job = Job(index=3, of=4, dsn="host=db", data_dir=str(tmp_path), location="eu", variant="b", plugins=tables)
    found = job.settings(plugins)
    assert found.plugins == {"statsd": statsd.Server(prefix="probe")}
    assert (found.worker, found.agent.location, found.agent.variant, found.agent.workers) == (3, "eu", "b", 4)
    assert (found.agent.data_dir, str.__str__(found.database.dsn)) == (tmp_path, "host=db")
    assert "plugins.otlp.headers.Authorization: environment variable NOT_SET_ANY_MORE is not set" in caplog.text
    assert "its plugin goes on as if nothing were configured" in caplog.text
