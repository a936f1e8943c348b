"""How much of a worker's time the reading of its table takes: some, whatever the checks take."""

import gevent
from test_turnstile import compute

from watcher import roster
from watcher.breath import next_turn

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
