"""`watcher.config.offers`: who offered what, remembered when it is gone."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import msgspec
import pytest
from option_types import option_types

from watcher import __version__, config, registry
from watcher.config import offers
from watcher.config.offers import Offer, Offers
from watcher.config.options import OptionTypes
from watcher.config.parts import SettingsTypes
from watcher.errors import ConfigError

WORDCOUNT = Offer("wordcount", "watcher-wordcount", "1.0")
GONE = "was offered by watcher-wordcount 1.0, which is no longer installed: pip install watcher-wordcount"


def remembered(data_dir: Path, options: tuple[str, ...] = (), settings: tuple[str, ...] = ()) -> Path:
    """Make a data directory in which an agent remembered these keys of a package that is gone."""
    offers.remember(data_dir, Offers(dict.fromkeys(options, WORDCOUNT), dict.fromkeys(settings, WORDCOUNT)))
    return data_dir


def mistakes(types: OptionTypes, **raw: object) -> list[str]:
    """Give what is wrong with a table of options."""
    found: list[str] = []
    types.convert(raw, lambda key, text: found.append(f"{key}: {text}"), {})
    return found


def test_the_error_names_the_package_that_offered_an_option(tmp_path: Path) -> None:
    types = option_types()
    assert mistakes(types, min_words=5)[0].startswith('min_words: unknown option "min_words"')
    types.recall(remembered(tmp_path, ("min_words",)))
    assert mistakes(types, min_words=5) == [f'min_words: option "min_words" {GONE}, or remove it']
    assert mistakes(types, min_words_file="/x") == [f'min_words_file: option "min_words_file" {GONE}, or remove it']
    assert "did you mean" in mistakes(types, patern="x")[0]


def test_an_option_that_is_offered_by_another_package_now_is_no_mistake(tmp_path: Path) -> None:
    types = option_types()
    types.recall(remembered(tmp_path, ("most",)))
    assert not mistakes(types, most=1)


def test_a_package_that_is_there_in_another_version_is_told_of(tmp_path: Path) -> None:
    there = metadata.version("pluggy")
    offers.remember(tmp_path, Offers({"old": Offer("p", "pluggy", "0.1")}))
    types = OptionTypes()
    types.recall(tmp_path)
    assert mistakes(types, old=1) == [
        f'old: option "old" was offered by pluggy 0.1; pluggy {there}, which is installed, does not offer it: '
        "pip install pluggy==0.1, or remove it"
    ]


def test_an_option_of_watcher_s_own_is_not_looked_for_at_pypi(tmp_path: Path) -> None:
    offers.remember(tmp_path, Offers({"old": Offer("p", "watcher", "0.0")}))
    types = OptionTypes()
    types.recall(tmp_path)
    said = mistakes(types, old=1)
    assert len(said) == 1 and said[0].endswith("does not offer it: install watcher 0.0 from its checkout, or remove it")


def test_a_plugin_that_is_merely_not_loaded_is_told_of(tmp_path: Path) -> None:
    types = OptionTypes(absent=["wordcount"])
    types.recall(remembered(tmp_path, ("min_words",)))
    assert mistakes(types, min_words=1) == [
        'min_words: unknown option "min_words"; the plugin "wordcount", which offers it, is installed but was not '
        "chosen to be loaded"
    ]


def test_the_error_names_the_package_that_had_settings(tmp_path: Path) -> None:
    types, found = SettingsTypes(plain=["regex"]), []
    types.recall(remembered(tmp_path, settings=("wordcount",)))
    types.storable({"wordcount": {}, "regex": {}}, lambda key, text: found.append(f"{key}: {text}"), "/")
    assert found[0] == f"plugins.wordcount: {GONE}, or take this part out"
    assert "no settings of its own" in found[1]


def test_what_is_offered_now_joins_what_was(tmp_path: Path) -> None:
    remembered(tmp_path, ("min_words", "most_words"))
    newer = Offer("wordcount", "watcher-wordcount", "2.0")
    offers.remember(tmp_path, Offers({"min_words": newer}))
    assert offers.read(tmp_path).options == {"most_words": WORDCOUNT, "min_words": newer}


def test_the_memory_is_bounded_and_the_newest_stays(tmp_path: Path) -> None:
    remembered(tmp_path, tuple(f"old_{number}" for number in range(offers.KEPT_MOST)))
    remembered(tmp_path, ("new",))
    kept = offers.read(tmp_path).options
    assert len(kept) == offers.KEPT_MOST and "new" in kept and "old_0" not in kept


def test_a_file_that_did_not_change_is_not_written(tmp_path: Path) -> None:
    remembered(tmp_path, ("min_words",))
    written = (tmp_path / offers.FILE).stat()
    remembered(tmp_path, ("min_words",))
    assert (tmp_path / offers.FILE).stat().st_ino == written.st_ino


@pytest.mark.parametrize("held", [None, b"{", b'{"options": 5}'])
def test_without_a_memory_nothing_is_remembered(tmp_path: Path, held: bytes | None) -> None:
    if held is not None:
        (tmp_path / offers.FILE).write_bytes(held)
    assert offers.read(tmp_path) == Offers()
    assert offers.read(Path("/proc/1/nowhere")) == Offers()
    remembered(tmp_path, ("min_words",))
    assert "min_words" in offers.read(tmp_path).options


def test_the_installed_plugins_are_what_is_offered() -> None:
    plugins = registry.plugin_manager()
    offered = registry.offers(plugins, registry.option_types(plugins))
    assert offered.options["regex"] == Offer("regex", "watcher", __version__)
    assert msgspec.json.decode(msgspec.json.encode(offered), type=Offers) == offered


def test_a_configuration_is_read_with_the_memory_of_its_data_directory(tmp_path: Path) -> None:
    path, data_dir = tmp_path / "watcher.toml", tmp_path / "data"
    data_dir.mkdir()
    path.write_text(
        '[agent]\ndata_dir = "data"\n[plugins.wordcount]\nx = 1\n'
        '[[endpoints]]\nurl = "https://a.example/"\nmin_words = 5\n'
    )
    remembered(data_dir, ("min_words",), ("wordcount",))
    with pytest.raises(ConfigError) as raised:
        registry.configured(path)
    assert len(raised.value.problems) == 2
    assert all(" was offered by watcher-wordcount 1.0" in problem for problem in raised.value.problems)
    with pytest.raises(ConfigError, match="is no longer installed"):
        config.load(path, registry.option_types(registry.plugin_manager()))
