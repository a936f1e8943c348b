"""The operations page explains every status and reason that a row can have."""

from __future__ import annotations

from pathlib import Path

import pytest

from watcher.models import NOT_THE_SITE, Reason, Status

PAGE = (Path(__file__).parents[2] / "docs/operations.md").read_text(encoding="utf-8")
ROWS = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("|")]


@pytest.mark.parametrize("status", list(Status))
def test_each_status_is_explained(status: Status) -> None:
    assert [row for row in ROWS if row[0] == status.value]


@pytest.mark.parametrize("reason", list(Reason))
def test_each_reason_is_explained_with_its_status(reason: Reason) -> None:
    special = {Reason.BODY_CAP: "up", Reason.LATENCY: "degraded"}
    expected = "missed" if reason in NOT_THE_SITE else special.get(reason, "down")
    assert [row[1] for row in ROWS if row[0] == reason.value and len(row) == 4] == [expected]
