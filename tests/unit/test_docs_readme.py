"""README.md: its configuration is a right one, its plugin is the one that lies in examples/, its lists are whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pages import ROOT

from watcher import config, registry
from watcher.config import EndpointSpec
from watcher.plan import compile_plan

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
OVER_TLS = {"https", "wss", "rediss", "grpcs"}


def test_its_configuration_is_one_that_can_be_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PROBE_PASSWORD", "REDIS_PASSWORD"):
        monkeypatch.setenv(name, "x")
    (block,) = re.findall(r"^```toml\n(.*?)^```", TEXT, re.M | re.S)
    (tmp_path / "sites.toml").write_text(block, encoding="utf-8")
    plugins = registry.plugin_manager()
    types = registry.option_types(plugins)
    loaded = config.load(tmp_path / "sites.toml", types, registry.settings_types(plugins))
    assert {"file_sd", "ndjson"} <= set(loaded.settings.plugins)

    def why(spec: EndpointSpec) -> object:
        return getattr(compile_plan(config.endpoint(spec, types), plugins).prober, "why", None)

    assert {spec.name: why(spec) for spec in loaded.endpoints} == dict.fromkeys(
        ("front page", "login", "orders", "cache")
    )


def test_its_plugin_is_the_one_of_the_examples() -> None:
    (source,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.M | re.S)
    assert source == (ROOT / "examples/watcher-wordcount/watcher_wordcount.py").read_text(encoding="utf-8")
    assert "15 lines" in TEXT and sum(bool(line.strip()) for line in source.splitlines()) <= 15


def test_its_protocols_are_those_that_there_are() -> None:
    (row,) = re.findall(r"^\| \[protocols\]\(\S+\) \| (.+) \|$", TEXT, re.M)
    page = (ROOT / "docs/options/protocols.md").read_text(encoding="utf-8")
    (schemes,) = re.findall(r"\n\| scheme \| what is checked \|\n(.+?)\n\n", page, re.S)
    there = set(re.findall(r"`([a-z0-9]+)://`", schemes))
    named = {word.strip().removesuffix("(s)").lower() for word in row.split(",")}
    assert {{"websocket": "ws", "postgresql": "postgres"}.get(name, name) for name in named} == there - OVER_TLS
