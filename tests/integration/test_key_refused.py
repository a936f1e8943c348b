"""A key that cannot be had for a while (a full disk) holds up what needs it, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from watcher import config, registry
from watcher.agent import agent as duties
from watcher.errors import EnvironmentProblem
from watcher.screen.fleet import Fleet

ENDPOINT = '[[endpoints]]\nname = "one"\nurl = "http://127.0.0.1:9/"\n'


@pytest.fixture(name="said")
def fixture_said() -> list[str]:
    """Give the lines that the agent says."""
    return []


@pytest.fixture(name="agent")
def fixture_agent(database: str, tmp_path: Path, said: list[str]) -> Iterator[duties.Agent]:
    """Give the duties of an agent, which are begun."""
    path = tmp_path / "endpoints.toml"
    path.write_text(f'[database]\ndsn = "{database}"\n[agent]\nworkers = 1\ndata_dir = "{tmp_path}/data"\n', "utf-8")
    plugins = registry.plugin_manager()
    types = registry.option_types(plugins)
    loaded = config.load(path, types, registry.settings_types(plugins))
    screen: Any = SimpleNamespace(say=said.append)
    with duties.Agent(path, loaded, (plugins, types), screen, Fleet(), {}) as made:
        made.prepare()
        yield made


def test_a_reload_that_cannot_encrypt_is_tried_again(
    agent: duties.Agent, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Any
) -> None:
    def refused(*_: object) -> None:
        raise EnvironmentProblem("secret.key: No space left on device")

    with open(tmp_path / "endpoints.toml", "a", encoding="utf-8") as file:
        file.write(ENDPOINT)
    with monkeypatch.context() as patched:
        patched.setattr(duties, "AGAIN_S", 0.0)
        patched.setattr(config, "sealed", refused)
        agent.reload()
        agent.ensure()
    (line,) = [text for text in said if "No space left" in text]
    assert line.endswith("is not applied yet, it is tried again")

    def applied() -> bool:
        agent.ensure()
        return "endpoints.toml: 1 added" in said

    eventually(applied, 30)
