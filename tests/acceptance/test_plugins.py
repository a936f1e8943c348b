"""`watcher plugins` and `watcher plugins doc`: what is offered, and what plugins did in an agent."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2
import pytest
from agent_process import AgentProcess, Eventually, Write
from environments import put

from watcher import __version__, jsonfile
from watcher.agent.account import FILE, PluginFigures
from watcher.cli import run_guarded

GAUGE = '''"""Looks at the gauge of a boiler.

    gauge = { most = 5 }
"""
from pathlib import Path
from typing import Annotated

import msgspec
from watcher import Duration, Failure, Match, Options, Secret, hookimpl


class Limits(Options):
    """What the gauge may show.

    More of it.
    """

    most: int
    """The most | it may show,
    in bar.

    More of it."""
    pause: Duration = Duration(2)
    unit: Match = Match(equals="bar")
    """In what it is told."""
    key: Secret | None = None


class Log(Options):
    """Where it is written down."""

    path: Path = Path("gauge.log")


@hookimpl
def watcher_options():
    return {
        "gauge": Limits,
        "gauge_every": Annotated[int, msgspec.Meta(ge=1, description="Every so many checks.",
                                                   extra_json_schema={"default": 3})],
        "gauge_token": Secret,
        "gauge_names": list[Limits],
    }


@hookimpl
def watcher_settings():
    return list[Log]


@hookimpl
def watcher_steps(endpoint):
    def examine(response):
        raise LookupError("there is no gauge")
    return examine if "gauge" in endpoint.options else None
'''
MARKDOWN = """\
## gauge

watcher-gauge 1.0, module `watcher_gauge`, hooks `options`, `settings`, `steps`.

Looks at the gauge of a boiler.

    gauge = { most = 5 }

### Option `gauge`

A table.

What the gauge may show.

More of it.

