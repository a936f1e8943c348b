"""One process of an agent: roster, watch, buffer and keepers on one hub.

The supervisor tells it its job, and it tells the supervisor its state.
Run as `python -m watcher.worker`: the job is the first line of stdin, a line of state goes to stdout each second.
"""

from __future__ import annotations

# pylint: disable=wrong-import-position,ungrouped-imports  # the patch comes before every import that could be patched
if __name__ == "__main__":
    from watcher import green

    green.patch()

import contextlib
import ctypes
import gc
import logging
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import msgspec
import pluggy
from gevent.event import Event
from gevent.fileobject import FileObject

from watcher import canary, config, registry, witnesses
from watcher.arrival import Arrival
from watcher.canary import Canary
from watcher.clock import SteadyClock
from watcher.config import Accuracy, Agent, Database, Settings, references
from watcher.config.sealing import Keyring, keyring
from watcher.descriptors import allow_many
from watcher.errors import BOOT_FAILED, OTHER_DATABASE, DatabaseError, OtherDatabase, WatcherError, in_one_line
from watcher.gaps import Gaps, Records
from watcher.health import Health
from watcher.hearing import Hearing
from watcher.keeper import Buffer, Keepers
from watcher.leases import FixedShare
from watcher.ledger import Ledger, Overrun, Watchman
from watcher.models import Endpoint, Incident, Secret
from watcher.outlets import Outlets
from watcher.plan import compile_plan
from watcher.report import Changes, state
from watcher.roster import Roster
from watcher.roster_copy import Origin, RosterCopy
from watcher.screen import figures
from watcher.shedding import Shedding
from watcher.spool import Spool
from watcher.store import agents
from watcher.store import connection as store_connection
from watcher.store import libpq_environment
from watcher.transport import Anchor
from watcher.unchecked import Unchecked
from watcher.watch import Watch

DRAIN_S = 12.0
COLLECT_AFTER = 50_000  # objects; what is loaded once is frozen, the way of a check makes no cycles
PLUGIN_LOG_S = 60.0
SEEN_S = 60.0
TELL_S = 1.0
OUTLETS_S = 1.0  # at the end, for what plugins have not fetched

log = logging.getLogger("watcher")


class Job(msgspec.Struct, frozen=True):
    """What the supervisor tells a worker."""

    index: int
    of: int
    dsn: str
    data_dir: str
    location: str
    variant: str = ""
    concurrency: int = 2000
    keepers: int = 2
    batch_rows: int = 2000
    batch_age_s: float = 1.0
    buffer_rows: int = 100_000
    disabled_plugins: list[str] = []
    log_level: str = "info"
    plugins: dict[str, Any] = {}
    max_lag_s: float = 0.1
    max_late_s: float = 0.5
    max_error_s: float = 0.005
    witnesses: list[str] = []
    canary: str = ""
    embedded: bool = False
    secret_key: str = ""

    def keyring(self) -> Keyring:
        """Give the keys of the secrets in the table."""
        dsn = None if self.embedded else Secret(self.dsn)
        return keyring(Database(dsn=dsn, secret_key=Secret(self.secret_key) or None), Path(self.data_dir))

    def settings(self, plugins: pluggy.PluginManager) -> Settings:
        """Give the settings for the hooks of plugins; a part that cannot be used any more is left out, and told of."""
        parts, problems = config.plugin_settings(self.plugins, registry.settings_types(plugins))
        for problem in problems:
            log.warning("%s; its plugin goes on as if nothing were configured", problem)
        agent = Agent(
            data_dir=Path(self.data_dir),
            location=self.location,
            variant=self.variant,
            workers=self.of,
            concurrency=self.concurrency,
            keepers=self.keepers,
            batch_rows=self.batch_rows,
            batch_age_s=self.batch_age_s,
            buffer_rows=self.buffer_rows,
            disabled_plugins=tuple(self.disabled_plugins),
        )
        database = Database(dsn=Secret(self.dsn))
        accuracy = Accuracy(
            max_lag_s=self.max_lag_s,
            max_late_s=self.max_late_s,
            max_error_s=self.max_error_s,
            witnesses=tuple(self.witnesses),
        )
        return Settings(
            database=database,
            agent=agent,
            accuracy=accuracy,
            plugins=parts,
            plugin_tables=self.plugins,
            worker=self.index,
        )


