"""The view `endpoint_checks`: what it costs the server to find the last row of each check."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from datetime import date
from typing import Any

import pytest
from statements import execute

from watcher.store import partitions
from watcher.store.connection import connect

ROWS = 2000  # of each endpoint
FILL = """
INSERT INTO metrics (time, endpoint_id, agent_id, status)
SELECT '2026-03-01 00:00+00'::timestamptz + n * interval '1 second', endpoint_id, 1, 'up'
  FROM generate_series(1, 3) AS endpoint_id, generate_series(1, %s) AS n
"""


def looked_at(plan: Mapping[str, Any]) -> int:
    """Count the rows that the parts of a plan read or compared."""
    removed = sum(count for key, count in plan.items() if key.startswith("Rows Removed by"))
    return round((plan["Actual Rows"] + removed) * plan["Actual Loops"]) + sum(map(looked_at, plan.get("Plans", ())))


@pytest.mark.parametrize("wanted", ["endpoint_id = 2", "endpoint_id = 2 AND time < '2026-03-01 00:10+00'", "true"])
def test_no_row_is_compared_with_all_others_of_its_endpoint(database: str, wanted: str) -> None:
    with closing(connect(database, name="test", autocommit=True)) as connection:
        partitions.add_days(connection, [date(2026, 3, 1)])
        execute(connection, FILL, ROWS)
        execute(connection, "ANALYZE metrics")
        asked = f"SELECT * FROM endpoint_checks WHERE {wanted}"
        ((found,),) = execute(connection, f"EXPLAIN (ANALYZE, FORMAT JSON) {asked}")
    plan = found[0]["Plan"]
    assert plan["Actual Rows"] >= 499
    assert looked_at(plan) < 20 * plan["Actual Rows"]
