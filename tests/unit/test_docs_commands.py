"""docs/commands.md: its second half is what every command's --help says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click

from watcher.cli import cli

PAGE = Path(__file__).parents[2] / "docs/commands.md"
MARK = "which else checks it. -->\n"
COLUMNS = 100


def helps(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
    """Give the path and the help of a command and of all beneath it."""
    settings = {**command.context_settings, "terminal_width": COLUMNS}
    context = click.Context(command, info_name=name, parent=parent, **settings)
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            yield from helps(command.get_command(context, below), below, context)


def generated() -> str:
    """Give the half of the page that is generated."""
    return "".join(f"\n### `{path}`\n\n```text\n{text}\n```\n" for path, text in helps(cli, "watcher"))


def words(text: str) -> list[str]:
    """Give a text without its layout, which changes with click's version.

    And without -h: click keeps the help option of a command as whoever asked first, another test maybe, wanted it.
    """
    return text.replace("-h, --help", "--help").split()


def test_the_page_has_the_help_of_every_command() -> None:
    written, mark, rest = PAGE.read_text(encoding="utf-8").partition(MARK)
    assert mark
    if os.environ.get("WATCHER_TEST_WRITE_DOCS"):
        rest = generated()
        PAGE.write_text(written + mark + rest, encoding="utf-8")
    assert words(rest) == words(generated()), f"write it anew: WATCHER_TEST_WRITE_DOCS=1 pytest {__file__}"
