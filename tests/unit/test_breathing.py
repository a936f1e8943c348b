"""How much of a worker's time the reading of its table takes: some, whatever the checks take."""

import gc
from types import SimpleNamespace

import gevent
import plugged
from test_turnstile import compute

from watcher import roster
from watcher.breath import next_turn
from watcher.ledger import Ledger
from watcher.roster_copy import Origin, RosterCopy

ROWS = 200
ROW_S = 0.001


def others_turns(turn_s: float) -> int:
    """Read rows that take a while each beside checks that take the hub for so long a turn; give how many they had."""
    turns = 0

    def check() -> None:
        nonlocal turns
        while True:
            compute(turn_s)
            turns += 1
            next_turn()

    other = gevent.spawn(check)
    try:
        for _ in roster._breathing({"id": number} for number in range(ROWS)):  # pylint: disable=protected-access
            compute(ROW_S)
    finally:
        other.kill()
    return turns


def test_reading_lets_others_have_their_turn_every_few_rows() -> None:
    assert others_turns(0.0001) > ROWS // 10


def test_reading_goes_on_where_the_turn_of_the_others_takes_long() -> None:
    assert others_turns(0.04) < ROWS // 5


ROWS_OF_OTHERS = [{"id": number, "enabled": False, "locations": []} for number in range(2 * roster.FROZEN_ROWS)]


def test_what_is_garbage_at_a_later_reading_is_not_frozen_with_it(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(roster, "table", SimpleNamespace(load=lambda _: (ROWS_OF_OTHERS, 0)))
    reading = roster.Roster(
        "",
        plugged.manager(),
        SimpleNamespace(known=dict),
        share=range(0),
        location="here",
        say=print,
        loaded=lambda: None,
        ledger=Ledger(),
        copy=RosterCopy(tmp_path, 0, 1, Origin("", "", "here", ""), print),
    )
    frozen = []
    try:
        for _ in range(3):
            reading._read_all(None)  # pylint: disable=protected-access
            frozen.append(gc.get_freeze_count())
    finally:
        gc.unfreeze()
    assert frozen[0] > 0
    assert frozen[1:] == frozen[:1] * 2
