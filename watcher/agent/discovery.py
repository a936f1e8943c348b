"""Endpoints that plugins find elsewhere (hook `watcher_endpoints`), each plugin's as a source of its own.

Owns what was found last; the table gets the difference when something changed. A find that fails, or finds only a part,
removes nothing. Only `watcher.agent.find` leaves the thread of the caller.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any

import msgspec
import pluggy

from watcher import config
from watcher.agent.find import Find
from watcher.config import EndpointSpec, Settings, references
from watcher.config.options import OptionTypes
from watcher.errors import ConfigError, DatabaseError, EnvironmentProblem, WatcherError
from watcher.models import Discovery, Failure
from watcher.screen import figures
from watcher.store import endpoints
from watcher.store.connection import Connection, connect
from watcher.store.patience import patience

AGAIN_S = 5.0
THREADS_MOST = 32  # also those of finds that never come back, from before a reload too
SAID_MOST = 5

_ADDRESS = re.compile(r"0x[0-9a-f]+")


class Discoveries:
    """What the plugins of an agent find.

    Args:
        plugins: those that are asked.
        types: the options that endpoints may have.
        say: tells the operator one line.
    """

    def __init__(self, plugins: pluggy.PluginManager, types: OptionTypes, say: Callable[[str], None]) -> None:
        self._plugins = plugins
        self._types = types
        self._say = say
        self._directory = "."
        self._sources: dict[str, _Source] = {}
        self._broken: set[str] = set()
        self._threads: list[threading.Thread] = []
        self._full = False
        self._again_at = 0.0

    @property
    def sources(self) -> set[str]:
        """Name the sources that are looked after here, or ought to be."""
        return self._broken | self._sources.keys()

    def ask(self, settings: Settings) -> None:
        """Ask every plugin anew, at start and at a reload; one that breaks goes on as it was."""
        self._directory = str(settings.path.parent) if settings.path else "."
        hook = self._plugins.hook.watcher_endpoints
        others = {implementation.plugin for implementation in hook.get_hookimpls()}
        for implementation in hook.get_hookimpls():
            name = implementation.plugin_name
            source = f"plugin:{name}"
            ask = self._plugins.subset_hook_caller("watcher_endpoints", others - {implementation.plugin})
            try:
                answers = [list(answer) for answer in ask(settings=settings)]
            except (Exception, SystemExit) as error:  # pylint: disable=broad-exception-caught  # the boundary around plugins
                self._broken.add(source)
                self._say(f"{source}: {_words(error)}; its endpoints stay as they are")
                continue
            self._broken.discard(source)
            given = [part for answer in answers for part in answer]
            if given or source in self._sources or (answers and self._is_set_up(name, settings)):
                self._sources[source] = _Source(given)

    def _is_set_up(self, name: str, settings: Settings) -> bool:
        """Tell whether nothing is what a plugin found, and not that it has to look on other nodes of this database."""
        having = {implementation.plugin_name for implementation in self._plugins.hook.watcher_settings.get_hookimpls()}
        return name in settings.plugins or name not in having

    def tend(self, dsn: str, now: float) -> None:
        """Take in what was found, bring it into the table and start what is due; to be called each second."""
        for name, source in self._sources.items():
            for find in source.finds:
                outcome = find.take(now)
                if outcome is not None:
                    source.stale |= self._take(name, find, *outcome)
        self._sync(dsn, now)
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        due = [find for source in self._sources.values() for find in source.finds if find.is_due(now)]
        room = THREADS_MOST - len(self._threads)
        for find in due[:room]:
            self._threads.append(find.start(now))
        if len(due) > room and not self._full:
            self._say(f"{THREADS_MOST} discoveries are under way at once; the others wait for one that comes back")
        self._full = len(due) > room

    def _take(self, source: str, find: Find, given: list[Any], error: Exception | None) -> bool:
        """Keep what a find gave, if it is right, and say what is new about its troubles; tell whether it changed."""
        before = find.specs, find.whole
        troubles = [part for part in given if isinstance(part, Failure)]
        tables, clashing = _unique(part for part in given if not isinstance(part, Failure))
        rest = "until all is found none of its endpoints is removed"
        said = [f"{source}: {references.masked(part.detail)}; {rest}" for part in troubles]
        if error:
            said = [f"{source}: {_words(error)}; its endpoints stay as they are"]
        else:
            try:
                digest = _digest(tables)
                if digest is None or digest != find.digest:  # 100,000 tables are read in 2 s, and mostly are the same
                    find.specs = config.specs(tables, self._types, source, self._directory)
                find.whole, find.clashing, find.digest = not troubles, clashing, digest
            except ConfigError as mistakes:
                count = figures.counted(len(mistakes.problems), "mistake")
                last = f"{count} in what {source} gives; its endpoints stay as they are"
                said = [*mistakes.problems[: SAID_MOST - 1], last]
            except Exception as failure:  # pylint: disable=broad-exception-caught  # what a plugin gives may be anything
                said = [f"{source}: {_words(failure)}; its endpoints stay as they are"]
        self._tell(source, find, said)
        return before != (find.specs, find.whole)

    def _tell(self, source: str, find: Find, said: Sequence[str]) -> None:
        """Say of the troubles of a find what was not said before, and when they are over."""
        keys = {_ADDRESS.sub("", line): line for line in said}  # the message of many an exception holds one
        new = [line for key, line in keys.items() if key not in find.said]
        for line in new[:SAID_MOST]:
            self._say(line)
        if len(new) > SAID_MOST:
            self._say(f"{source}: {len(new) - SAID_MOST:,} more of that kind")
        if find.said and not said:
            self._say(f"{source}: works again, {figures.counted(len(find.specs or ()), 'endpoint')} found")
        find.said = frozenset(keys)

    def _sync(self, dsn: str, now: float) -> None:
        """Bring into the table what changed; while that cannot be, it is said once and tried again."""
        stale = [(name, source) for name, source in self._sources.items() if source.stale]
        if not stale or now < self._again_at:
            return
        try:
            with closing(connect(dsn, name="watcher discovery")) as connection, patience(connection):
                failed = [error for one in stale if (error := self._synced(connection, *one))]
        except DatabaseError as error:
            failed = [error]
        if failed and not self._again_at:
            self._say(f"{failed[0]}; what plugins found is not applied yet, it is tried again")
        self._again_at = now + AGAIN_S if failed else 0.0

    def _synced(self, connection: Connection, name: str, source: _Source) -> WatcherError | None:
        """Bring the endpoints of one source into the table, or give why that may go well another time."""
        specs, whole, clashing = source.union()
        try:
            synced = endpoints.sync(connection, config.sealed(specs, self._types), name, replace=whole)
        except (DatabaseError, EnvironmentProblem) as error:
            return error
        except (ConfigError, ValueError) as error:  # what PostgreSQL cannot hold: another try would change nothing
            self._say(f"{name}: {_words(error)}; its endpoints stay as they are")
        else:
            self._tell_difference(name, synced, source.is_new)
            self._tell_clashing(name, source, clashing)
        source.stale = source.is_new = False
        return None

    def _tell_difference(self, name: str, synced: endpoints.Synced, is_new: bool) -> None:
        if synced or (is_new and synced.unchanged):
            self._say(f"{name}: {synced}")
        for line in taken_over(synced):
            self._say(line)

    def _tell_clashing(self, name: str, source: _Source, clashing: list[str]) -> None:
        if clashing and clashing != source.said_clashing:
            some = ", ".join(f'"{one}"' for one in clashing[:SAID_MOST])
            which = f"{some} …" if len(clashing) > SAID_MOST else some
            self._say(f"{name}: gives more than one endpoint the same name, only the first is watched: {which}")
        source.said_clashing = clashing


class _Source:
    """What one plugin gave. `stale` tells that the table does not have it yet, `is_new` that it never had."""

    def __init__(self, given: Iterable[Any]) -> None:
        parts = list(given)
        plain = [part for part in parts if not isinstance(part, Discovery)]
        self.finds = [Find(part) for part in parts if isinstance(part, Discovery)]
        if plain or not self.finds:
            self.finds.insert(0, Find.done(plain))
        self.stale = False
        self.is_new = True
        self.said_clashing: list[str] = []

    def union(self) -> tuple[list[EndpointSpec], bool, list[str]]:
        """Give what all finds gave, of equal names the first; whether that is all; the names of which two differ."""
        specs: dict[str, EndpointSpec] = {}
        clashing = {name for find in self.finds for name in find.clashing}
        for find in self.finds:
            for spec in find.specs or ():
                if specs.setdefault(spec.name, spec) != spec:
                    clashing.add(spec.name)
        return list(specs.values()), all(find.whole for find in self.finds), sorted(clashing)


def taken_over(synced: endpoints.Synced) -> list[str]:
    """Give the lines that tell of names which were another source's."""
    lines = [f'endpoint "{name}" is taken over from {holder}' for name, holder in synced.taken[:SAID_MOST]]
    more = len(synced.taken) - SAID_MOST
    return lines + [f"{more:,} more endpoints are taken over from other sources"] * (more > 0)


def _unique(tables: Iterable[Any]) -> tuple[list[Any], tuple[str, ...]]:
    """Give the tables without those whose name an earlier one has, and the names under which they differ."""
    first: dict[str, Any] = {}
    kept, clashing = [], []
    for table in tables:
        name = table.get("name", table.get("url")) if isinstance(table, Mapping) else None
        if not isinstance(name, str) or name not in first:  # what is wrong goes on: `config.specs` says how
            first |= {name: table} if isinstance(name, str) else {}
            kept.append(table)
        elif first[name] != table:
            clashing.append(name)
    return kept, tuple(dict.fromkeys(clashing))


def _digest(tables: list[Any]) -> bytes | None:
    """Give what is the same for the same tables, None for what cannot be written as JSON."""
    try:
        return hashlib.blake2b(msgspec.json.encode(tables), digest_size=16).digest()
    except (TypeError, ValueError, RecursionError):
        return None


def _words(error: BaseException) -> str:
    """Give an exception as one line without secrets; a plain ValueError was written for the user."""
    text = references.masked(re.sub(r"\s+", " ", str(error)).strip())
    for_users = error.__class__ is ValueError or isinstance(error, WatcherError)
    return text if for_users and text else f"{type(error).__name__}: {text}"
