"""`watcher --config F`: runs the agent until a signal ends it."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from watcher import __version__, registry
from watcher.agent.agent import Agent, Screen
from watcher.agent.signals import Signals
from watcher.agent.supervisor import Supervisor
from watcher.config import Config
from watcher.screen import figures
from watcher.screen.fleet import Fleet
from watcher.screen.journal import SUMMARY_S, Journal

PATIENCE_S = 1.5  # a file that takes longer to read is announced before
SUMMARIES_S = {"debug": 1.0, "info": SUMMARY_S}


def run(path: Path, disabled: Iterable[str], log_level: str) -> int:
    """Run an agent on a terminal or without one; return the exit code."""
    with announced(f"watcher {__version__}: reading {path}"):
        loaded, plugins, types = registry.configured(path, disabled)
    click.echo(f"watcher {__version__}: {_counted(loaded)} from {path}")
    fleet = Fleet()
    screen = _screen(fleet, path, loaded, log_level)
    _log_to(screen, log_level)
    job = {"disabled_plugins": sorted({*disabled, *loaded.settings.agent.disabled_plugins}), "log_level": log_level}
    agent = Agent(path, loaded, (plugins, types), screen, fleet, job)
    del loaded  # once it is in the table, nobody needs it: 100,000 endpoints are 100 MB
    with Signals() as signals:
        with agent:
            try:
                return Supervisor(agent, signals).run()
            finally:
                screen.close(time.monotonic())


def is_terminal() -> bool:
    """Tell whether there is a screen on which a table can stay in its place."""
    from rich.console import Console

    console = Console()
    return console.is_terminal and not console.is_dumb_terminal and sys.stdout.isatty()


@contextmanager
def announced(text: str) -> Iterator[None]:
    """Print a line if what follows takes longer than the user should wait for a first one."""
    timer = threading.Timer(PATIENCE_S, click.echo, (text,))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _screen(fleet: Fleet, path: Path, loaded: Config, log_level: str) -> Screen:
    if not is_terminal():
        return Journal(fleet, sys.stdout, sys.stderr, SUMMARIES_S.get(log_level, float("inf")))
    from watcher.screen.live import LiveTable

    return LiveTable(fleet, f"watcher {__version__}  {path}  {loaded.settings.agent.location}", sys.stdout)


class _Said(logging.Handler):
    """Gives log records to a screen."""

    def __init__(self, screen: Screen) -> None:
        super().__init__()
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        self._screen.say(self.format(record))


def _log_to(screen: Screen, log_level: str) -> None:
    logging.basicConfig(handlers=[_Said(screen)], level=log_level.upper(), format="%(levelname)s %(name)s %(message)s")


def _counted(loaded: Config) -> str:
    disabled = sum(not spec.enabled for spec in loaded.endpoints)
    return figures.counted(len(loaded.endpoints), "endpoint") + (f" ({disabled:,} disabled)" if disabled else "")
