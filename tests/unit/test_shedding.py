"""The controller of the load, against a worker that is simulated: a queue that serves so many checks a second."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from watcher.shedding import ALL, CALM_S, LEAST, SETTLE_S, Shedding

S = 1_000_000
MAX_LATE_US = 500_000


class Plant:
    """A worker that can serve `capacity` checks a second of the `offered` ones; what waits too long is missed."""

    def __init__(self, offered: int, capacity: int, seed: int = 0) -> None:
        self.shedding = Shedding(100_000, MAX_LATE_US)
        self.offered, self.capacity = offered, capacity
        self.backlog = 0.0
        self.kept: list[int] = []
        self.late_us: list[int] = []
        self._random = Random(seed)

    def run(self, seconds: int) -> None:
        """Let seconds pass."""
        shedding = self.shedding
        for _ in range(seconds):
            capacity = self.capacity * self._random.uniform(0.97, 1.03)
            self.backlog += self.offered * shedding.keep / ALL
            if shedding.active:  # see `gives_up`
                self.backlog = min(self.backlog, capacity * (1 + MAX_LATE_US / S))
            served = min(self.backlog, capacity)
            self.backlog = min(self.backlog - served, capacity * 5)
            late_us = int(self.backlog / capacity * S)
            for _ in range(int(served)):
                shedding.note(300, int(late_us * self._random.uniform(0.8, 1.2)))
            shedding.second(self.offered, int(served))
            self.kept.append(shedding.keep)
            self.late_us.append(late_us)


def changes(kept: list[int]) -> int:
    """Count how often it turned from more to less or the other way round."""
    steps = [later - earlier for earlier, later in zip(kept, kept[1:], strict=False) if later != earlier]
    return sum(one * other < 0 for one, other in zip(steps, steps[1:], strict=False))


def test_a_worker_that_keeps_up_sheds_nothing() -> None:
    plant = Plant(offered=900, capacity=1000)
    plant.run(600)
    assert set(plant.kept) == {ALL}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("factor", [1.5, 3, 10])
def test_an_overloaded_one_comes_back_into_its_budget_and_uses_what_it_has(factor: float, seed: int) -> None:
    plant = Plant(offered=int(300 * factor), capacity=300, seed=seed)
    plant.run(600)
    settled = plant.kept[120:]
    assert sum(late > MAX_LATE_US for late in plant.late_us[120:]) < 0.08 * len(settled)
    assert sum(settled) / len(settled) > 0.9 * ALL / factor
    assert changes(settled) <= 16  # turns in 8 minutes


def test_it_recovers_by_itself_when_the_load_is_gone() -> None:
    plant = Plant(offered=900, capacity=300)
    plant.run(300)
    plant.capacity = 2000
    plant.run(400)
    assert plant.shedding.keep == ALL
    assert changes(plant.kept[-400:]) <= 1


def test_one_bad_second_is_none() -> None:
    plant = Plant(offered=200, capacity=300)
    plant.run(10)
    plant.backlog = 300.0  # the machine did not run for a second
    plant.run(10)
    assert set(plant.kept) == {ALL}


def test_few_checks_are_no_reason() -> None:
    shedding = Shedding(100_000, MAX_LATE_US)
    for _ in range(100):
        shedding.note(5 * S, 5 * S)
        assert not shedding.second(500, 500) or shedding.keep == ALL
    assert shedding.keep == ALL


def test_between_half_and_all_of_the_budget_nothing_changes() -> None:
    shedding = Shedding(100_000, MAX_LATE_US)
    feed(shedding, MAX_LATE_US * 2, SETTLE_S + 2)
    kept = shedding.keep
    assert kept < ALL
    feed(shedding, MAX_LATE_US * 3 // 4, 100)
    assert shedding.keep == kept
    feed(shedding, 0, CALM_S)
    assert shedding.keep > kept


def feed(shedding: Shedding, late_us: int, seconds: int) -> None:
    """Let each second have 100 checks so late."""
    for _ in range(seconds):
        for _ in range(100):
            shedding.note(0, late_us)
        shedding.second(500, 100)


def test_something_is_always_left() -> None:
    shedding = Shedding(100_000, MAX_LATE_US)
    feed(shedding, 10 * S, 500)
    assert shedding.keep == LEAST
    shedding.divide({0: 1000})
    assert any(shedding.keeps(0, 7, turn) for turn in range(ALL))


def kept_share(shedding: Shedding, priority: int, turns: int = 1000) -> Counter[int]:
    """Count how many of its turns each of 100 endpoints has."""
    return Counter(
        endpoint_id
        for endpoint_id in range(100)
        for turn in range(50_000, 50_000 + turns)
        if shedding.keeps(priority, endpoint_id, turn)
    )


def test_the_lowest_priority_goes_first_then_all_lose_the_same() -> None:
    shedding = Shedding(100_000, MAX_LATE_US)
    shedding.keep = 600
    shedding.divide({-5: 200, 0: 700, 9: 100})  # 400 are to go: all of -5, and 200 of the 700
    assert not kept_share(shedding, -5)
    assert set(kept_share(shedding, 9).values()) == {1000}
    shares = kept_share(shedding, 0)
    assert len(shares) == 100
    assert set(shares.values()) == {714}


def test_within_a_priority_the_load_is_shed_at_every_moment_alike() -> None:
    shedding = Shedding(100_000, MAX_LATE_US)
    shedding.keep = 500
    shedding.divide({0: 1000})
    for turn in range(30_000_000, 30_000_010):
        kept = sum(shedding.keeps(0, endpoint_id, turn) for endpoint_id in range(1000))
        assert kept == pytest.approx(500, abs=20)


def test_a_row_says_why() -> None:
    shedding = Shedding(100_000, MAX_LATE_US)
    feed(shedding, 10 * S, 4)
    assert f"makes {shedding.keep / 10:g} % of its checks" in shedding.words
    assert "max_lag" in shedding.words and "highest priority first" in shedding.words


def test_hold_ups_now_and_then_shed_nothing_and_keep_no_worker_at_a_part_of_its_rate() -> None:
    shedding = Shedding(100_000, MAX_LATE_US)
    for second in range(600):
        held = second % 5 == 0 or second % 10 == 1  # every other one falls into two seconds
        for number in range(500):
            shedding.note(120_000 if held and number < 60 else 300, 0)
        shedding.second(500, 500)
        if second == 300:
            shedding._change(300, shedding._last)  # pylint: disable=protected-access  # as if it had been cut before
    assert shedding.keep == ALL