class Worker:
    """Puts the parts of one process together and ends them in order."""

    def __init__(self, job: Job) -> None:
        self._job = job
        if job.embedded:
            libpq_environment.hide()
        self._anchor = Anchor()
        self._ending = Event()
        self._plugins = registry.plugin_manager(job.disabled_plugins)
        self._complaints: dict[tuple[str, type], tuple[float, int]] = {}
        self._ledger = Ledger()
        self._outlets = Outlets(self._plugins, job.settings(self._plugins), self._output_failed)
        self._buffer = Buffer(job.buffer_rows, job.batch_rows)
        self._changes = Changes()
        self._canary = Canary(int(job.max_error_s * 1e6))
        self._health = Health()
        self._said_shed, self._said_suspect = False, False
        self._unchecked = Unchecked(log.warning)
        clock = SteadyClock()
        self._watch = Watch(
            job.location,
            job.concurrency,
            self._buffer.add,
            self._changed,
            self._step_failed,
            clock,
            hearing=Hearing(witnesses.summon(job.witnesses), lambda: time.time_ns() // 1000, log.warning),
            shedding=Shedding(int(job.max_lag_s * 1e6), int(job.max_late_s * 1e6)),
            unchecked=self._unchecked.note,
        )
        origin = Origin.here(store_connection.place(job.dsn), job.location, job.variant)
        copy = RosterCopy(Path(job.data_dir), job.index, job.of, origin, log.warning)
        self._roster = Roster(
            job.dsn,
            self._plugins,
            self._watch,
            share=FixedShare(job.index, job.of),
            location=job.location,
            say=log.warning,
            loaded=self._settled,
            ledger=self._ledger,
            copy=copy,
            data_dir=Path(job.data_dir),
            keyring=job.keyring(),
        )
        self._keepers: Keepers | None = None
        self._gaps = Gaps(Path(job.data_dir), job.index, job.of, clock, log.warning)
        self._loaded = Event()
        self.exit_code = 0

    def run(self) -> None:
        """Work until a signal, or the end of the supervisor."""
        gevent.get_hub().NOT_ERROR += (OtherDatabase,)  # no traceback of what is nobody's mistake
        gevent.signal_handler(signal.SIGTERM, self._ending.set)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        allow_many()
        Watchman(self._ledger).start()
        background = [self._spawn(self._tell)]
        job = self._job
        arrival = Arrival(job.dsn, job.location, job.variant, copy=self._roster.copy, say=log.warning)
        agent_id = arrival.wait(self._ending)
        if agent_id is None:
            return
        self._gaps.follow()
        self._keepers = Keepers(
            self._buffer,
            self._spool(),
            self._job.dsn,
            agent_id,
            count=self._job.keepers,
            age_s=self._job.batch_age_s,
            handed_over=self._outlets.results,
            say=log.warning,
            broke=self._broke,
            database=self._roster.copy.database,
        )
        self._keepers.start()
        self._outlets.start(self._spawn)
        if self._job.canary:
            plan = compile_plan(canary.endpoint(self._job.canary), self._plugins)
            self._watch.accompany(self._canary.watched_by(plan), self._canary.hear)
        tasks = (self._watch.run, self._watch.hearing.run, *(arrival.make_up,) * arrival.recalled)
        background += [*map(self._spawn, tasks), self._spawn(self._be_seen, agent_id)]
        if self._gaps.begin(self._roster.copy.ids):
            self._watch.counts.born = {}
            background.append(self._spawn(self._tell_gaps, agent_id))
        background.append(self._spawn(self._roster.follow, arrival.recalled))
        self._ending.wait()
        self._drain()
        gevent.killall(background, timeout=1)
        self._gaps.end()

    def _spawn(self, task: Callable[..., None], *arguments: Any) -> gevent.Greenlet:
        greenlet = gevent.spawn(task, *arguments)
        greenlet.link_exception(self._broke)
        return greenlet

    def _broke(self, greenlet: gevent.Greenlet) -> None:
        """End a worker that has lost a part of itself: what the supervisor starts in its place is whole."""
        log.error("a part of the worker broke, it is started anew: %r", greenlet.exception)
        self.exit_code = max(self.exit_code, OTHER_DATABASE if isinstance(greenlet.exception, OtherDatabase) else 1)
        self._gaps.keep()
        self._ending.set()

    def be_orphaned(self) -> None:
        """Drain and end, as the supervisor is no more: nobody wanted that, so the next life tells what is missed."""
        self._gaps.keep()
        self._ending.set()

    def _connect(self) -> store_connection.Connection:
        database = self._roster.copy.database
        return store_connection.connect(self._job.dsn, name="watcher worker", autocommit=True, database=database)

    def _spool(self) -> Spool:
        """Give the spool of this worker; it takes over those of workers that are no more."""
        job = self._job
        spools = Path(job.data_dir) / "spool"
        own = Spool(spools / str(job.index), database=self._roster.copy.database)
        for other in spools.iterdir():
            if other.name.isdigit() and int(other.name) >= job.of and int(other.name) % job.of == job.index:
                own.adopt(other)
        for path, rows in own.disowned.items():
            log.warning(
                "%s: %s of another database than %s is now, where ids are other endpoints'; set aside: delete that "
                "directory, or put its files back when the former database is",
                path,
                figures.counted(rows, "result"),
                store_connection.place(job.dsn),
            )
        return own

    def _be_seen(self, agent_id: int) -> None:
        while True:
            gevent.sleep(SEEN_S)
            # the keepers tell of a database that is away
            with contextlib.suppress(DatabaseError), contextlib.closing(self._connect()) as connection:
                agents.seen(connection, agent_id)
                if row := self._health.take():
                    agents.add_health(connection, agent_id, self._job.index, row)

    def _settled(self) -> None:
        if not self._loaded.is_set():
            _give_memory_back()
        self._loaded.set()

    def _tell_gaps(self, agent_id: int) -> None:
        """Tell what was not checked because this worker was cut short before, once its own results are stored."""

        def room() -> bool:
            return len(self._buffer) < self._job.buffer_rows // 4

        self._loaded.wait()
        while self._keepers is not None and self._keepers.recovering:
            gevent.sleep(1.0)
        while self._gaps.waits:  # which may look at many files
            gevent.sleep(10.0)
        self._gaps.tell(self._watch, Records(self._connect, agent_id), room)
        self._watch.counts.born = None

    def _drain(self) -> None:
        if not self._watch.stop(DRAIN_S * 0.6):
            log.warning("%d checks did not end in time; their rows say so", self._watch.in_flight)
        if self._keepers is not None:
            self._keepers.finish(DRAIN_S * 0.4)
        self._outlets.close(OUTLETS_S)
        self._say_drops(again_s=0)
        self._say_state(FileObject(1, "wb", closefd=False))

    # what others tell

    def _changed(self, incident: Incident) -> None:
        self._changes.add(incident)
        self._outlets.incident(incident)

    def _step_failed(self, name: str, endpoint: Endpoint, error: BaseException) -> None:
        self._plugin_failed(name, error, endpoint)

    def _output_failed(self, name: str, error: BaseException) -> None:
        self._ledger.account(name).errors += 1
        self._plugin_failed(name, error)

    def _plugin_failed(self, name: str, error: BaseException, endpoint: Endpoint | None = None) -> None:
        kind = name, type(error)  # so that one of its mistakes does not hide another
        logged_at, count = self._complaints.get(kind, (-PLUGIN_LOG_S, 0))
        now = time.monotonic()
        if now - logged_at < PLUGIN_LOG_S:
            self._complaints[kind] = logged_at, count + 1
            return
        self._complaints[kind] = now, 0
        more = f" ({count} more in the last minute)" if count else ""
        where = f" at endpoint {figures.name(endpoint.name)!r}" if endpoint else ""
        line = traceback.extract_tb(error.__traceback__)[-1:]
        at = f" ({Path(line[0].filename).name}:{line[0].lineno})" if line else ""
        what = "" if isinstance(error, (Overrun, RuntimeWarning)) else f"{type(error).__name__}: "
        log.warning("plugin %s%s: %s%s%s%s", name, where, what, references.masked(in_one_line(error)), at, more)

    # what we tell

    def _tell(self) -> None:
        out = FileObject(1, "wb", closefd=False)
        while True:
            gevent.sleep(TELL_S)
            self._say_drops()
            self._say_accuracy()
            self._unchecked.tend()
            self._gaps.tend()
            self._say_state(out)

    def _say_accuracy(self) -> None:
        """Tell when the worker becomes saturated or its numbers suspect, and when that is over."""
        job, shedding, own = self._job, self._watch.shedding, self._canary
        if shedding.active is not self._said_shed:
            self._said_shed = shedding.active
            budget = f"{figures.duration(job.max_lag_s * 1e6)} of lag or {figures.duration(job.max_late_s * 1e6)} late"
            log.warning(
                f"saturated: more than {budget} (accuracy.max_lag, max_late); it sheds load, the lowest priority first"
                if shedding.active
                else f"no longer saturated: all checks are made again; {shedding.shed:,} were shed since the start"
            )
        if own.suspect is not self._said_suspect:
            self._said_suspect = own.suspect
            errors_us = own.errors_us() or (0, 0)
            log.warning(
                "numbers are %s: in the last minute the canary on the loopback was read %s too long, %s at most%s",
                "suspect" if own.suspect else "sound again",
                *map(figures.duration, errors_us),
                f"; accuracy.max_error is {figures.duration(job.max_error_s * 1e6)}" if own.suspect else "",
            )

    def _say_drops(self, again_s: float = PLUGIN_LOG_S) -> None:
        for line in self._outlets.complaints(time.monotonic(), again_s):
            log.warning("%s", line)

    def _say_state(self, out: Any) -> None:
        try:
            parts = self._watch, self._buffer, self._keepers, self._changes, self._ledger, self._outlets, self._canary
            line = state(self._job.index, *parts)
            self._health.note(line)
            out.write(msgspec.json.encode(line) + b"\n")
            out.flush()
        except OSError:
            self.be_orphaned()  # nobody reads any more


def _spare_the_collector() -> None:
    """Let it look at what is made from now on, and seldom; the roster spares it what it loads."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 100)


def _give_memory_back() -> None:
    """Give the memory that loading took back to the system."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)  # glibc


def _until_end_of_input(stdin: Any, worker: Worker) -> None:
    while stdin.read(4096):
        pass
    worker.be_orphaned()


def main() -> None:
    """Run the worker whose job is the first line of stdin."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    stdin = FileObject(0, "rb", closefd=False)
    try:
        job = msgspec.json.decode(stdin.readline(), type=Job)
        log.setLevel(job.log_level.upper())
        worker = Worker(job)
        _spare_the_collector()
    except (WatcherError, msgspec.DecodeError) as error:
        log.error("%s", error)
        sys.exit(BOOT_FAILED)
    gevent.spawn(_until_end_of_input, stdin, worker)
    try:
        worker.run()
    except WatcherError as error:
        log.error("%s", error)
        sys.exit(BOOT_FAILED)
    sys.exit(worker.exit_code)


if __name__ == "__main__":
    main()
