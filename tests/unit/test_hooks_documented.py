"""No hook without its entry in docs/plugins.md, an example there that runs, and a test that exercises it."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator

import plugged
import plugin_docs
import pytest

from watcher import hookspecs

HOOKS = {
    name: specification
    for name, specification in vars(hookspecs).items()
    if name.startswith("watcher_") and hasattr(specification, "watcher_spec")
}


def exercised() -> Iterator[tuple[str, str]]:
    """Give each name of a test with each attribute that it uses."""
    for path in (plugin_docs.ROOT / "tests").rglob("test_*.py"):
        for test in ast.walk(ast.parse(path.read_text())):
            if isinstance(test, ast.FunctionDef) and test.name.startswith("test_"):
                yield from ((test.name, node.attr) for node in ast.walk(test) if isinstance(node, ast.Attribute))


def test_there_are_hooks() -> None:
    assert "watcher_prepare" in HOOKS


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_has_an_entry_with_its_arguments(name: str) -> None:
    arguments = ", ".join(inspect.signature(HOOKS[name]).parameters)
    assert f"`{name}({arguments})`" in plugin_docs.sections()


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_has_an_example_that_implements_it_and_fits(name: str) -> None:
    plugins = plugged.manager(plugin_docs.example(f"`{name}("))
    plugins.check_pending()
    assert getattr(plugins.hook, name).get_hookimpls()


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_has_a_test_named_after_it_that_calls_it(name: str) -> None:
    wanted = name.replace("watcher_", "test_hook_", 1)
    assert any(test.startswith(wanted) and attribute == name for test, attribute in exercised())


def test_no_entry_is_about_a_hook_that_is_gone() -> None:
    entries = {title.strip("`").partition("(")[0] for title in plugin_docs.sections() if title.startswith("`watcher_")}
    assert entries == set(HOOKS)


def test_every_example_of_the_page_runs_as_it_is() -> None:
    for source in plugin_docs.PYTHON.findall(plugin_docs.TEXT):
        assert plugged.manager(plugin_docs.run(source)).get_plugins()


def test_the_plugin_in_15_lines_is_the_one_of_the_example_distribution() -> None:
    (source,) = plugin_docs.sources("A plugin in 15 lines")
    assert source == (plugin_docs.ROOT / "examples/watcher-wordcount/watcher_wordcount.py").read_text()
    assert len([line for line in source.splitlines() if line]) <= 15
