"""`watcher plugins new`: the skeleton of a plugin in a distribution of its own, with tests that pass at once."""

from __future__ import annotations

import keyword
import re
import shutil
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from string import Template

import click

from watcher import registry
from watcher.commands.configured import disabled
from watcher.config.options import CORE_KEYS
from watcher.errors import EnvironmentProblem, UsageError

KINDS = ("assertion", "protocol", "output", "discovery")
NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
NAME_MOST = 40
PREFIX = "watcher-"


@click.command(name="new", short_help="Write the skeleton of a plugin, with tests that pass.")
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS), default="assertion", show_default=True, help="What it is to add.")
def command(name: str, kind: str) -> None:
    """Write the skeleton of a plugin into ./watcher-NAME: a distribution with a module, its tests and a README.

    An assertion judges answers by an option, a protocol checks URLs of a scheme of its own, an output receives results,
    a discovery finds endpoints. The tests pass as they are:

    \b
        pip install -e './watcher-NAME[test]'
        pytest watcher-NAME
    """
    _check(name, kind)
    words = _words(name)
    directory = Path(words["distribution"])
    files = dict(_rendered(kind, words))
    _write(directory, files)
    click.echo(f"{directory}: {', '.join(files)}")
    click.echo(f"next: pip install -e './{directory}[test]' && pytest {directory}")


def _check(name: str, kind: str) -> None:
    """Refuse a name that would not do.

    Raises:
        UsageError: with the reason.
    """
    if name.startswith((PREFIX, "watcher_")):
        raise UsageError(f'the package is named {PREFIX}NAME by itself: watcher plugins new {name[len(PREFIX):]}')
    if not NAME.fullmatch(name) or len(name) > NAME_MOST:
        example = "lower-case letters, digits and single hyphens, a letter first, as in page-title"
        raise UsageError(f'"{name}" cannot be the name of a plugin; write {example}; {NAME_MOST} characters at most')
    plugin = _plugin(name)
    plugins = registry.plugin_manager(disabled())
    types = registry.option_types(plugins)
    if origin := (plugins.origins | plugins.absent).get(plugin):
        raise UsageError(f'a plugin "{plugin}" is installed already, from {origin}; choose another name')
    if keyword.iskeyword(plugin):
        raise UsageError(f'"{plugin}" is a word of Python itself; choose another name')
    if kind not in ("assertion", "protocol"):
        return
    if plugin in CORE_KEYS:
        raise UsageError(f'"{plugin}" is a key of watcher itself, so no option can have it; choose another name')
    if plugin in types:
        owner = plugins.describe(types[plugin][1])
        raise UsageError(f'the option "{plugin}" is offered by {owner} already; choose another name')


def _plugin(name: str) -> str:
    return name.replace("-", "_")


def _words(name: str) -> dict[str, str]:
    plugin, dashed = _plugin(name), name.replace("_", "-")
    return {
        "plugin": plugin,
        "module": f"watcher_{plugin}",
        "distribution": PREFIX + dashed,
        "scheme": dashed,
        "type_name": "".join(part.title() for part in plugin.split("_")),
    }


def _rendered(kind: str, words: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Give each file's name and text."""

    def text(folder: str, name: str, **more: str) -> str:
        template = resources.files("watcher").joinpath("templates", folder, f"{name}.txt").read_text(encoding="utf-8")
        return Template(template).substitute(words, **more)

    title = text(kind, "about").strip()
    yield "pyproject.toml", text("package", "pyproject.toml", title=title)
    yield "README.md", text("package", "README.md", title=title, example=text(kind, "example").strip())
    yield f"{words['module']}.py", text(kind, "module.py")
    yield f"test_{words['plugin']}.py", text(kind, "test.py")


def _write(directory: Path, files: Mapping[str, str]) -> None:
    """Write all files, or none.

    Raises:
        UsageError: the directory is there already.
        EnvironmentProblem: it cannot be written.
    """
    try:
        directory.mkdir()
    except FileExistsError:
        raise UsageError(f"{directory} is there already; remove it, or choose another name") from None
    except OSError as error:
        raise EnvironmentProblem(f"{directory.absolute()}: {error.strerror}") from error
    try:
        for name, text in files.items():
            (directory / name).write_text(text, encoding="utf-8")
    except OSError as error:
        shutil.rmtree(directory, ignore_errors=True)
        raise EnvironmentProblem(f"{directory.absolute()}: {error.strerror}") from error
