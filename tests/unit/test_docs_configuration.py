"""docs/configuration.md and conf/: every key is there, with its default, and every example loads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from watcher import config, registry
from watcher.config import documents, settings, spec
from watcher.config.options import CORE_KEYS
from watcher.errors import ConfigError

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "conf/reference.toml").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(\w+)` \|([^|]+)\|([^|]*)\|", re.M)


def rows(heading: str) -> dict[str, str]:
    """Give key and default of the tables under a heading."""
    section = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert section
    return {key: default.strip().strip("`") for key, _, default in ROW.findall(section)}


def test_every_key_of_the_agent_has_its_row_with_its_default() -> None:
    documented = rows("`[agent]`")
    assert set(documented) == set(settings.AGENT_TYPES)
    defaults = settings.Agent(data_dir=Path())
    for key in ("location", "variant"):
        assert documented[key] == f'"{getattr(defaults, key)}"'
    for key in ("concurrency", "keepers", "batch_rows", "buffer_rows"):
        assert documented[key] == str(getattr(defaults, key))
    assert float(documented["batch_age"]) == defaults.batch_age_s


def test_every_key_of_the_database_has_its_row() -> None:
    assert set(rows("`[database]`")) == set(settings.DATABASE_TYPES)


def test_every_key_of_a_file_has_its_row() -> None:
    assert set(documents.MAIN_KEYS) == set(re.findall(r"^\| `(\w+)` \|", TEXT.partition("\n## `[database]`")[0], re.M))


def test_every_key_of_an_endpoint_has_its_row_with_its_default() -> None:
    documented = rows("`[[endpoints]]`")
    assert set(CORE_KEYS) <= set(documented)
    assert float(documented["interval"]) == spec.DEFAULT_INTERVAL_S
    assert documented["timeout"].startswith(f"{spec.DEFAULT_TIMEOUT_S:g}`")
    assert documented["enabled"] == "true"


def test_every_key_is_in_the_reference() -> None:
    plugins = registry.plugin_manager()
    keys = [*registry.option_types(plugins), *CORE_KEYS, *settings.AGENT_TYPES]
    keys += [f"plugins.{one.plugin_name}" for one in plugins.hook.watcher_settings.get_hookimpls()]
    assert not [key for key in keys if not re.search(rf"\b{key}\b", REFERENCE)]


def test_every_key_of_watcher_itself_is_explained() -> None:
    assert not [key for key in (*CORE_KEYS, *settings.AGENT_TYPES) if not re.search(rf"\b{key}\b", TEXT)]


def test_every_variable_that_is_read_has_its_row() -> None:
    read = set()
    for path in (ROOT / "watcher").rglob("*.py"):
        read |= set(re.findall(r"environ(?:\.get\(|\[)\"(WATCHER_\w+)\"", path.read_text(encoding="utf-8")))
    assert read and read <= set(re.findall(r"^\| `(WATCHER_\w+)` \|", TEXT, re.M))


def test_the_examples_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DB_PASSWORD", "PROBE_PASSWORD"):
        monkeypatch.setenv(name, "x")
    blocks = re.findall(r"^```toml\n(.*?)^```", TEXT, re.M | re.S)
    assert blocks
    plugins = registry.plugin_manager()
    types, parts = registry.option_types(plugins), registry.settings_types(plugins)
    for block in blocks:
        (tmp_path / "block.toml").write_text(block)
        assert config.load(tmp_path / "block.toml", types, parts).endpoints
    assert len(config.load(ROOT / "conf/endpoints.toml", types).endpoints) == 6
    assert config.load(ROOT / "conf/reference.toml", types).endpoints[0].locations == ("local",)


def test_the_messages_shown_are_the_messages(tmp_path: Path) -> None:
    path = tmp_path / "sites.toml"
    path.write_text(
        '[[endpoints]]\nname = "front page"\nurl = "https://example.com/"\nintervall = 3\n'
        '[[endpoints]]\nname = "login"\nurl = "https://example.com/login"\n'
        'basic_auth = { username = "probe", password = "${PROBE_PASSWORD}" }'
    )
    with pytest.raises(ConfigError) as raised:
        registry.configured(path)
    for problem in raised.value.problems:
        assert f"watcher: {problem.replace(str(path), 'conf/sites.toml')}\n" in TEXT
