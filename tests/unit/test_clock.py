"""The schedule's clock, over two clocks that the test turns."""

from __future__ import annotations

import pytest

from watcher.clock import STEP_US, SteadyClock

S = 1_000_000
WALL = 1_800_000_000 * S


class Clocks:
    """A steady clock and a wall clock, in ns; `pause_us` passes before each look at the wall clock."""

    def __init__(self) -> None:
        self.steady_us = 5 * S
        self.set_us = 0
        self.pauses_us: list[int] = []

    def steady_ns(self) -> int:
        """Give the one that is never set."""
        return self.steady_us * 1000

    def wall_ns(self) -> int:
        """Give the one that the test sets."""
        if self.pauses_us:
            self.steady_us += self.pauses_us.pop(0)
        return (WALL - 5 * S + self.steady_us + self.set_us) * 1000


@pytest.fixture(name="clocks")
def _clocks() -> Clocks:
    return Clocks()


@pytest.fixture(name="clock")
def _clock(clocks: Clocks) -> SteadyClock:
    return SteadyClock(clocks.steady_ns, clocks.wall_ns)


def test_it_begins_with_the_wall_clock_and_goes_on_with_the_steady_one(clocks: Clocks, clock: SteadyClock) -> None:
    assert clock.now_us() == WALL
    clocks.steady_us += 7 * S
    clocks.set_us += 3600 * S
    assert clock.now_us() == WALL + 7 * S


@pytest.mark.parametrize("step_us", [3600 * S, -3600 * S, 2 * STEP_US, -2 * STEP_US])
def test_a_step_is_told_once_and_dates_what_comes_after(clocks: Clocks, clock: SteadyClock, step_us: int) -> None:
    clocks.steady_us += 100 * S
    clocks.set_us += step_us
    assert (clock.step_us(), clock.step_us()) == (step_us, 0)
    assert clock.now_us() == WALL + 100 * S
    assert clock.wall_us(clock.now_us()) * 1000 == clocks.wall_ns()


def test_steps_add_up(clocks: Clocks, clock: SteadyClock) -> None:
    for step_us in (3600 * S, -3600 * S, 5 * S):
        clocks.set_us += step_us
        assert clock.step_us() == step_us
    assert clock.wall_us(WALL) == WALL + 5 * S


def test_a_machine_that_sleeps_is_no_step(clocks: Clocks, clock: SteadyClock) -> None:
    clocks.steady_us += 8 * 3600 * S
    assert clock.step_us() == 0
    assert clock.now_us() == WALL + 8 * 3600 * S


def test_not_running_between_two_looks_is_no_step(clocks: Clocks, clock: SteadyClock) -> None:
    clocks.pauses_us = [50_000, 50_000, 30_000]
    clocks.set_us = -1  # a wall clock that shows now what the steady one showed before would be a step to a naive look
    assert clock.step_us() == 0


def test_the_machines_own_clocks_agree() -> None:
    clock = SteadyClock()
    assert clock.step_us() == 0
    assert clock.now_us() <= clock.now_us()
