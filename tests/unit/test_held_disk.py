"""A disk that answers no more holds one thread of the worker, however often the files on it are asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import gevent
import pytest

from watcher import registry, roster
from watcher.leases import FixedShare
from watcher.ledger import Ledger
from watcher.named_files import Stamp, stamps
from watcher.plan import Plan
from watcher.roster_copy import Origin, RosterCopy

ASKED = 5
PATIENCE_S = 60.0


class Follower:
    """A follower that does nothing with its plans."""

    def __init__(self) -> None:
        self._plans: dict[int, Plan] = {}

    def put(self, plan: Plan) -> None:
        """Take one."""
        self._plans[plan.endpoint.id] = plan

    def drop(self, endpoint_id: int) -> None:
        """Forget one."""
        del self._plans[endpoint_id]

    def known(self) -> Mapping[int, Any]:
        """Give all."""
        return self._plans


@pytest.fixture(name="read_files")
def fixture_read_files(tmp_path: Path) -> Callable[[], None]:
    """Have a roster look at its files, as it does each minute."""
    made = roster.Roster(
        "",
        registry.plugin_manager(),
        Follower(),
        share=FixedShare(0, 1),
        location="here",
        say=print,
        loaded=lambda: None,
        ledger=Ledger(),
        copy=RosterCopy(tmp_path, 0, 1, Origin("", "", "", ""), print),
    )
    return lambda: made._read_files(None)  # pylint: disable=protected-access  # without a database around it


def test_a_look_that_does_not_come_back_is_joined_by_no_other(
    read_files: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, looks, done = threading.Event(), [], []

    def held(paths: Iterable[str]) -> dict[str, Stamp]:
        looks.append(1)
        answers.wait(PATIENCE_S)
        done.append(1)
        return stamps(paths)

    monkeypatch.setattr(roster, "STATS_S", 0.05)
    monkeypatch.setattr(roster, "stamps", held)
    try:
        until = time.monotonic() + PATIENCE_S
        while not looks and time.monotonic() < until:
            read_files()
        for _ in range(ASKED):
            read_files()
        assert len(looks) == 1
    finally:
        answers.set()
    while len(looks) == 1 and time.monotonic() < until:
        gevent.sleep(0.001)
        read_files()
    assert len(looks) > 1, "it looks again as soon as the disk answers"
