"""A plugin that was there when an agent ran, and is no longer: every error says which package it was."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from agent_process import AgentProcess, Run, Write
from environments import ROOT, put

SOURCE = (ROOT / "examples/watcher-wordcount/watcher_wordcount.py").read_text() + """
from watcher import Options

class Own(Options):
    language: str = "en"

@hookimpl
def watcher_settings():
    return Own
"""
HEAD = """
[database]
dsn = "{dsn}"
[agent]
data_dir = "data"
workers = 1
source = "{source}"
"""
ENDPOINT = """
[[endpoints]]
name = "{name}"
url = "{site}/"
interval = 5
"""
GONE = "was offered by watcher-wordcount 1.0, which is no longer installed: pip install watcher-wordcount"
OPTION = f'min_words: option "min_words" {GONE}, or remove it'
SETTING = f"plugins.wordcount: {GONE}, or take this part out"


@pytest.fixture(name="wordcount")
def fixture_wordcount(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Give the variables by which the plugin is found."""
    return put(tmp_path_factory.mktemp("site-packages"), "wordcount", SOURCE)


def test_every_error_says_which_package_it_was(
    run: Run, write: Write, database: str, site: str, wordcount: dict[str, str]
) -> None:
    own = ENDPOINT.format(name="words", site=site) + "min_words = 1\n"
    path = write(HEAD.format(dsn=database, source="one") + "[plugins.wordcount]\n" + own)
    assert OPTION.replace(GONE, "") not in run("validate", "--config", str(path)).stderr
    with AgentProcess(path, "--log-level", "debug", **wordcount) as agent:
        agent.wait_for(" 1 up")
        assert agent.end() == 0, agent.everything()

    for command in (["validate", "--config", str(path)], ["--config", str(path)], ["--once", "--config", str(path)]):
        refused = run(*command)
        assert refused.returncode == 2, refused.stdout
        assert refused.stderr.splitlines() == [
            f"watcher: {path}: {SETTING}",
            f'watcher: {path}: endpoint "words": {OPTION}',
            "watcher: 2 mistakes",
        ]
    problems = json.loads(run("validate", "--config", str(path), "--json").stdout)["problems"]
    assert len(problems) == 2 and OPTION in problems[1]
    without = run("validate", "--config", str(path), "--no-plugin", "wordcount", **wordcount).stderr
    assert 'the plugin "wordcount", which offers it, is installed but was not chosen to be loaded' in without

    other = HEAD.format(dsn=database, source="two") + ENDPOINT.format(name="page", site=site)
    path.write_text(other, encoding="utf-8")
    with AgentProcess(path) as agent:  # it finds the row of the other source in the table
        agent.wait_for(f'endpoint "words": {OPTION}')
        path.write_text(other + "min_words = 1\n", encoding="utf-8")
        agent.process.send_signal(signal.SIGHUP)
        agent.wait_for(f'endpoint "page": {OPTION}')
        agent.wait_for("not reloaded, 1 mistake")
        assert agent.end() == 0, agent.everything()


def test_what_is_back_is_as_it_was(run: Run, write: Write, wordcount: dict[str, str]) -> None:
    path = write("[[endpoints]]\nurl = \"http://localhost/\"\nmin_words = 1\n")
    data_dir = Path(path.parent, "data")
    data_dir.mkdir()
    offer = {"plugin": "wordcount", "distribution": "watcher-wordcount", "version": "0.9"}
    (data_dir / "offered.json").write_text(json.dumps({"options": {"min_words": offer}}), encoding="utf-8")
    there = {"WATCHER_DATA_DIR": str(data_dir)}
    assert "watcher-wordcount 0.9" in run("validate", "--config", str(path), **there).stderr
    assert run("validate", "--config", str(path), **there, **wordcount).returncode == 0


def test_a_plugin_that_was_installed_since_the_start_is_known_after_a_restart(
    write: Write, database: str, site: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("site-packages")
    text = HEAD.format(dsn=database, source="one") + ENDPOINT.format(name="words", site=site)
    path = write(text)
    with AgentProcess(path, PYTHONPATH=str(directory)) as agent:
        agent.wait_for(" 1 up")
        put(directory, "wordcount", SOURCE)
        path.write_text(text + "min_words = 1\n", encoding="utf-8")
        agent.process.send_signal(signal.SIGHUP)
        agent.wait_for("installed, changed or uninstalled since the start, known after a restart: watcher-wordcount")
        agent.wait_for('unknown option "min_words"')
        assert agent.end() == 0, agent.everything()
