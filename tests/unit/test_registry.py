"""`watcher.registry`: plugins found by their metadata, checked, and what is said of those that do not fit."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from watcher import __version__, registry
from watcher.errors import ConfigError, UsageError

ROOT = Path(__file__).parents[2]
BUILT_INS = {path.stem for path in ROOT.glob("watcher/plugins/*/[!_]*.py")}
NUMBERS = itertools.count()

WORDCOUNT = """
from watcher import hookimpl

@hookimpl
def watcher_options():
    return {"min_words": int}
"""

Install = Callable[..., str]


@pytest.fixture(name="install")
def make_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a distribution with one plugin on the path: `install(source, name=…, distribution=…)` gives its module."""
    monkeypatch.syspath_prepend(tmp_path)

    def put(source: str, name: str = "fake", distribution: str = "watcher-fake") -> str:
        module = f"watcher_fake_{next(NUMBERS)}"
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[watcher]\n{name} = {module}\n")
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        return module

    return put


def refused(*disabled: str) -> str:
    """Give what is said when plugins do not load."""
    with pytest.raises(UsageError) as raised:
        registry.option_types(registry.plugin_manager(disabled))
    return str(raised.value)


def test_loads_what_is_installed_with_its_origin(install: Install) -> None:
    module = install(WORDCOUNT)
    plugins = registry.plugin_manager()
    assert {name for name, _ in plugins.list_name_plugin()} == BUILT_INS | {"fake"}
    assert plugins.origins["fake"] == registry.Origin("watcher-fake", "1.2", module)
    assert str(plugins.origins["regex"]) == f"watcher {__version__}"
    assert registry.option_types(plugins)["min_words"] == (int, "fake")


def test_leaves_out_what_is_disabled_or_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    plugins = registry.plugin_manager(["regex"])
    assert set(plugins.origins) == BUILT_INS - {"regex"} and set(plugins.absent) == {"regex"}
    monkeypatch.setenv("WATCHER_PLUGINS", "http, status")
    plugins = registry.plugin_manager(["status"])
    assert set(plugins.origins) == {"http"} and set(plugins.absent) == BUILT_INS - {"http"}
    assert registry.option_types(plugins).absent == BUILT_INS - {"http"}


def test_a_name_that_no_plugin_has_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused("regx") == '--no-plugin or agent.disabled_plugins: no plugin "regx"; did you mean "regex"?'
    monkeypatch.setenv("WATCHER_PLUGINS", "http,zzz")
    assert refused() == f'WATCHER_PLUGINS: no plugin "zzz"; installed are {", ".join(sorted(BUILT_INS))}'


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import not_there", "ModuleNotFoundError: No module named 'not_there'"),
        ("1 +", "SyntaxError"),
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("import sys\nsys.exit('no licence')", "SystemExit: no licence"),
        ("x = 1", "implements no hook; decorate functions named watcher_… with watcher.hookimpl"),
        ("from watcher import hookimpl\n@hookimpl\ndef watcher_option(): pass", "unknown hook 'watcher_option'"),
        ("from watcher import hookimpl\n@hookimpl\ndef watcher_steps(endpont): pass", "endpont"),
    ],
)
def test_names_a_plugin_that_does_not_load_and_the_remedy(install: Install, source: str, said: str) -> None:
    install(source)
    line = refused()
    assert line.startswith('plugin "fake" (watcher-fake 1.2) ') and said in line and "\n" not in line
    assert line.endswith("; go on without it by --no-plugin fake")
    assert "fake" in registry.plugin_manager(["fake"]).absent


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("{'interval': int}", '"interval" is a key of watcher itself; choose another'),
        ("['min_words']", "gives no dict of key and type but ['min_words']"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("{'min_words': 5}", '"min_words": '),
        ("{'min_words': __import__('pathlib').Path | bool}", "custom type"),
    ],
)
def test_names_a_plugin_whose_options_cannot_be(install: Install, options: str, said: str) -> None:
    install(f"from watcher import hookimpl\n@hookimpl\ndef watcher_options(): return {options}")
    line = refused()
    assert line.startswith('plugin "fake" (watcher-fake 1.2): watcher_options: ') and said in line


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("int", "gives no subclass of watcher.Options, nor a list of one, but <class 'int'>"),
        ("list[int]", "but list[int]"),
        ("None", "but None"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("list", "but <class 'list'>"),
    ],
)
def test_names_a_plugin_whose_settings_cannot_be(install: Install, settings: str, said: str) -> None:
    install(f"from watcher import hookimpl\n@hookimpl\ndef watcher_settings(): return {settings}")
    with pytest.raises(UsageError) as raised:
        registry.settings_types(registry.plugin_manager())
    line = str(raised.value)
    assert line.startswith('plugin "fake" (watcher-fake 1.2): watcher_settings: ') and said in line
    assert line.endswith("; go on without it by --no-plugin fake")


def test_a_file_may_set_up_plugins_by_their_names(install: Install, tmp_path: Path) -> None:
    install(
        "from watcher import Options, hookimpl\nclass Lake(Options):\n    depth: int = 1\n"
        "@hookimpl\ndef watcher_settings(): return list[Lake]"
    )
    path = tmp_path / "main.toml"
    path.write_text("[[plugins.fake]]\n[[plugins.fake]]\ndepth = 7")
    lakes = registry.configured(path)[0].settings.plugins["fake"]
    assert [lake.depth for lake in lakes] == [1, 7]
    with pytest.raises(ConfigError) as raised:
        registry.configured(path, ["fake"])
    (line,) = raised.value.problems
    assert line == (
        f'{path}: plugins.fake: the plugin "fake" is installed but was not chosen to be loaded; load it, or take its '
        "part out"
    )


def test_two_plugins_cannot_offer_the_same_option(install: Install) -> None:
    install(WORDCOUNT.replace("min_words", "regex"))
    line = refused()
    assert line.startswith('option "regex" is offered by plugin "')
    assert f'plugin "regex" (watcher {__version__})' in line and 'plugin "fake" (watcher-fake 1.2)' in line
    assert "--no-plugin" in line


def test_two_plugins_cannot_have_the_same_name(install: Install) -> None:
    install(WORDCOUNT, name="regex")
    line = refused()
    assert 'two plugins are named "regex"' in line and "watcher-fake 1.2" in line and f"watcher {__version__}" in line


def test_a_module_is_one_plugin(install: Install, tmp_path: Path) -> None:
    module = install(WORDCOUNT)
    entries = tmp_path / "watcher_fake-1.2.dist-info/entry_points.txt"
    entries.write_text(f"[watcher]\nfake = {module}\nother = {module}\n")
    assert "does not fit watcher's hooks" in refused()


def test_a_checkout_without_metadata_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "entry_points", lambda **_: ())
    assert "pip install -e ." in refused()


def test_a_file_disables_plugins_for_itself(tmp_path: Path) -> None:
    path = tmp_path / "main.toml"
    path.write_text('[agent]\ndisabled_plugins = ["regex"]\n[[endpoints]]\nurl = "https://a.example/"\nregex = "x"')
    with pytest.raises(UsageError, match='the plugin "regex" is installed but was not chosen to be loaded'):
        registry.configured(path)
    path.write_text('[[endpoints]]\nurl = "https://a.example/"\nregex = "x"')
    loaded, plugins, types = registry.configured(path, ["status"])
    assert len(loaded.endpoints) == 1 and set(plugins.absent) == {"status"} and "status" not in types
