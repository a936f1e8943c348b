"""The bound on heavy computing: a part of each turn of the hub, those amid a check first, each line in its order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import gevent
import pytest
from gevent.event import Event

from watcher.transport.turnstile import GO_ON_MOST, Turnstile

CROWD = 30
PIECE_S = 0.001


@pytest.fixture(name="gate")
def fixture_gate() -> Iterator[Turnstile]:
    """Give one of its own, whose turn is taken."""
    made = Turnstile(gevent.get_hub())
    yield made
    gevent.idle()


def compute(seconds: float = PIECE_S) -> None:
    """Hold the hub."""
    until_s = time.perf_counter() + seconds
    while time.perf_counter() < until_s:
        pass


def passing(*ways: Callable[[], None]) -> list[tuple[int, int]]:
    """Have a greenlet go each way, in this order and all in one turn; give who passed, in which turn of the loop."""
    passed: list[tuple[int, int]] = []
    loop = gevent.get_hub().loop

    def go(number: int, way: Callable[[], None]) -> None:
        way()
        passed.append((number, loop.iteration))
        compute()

    gevent.joinall([gevent.spawn(go, number, way) for number, way in enumerate(ways)], raise_error=True)
    return passed


def test_one_passes_in_a_turn_in_the_order_in_which_they_came(gate: Turnstile) -> None:
    passed = passing(*[gate.go_on] * CROWD)
    assert [number for number, _ in passed] == list(range(CROWD))
    assert len({turn for _, turn in passed}) > CROWD // 2  # a busy machine makes the turns of the others longer


def test_many_pass_in_a_turn_in_which_the_others_take_long(gate: Turnstile) -> None:
    """One in each turn would take as long as the crowd is long, however little it computes."""

    def others() -> None:
        while True:
            compute(CROWD * PIECE_S)
            gevent.sleep(0)

    busy = gevent.spawn(others)
    try:
        passed = passing(*[gate.go_on] * CROWD)
    finally:
        busy.kill()
    assert 2 <= len({turn for _, turn in passed}) < CROWD // 2


def test_who_is_alone_does_not_wait(gate: Turnstile) -> None:
    for way in (gate.begin, gate.go_on):
        gevent.sleep(0.001)
        turn = gevent.get_hub().loop.iteration
        way()
        assert gevent.get_hub().loop.iteration == turn


def test_who_is_amid_a_check_goes_before_those_who_have_not_begun(gate: Turnstile) -> None:
    first, *passed = [number for number, _ in passing(gate.go_on, gate.begin, gate.begin, gate.go_on, gate.go_on)]
    assert first == 0  # there was nobody yet
    assert passed == [3, 4, 1, 2]


def test_nobody_waits_for_ever_to_begin(gate: Turnstile) -> None:
    passed = [number for number, _ in passing(gate.go_on, gate.begin, *[gate.go_on] * CROWD)]
    assert passed.index(1) == 1 + GO_ON_MOST


def test_others_are_served_between_two_pieces(gate: Turnstile) -> None:
    """A light greenlet that takes a turn of the hub for each of its steps is through long before the crowd."""

    def heavy() -> None:
        gate.go_on()
        compute()

    crowd = [gevent.spawn(heavy) for _ in range(CROWD)]
    left: list[int] = []

    def light() -> None:
        for _ in range(5):
            gevent.sleep(0)
        left.append(sum(not one.ready() for one in crowd))

    gevent.joinall([gevent.spawn(light), *crowd], raise_error=True)
    assert left[0] > CROWD // 2


def test_who_is_ended_while_waiting_holds_nobody_up(gate: Turnstile) -> None:
    waiting = [gevent.spawn(gate.go_on) for _ in range(4)]
    gevent.sleep(0)  # the first has passed, the others wait
    gevent.killall(waiting[1:3], block=True)
    waiting[3].get(timeout=30)
    assert passing(gate.go_on)[0][0] == 0


def test_all_of_those_who_wait_may_be_ended(gate: Turnstile) -> None:
    waiting = [gevent.spawn(gate.go_on) for _ in range(3)]
    gevent.sleep(0)
    gevent.killall(waiting, block=True)
    with gevent.Timeout(30):
        assert len(passing(gate.go_on, gate.begin)) == 2


def test_the_processors_time_is_left_to_the_loop(gate: Turnstile) -> None:
    """With somebody waiting the loop looks for what arrived, and does not sleep."""
    done = Event()
    gate.go_on()
    gevent.spawn(lambda: (gate.go_on(), done.set()))
    assert done.wait(30)
