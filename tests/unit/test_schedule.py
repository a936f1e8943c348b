"""The schedule: times are invented, so no test waits."""

from __future__ import annotations

from collections import Counter

import pytest

from watcher.schedule import SHARDS, TICK_US, Schedule, Slot, phase_us, shard

S = 1_000_000
NOW = 1_800_000_000 * S


def dues(schedule: Schedule, start_us: int, end_us: int, step_us: int = 100_000) -> list[tuple[int, int]]:
    """Take everything that is due from start to end, looking every step."""
    return [(due.slot.endpoint_id, due.at_us) for now in range(start_us, end_us, step_us) for due in schedule.take(now)]


def test_an_endpoint_is_due_once_an_interval_without_drift() -> None:
    schedule = Schedule("here")
    schedule.add(Slot(7, 5 * S), NOW)
    times = [at for _, at in dues(schedule, NOW, NOW + 60 * S, 333_333)]
    assert len(times) == 12
    assert {later - earlier for earlier, later in zip(times, times[1:], strict=False)} == {5 * S}


def test_nothing_is_served_before_it_is_due_nor_a_tick_late() -> None:
    schedule = Schedule("here")
    schedule.add(Slot(7, 5 * S), NOW)
    due_us = phase_us(7, "here", 5 * S) + NOW // (5 * S) * 5 * S
    due_us += 5 * S if due_us <= NOW else 0
    assert not schedule.take(due_us - 1)
    assert due_us <= schedule.next_us() <= due_us + TICK_US
    assert [due.at_us for due in schedule.take(due_us + TICK_US)] == [due_us]


def test_a_restart_keeps_the_phase() -> None:
    first, second = Schedule("here"), Schedule("here")
    first.add(Slot(7, 60 * S), NOW)
    second.add(Slot(7, 60 * S), NOW + 12_345_678)
    assert {at % (60 * S) for _, at in dues(first, NOW, NOW + 200 * S)} == {
        at % (60 * S) for _, at in dues(second, NOW + 12_345_678, NOW + 200 * S)
    }


def test_locations_interleave() -> None:
    assert len({phase_us(7, place, 60 * S) for place in ("fra", "nyc", "sin")}) == 3


@pytest.mark.parametrize("location", ["here", "fra", "nyc"])
@pytest.mark.parametrize("intervals_s", [(60,), (300,), (5,), (30, 60, 300), (7, 61, 299)])
def test_load_is_flat(location: str, intervals_s: tuple[int, ...]) -> None:
    schedule = Schedule(location)
    for endpoint_id in range(1, 10_001):
        schedule.add(Slot(endpoint_id, intervals_s[endpoint_id % len(intervals_s)] * S), NOW)
    start = NOW // S + 1  # not the second that has begun
    seconds = Counter(at // S for _, at in dues(schedule, NOW, NOW + 302 * S) if start <= at // S < start + 300)
    mean = sum(seconds.values()) / 300
    assert mean == pytest.approx(sum(10_000 / len(intervals_s) / interval for interval in intervals_s), rel=0.01)
    assert max(seconds.values()) <= 1.3 * mean
    assert min(seconds.values()) >= 0.7 * mean


@pytest.mark.parametrize("stride", [2, 3, 7, 10, 64, 100, 1000, 4096])
def test_load_is_flat_when_ids_have_gaps(stride: int) -> None:
    seconds = Counter(phase_us(number * stride, "here", 60 * S) // S for number in range(10_000))
    assert max(seconds.values()) <= 1.3 * 10_000 / 60


def test_load_is_flat_in_every_worker() -> None:
    for worker in range(4):
        ids = [endpoint_id for endpoint_id in range(40_000) if shard(endpoint_id) % 4 == worker]
        seconds = Counter(phase_us(endpoint_id, "here", 60 * S) // S for endpoint_id in ids)
        assert max(seconds.values()) <= 1.3 * len(ids) / 60


def test_a_day_later_it_is_due_at_the_same_second_of_the_minute() -> None:
    schedule, slot = Schedule("here"), Slot(7, 60 * S)
    schedule.add(slot, NOW)
    first = slot.due_us
    for turn in range(1, 1441):
        assert [due.at_us for due in schedule.take(slot.due_us + TICK_US + turn % 700 * 1000)] == [
            first + (turn - 1) * 60 * S
        ]
    assert slot.due_us == first + 86_400 * S


def test_shards_are_even_and_independent_of_phases() -> None:
    counts = Counter(shard(endpoint_id) % 4 for endpoint_id in range(10_000))
    assert max(counts.values()) < 1.1 * 2500
    assert all(0 <= shard(endpoint_id) < SHARDS for endpoint_id in range(1000))
    phases = [phase_us(endpoint_id, "here", 60 * S) for endpoint_id in range(40_000) if shard(endpoint_id) % 64 == 0]
    assert len(set(phases)) == len(phases)
    assert sum(phases) / len(phases) == pytest.approx(30 * S, rel=0.1)


def test_slots_that_went_by_are_named_and_the_last_one_is_served() -> None:
    schedule = Schedule("here")
    schedule.add(Slot(7, 5 * S), NOW)
    first = schedule.take(NOW + 5 * S + TICK_US)[0]
    late = schedule.take(first.at_us + 17 * S + TICK_US)[0]
    assert list(late.missed) == [first.at_us + 5 * S, first.at_us + 10 * S]
    assert late.at_us == first.at_us + 15 * S
    assert [due.at_us for due in schedule.take(first.at_us + 20 * S + TICK_US)] == [first.at_us + 20 * S]


def test_a_first_check_comes_early_and_leaves_the_grid_alone() -> None:
    grid, early = Schedule("here"), Schedule("here")
    grid.add(Slot(7, 300 * S), NOW)
    early.add(Slot(7, 300 * S), NOW, first_us=NOW + 1)
    assert NOW + 1 < early.next_us() <= NOW + 1 + TICK_US
    assert [due.at_us for due in early.take(NOW + S)] == [NOW + 1]
    assert early.next_us() == grid.next_us()


def test_a_first_check_that_a_slot_overtook_is_not_missed() -> None:
    schedule = Schedule("here")
    schedule.add(Slot(7, 5 * S), NOW, first_us=NOW + 1)
    due = schedule.take(NOW + 6 * S)[0]
    assert NOW + S < due.at_us <= NOW + 6 * S
    assert not due.missed


def test_a_first_check_after_the_slot_is_none() -> None:
    grid, late = Schedule("here"), Schedule("here")
    grid.add(Slot(7, 5 * S), NOW)
    late.add(Slot(7, 5 * S), NOW, first_us=NOW + 100 * S)
    assert late.next_us() == grid.next_us()


def test_a_slot_that_is_put_anew_is_due_on_its_new_grid_only() -> None:
    schedule = Schedule("here")
    slot = Slot(7, 60 * S)
    schedule.add(slot, NOW)
    slot.interval_us = 5 * S
    schedule.add(slot, NOW + 1)
    assert len(dues(schedule, NOW, NOW + 60 * S)) == 12


def test_what_is_cancelled_is_not_due() -> None:
    schedule = Schedule("here")
    slot = Slot(7, 5 * S)
    schedule.add(slot, NOW)
    schedule.cancel(slot)
    assert not schedule.take(NOW + 60 * S)
    assert schedule.next_us() is None
