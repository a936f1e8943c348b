"""The live table as a terminal of a given size shows it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pytest
from rich.console import Console

from watcher.screen.fleet import Fleet
from watcher.screen.live import LiveTable, picture

NOON_S = 1_800_000_000


def row(number: int, status: str = "up", **more: Any) -> dict[str, Any]:
    """Make a result as workers tell it."""
    return {
        "name": f"endpoint {number:05}", "status": status, "http_status": 200, "latency_us": 12_345,
        "at_us": (NOON_S - 3) * 1_000_000, "changed_us": (NOON_S - 600) * 1_000_000, **more,
    }  # fmt: skip


def fleet_of(count: int, down: int = 0) -> Fleet:
    """Make the fleet of one worker with so many endpoints, telling of 60 at most as workers do."""
    fleet = Fleet()
    downs = [row(number, "down", reason="connect", detail="refused") for number in range(down)]
    latest = downs + [row(number) for number in range(down, count)] if count <= 60 else downs
    line = {"worker": 0, "pid": 1, "endpoints": count, "up": count - down, "down": down, "database": "ok"}
    fleet.hear({**line, "latest": latest, "changes": downs}, 0.0)
    return fleet


def shown(fleet: Fleet, width: int, height: int, messages: Sequence[str] = ()) -> list[str]:
    """Draw and give the lines."""
    written = io.StringIO()
    console = Console(width=width, height=height, file=written, color_system=None)
    console.print(picture(fleet, (0.0, NOON_S), "watcher", (width, height), messages))
    return written.getvalue().splitlines()


@pytest.mark.parametrize("count", [0, 1, 10, 60, 1000, 100_000])
@pytest.mark.parametrize("down", [0, 1, 40])
@pytest.mark.parametrize("size", [(80, 23), (20, 5), (20, 3), (40, 11), (200, 80)])
def test_it_never_grows_beyond_the_terminal(count: int, down: int, size: tuple[int, int]) -> None:
    lines = shown(fleet_of(count, min(down, count)), *size, ["reloaded", "x" * 300])
    assert len(lines) <= size[1]
    assert max(map(len, lines)) <= size[0]


def test_what_is_down_comes_first_and_the_last_failures_are_at_the_foot() -> None:
    lines = shown(fleet_of(60, 2), 80, 23)
    assert lines[1].startswith("60 endpoints   58 up   2 down   0 unknown")
    assert [line.split()[0] for line in lines[5:8]] == ["down", "down", "up"]
    assert lines[-3:] == [
        "last failures",
        "07:59:57 endpoint 00001 connect: refused",
        "07:59:57 endpoint 00000 connect: refused",
    ]


def test_a_long_name_leaves_room_for_the_reason() -> None:
    fleet = fleet_of(0)
    fleet.hear({"worker": 1, "changes": [row(1, "down", name="n" * 300, reason="timeout", detail="in tls")]}, 0.0)
    assert shown(fleet, 80, 23)[-1] == f"07:59:57 {'n' * 39}… timeout: in tls"


def test_what_was_said_is_in_sight_for_a_while() -> None:
    lines = shown(fleet_of(60, 1), 80, 23, ["reloaded", "worker 1 died"])
    assert lines[-3:] == ["last messages", "reloaded", "worker 1 died"]


def test_a_row_has_status_name_http_latency_and_ages() -> None:
    assert shown(fleet_of(1), 80, 23)[5].split() == [
        "up",
        "endpoint",
        "00000",
        "200",
        "12.3",
        "ms",
        "3",
        "s",
        "10",
        "min",
    ]


def test_what_has_no_room_is_counted() -> None:
    lines = shown(fleet_of(60), 80, 23)
    rows = [line for line in lines if line.startswith("up ")]
    assert lines[-1] == f"{60 - len(rows)} more endpoints"
    assert shown(fleet_of(100_000, 1), 80, 23)[6] == "99,999 more endpoints"


def test_all_of_a_small_set_is_shown_without_a_count() -> None:
    assert len([line for line in shown(fleet_of(18), 80, 23) if line.startswith("up ")]) == 18


def test_what_a_site_sends_cannot_command_the_terminal() -> None:
    fleet = fleet_of(0)
    fleet.hear({"worker": 1, "changes": [row(1, "down", name="[red]a\x1b[2J", detail="b\x07\nc")], "latest": []}, 0.0)
    text = "\n".join(shown(fleet, 80, 23))
    assert "\x1b" not in text and "\x07" not in text and "[red]a" in text


def test_a_name_that_is_the_url_hides_its_token() -> None:
    fleet = fleet_of(0)
    one = row(1, "down", name="https://h/?token=hunter2")
    fleet.hear({"worker": 1, "endpoints": 1, "down": 1, "changes": [one], "latest": [one]}, 0.0)
    text = "\n".join(shown(fleet, 80, 23))
    assert text.count("https://h/?token=***") == 2 and "hunter2" not in text


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.fixture(name="terminal")
def _terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Terminal()


def test_it_draws_twice_a_second_at_most(terminal: Terminal) -> None:
    live = LiveTable(fleet_of(1), "watcher", terminal, clock=lambda: NOON_S)
    sizes = []
    for now in (0.0, 0.1, 0.4, 0.5, 0.9, 1.0):
        live.tick(now)
        sizes.append(len(terminal.getvalue()))
    live.close(1.0)
    assert [now > before for before, now in zip(sizes, sizes[1:], strict=False)] == [False, False, True, False, True]


def test_lines_that_are_said_go_above_and_a_flood_is_counted(terminal: Terminal) -> None:
    live = LiveTable(fleet_of(1), "watcher", terminal, clock=lambda: NOON_S)
    for number in range(500):
        live.say(f"said {number}.")
    live.tick(0.0)
    text = terminal.getvalue()
    live.close(1.0)
    assert text.index("said 499.") < text.index("1 endpoints")
    assert "said 299." not in text and "and 300 more lines, not shown" in text


def test_no_color_is_honoured(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    live = LiveTable(fleet_of(3, 1), "watcher", terminal, clock=lambda: NOON_S)
    live.close(0.0)
    assert "\x1b[31m" not in terminal.getvalue() and "\x1b[32m" not in terminal.getvalue()


def test_a_saturated_agent_has_a_line_for_that() -> None:
    fleet = fleet_of(60)
    assert not [line for line in shown(fleet, 80, 23) if "saturated" in line]
    fleet.hear({"worker": 1, "shedding_permille": 300}, 0.0)
    lines = shown(fleet, 80, 23)
    assert lines[4] == "saturated, shedding 30 %"
    assert len(lines) <= 23
