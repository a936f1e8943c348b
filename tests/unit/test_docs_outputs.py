"""docs/options/outputs.md, conf/reference.toml: every key of every output is there with its default, and they load."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from watcher import config, registry
from watcher.config import SettingsTypes, shapes
from watcher.plugins.outputs import ndjson, otlp, prometheus_remote_write, statsd

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/options/outputs.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "conf/reference.toml").read_text(encoding="utf-8")
OUTPUTS = {plugin.__name__.rpartition(".")[2]: plugin for plugin in (ndjson, statsd, otlp, prometheus_remote_write)}
KEY = re.compile(r"^\| `(\w+)` \|[^|]+\| *([^|]*?) *\|", re.M)


def section(name: str) -> str:
    """Give the text about one output."""
    return TEXT.partition(f"\n## `[plugins.{name}]`\n")[2].partition("\n## ")[0]


def keys(name: str) -> dict[str, str]:
    """Give the keys of an output with their defaults, as the table has them."""
    return dict(KEY.findall(section(name).partition("| key | type | default | |\n")[2].partition("\n\n")[0]))


def default(field: msgspec.structs.FieldInfo) -> str:
    """Give a default as the tables write it."""
    found = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    if found is msgspec.NODEFAULT or found is None:
        return ""
    if isinstance(found, bool):
        return f"`{str(found).lower()}`"
    return f'`"{found}"`' if isinstance(found, str) else f"`{found:g}`" if isinstance(found, float) else f"`{found}`"


@pytest.fixture(name="types")
def fixture_types() -> SettingsTypes:
    """Give the types of all plugins' parts."""
    return registry.settings_types(registry.plugin_manager())


@pytest.mark.parametrize("name", OUTPUTS)
def test_every_key_has_its_row_with_its_default(name: str) -> None:
    rows = keys(name)
    if name == "prometheus_remote_write":
        rows = {key: value for key, value in keys("otlp").items() if key != "resource"} | rows | {"url": ""}
    fields = shapes.fields(OUTPUTS[name].watcher_settings())
    assert set(rows) == set(fields)
    for key, field in fields.items():
        if default(field):
            assert rows[key] == default(field), key


def test_every_metric_and_field_has_its_row() -> None:
    for field in ndjson.NUMBERS:
        assert f"`{field}`" in section("ndjson")
    for name, metrics in {
        "otlp": re.findall(r'"(watcher\.check[\w.]*)"', Path(otlp.__file__).read_text("utf-8")),
        "prometheus_remote_write": re.findall(
            r'"(watcher_\w+)"', Path(prometheus_remote_write.__file__).read_text("utf-8")
        ),
    }.items():
        assert metrics and [metric for metric in metrics if f"`{metric}" not in section(name)] == []


def test_the_examples_load(tmp_path: Path, types: SettingsTypes) -> None:
    blocks = re.findall(r"^```toml\n(.*?)^```", TEXT, re.M | re.S)
    assert len(blocks) == len(OUTPUTS)
    for block in blocks:
        (tmp_path / "block.toml").write_text(block.replace("/var/log/watcher", str(tmp_path)))
        assert len(config.load(tmp_path / "block.toml", {}, types).settings.plugins) == 1


def test_the_reference_has_every_key_and_loads(
    tmp_path: Path, types: SettingsTypes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTLP_TOKEN", "x")
    block = REFERENCE.partition("# Outputs: ")[2].partition("\n")[2].partition("\n# Discovery: ")[0]
    (tmp_path / "collector.pem").touch()
    text = re.sub(r"^# ?", "", block, flags=re.M).replace("/var/log/watcher", str(tmp_path)).replace("/etc/ssl", ".")
    (tmp_path / "main.toml").write_text(text)
    loaded: dict[str, Any] = config.load(tmp_path / "main.toml", {}, types).settings.plugin_tables
    for name in ("ndjson", "statsd", "otlp"):
        assert set(loaded[name]) == set(shapes.fields(OUTPUTS[name].watcher_settings()))
    own = {"url", "tags", "buckets"}
    assert set(loaded["prometheus_remote_write"]) == own
    inherited = set(shapes.fields(prometheus_remote_write.Prometheus)) - own
    assert inherited | {"url", "resource"} == set(shapes.fields(otlp.Collector))
