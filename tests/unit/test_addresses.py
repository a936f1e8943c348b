"""What the rows of a name's addresses say of its endpoint: `any`, `all`, `k of n`; tables written by hand."""

from __future__ import annotations

import pytest

from watcher.addresses import judge
from watcher.models import Endpoint, Reason, Result, Status

ENDPOINT = Endpoint(name="site", url="https://www.test/")
ROWS = {
    "u": (Status.UP, None),
    "g": (Status.DEGRADED, Reason.LATENCY),
    "d": (Status.DOWN, Reason.CONNECT),
    "m": (Status.MISSED, Reason.OVERLOAD),
    "n": (Status.MISSED, Reason.AGENT_NETWORK),  # no way there
}


@pytest.mark.parametrize(
    ("rows", "up", "chosen"),
    [
        # one is enough
        ("u", "any", 0), ("du", "any", 1), ("dgu", "any", 2), ("dg", "any", 1), ("dd", "any", 0),
        ("dm", "any", 1), ("mu", "any", 1), ("dn", "any", 0), ("nu", "any", 1), ("nn", "any", 0), ("nm", "any", 1),
        # all of them
        ("uu", "all", 0), ("ud", "all", 1), ("ugd", "all", 2), ("ug", "all", 1), ("um", "all", 1), ("umd", "all", 2),
        ("un", "all", 0), ("dn", "all", 0), ("nd", "all", 1), ("nn", "all", 0), ("gn", "all", 0),
        # a number
        ("uud", 2, 0), ("udd", 2, 1), ("ugd", 2, 1), ("udm", 2, 2), ("ddm", 2, 0), ("u", 1, 0),
        ("u", 2, None), ("ug", 3, None), ("d", 2, 0), ("um", 3, None),
        ("un", 2, 0), ("dn", 2, 0), ("udn", 2, 1), ("nn", 2, 0),
    ],
)  # fmt: skip
def test_the_row_that_stands_for_all(rows: str, up: int | str, chosen: int | None) -> None:
    results = [Result(ENDPOINT, number, *ROWS[row]) for number, row in enumerate(rows)]
    assert judge(results, up) == chosen
