"""What an agent does around its workers: the database ready, endpoints in their table, a reload, what is shown.

The supervisor asks for it (`watcher.agent.supervisor.Duties`); `prepare`, `reload` and `ensure` run in its second
thread, all else in the main one.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, Self

import pluggy

from watcher import config, registry, roster_copy
from watcher.agent.account import PluginAccount
from watcher.agent.discovery import Discoveries, taken_over
from watcher.agent.folding import Folding
from watcher.agent.truth import Truth
from watcher.canary import FIELD
from watcher.config import Config, Settings, offers
from watcher.config.sealing import READABLE
from watcher.config.options import OptionTypes
from watcher.errors import ConfigError, DatabaseError, DatabaseUnavailable, EnvironmentProblem
from watcher.screen import figures
from watcher.screen.fleet import Fleet
from watcher.screen.journal import silence
from watcher.store import agents, embedded, endpoints, metrics, migrations, rollups, sources
from watcher.store.connection import connect, place, wait
from watcher.store.patience import patience

AGAIN_S = 5.0
UPKEEP_S = 3600.0
UPKEEP_AGAIN_S = 300.0


class Screen(Protocol):
    """Where an agent shows itself: `watcher.screen.live.LiveTable` or `watcher.screen.journal.Journal`."""

    def say(self, text: str) -> None:
        """Tell of the agent itself, from any thread."""

    def tick(self, now: float) -> None:
        """Show what is due."""

    def close(self, now: float) -> None:
        """Show the last state."""


class Agent:
    """One run of watcher with a file; a context, which ends the embedded server at last.

    Args:
        path: the configuration, as the user named it.
        loaded: what it said at start.
        plugins: those that are asked for endpoints, with their option types.
        screen: where to show.
        fleet: what the workers say.
        job: what every worker is told besides: `disabled_plugins`, `log_level`.
    """

    def __init__(
        self,
        path: Path,
        loaded: Config,
        plugins: tuple[pluggy.PluginManager, OptionTypes],
        screen: Screen,
        fleet: Fleet,
        job: Mapping[str, Any],
    ) -> None:
        self._path = path
        self._settings = loaded.settings
        self._plugins, self._types = plugins
        self._screen = screen
        self._fleet = fleet
        self._job = job
        self._dsn = ""
        self._server: embedded.Server | None = None
        self._unsynced: Config | None = loaded
        self._sync_failure = ""
        self._again_at = 0.0
        self._upkeep_at = math.inf  # until schema and endpoints were in the database once
        self._stopping = threading.Event()
        self._on_terminal = sys.stdout.isatty()
        self._terminal_gone = False
        self._account: PluginAccount | None = None
        self._discoveries = Discoveries(self._plugins, self._types, self.say)
        self._stack = ExitStack()
        self._folding = Folding(self._settings.database, self.say)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # chores, in the supervisor's second thread

    def prepare(self) -> Sequence[Mapping[str, Any]]:
        """Wait for the database, bring its schema and its endpoints up to date, and give the workers' jobs."""
        self._dsn = str(self._settings.database.dsn or self._serve())
        self._stack.callback(self._folding.close)  # before the server ends
        self._be_the_only_one()
        said, copied_at = "", self._copied_at()
        while copied_at or wait(self._dsn, self.say, self._given_up):
            try:
                self._bring_in()
                return self._jobs()
            except DatabaseUnavailable as error:  # it is away, went away meanwhile, or is a standby
                if copied_at:
                    self._sync_failure = str(error)
                    self.say(
                        f"{error}; meanwhile endpoints are checked as the table had them at "
                        f"{figures.moment(copied_at * 1e6)}, and results wait in the spool"
                    )
                    return self._jobs()
                if str(error) != said:
                    said = str(error)
                    self.say(f"{said}; trying again")
                self._stopping.wait(AGAIN_S)
        return ()

    def _serve(self) -> str:
        """Give the address of the embedded server, ready; where there is a copy of the endpoints, soon in any case."""
        server = self._server = self._stack.enter_context(
            embedded.running(self._settings.agent.data_dir, self.say)
        )
        until = time.monotonic() + embedded.PATIENCE_S

        def is_enough() -> bool:
            late = time.monotonic() > until and self._copied_at(server.dsn)
            return self._stopping.is_set() or bool(late)

        try:
            server.wait(is_enough)
        except DatabaseUnavailable:  # after a crash it may have much to do
            if not self._copied_at(server.dsn):
                raise
        return server.dsn

    def _copied_at(self, dsn: str = "") -> float:
        """Tell when the copy of the endpoints was made that workers can begin with; 0 where there is none."""
        agent = self._settings.agent
        origin = roster_copy.Origin.here(place(dsn or self._dsn), agent.location, agent.variant)
        head = roster_copy.newest(agent.data_dir, origin)
        return head.at if head else 0.0

    def _be_the_only_one(self) -> None:
        """Hold the data directory: two agents on it would be one agent that checks everything twice."""
        data_dir = self._settings.agent.data_dir
        with embedded.explained(data_dir):
            embedded.make_directory(data_dir, foreign=os.geteuid() == 0)  # it may hold the embedded server one day
            lock = self._stack.enter_context(closing(embedded.Lock(data_dir / "agent.lock")))
        if not lock.acquire():
            raise EnvironmentProblem(
                f"another agent runs with the data directory {data_dir} ({lock.holder() or 'who is not known'}); "
                "stop it, or set another agent.data_dir"
            )
        with suppress(OSError):
            lock.note(f"process {os.getpid()}, {self._path}")
        self._leave_notes(data_dir)

    def _leave_notes(self, data_dir: Path) -> None:
        """Remember what plugins offer, for the time after they were uninstalled, and begin their account."""
        try:
            offers.remember(data_dir, registry.offers(self._plugins, self._types))
        except OSError as error:  # a full disk, maybe: no reason not to watch
            self.say(f"{data_dir / offers.FILE}: {error.strerror or error}; it is not remembered what plugins offer")
        self._account = self._stack.enter_context(closing(PluginAccount(data_dir, self._fleet, self.say)))

    def _given_up(self) -> bool:
        """Tell whether to wait no more; asked while waiting, when the embedded server may have to be started again.

        It may be another process's, such as `watcher db psql`, and end with it.
        """
        if self._server and not self._stopping.is_set():
            self._server.ensure()
        return self._stopping.is_set()

    def reload(self) -> None:
        """Read the file again and apply the difference; a bad file keeps what runs."""
        if names := registry.changed(self._plugins):
            self.say(f"installed, changed or uninstalled since the start, known after a restart: {', '.join(names)}")
        self._types.forget_files()
        keyring = self._types.keyring
        try:
            loaded = config.load(self._path, self._types, registry.settings_types(self._plugins))
        except ConfigError as error:
            for problem in error.problems:
                self.say(problem)
            mistakes = figures.counted(len(error.problems), "mistake")
            self.say(f"not reloaded, {mistakes} in {self._path}; what runs goes on as it was")
            return
        finally:
            self._types.keyring = keyring  # the workers know no other
        outputs = {output.plugin_name for output in self._plugins.hook.watcher_output.get_hookimpls()}
        for name in differences(self._settings, loaded.settings, outputs):
            self.say(f"{name} has changed; this takes effect after a restart")
        self._unsynced, self._sync_failure = loaded, ""
        self._sync_if_possible()

    def ensure(self) -> None:
        """Keep the embedded server alive, make up for a reload that came to no end, look after what plugins find."""
        if self._server:
            self._server.ensure()
        if self._unsynced and time.monotonic() >= self._again_at:
            self._sync_if_possible()
        if self._upkeep_at == math.inf:
            return
        if not self._stopping.is_set():
            self._discoveries.tend(self._dsn, time.monotonic())
            self._folding.tend(self._dsn, time.monotonic())
        if time.monotonic() >= self._upkeep_at:
            self._upkeep_at = time.monotonic() + UPKEEP_S
            self._keep_to_length()

    def _keep_to_length(self) -> None:
        """Make days ahead and drop those that are too old; any agent may, and a missing day is made when needed."""
        try:
            with (
                closing(connect(self._dsn, name="watcher upkeep", autocommit=True)) as connection,
                patience(connection),
            ):
                done = metrics.upkeep(connection, datetime.now(UTC), self._settings.database.keep_days)
                agents.forget_health(connection, self._settings.database.keep_days)
                rollups.expire(connection, self._folding.keep)
        except DatabaseError as error:
            self._upkeep_at = time.monotonic() + UPKEEP_AGAIN_S
            self.say(f"the days of the results were not brought up to date, it is tried again: {error}")
            return
        if done.expired:
            self.say(f"dropped {figures.counted(len(done.expired), 'day')} of results, by database.keep_days")

    def _sync_if_possible(self) -> None:
        try:
            self._bring_in()
        except (DatabaseError, EnvironmentProblem) as error:
            if str(error) != self._sync_failure:
                self._sync_failure = str(error)
                self.say(f"{error}; {self._path} is not applied yet, it is tried again")
            self._again_at = time.monotonic() + AGAIN_S

    def _bring_in(self) -> None:
        """Bring the schema, the first time, and the file's endpoints into the database."""
        first = self._upkeep_at == math.inf
        if first:
            migrations.migrate(self._dsn, self.say)
        self._sync(first)
        self._sync_failure = ""
        if first:
            self._upkeep_at = 0.0

    def _sync(self, first: bool) -> None:
        """Bring the file's endpoints into the table, say what changed, and ask plugins anew for what they find."""
        loaded, source = self._unsynced, self._settings.source
        with closing(connect(self._dsn, name="watcher supervisor")) as connection, patience(connection):
            synced = endpoints.sync(connection, config.sealed(loaded.endpoints, self._types), source)
            if not first or synced.removed:
                self.say(f"{self._path.name}: {synced}")
            if not first:
                endpoints.call_files(connection)
            for line in taken_over(synced):
                self.say(line)
            self._discoveries.ask(loaded.settings)
            if first:
                self._tell_of_readable(loaded.endpoints)
                self._tell_of_others(sources.counts(connection), {source, *self._discoveries.sources})
        self._unsynced, self._again_at = None, 0.0
        self._discoveries.tend(self._dsn, time.monotonic())

    def _tell_of_readable(self, specs: Sequence[config.EndpointSpec]) -> None:
        if count := config.readable(specs, self._types):
            self.say(f"secrets of {figures.counted(count, 'endpoint')} stand readable in the table; {READABLE}")

    def _tell_of_others(self, counts: Mapping[str, int], own: set[str]) -> None:
        for source, count in sorted(counts.items()):
            if source not in own:
                self.say(
                    f"the table also has {figures.counted(count, 'endpoint')} from {source}, watched too; to end that: "
                    f"watcher endpoints remove --config {self._path} --source '{source}'"
                )

    def _jobs(self) -> list[dict[str, Any]]:
        agent, accuracy = self._settings.agent, self._settings.accuracy
        job = {
            "of": agent.workers,
            "dsn": self._dsn,
            "secret_key": str(self._settings.database.secret_key or ""),
            "embedded": self._server is not None,
            "data_dir": str(agent.data_dir),
            "location": agent.location,
            "variant": agent.variant,
            "concurrency": agent.concurrency,
            "keepers": agent.keepers,
            "batch_rows": agent.batch_rows,
            "batch_age_s": agent.batch_age_s,
            "buffer_rows": agent.buffer_rows,
            "max_lag_s": accuracy.max_lag_s,
            "max_late_s": accuracy.max_late_s,
            "max_error_s": accuracy.max_error_s,
            "witnesses": accuracy.witnesses,
            "canary": self._serve_truth(),
            "plugins": self._settings.plugin_tables,
            **self._job,
        }
        return [{"index": index, **job} for index in range(agent.workers)]

    def _serve_truth(self) -> str:
        """Serve what the workers compare themselves with, and give its URL; without it they do not."""
        try:
            return self._stack.enter_context(closing(Truth(FIELD))).start()
        except OSError as error:
            self.say(f"no canary: {error.strerror or error}; how far the numbers are right is not watched")
            return ""

    # in the supervisor's loop

    def give_up(self) -> None:
        """End a wait for the database."""
        self._stopping.set()

    def terminal_gone(self) -> bool:
        """Tell whether the terminal that we began on is no more; then nothing is written any more."""
        if self._on_terminal and not os.isatty(sys.stdout.fileno()):
            silence(sys.stdout)
            silence(sys.stderr)
            self._on_terminal = False
            self._terminal_gone = True
        return self._terminal_gone

    def hear(self, line: Mapping[str, Any]) -> None:
        """Take a worker's status line."""
        self._fleet.hear(line, time.monotonic())

    def lost(self, index: int) -> str:
        """Forget a worker, but at the end keep its last state on the screen; say how many rows were not stored yet."""
        line = self._fleet.last(index) if self._stopping.is_set() else self._fleet.forget(index)
        buffered = line.get("buffered", 0)
        return f"; up to {buffered:,} results in its memory are lost" if buffered else ""

    def tick(self) -> None:
        """Show what is due; a terminal that went away is told to the supervisor by the signal that means it."""
        with suppress(OSError):
            self._screen.tick(time.monotonic())
            if self._account:
                self._account.tick(time.monotonic())
        # looked at each time: the SIGHUP of a shell that was killed comes before its terminal goes
        if not self._terminal_gone and self.terminal_gone():
            os.kill(os.getpid(), signal.SIGHUP)

    def say(self, text: str) -> None:
        """Tell the operator one line."""
        self._screen.say(text)


def differences(old: Settings, new: Settings, outputs: Iterable[str] = ()) -> list[str]:
    """Name the settings that differ and are read at start only, without their values: some are secret.

    Args:
        old: what runs.
        new: what was read again.
        outputs: the plugins whose own parts workers have read; those of others hold from now on.
    """
    parts = [f"plugins.{name}" for name in sorted(outputs) if old.plugins.get(name) != new.plugins.get(name)]
    return parts + [
        f"{part}.{name}"
        for part in ("database", "agent", "accuracy")
        for name in getattr(old, part).__struct_fields__
        if getattr(getattr(old, part), name) != getattr(getattr(new, part), name)
    ]