| field | type | default | what it means |
| --- | --- | --- | --- |
| `most` | a whole number | required | The most \\| it may show, in bar. |
| `pause` | a duration such as 30 or "30s" ("500ms", "5m", "1h") | `2.0` |  |
| `unit` | a string or a table ([Match](#match)) | `{"equals": "bar"}` | In what it is told. |
| `key` | a string; a secret, or `key_file` |  |  |

### Option `gauge_every`

A whole number of at least 1. Default: `3`.

Every so many checks.

### Option `gauge_token`

A string, never shown; or `gauge_token_file`, the path of a file that holds it.

### Option `gauge_names`

A list of tables.
"""


class Said(NamedTuple):
    """What a command said."""

    returncode: int
    stdout: str
    stderr: str


Call = Callable[..., Said]


@pytest.fixture(name="run")
def fixture_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Call:
    """Run a command in this process, which is what these commands never change: ten times as fast."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("WATCHER_DATA_DIR", str(tmp_path / "data"))

    def call(*arguments: str) -> Said:
        code = run_guarded(list(arguments))
        return Said(code, *capsys.readouterr())

    return call


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Give the variables by which other processes find the plugin."""
    return put(tmp_path_factory.mktemp("site-packages"), "gauge", GAUGE)


@pytest.fixture(name="gauge")
def fixture_gauge(installed: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process find the plugin."""
    monkeypatch.syspath_prepend(installed["PYTHONPATH"])


# the reference


@pytest.mark.usefixtures("gauge")
def test_the_reference_has_what_a_third_party_says_of_its_plugin(run: Call) -> None:
    written = run("plugins", "doc", "gauge", "--format", "markdown")
    assert (written.returncode, written.stderr) == (0, "")
    assert written.stdout.startswith(MARKDOWN)
    rest = written.stdout.removeprefix(MARKDOWN)
    assert "### Settings `[[plugins.gauge]]`" in rest and "| `path` | the path of a file | `\"gauge.log\"` |" in rest
    assert rest.count("## Match\n") == 1 and "| `equals` | a string |" in rest
    assert "## regex" not in written.stdout


def test_the_reference_has_every_plugin_with_every_option(run: Call) -> None:
    written = run("plugins", "doc", "--format", "markdown").stdout
    listed = json.loads(run("plugins", "--json").stdout)
    assert {"http", "regex", "status"} <= {plugin["name"] for plugin in listed}
    for plugin in listed:
        section = written.partition(f"## {plugin['name']}\n\n")[2].partition("\n## ")[0]
        assert plugin["doc"] and plugin["doc"] in section
        assert all(f"### Option `{key}`" in section for key in plugin["options"])
        assert (f"plugins.{plugin['name']}]" in section) == (plugin["settings"] is not None)


def test_what_the_reference_has_of_an_option_is_more_than_its_type(run: Call) -> None:
    listed = json.loads(run("plugins", "--json").stdout)
    for plugin in (plugin for plugin in listed if plugin["distribution"] == "watcher"):
        alone = len(plugin["options"]) == 1 and plugin["doc"]  # then it is the plugin that is described
        assert all(option.get("doc") or alone for option in plugin["options"].values()), plugin["name"]
    options = {key: option for plugin in listed for key, option in plugin["options"].items()}
    defaults = {key: options[key]["default"] for key in ("method", "max_redirects", "keep_alive", "template", "status")}
    parts = {plugin["name"]: plugin["settings"]["fields"] for plugin in listed if plugin["settings"]}
    timed = {name for name, fields in parts.items() if "interval" in fields}
    assert timed == {"file_sd", "sitemap", "srv", "otlp", "prometheus_remote_write"}, "one word for how often"
    assert not any("every" in key for fields in parts.values() for key in fields)
    assert defaults == {"method": "GET", "max_redirects": 10, "keep_alive": False, "template": True, "status": "2xx"}


@pytest.mark.usefixtures("gauge")
def test_the_reference_is_drawn_for_a_terminal(run: Call) -> None:
    drawn = run("plugins", "doc", "gauge")
    assert drawn.returncode == 0
    assert "Every so many checks." in drawn.stdout
    assert "| ---" not in drawn.stdout and "###" not in drawn.stdout
    assert max(map(len, drawn.stdout.splitlines())) <= 120


@pytest.mark.usefixtures("gauge")
def test_a_plugin_that_is_not_loaded_has_no_reference(run: Call) -> None:
    assert run("plugins", "doc", "regx").stderr == 'watcher: no plugin "regx" is loaded; did you mean "regex"?\n'
    left_out = ("--no-plugin", "gauge")
    for command in (("plugins", "doc", "gauge", *left_out), ("plugins", *left_out, "doc", "gauge")):
        refused = run(*command)
        assert refused.returncode == 2 and 'no plugin "gauge" is loaded' in refused.stderr
    assert "## gauge" in run("plugins", "--no-plugin", "regex", "doc", "--format", "markdown").stdout


# the list


@pytest.mark.usefixtures("gauge")
def test_the_list_has_distribution_hooks_options_and_settings(run: Call) -> None:
    listed = run("plugins").stdout
    lines = listed.partition("gauge  (watcher-gauge 1.0, watcher_gauge)\n")[2].splitlines()
    assert lines[:4] == [
        "  hooks: options, settings, steps",
        "  option gauge: a table",
        "      most: a whole number (required)",
        '      pause: a duration such as 30 or "30s" ("500ms", "5m", "1h") (default 2.0)',
    ]
    assert "  option gauge_every: a whole number of at least 1 (default 3)" in lines
    assert "  option gauge_token: a string (secret, or gauge_token_file)" in lines
    own = lines.index("  settings [[plugins.gauge]]")
    assert lines[own + 1] == '    path: the path of a file (default "gauge.log")'
    assert f"regex  (watcher {__version__}, watcher.plugins.assertions.regex)\n" in listed
    without = run("plugins", "--no-plugin", "gauge").stdout
    assert "gauge  (watcher-gauge 1.0, watcher_gauge)  not loaded" in without


@pytest.mark.usefixtures("gauge")
def test_the_list_for_machines_says_the_same(run: Call) -> None:
    listed = {plugin["name"]: plugin for plugin in json.loads(run("plugins", "--json").stdout)}
    found = listed["gauge"]
    assert (found["distribution"], found["version"], found["loaded"]) == ("watcher-gauge", "1.0", True)
    assert found["options"]["gauge"]["fields"]["most"]["required"] is True
    assert found["options"]["gauge_every"] == {
        "type": "a whole number of at least 1", "secret": False, "doc": "Every so many checks.", "default": 3,
    }  # fmt: skip
    assert found["settings"]["many"] is True
    assert "figures" not in found


@pytest.mark.parametrize(("option", "value"), [("--json", ()), ("--config", ("x.toml",))])
def test_an_option_that_would_do_nothing_is_refused(run: Call, option: str, value: tuple[str, ...]) -> None:
    refused = run("plugins", option, *value, "doc")
    assert refused.returncode == 2 and f"{option} before 'doc' has no effect" in refused.stderr


# figures


def left(data_dir: Path, ago_s: float, ended: bool = False, **plugins: dict[str, int]) -> None:
    """Leave figures as an agent does."""
    data_dir.mkdir(exist_ok=True)
    jsonfile.write(data_dir / FILE, PluginFigures(time.time() - ago_s, ended, plugins))


REGEX = {"calls": 1200, "spent_us": 3_400_000, "errors": 1, "held": 2, "overruns": 0}


@pytest.mark.parametrize(
    ("ago_s", "ended", "said"),
    [
        (3, False, r"figures of \d s ago, "),
        (3600, False, "figures of 60 min ago; it is not heard of any more, "),
        (90_000, True, "figures of an agent that ended 25 h ago, "),
    ],
)
def test_figures_are_shown_with_their_age(run: Call, write: Write, ago_s: float, ended: bool, said: str) -> None:
    path = write('[agent]\ndata_dir = "data"\n')
    left(path.parent / "data", ago_s, ended, regex=REGEX)
    shown = run("plugins", "--config", str(path)).stdout
    first, rest = shown.split("\n", 1)
    assert re.fullmatch(said + str(path.parent / "data"), first), first
    wanted = "figures: 1,200 calls, 3.40 s (2.83 ms each), 1 error, held up every other check 2 times"
    assert f"\n  {wanted}\n" in rest.partition("\nregex  (")[2].partition("option ")[0]
    assert shown.count("calls") == 1


def test_what_outputs_did_not_get_is_shown(run: Call, tmp_path: Path) -> None:
    left(tmp_path / "data", 5, regex={"calls": 0, "spent_us": 0, "errors": 3, "dropped": 1}, gone={"errors": 1})
    shown = run("plugins").stdout
    assert "\n  figures: 3 errors, 1 result dropped\n" in shown
    assert shown.endswith("\ngone  (not installed here)\n  figures: 1 error\n")


def test_figures_are_looked_for_in_the_default_data_directory_too(run: Call, tmp_path: Path) -> None:
    assert "figures" not in run("plugins").stdout
    left(tmp_path / "data", 5, regex=REGEX)
    listed = json.loads(run("plugins", "--json").stdout)
    by_name = {plugin["name"]: plugin["figures"] for plugin in listed}
    assert by_name["status"] is None and by_name["regex"].items() >= REGEX.items()
    assert 5 <= by_name["regex"]["age_s"] < 60 and by_name["regex"]["ended"] is False


def test_who_asks_for_figures_hears_that_there_are_none(run: Call, write: Write) -> None:
    path = write('[agent]\ndata_dir = "data"\n')
    said = run("plugins", "--config", str(path))
    assert said.returncode == 0 and "regex  (" in said.stdout
    assert said.stderr == f"watcher: no agent has left figures in {path.parent / 'data'} yet\n"
    (path.parent / "data" / FILE).mkdir(parents=True)
    refused = run("plugins", "--config", str(path))
    assert refused.returncode == 2 and FILE in refused.stderr and "Traceback" not in refused.stderr


def test_an_environment_that_no_agent_could_use_is_no_reason_not_to_list(
    run: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHER_DATABASE_DSN", "nonsense")
    listed = run("plugins")
    assert (listed.returncode, listed.stderr) == (0, "") and "regex  (" in listed.stdout


AGENT = """
[database]
dsn = "{dsn}"
[agent]
workers = 2
data_dir = "data"
[[endpoints]]
name = "boiler"
url = "{site}/"
interval = 5
gauge = {{ most = 5 }}
"""


@pytest.mark.usefixtures("gauge")
def test_an_agent_leaves_the_figures_of_all_its_workers(
    run: Call, write: Write, database: str, site: str, installed: dict[str, str], eventually: Eventually
) -> None:
    path = write(AGENT.format(dsn=database, site=site))

    def rows() -> list[tuple[Any, ...]]:
        """a check was made and stored"""
        with closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT status, reason, detail FROM metrics")
            return cursor.fetchall()

    with AgentProcess(path, **installed) as agent:
        eventually((path.parent / "data" / FILE).exists, 30)
        assert " ago, " in run("plugins", "--config", str(path)).stdout.split("\n", 1)[0]
        eventually(rows, 30)
        assert agent.end() == 0, agent.everything()
    stored = rows()
    assert {row[:2] for row in stored} == {("missed", "plugin")} and "there is no gauge" in stored[0][2]
    found = {one["name"]: one for one in json.loads(run("plugins", "--config", str(path), "--json").stdout)}
    figures = found["gauge"]["figures"]
    assert (figures["calls"], figures["errors"], figures["ended"]) == (len(stored), len(stored), True)
    assert figures["spent_us"] > 0
    assert found["status"]["figures"]["errors"] == 0
    assert "figures of an agent that ended " in run("plugins", "--config", str(path)).stdout
