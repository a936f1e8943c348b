"""How much of its load a worker keeps: less when it cannot keep its accuracy, all again when it can.

Pure: told of each check by two integers and once a second of the time. What is shed goes in a stated order: the lowest
priority first, all of it if need be, then the next; within one priority every endpoint loses the same share.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

ALL = 1000  # permille
LEAST = 50  # what is always kept: the checks that are made tell when it gets better
CUT = 7, 10  # multiplicative decrease,
TRIM = 19, 20  # and that of a level which seemed to hold
FIRST_STEP = 50  # additive increase; doubled with each that held, begun anew after one that did not
NEAR_SHARE = 10  # of `keep`, one part: so near below a level that did not hold, a step is only tried now and then,
PROOF_S = 15  # and holds after so many calm seconds: what waits grows slowly there
PATIENCE_S = 3  # so many seconds over the budget in a row before a cut: one hold-up falls into two at most
SETTLE_S = 3  # after a change: what was in flight before it says nothing of it
CALM_S = 3  # so many calm seconds in a row before an increase
PROBATION_S = 60  # a budget passed so soon after an increase was passed because of it
WAIT_MOST_S = 120  # between an increase that did not hold and the next
CHECKS_LEAST = 20  # of fewer nobody can tell a 99th percentile
OVER_LEAST = 3
CARRY_S = 10  # seconds with few checks are taken together, up to so many
EASES = 98, 100  # lateness that falls so much in a second needs no further cut: what waits is being worked off
FIBONACCI = 619  # of 1000: spreads ids, as the golden ratio does


class _Last(enum.Enum):
    """What the last change was."""

    RISE = enum.auto()
    FALL = enum.auto()  # back to where it came from
    CUT = enum.auto()


class Shedding:  # pylint: disable=too-many-instance-attributes  # what a controller remembers
    """The controller of one worker: additive increase, multiplicative decrease, a dead band between the two.

    It does not swing around a level that it knows: below one that did not hold it halves the way there (as TCP BIC
    does), and tries what is beyond after waits that double.

    Args:
        max_lag_us: what the 99th percentile of a second's lag may be.
        max_late_us: the same for lateness.
    """

    def __init__(self, max_lag_us: int, max_late_us: int) -> None:
        self.max_lag_us, self.max_late_us = max_lag_us, max_late_us
        self.easy_lag_us, self.easy_late_us = max_lag_us // 2, max_late_us // 2
        self.keep = ALL  # permille
        self.words = ""  # why a check is not made, for its row
        self.cut_below = 0  # in the priority `edge`: of 1000 turns the endpoint has so many
        self.edge = 0
        self.shed = 0  # checks, since the start
        self.checks = self.over = self.uneasy = 0  # since the last verdict
        self._seconds = self._over_s = self._calm_s = 0
        self._uneasy_s = 0
        self._late_us = self._mean_us = 0
        self._can = ALL  # what was made in the last second, in permille of what was due
        self._since_change_s = 1 << 30
        self._last = _Last.CUT
        self._step = FIRST_STEP
        self._wait_s = CALM_S
        self._held = ALL  # the last level that held,
        self._ceiling = ALL + 1  # and the last that did not

    @property
    def active(self) -> bool:
        """Whether anything is shed."""
        return self.keep < ALL

    def note(self, lag_us: int, late_us: int) -> None:
        """Take what one check showed."""
        self.checks += 1
        self._late_us += late_us
        if lag_us > self.easy_lag_us or late_us > self.easy_late_us:
            self.uneasy += 1
            if lag_us > self.max_lag_us or late_us > self.max_late_us:
                self.over += 1

    def forget(self) -> None:
        """Judge nothing by what was noted: it was an exception, such as the reading of a large table."""
        self.checks = self.over = self.uneasy = self._seconds = self._late_us = 0
        self._over_s = self._calm_s = self._uneasy_s = 0

    def second(self, offered: float, made: int) -> bool:
        """Judge the second that is over; True when `keep` has changed.

        Args:
            offered: checks a second that are due, shed ones included.
            made: those that were made in the second.
        """
        self._since_change_s += 1
        self._seconds += 1
        few = self.checks < CHECKS_LEAST and not self.active
        if few and self._seconds < CARRY_S:
            return False
        over = not few and self.over >= OVER_LEAST and self.over * 100 > self.checks
        calm = not (self.uneasy >= OVER_LEAST and self.uneasy * 100 > self.checks)
        self._can = min(ALL, round(made / max(1.0, offered) * ALL))
        before_us, self._mean_us = self._mean_us, self._late_us // max(1, self.checks)
        eases = self._mean_us > self.max_late_us and self._mean_us * EASES[1] < before_us * EASES[0]
        self.checks = self.over = self.uneasy = self._seconds = self._late_us = 0
        self._over_s = self._over_s + 1 if over else 0
        self._uneasy_s = 0 if calm else self._uneasy_s + 1
        self._calm_s = self._calm_s + calm if self._uneasy_s < PATIENCE_S else 0
        if self._since_change_s < SETTLE_S:
            return False
        if self._over_s >= PATIENCE_S:
            return not eases and self._decrease()
        return self._calm_s >= CALM_S and self._increase()

    def _decrease(self) -> bool:
        soon = self._since_change_s <= PROBATION_S
        if self._last is _Last.RISE and soon:  # it held before that step
            keep, last, self._wait_s = self._held, _Last.FALL, min(WAIT_MOST_S, self._wait_s * 2)
        elif self._last is _Last.FALL and soon:  # or did it only seem so
            keep, last = self.keep * TRIM[0] // TRIM[1], _Last.FALL
        else:
            # no deeper than to what was made at the limit: the next cuts follow if that is still too much
            could = min(self._can, self.keep) * TRIM[0] // TRIM[1]
            keep, last = max(self.keep * CUT[0] // CUT[1], could), _Last.CUT
        self._ceiling, self._step = self.keep, FIRST_STEP
        return self._change(max(LEAST, keep), last)

    def _increase(self) -> bool:
        if not self.active:
            return False
        near = max(1, self.keep // NEAR_SHARE)
        way = self._ceiling - self.keep
        if way > near:
            step = min(self._step, (way + 1) // 2)
        elif self._calm_s < max(PROOF_S, self._wait_s):
            return False
        else:
            step = max(1, near // 2)
        if way <= 0:  # what did not hold then does now
            self._ceiling, self._wait_s, step = ALL + 1, CALM_S, self._step
        if self._last is _Last.RISE:
            self._step *= 2
        self._held = self.keep
        return self._change(min(ALL, self.keep + step), _Last.RISE)

    def _change(self, keep: int, last: _Last) -> bool:
        changed, self.keep = keep != self.keep, keep
        self._since_change_s = self._over_s = self._calm_s = 0
        self._last = last
        if keep == ALL:
            self._step, self._ceiling = FIRST_STEP, ALL + 1
        self.words = (
            f"shed: the worker does not keep accuracy.max_lag or max_late, and makes {keep / 10:g} % of its checks, "
            "those with the highest priority first"
        )
        return changed

    def divide(self, load: Mapping[int, float]) -> None:
        """Find which priorities are shed so that `keep` of the load is left.

        Args:
            load: checks a second of each priority.
        """
        left = sum(load.values()) * (ALL - self.keep) / ALL  # still to be shed
        for priority in sorted(load):
            self.edge = priority
            if left < load[priority]:
                self.cut_below = ALL - round(left / load[priority] * ALL)
                return
            left -= load[priority]
        self.cut_below = 0

    def gives_up(self, priority: int, late_us: int) -> bool:
        """Say whether a check that waited so long is made no more: what piled up before a cut is worked off at once."""
        return self.keep < ALL and late_us > self.max_late_us and priority <= self.edge

    def keeps(self, priority: int, endpoint_id: int, turn: int) -> bool:
        """Say whether a check is made; its turn is the number of its interval, so that all lose the same share."""
        if priority != self.edge:
            return priority > self.edge
        return (turn * self.cut_below + endpoint_id * FIBONACCI) % ALL < self.cut_below
