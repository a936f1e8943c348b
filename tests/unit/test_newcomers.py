"""How endpoints that join are eased in; times are by hand."""

from __future__ import annotations

from watcher.newcomers import Newcomers

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US


def test_first_checks_lie_ten_milliseconds_apart_for_ten_seconds() -> None:
    newcomers = Newcomers()
    given = [newcomers.first_us(0, MINUTE_US) for _ in range(2000)]
    assert given[:3] == [10_000, 20_000, 30_000]
    assert [place for place, first_us in enumerate(given) if first_us is None] == list(range(999, 2000))


def test_who_is_checked_soon_anyway_has_no_check_before() -> None:
    newcomers = Newcomers()
    given = [newcomers.first_us(0, 5 * SECOND_US) for _ in range(300)]
    assert given[248] == 2_490_000
    assert set(given[249:]) == {None}


def test_who_joins_after_a_large_table_need_not_wait_for_it() -> None:
    newcomers = Newcomers()
    for _ in range(100_000):
        newcomers.first_us(0, MINUTE_US)
    assert newcomers.first_us(MINUTE_US, 60 * MINUTE_US) == MINUTE_US


def test_a_lonely_newcomer_is_checked_at_once() -> None:
    newcomers = Newcomers()
    newcomers.first_us(0, MINUTE_US)
    assert newcomers.first_us(SECOND_US, MINUTE_US) == SECOND_US


def test_the_load_of_a_crowd_is_no_measure_until_its_first_checks_are_over() -> None:
    newcomers = Newcomers()
    for _ in range(2000):
        newcomers.first_us(0, MINUTE_US)
    settled = [newcomers.settled(second * SECOND_US) for second in range(1, 30)]
    assert settled.index(True) == 14  # the end of second 15: ten seconds of first checks, five more
    assert all(settled[14:])


def test_what_a_crowd_left_waiting_is_no_measure_until_it_is_worked_off() -> None:
    newcomers = Newcomers()
    for _ in range(2000):
        newcomers.first_us(0, MINUTE_US)
    settled = [newcomers.settled(second * SECOND_US, max(0, 10_000 - 400 * second)) for second in range(1, 35)]
    assert settled.index(True) == 25  # second 26: nothing waits since the one before
    assert all(newcomers.settled(second * SECOND_US, 10_000 - 100 * second) for second in range(35, 60))


def test_a_worker_that_stays_behind_has_more_than_it_can_do() -> None:
    newcomers = Newcomers()
    for _ in range(2000):
        newcomers.first_us(0, MINUTE_US)
    settled = [newcomers.settled(second * SECOND_US, 10_000) for second in range(1, 90)]
    assert settled.index(True) == 14
    assert all(settled[14:])


def test_what_is_worked_off_for_long_is_no_exception() -> None:
    newcomers = Newcomers()
    for _ in range(2000):
        newcomers.first_us(0, MINUTE_US)
    waiting = 1_000_000.0
    settled = [newcomers.settled(second * SECOND_US, int(waiting := waiting * 0.95)) for second in range(1, 90)]
    assert settled.index(True) == 14 + 30 - 1
    assert all(settled[14 + 30 :])


def test_a_few_newcomers_change_nothing() -> None:
    newcomers = Newcomers()
    for _ in range(100):
        newcomers.first_us(0, MINUTE_US)
    assert newcomers.settled(SECOND_US)
