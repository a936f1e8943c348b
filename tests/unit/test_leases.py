"""Shares: together they hold every shard once."""

from __future__ import annotations

import pytest

from watcher.leases import FixedShare
from watcher.schedule import SHARDS


@pytest.mark.parametrize("of", [1, 2, 3, 7])
def test_fixed_shares_hold_every_shard_exactly_once(of: int) -> None:
    shares = [FixedShare(index, of) for index in range(of)]
    assert all(sum(shard in share for share in shares) == 1 for shard in range(SHARDS))


def test_a_share_beyond_the_last_is_an_error() -> None:
    with pytest.raises(ValueError):
        FixedShare(2, 2)
