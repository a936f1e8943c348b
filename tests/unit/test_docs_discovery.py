"""docs/options/discovery.md: every key of every table is there with its default, and every example loads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from watcher import config
from watcher.config.options import OptionTypes
from watcher.config.parts import SettingsTypes
from watcher.plugins.discovery import file_sd, sitemap, srv

TEXT = (Path(__file__).parents[2] / "docs/options/discovery.md").read_text(encoding="utf-8")
PLUGINS = {"file_sd": file_sd, "sitemap": sitemap, "srv": srv}
EXAMPLES = re.findall(r"^```toml\n(.*?)^```$", TEXT, re.M | re.S)
ROW = re.compile(r"^\| (`[^|]+`) \|([^|]*)\|", re.M)


def keys(name: str) -> dict[str, str]:
    """Give the keys that the section of a plugin has in its table, with what stands for the default."""
    section = TEXT.partition(f"## `[[plugins.{name}]]`\n")[2].partition("\n## ")[0]
    return {key: row[2].strip() for row in ROW.finditer(section) for key in re.findall(r"`(\w+)`", row[1])}


@pytest.mark.parametrize("name", PLUGINS)
def test_every_key_is_there_with_its_default(name: str) -> None:
    (table,) = get_args(PLUGINS[name].watcher_settings())
    known = {field.name: field for field in msgspec.structs.fields(table)}
    told = keys(name)
    assert told.keys() == known.keys()
    for key, field in known.items():
        if isinstance(field.default, (int, float, str)):
            assert written(told[key]) == field.default, key


def written(text: str) -> Any:
    """Give the value that the page names, durations in seconds."""
    value = text.strip("`").strip('"')
    hours = re.fullmatch(r"(\d+)h", value)
    return int(hours[1]) * 3600 if hours else int(value) if value.isdigit() else value


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_loads(example: str, tmp_path: Path) -> None:
    path = tmp_path / "watcher.toml"
    path.write_text(example, encoding="utf-8")
    types = SettingsTypes({name: plugin.watcher_settings() for name, plugin in PLUGINS.items()})
    settings = config.load(path, OptionTypes(), types).settings
    given = [plugin.watcher_endpoints(settings) for plugin in PLUGINS.values()]
    assert any(given)


def test_there_is_an_example_of_each() -> None:
    assert all(any(f"[[plugins.{name}]]" in example for example in EXAMPLES) for name in PLUGINS)
