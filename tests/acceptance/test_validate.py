"""`watcher validate` and `watcher plugins` as a user types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from watcher import Endpoint, __version__
from watcher.commands.plugins import command as plugins_command
from watcher.commands.validate import command as validate_command
from watcher.errors import ConfigError
from watcher.plan import Plan, compile_plan

GOOD = '[[endpoints]]\nurl = "https://example.com/"\nregex = "Example"\n'
BAD = """
[defaults]
timout = 3

[[endpoints]]
name = "front page"
url = "https://example.com/"
interval = 3
regex = "("

[[endpoints]]
name = "login"
url = "https://example.com/login"
basic_auth = { username = "probe", password = "${PROBE_PASSWORD}" }
tls = { verify = "hunter2" }
"""


def watcher(directory: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a directory."""
    return subprocess.run(
        [sys.executable, "-m", "watcher", *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_valid_file(tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text(GOOD + GOOD + 'name = "off"\nenabled = false\n')
    done = watcher(tmp_path, "validate", "--config", "good.toml")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "good.toml: valid, 2 endpoints, 1 of them disabled\n"


def test_every_mistake_is_a_line_and_the_exit_code_is_2(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(BAD)
    done = watcher(tmp_path, "validate", "--config", "bad.toml")
    assert (done.returncode, done.stdout) == (2, "")
    places = [line.removeprefix("watcher: ").split(": ")[:3] for line in done.stderr.splitlines()]
    assert places == [
        ["bad.toml", "defaults", "timout"],
        ["bad.toml", 'endpoint "front page"', "interval"],
        ["bad.toml", 'endpoint "front page"', "regex"],
        ["bad.toml", 'endpoint "login"', "basic_auth.password"],
        ["bad.toml", 'endpoint "login"', "tls.verify"],
        ["5 mistakes"],
    ]


def test_the_agent_refuses_the_same_file_in_the_same_words(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(BAD)
    validated = watcher(tmp_path, "validate", "--config", "bad.toml")
    run = watcher(tmp_path, "--config", "bad.toml", WATCHER_DATA_DIR=str(tmp_path / "data"))
    assert (run.returncode, run.stderr) == (2, validated.stderr)
    assert not (tmp_path / "data").exists()


UNUSABLE = """
[[endpoints]]
url = "gopher://example.com/"

[[endpoints]]
name = "query"
url = "https://example.com/query"
body = { file = "query.json" }

[[endpoints]]
url = "https://example.org/query"
body = { file = "query.json" }

[[endpoints]]
name = "by proxy"
url = "http://example.com/"
proxy = "http://proxy.example:3128"
address = "192.0.2.1"
"""


def test_what_only_a_plan_shows_is_found_once_for_equal_endpoints(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(UNUSABLE + GOOD)
    done = watcher(tmp_path, "validate", "--config", "bad.toml")
    assert (done.returncode, done.stdout) == (2, "")
    scheme, file, proxy, count = done.stderr.splitlines()
    place = 'watcher: bad.toml: endpoint "gopher://example.com/": '
    assert scheme == place + "no plugin probes gopher: URLs; `watcher plugins` names those that are there"
    assert file.startswith('watcher: bad.toml: endpoint "query": ') and f"{tmp_path}/query.json: No such file" in file
    assert file.endswith("(and 1 more endpoint with these options)")
    assert 'endpoint "by proxy"' in proxy and "address cannot be had together with a proxy" in proxy
    assert count == "watcher: 3 mistakes"
    as_json = json.loads(watcher(tmp_path, "validate", "--json", "--config", "bad.toml").stdout)
    assert (as_json["valid"], len(as_json["problems"])) == (False, 3)


def test_mistakes_of_plans_are_told_beside_all_others(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(BAD + UNUSABLE)
    done = watcher(tmp_path, "validate", "--config", "bad.toml")
    assert done.returncode == 2 and done.stderr.splitlines()[-1] == "watcher: 8 mistakes"
    for said in ("timout", "interval", "no plugin probes gopher: URLs", "query.json", "by proxy"):
        assert said in done.stderr


SEVERAL = """
[[endpoints]]
name = "option and scheme"
url = "gopher://example.com/"
status = "2xxx"

[[endpoints]]
name = "interval and port"
url = "tcp://example.com"
interval = 3

[[endpoints]]
name = "file and scheme"
url = "gopher://example.com/"
body = { file = "query.json" }

[[endpoints]]
name = "option and both of them"
url = "http://example.com/"
regex = "("
proxy = "http://proxy.example:3128"
address = "192.0.2.1"

[[endpoints]]
name = "no url"
url = "https:/example.com/"
status = "2xxx"
"""


def test_all_mistakes_of_one_endpoint_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(SEVERAL)
    said = watcher(tmp_path, "validate", "--config", "bad.toml").stderr.splitlines()
    found = [(line.split('"')[1], line) for line in said[:-1]]
    for name, words in [
        ("option and scheme", "'2xxx' is no status"),
        ("option and scheme", "no plugin probes gopher: URLs"),
        ("interval and port", "interval: must be from 5"),
        ("interval and port", "plugin tcp: a tcp:// URL needs a port"),
        ("file and scheme", "query.json"),
        ("file and scheme", "no plugin probes gopher: URLs"),
        ("option and both of them", "regex: "),
        ("option and both of them", "address cannot be had together with a proxy"),
        ("no url", "url: has no scheme"),
        ("no url", "'2xxx' is no status"),
    ]:
        assert [one for one, line in found if words in line].count(name) == 1, (name, words)
    assert said[-1] == f"watcher: {len(found)} mistakes" and len(found) == 10


def test_a_plugin_that_nobody_knows_is_told_beside_all_others(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text('[agent]\ndisabled_plugins = ["regx"]\n' + BAD)
    said = watcher(tmp_path, "validate", "--config", "bad.toml").stderr.splitlines()
    assert 'watcher: bad.toml: agent.disabled_plugins: no plugin "regx"; did you mean "regex"?' in said
    assert said[-1] == "watcher: 6 mistakes"


PORTS = """
[[endpoints]]
name = "right"
url = "tcp://example.com:25"

[[endpoints]]
name = "no port"
url = "tcp://example.com"

[[endpoints]]
name = "with port"
url = "https://example.com/"
"""


@pytest.mark.parametrize("compiled_most", [3, 2], ids=["each alone", "by shape"])
def test_a_mistake_of_one_url_is_found_among_others_with_equal_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled_most: int
) -> None:
    monkeypatch.setattr("watcher.commands.validate.COMPILED_MOST", compiled_most)
    path = tmp_path / "x.toml"
    path.write_text(PORTS)
    result = CliRunner().invoke(validate_command, ["--config", str(path)])
    assert isinstance(result.exception, ConfigError)
    said = "plugin tcp: a tcp:// URL needs a port, as in tcp://example.com:25"
    assert result.exception.problems == (f'{path}: endpoint "no port": {said}',)


@pytest.fixture(name="made")
def fixture_made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the URLs of the plans that are made; a file of more than ten endpoints is a large one."""
    made: list[str] = []

    def compile_noted(endpoint: Endpoint, *parts: Any) -> Plan:
        made.append(endpoint.url)
        return compile_plan(endpoint, *parts)

    monkeypatch.setattr("watcher.commands.validate.COMPILED_MOST", 10)
    monkeypatch.setattr("watcher.commands.validate.compile_plan", compile_noted)
    return made


def test_plans_of_a_large_file_are_made_by_the_shape_of_their_urls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: list[str]
) -> None:
    monkeypatch.setenv("PORT", "8080")
    urls = [f"https://site{number}.example.com/{number}" for number in range(50)]
    odd = ["https://x:8443/", "https://m\u00fcnchen.example/", "http://example.com:${PORT}/", "https://x/{{now}}"]
    path = tmp_path / "x.toml"
    path.write_text("".join(f'[[endpoints]]\nurl = "{url}"\n' for url in urls + odd), encoding="utf-8")
    result = CliRunner().invoke(validate_command, ["--config", str(path)])
    assert (result.exit_code, len(made)) == (0, 5), result.output
    assert made[:2] == [urls[0], odd[0]]


def test_plans_of_a_large_file_with_one_mistake_everywhere_are_made_once(tmp_path: Path, made: list[str]) -> None:
    path = tmp_path / "x.toml"
    path.write_text("".join(f'[[endpoints]]\nurl = "gopher://site{n}.test/"\nstatus = "2xxx"\n' for n in range(20)))
    result = CliRunner().invoke(validate_command, ["--config", str(path)])
    assert isinstance(result.exception, ConfigError) and len(result.exception.problems) == 21
    assert len(made) == 1 and result.exception.problems[-1].endswith(" (and 19 more endpoints with these options)")


@pytest.mark.parametrize(
    ("name", "said"),
    [("none.toml", "none.toml: no such file"), (".", ".: is a directory"), ("bad.toml", "bad.toml: line 1, column")],
)
def test_a_file_that_cannot_be_read_is_one_clear_line(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "bad.toml").write_text("a = ")
    done = watcher(tmp_path, "validate", "--config", name)
    first, *more = done.stderr.splitlines()
    assert done.returncode == 2 and first.startswith(f"watcher: {said}") and more == ["watcher: 1 mistake"]


def test_secrets_are_followed_and_never_shown(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(BAD.replace("verify", "verfy"))
    done = watcher(tmp_path, "validate", "--config", "bad.toml", PROBE_PASSWORD="hunter2\n")
    assert "basic_auth" in done.stderr and "hunter2" not in done.stderr


def test_for_machines(tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text(GOOD)
    (tmp_path / "bad.toml").write_text(BAD)
    done = watcher(tmp_path, "validate", "--json", "--config", "good.toml")
    assert json.loads(done.stdout) == {"valid": True, "endpoints": 1, "disabled": 0, "problems": []}
    done = watcher(tmp_path, "validate", "--json", "--config", "bad.toml")
    found = json.loads(done.stdout)
    assert (done.returncode, done.stderr, found["valid"], len(found["problems"])) == (2, "", False, 5)


def test_a_plugin_may_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text(GOOD)
    done = watcher(tmp_path, "validate", "--config", "good.toml", "--no-plugin", "regex")
    assert done.returncode == 2 and 'the plugin "regex" is installed but was not chosen' in done.stderr
    done = watcher(tmp_path, "validate", "--config", "good.toml", "--no-plugin", "regx")
    assert done.returncode == 2 and 'did you mean "regex"?' in done.stderr


def test_the_command_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(GOOD)
    result = CliRunner().invoke(validate_command, ["--config", str(path)])
    assert (result.exit_code, result.output) == (0, f"{path}: valid, 1 endpoint\n")
    path.write_text(BAD)
    result = CliRunner().invoke(validate_command, ["--config", str(path)])
    assert isinstance(result.exception, ConfigError) and len(result.exception.problems) == 5
    assert "--config" in CliRunner().invoke(validate_command, []).output


@pytest.mark.parametrize("name", ["endpoints.toml", "reference.toml"])
def test_the_examples_are_valid(name: str) -> None:
    conf = Path(__file__).parents[2] / "conf"
    done = watcher(conf, "validate", "--config", name)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_option_with_a_mistake_is_none_of_another(tmp_path: Path) -> None:
    (tmp_path / "sites.toml").write_text(
        '[[endpoints]]\nurl = "http://a.test/"\nmax_body = "5 MiBx"\nbody_size = { min = 2000000 }\n'
    )
    done = watcher(tmp_path, "validate", "--config", "sites.toml")
    assert done.returncode == 2
    line, total = done.stderr.splitlines()
    assert "max_body" in line and "5 MiBx" in line
    assert total == "watcher: 1 mistake"


def plugins(*arguments: str) -> Any:
    """Give what `watcher plugins --json` lists, by name."""
    listed = json.loads(CliRunner().invoke(plugins_command, ["--json", *arguments]).output)
    return {plugin["name"]: plugin for plugin in listed}


def test_lists_plugins_with_origin_hooks_and_options() -> None:
    found = plugins()["basic_auth"]
    assert (found["distribution"], found["version"], found["loaded"]) == ("watcher", __version__, True)
    assert found["module"] == "watcher.plugins.credentials.basic_auth"
    assert found["hooks"] == ["options", "prepare"]
    fields = found["options"]["basic_auth"]["fields"]
    assert fields["password"] == {"type": "a string", "secret": True, "required": True}


def test_lists_what_is_not_loaded() -> None:
    found = plugins("--no-plugin", "regex")["regex"]
    assert (found["loaded"], found["options"], found["distribution"]) == (False, {}, "watcher")


def test_lists_plugins_for_people(tmp_path: Path) -> None:
    done = watcher(tmp_path, "plugins", "--no-plugin", "status")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert f"regex  (watcher {__version__}, watcher.plugins.assertions.regex)" in lines
    assert f"status  (watcher {__version__}, watcher.plugins.assertions.status)  not loaded" in lines
    assert "      password: a string (required, secret, or password_file)" in lines
