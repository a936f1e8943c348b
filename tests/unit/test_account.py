"""`watcher.agent.account`: when an agent leaves the figures of its plugins, and what it says when it cannot."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from watcher.agent import account
from watcher.agent.account import EVERY_S, PluginAccount
from watcher.screen.fleet import Fleet


def hear(fleet: Fleet, calls: int) -> None:
    """Let a worker say what a plugin did until now."""
    fleet.hear({"worker": 0, "pid": 1, "plugins": {"regex": {"calls": calls}}}, 0.0)


def calls(data_dir: Path) -> int:
    """Give what was left."""
    left = account.read(data_dir)
    assert left is not None
    return left.plugins["regex"]["calls"]


def test_figures_are_left_every_ten_seconds_and_at_the_end(tmp_path: Path) -> None:
    fleet = Fleet()
    left = PluginAccount(tmp_path, fleet, pytest.fail)
    assert account.read(tmp_path) is None
    for now_s, said, wanted in ((100.0, 1, 1), (100.0 + EVERY_S - 0.1, 2, 1), (100.0 + EVERY_S, 3, 3), (111.0, 4, 3)):
        hear(fleet, said)
        left.tick(now_s)
        assert calls(tmp_path) == wanted
    found = account.read(tmp_path)
    assert found and not found.ended and abs(found.at - time.time()) < 60
    left.close()
    found = account.read(tmp_path)
    assert found and found.ended and calls(tmp_path) == 4


def test_a_disk_that_refuses_is_told_of_once_in_a_while(tmp_path: Path) -> None:
    said: list[str] = []
    gone = tmp_path / "gone"
    left = PluginAccount(gone, Fleet(), said.append)
    for now_s in (0.0, EVERY_S, 2 * EVERY_S):
        left.tick(now_s)
    assert said == [f"{gone / account.FILE}: No such file or directory; watcher plugins shows no figures of this agent"]
    gone.mkdir()
    left.tick(account.AGAIN_S)
    assert account.read(gone) is not None and len(said) == 1
