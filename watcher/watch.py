"""The checks of one worker: from due times to results in the buffer.

Owns the schedule, the pool and the state of each endpoint. A slot that cannot be served becomes a `missed` result, and
so does a failure that is the agent's own: by its lag, its network, or a clock that was set meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache

import gevent
import msgspec

from watcher.clock import Clock, SteadyClock
from watcher.hearing import BY_NETWORK, Hearing, of_lag
from watcher.models import Incident, Reason, Result, Status
from watcher.newcomers import Newcomers
from watcher.plan import Plan
from watcher.pool import Pool
from watcher.presence import Presence
from watcher.probe import PluginFailed, missed, probe
from watcher.schedule import Due, Schedule, Slot
from watcher.shedding import Shedding
from watcher.transport.turnstile import turnstile

IDLE_S = 0.2  # the longest sleep: so soon is a new endpoint noticed
LATE_MAX_US = 5_000_000  # a check later than that, or than half its interval, is missed
SHOWN_MAX = 60  # endpoints; of more than that only those that are not up are shown
MISSED_ROWS = 100  # for one endpoint after one gap, and MISSED_ROWS_ALL for all; the first says how many went before
MISSED_ROWS_ALL = 20_000
STOPPED = "the agent was stopped"
SECOND_US = 1_000_000
SAME_US = 10_000  # a row that lies so little before its due time: another clock dated it
BURST_US = 500_000  # so much of what came due while we did not run is made up for; all of it at once would be a burst
LEAP_MAX_US = 30 * 86_400 * SECOND_US  # a clock that is set by more was wrong: nobody missed anything
MAX_LAG_US = 100_000
MAX_LATE_US = 500_000
WELL = (Status.UP, Status.DEGRADED)


class Watched(Slot):
    """An endpoint under watch: its plan and what we know of it."""

    __slots__ = ("busy", "changed_us", "heavy", "last", "plan", "status", "take", "waits_us")

    def __init__(self, plan: Plan, take: Callable[[Result], None] | None = None) -> None:
        super().__init__(plan.endpoint.id, _interval_us(plan))
        self.plan = plan
        self.busy = False
        self.heavy = False  # its last check did a TLS handshake, as the next one will
        self.waits_us = 0  # the due time that came while the check before it was about to end
        self.last: Result | None = None
        self.status: Status | None = None  # by the last check that could tell: never missed
        self.changed_us = 0
        self.take = take  # takes all its results, of which nothing is kept; None for an endpoint of the table


@lru_cache(maxsize=4096)
def _microseconds(seconds: float) -> int:
    return int(seconds * 1_000_000)  # one object for all endpoints with that interval


def _interval_us(plan: Plan) -> int:
    return _microseconds(plan.endpoint.interval_s)


class Counts:
    """What happened since the start, and the figures of the current second."""

    __slots__ = ("born", "checks", "lag_us", "late_us", "latency_us", "missed")

    def __init__(self) -> None:
        self.checks = 0
        self.missed = 0
        self.born: dict[int, int] | None = None  # when each endpoint came, for who wants to know
        self.begin_second()

    def begin_second(self) -> None:
        """Start the figures of the second anew."""
        self.lag_us: list[int] = []
        self.late_us: list[int] = []
        self.latency_us: list[int] = []


class Watch:
    """Checks the endpoints that it is given, each at its time.

    Args:
        location: fixes the phases, together with the ids.
        concurrency: how many probes may be in flight.
        keep: takes each result.
        changed: takes each change of status.
        plugin_failed: told of every exception that a plugin let out, with its name.
        hearing: whether failures are the site's; None: they are.
        shedding: what of the load is kept.
        unchecked: told of a check that nobody can make or judge, when the one before was none, or had another reason.
    """

    def __init__(  # pylint: disable=too-many-arguments,too-many-positional-arguments  # what a watch is tied to
        self,
        location: str,
        concurrency: int,
        keep: Callable[[Result], None],
        changed: Callable[[Incident], None],
        plugin_failed: PluginFailed,
        clock: Clock | None = None,
        *,
        hearing: Hearing | None = None,
        shedding: Shedding | None = None,
        unchecked: Callable[[Result], None] | None = None,
    ) -> None:
        self.counts = Counts()
        self.standing = {Status.UP: 0, Status.DEGRADED: 0, Status.DOWN: 0}
        self.hearing = hearing or Hearing((), lambda: 0)
        self.shedding = shedding or Shedding(MAX_LAG_US, MAX_LATE_US)
        self._watched: dict[int, Watched] = {}
        self._schedule: Schedule[Watched] = Schedule(location)
        self._clock = clock or SteadyClock()
        self._pool = Pool(concurrency, self._check)
        self._keep = keep
        self._changed = changed
        self._plugin_failed = plugin_failed
        self._unchecked = unchecked
        self._ending = False
        self._newcomers = Newcomers()
        self._made = 0
        self._load: dict[int, int] = {}  # of each priority: checks in 1,000,000 s
        self._set_at_us = 0  # when the wall clock was last set
        self._second_us = self._clock.now_us()
        self._presence = Presence(self._second_us)

    # what the roster asks

    def put(self, plan: Plan) -> None:
        """Watch an endpoint, or go on watching it with another plan."""
        now_us = self._clock.now_us()
        watched = self._watched.get(plan.endpoint.id)
        if watched is not None and watched.plan.endpoint.name != plan.endpoint.name:  # another one has its id now
            self.drop(plan.endpoint.id)
            watched = None
        if watched is None:
            watched = self._watched[plan.endpoint.id] = Watched(plan)
            self._weigh(watched, 1)
            if self.counts.born is not None:
                self.counts.born.setdefault(watched.endpoint_id, now_us)  # it may have been here before
            self._schedule.add(watched, now_us, self._newcomers.first_us(now_us, watched.interval_us))
            return
        watched.plan.close()
        self._weigh(watched, -1)
        watched.plan = plan
        self._weigh(watched, 1)
        if watched.interval_us != _interval_us(plan):
            watched.interval_us = _interval_us(plan)
            self._schedule.add(watched, now_us)

    def drop(self, endpoint_id: int) -> None:
        """Watch an endpoint no more; a probe in flight ends and is kept."""
        watched = self._watched.pop(endpoint_id, None)
        if watched is not None:
            self._weigh(watched, -1)
            self._schedule.cancel(watched)
            watched.plan.close()
            if watched.status is not None:
                self.standing[watched.status] -= 1
                watched.status = None

    def accompany(self, plan: Plan, take: Callable[[Result], None]) -> None:
        """Check something besides, as endpoints are checked, at each time; nothing is kept of it.

        Args:
            take: takes each result.
        """
        watched = Watched(plan, take)
        self._schedule.add(watched, self._clock.now_us())

    def miss_between(self, endpoint_id: int, since_us: int, until_us: int | None, why: Reason, said: str) -> int:
        """Give rows for the checks of an endpoint that were due after its last one, and not after the other time.

        Args:
            since_us, until_us: as the wall clock has them now; None: when the endpoint came, which `born` has to say.
        """
        watched = self._watched.get(endpoint_id)
        if watched is None:
            return 0
        set_us = self._clock.wall_us(0)
        end_us = (self.counts.born or {})[endpoint_id] if until_us is None else until_us - set_us
        slots = self._schedule.between(watched, since_us - set_us + SAME_US, end_us)
        if slots:
            self._miss_slots(watched, slots, why, said)
        return len(slots)

    def _weigh(self, watched: Watched, sign: int) -> None:
        endpoint = watched.plan.endpoint
        weight = self._load.get(endpoint.priority, 0) + sign * int(1e6 / endpoint.interval_s)
        self._load[endpoint.priority] = weight
        if not weight:
            del self._load[endpoint.priority]

    def known(self) -> Mapping[int, Watched]:
        """Give all that is watched, by endpoint id."""
        return self._watched

    # running

    def run(self) -> None:
        """Serve due times until `stop`; to be run in a greenlet."""
        while not self._ending:
            gevent.sleep(self.serve())

    def serve(self) -> float:
        """Start all checks that are due now, and give the seconds until there may be more."""
        now_us = self._clock.now_us()
        why = self._presence.why_late(now_us)
        if step_us := self._clock.step_us():
            self._clock_set(step_us, now_us)
        if now_us - self._second_us >= SECOND_US:
            self._second_us = now_us
            self._end_second()
        first_us = now_us - BURST_US if why is Reason.SUSPENDED else 0
        for due in self._schedule.take(now_us):
            self._start(due, why, first_us)
        now_us = self._clock.now_us()
        self._presence.note(now_us)
        next_us = self._schedule.next_us()
        return IDLE_S if next_us is None else max(0.0, min(IDLE_S, (next_us - now_us) / 1e6))

    def stop(self, timeout_s: float) -> bool:
        """Start nothing any more and wait for the probes in flight; False when some were left."""
        self._ending = True
        self.hearing.end()
        for watched, due_us in self._pool.withdraw():
            watched.busy = False
            self._miss(watched, due_us, Reason.SUSPENDED, STOPPED)
        if self._pool.join(timeout_s):
            return True
        for watched in self._watched.values():
            if watched.busy:
                self._miss(watched, self._clock.now_us(), Reason.SUSPENDED, "the agent was stopped during the check")
            if watched.waits_us:
                self._miss(watched, watched.waits_us, Reason.SUSPENDED, STOPPED)
        return False

    @property
    def in_flight(self) -> int:
        """How many probes run now."""
        return self._pool.busy

    @property
    def waiting(self) -> int:
        """How many checks are due and wait to begin."""
        return len(self._pool.ready)

    def _start(self, due: Due[Watched], why: Reason, first_us: int) -> None:
        watched, shedding = due.slot, self.shedding
        if due.missed:
            self._miss_slots(watched, due.missed, why)
        if due.at_us < first_us:
            self._miss(watched, due.at_us, why)
        elif shedding.active and watched.take is None and not shedding.keeps(
            watched.plan.endpoint.priority, watched.endpoint_id, due.at_us // watched.interval_us
        ):
            shedding.shed += 1
            self._miss(watched, due.at_us, Reason.OVERLOAD, shedding.words)
        elif not watched.busy:
            watched.busy = True
            self._pool.submit((watched, due.at_us))
        elif not watched.waits_us:
            watched.waits_us = due.at_us
        else:
            self._miss(watched, due.at_us, Reason.OVERLOAD, "the check before it was still running")

    def _done(self, watched: Watched) -> None:
        watched.busy = False
        if not watched.waits_us:
            return
        due_us, watched.waits_us = watched.waits_us, 0
        if self._ending:
            self._miss(watched, due_us, Reason.SUSPENDED, STOPPED)
        elif watched.interval_us:
            watched.busy = True
            self._pool.submit((watched, due_us))

    def _check(self, watched: Watched, due_us: int) -> None:
        plan = watched.plan
        if plan.before or getattr(plan.prober, "heavy", watched.heavy):
            turnstile().begin()
            plan = watched.plan
        late_us = self._clock.now_us() - due_us
        if watched.take is None and (late_us > LATE_MAX_US or late_us > watched.interval_us // 2 > 0):
            self._done(watched)
            self.shedding.note(0, late_us)
            self._miss(watched, due_us, Reason.OVERLOAD, "no room to check in time", late_us)
            return
        if self.shedding.active and watched.take is None and self.shedding.gives_up(plan.endpoint.priority, late_us):
            self._done(watched)
            self.shedding.shed += 1
            self._miss(watched, due_us, Reason.OVERLOAD, self.shedding.words, late_us)
            return
        try:
            result = probe(plan, late_us, self._plugin_failed, self._beside)
        except BaseException:
            self._done(watched)
            raise
        watched.heavy = result.tls_us is not None
        if step_us := self._clock.step_us():
            self._clock_set(step_us, self._clock.now_us())
        if due_us + late_us < self._set_at_us:
            result = _timeless(result, self._clock.wall_us(due_us + late_us))
        if watched.take is not None:
            self._done(watched)
            watched.take(result)
            return
        self.shedding.note(result.lag_us or 0, late_us)
        if result.status is Status.DOWN and result.reason in BY_NETWORK:
            result = of_lag(result, self.shedding.max_lag_us)
            if result.status is Status.DOWN and self.hearing.holds(
                result, watched.status in WELL, lambda judged: self._take(watched, judged)
            ):
                return  # it stays busy until it is heard
        elif result.status is not Status.MISSED:
            self.hearing.well += 1
        self._take(watched, result)

    def _beside(self, result: Result) -> None:
        """Keep a row of another address; the one that stands for the endpoint raises the question of the network."""
        if result.status is Status.DOWN and result.reason in BY_NETWORK:
            result = of_lag(result, self.shedding.max_lag_us)
            if result.status is Status.DOWN and self.hearing.holds(result, False, self._keep):
                return
        self._keep(result)

    def _take(self, watched: Watched, result: Result) -> None:
        """Keep the result of a check, and what it says of its endpoint."""
        self._done(watched)
        self._keep(result)
        counts = self.counts
        counts.checks += 1
        if result.lag_us is not None:
            counts.lag_us.append(result.lag_us)
        counts.late_us.append(result.late_us)  # type: ignore[arg-type]  # a probe always gives it
        # a result weighs 500 bytes: it is kept where somebody may want to see it
        before = watched.last
        watched.last = result if result.status is not Status.UP or len(self._watched) <= SHOWN_MAX else None
        if result.status is Status.MISSED:
            counts.missed += 1
            if self._unchecked is not None and (before is None or before.reason is not result.reason):
                self._unchecked(result)
            return
        counts.latency_us.append(result.latency_us)  # type: ignore[arg-type]
        if result.status is not watched.status and watched.interval_us:
            self._change(watched, result)

    def _change(self, watched: Watched, result: Result) -> None:
        before, watched.status = watched.status, result.status
        watched.changed_us = result.time_us
        self.standing[result.status] += 1
        if before is not None:
            self.standing[before] -= 1
        self._changed(Incident(watched.plan.endpoint, before, result))

    def _clock_set(self, step_us: int, now_us: int) -> None:
        """Date what was in flight no more, and give the times that the clock leapt over as rows."""
        self._set_at_us = now_us
        self.hearing.clock_set()
        if not 0 < step_us <= LEAP_MAX_US:
            return
        born = self.counts.born or {}  # an account that is told yet has what was missed before that
        for watched in self._watched.values():
            due_us, interval_us = watched.due_us, watched.interval_us
            since_us = max(now_us - step_us, born.get(watched.endpoint_id, now_us - step_us))
            leapt = (due_us - since_us - 1) // interval_us
            slots = range(due_us - leapt * interval_us, min(due_us, now_us + 1), interval_us)
            if slots:
                said = f"the clock was set forward by {step_us / 1e6:.1f} s"
                self._miss_slots(watched, slots, Reason.SUSPENDED, said)

    def _end_second(self) -> None:
        shedding = self.shedding
        made, self._made = self.counts.checks - self._made, self.counts.checks
        if not self._newcomers.settled(self._second_us, self.waiting):
            shedding.forget()
        elif shedding.second(sum(self._load.values()) / 1e6, made) or shedding.active:
            shedding.divide(self._load)

    def _miss_slots(self, watched: Watched, slots: range, why: Reason, said: str = "") -> None:
        kept = slots[-max(1, min(MISSED_ROWS, MISSED_ROWS_ALL // max(1, len(self._watched)))) :]
        more = len(slots) - len(kept)
        since = datetime.fromtimestamp(self._clock.wall_us(slots[0]) / 1e6, UTC).isoformat(timespec="seconds")
        for number, due_us in enumerate(kept):
            count = f"{more} more missed before it, since {since}" if more and number == 0 else ""
            self._miss(watched, due_us, why, "; ".join(filter(None, (said, count))) or None)

    def _miss(
        self, watched: Watched, due_us: int, reason: Reason, detail: str | None = None, late_us: int | None = None
    ) -> None:
        row = missed(watched.plan.endpoint, self._clock.wall_us(due_us), reason, late_us, detail)
        if watched.take is not None:
            watched.take(row)
            return
        self.counts.missed += 1
        self._keep(row)


def _timeless(result: Result, time_us: int) -> Result:
    """Give the result of a check during which the clock was set: what it measured is no time."""
    return msgspec.structs.replace(
        result,
        time_us=time_us,
        status=Status.MISSED,
        reason=Reason.SUSPENDED,
        latency_us=None,
        dns_us=None,
        connect_us=None,
        tls_us=None,
        ttfb_us=None,
        transfer_us=None,
        lag_us=0,
        detail="the clock was set during the check",
    )
