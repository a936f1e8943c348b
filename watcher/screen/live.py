"""The live table on a terminal: totals on top, endpoints (those that are down first), the last failures at the foot."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from watcher.screen import figures
from watcher.screen.fleet import Fleet, Totals

REFRESH_S = 0.5
UNSHOWN_LINES = 200  # log lines kept between two refreshes
WIDE = 60  # columns, for all of the table
FAILURES_SHARE = 4  # of the height, one part in so many
NAME_COLUMNS = 16
MESSAGES = 3
MESSAGE_S = 30.0  # how long what was said stays in sight: above a table that fills the screen it is out of it
STYLES = {"up": "green", "degraded": "yellow", "down": "bold red", "missed": "yellow"}


class LiveTable:
    """Draws twice a second; what is said goes above, where it does not tear the table.

    Args:
        fleet: what the workers say.
        title: the first words of the first line.
        stream: the terminal.
        clock: the time of day.
    """

    def __init__(self, fleet: Fleet, title: str, stream: TextIO, clock: Callable[[], float] = time.time) -> None:
        self._fleet = fleet
        self._title = title
        self._clock = clock
        self._console = Console(file=stream, highlight=False)
        self._said: deque[str] = deque(maxlen=UNSHOWN_LINES)
        self._messages: deque[tuple[float, str]] = deque(maxlen=MESSAGES)
        self._unsaid = 0
        self._drawn_at = -REFRESH_S
        self._size = self._console.size
        self._live = self._started()

    def say(self, text: str) -> None:
        """Tell of the agent itself; shown above the table at the next refresh. From any thread."""
        self._unsaid += len(self._said) == UNSHOWN_LINES
        self._said.append(figures.plain(text))

    def tick(self, now: float) -> None:
        """Draw, if it is time."""
        if now < self._drawn_at + REFRESH_S:
            return
        self._drawn_at = now
        self._fleet.changes()  # they are in the table
        if self._console.size != self._size:
            self._resized()
        self._print_said(now)
        self._live.update(self._picture(now), refresh=True)

    def close(self, now: float) -> None:
        """Draw the last state and leave it on the screen."""
        self._print_said(now)
        self._live.update(self._picture(now), refresh=True)
        self._live.stop()

    def _started(self) -> Live:
        live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop")
        live.start()
        return live

    def _resized(self) -> None:
        """Begin anew: the terminal has folded the old lines, and nobody knows where they are now."""
        self._size = self._console.size
        self._live.stop()
        self._console.clear()
        self._live = self._started()

    def _print_said(self, now: float) -> None:
        lines = [self._said.popleft() for _ in range(len(self._said))]
        self._messages.extend((now, line) for line in lines[-MESSAGES:])
        if self._unsaid:
            lines.append(f"and {self._unsaid} more lines, not shown")
            self._unsaid = 0
        if lines:
            self._console.print(Text("\n".join(lines)), soft_wrap=True)

    def _picture(self, now: float) -> RenderableType:
        width, height = self._console.size
        title = f"{self._title}  {figures.moment(self._clock() * 1e6)[11:19]}"
        messages = [text for said_at, text in self._messages if now < said_at + MESSAGE_S]
        return picture(self._fleet, (now, self._clock()), title, (width, height - 1), messages)


def picture(
    fleet: Fleet, now: tuple[float, float], title: str, size: tuple[int, int], messages: Sequence[str] = ()
) -> RenderableType:
    """Make what is to be seen in `size` columns and lines; `now` is by the steady clock and by that of the day."""
    width, height = size
    totals = fleet.totals(now[0])
    head = header(totals, title)[:height]
    foot = _foot(list(fleet.failures)[: height // FAILURES_SHARE], messages, width) if height > 2 * len(head) else []
    room = height - len(head) - 1 - len(foot)
    rows = fleet.latest()
    shown = rows[:room] if totals.endpoints <= room else rows[: max(0, room - 1)]
    body: list[RenderableType] = []
    if room > 1:
        body.append(endpoints(shown, now[1], width))
        if hidden := totals.endpoints - len(shown):
            body.append(_line((f"{hidden:,} more endpoints", "dim")))
    return Group(*head, *body, *foot)


def _foot(failures: Sequence[Mapping[str, Any]], messages: Sequence[str], width: int) -> list[Text]:
    lines = [_line(("last failures", "bold"))] if failures else []
    lines += [_failure(failure, width) for failure in failures]
    lines += [_line(("last messages", "bold"))] if messages else []
    return lines + [_line((message, "")) for message in messages]


def header(totals: Totals, title: str) -> list[Text]:
    """Make the lines on top."""
    database = totals.database or "starting"
    dropped = [("   dropped ", "dim"), (f"{totals.dropped:,}", "bold red")] if totals.dropped else []
    troubles = "; ".join(totals.troubles())
    return [
        _line((figures.plain(title), "bold")),
        _line(
            (f"{totals.endpoints:,} endpoints", ""),
            (f"   {totals.up:,} up", STYLES["up"]),
            (f"   {totals.degraded:,} degraded" if totals.degraded else "", STYLES["degraded"]),
            (f"   {totals.down:,} down", STYLES["down"] if totals.down else "dim"),
            (f"   {totals.unknown:,} unknown", "yellow" if totals.unknown else "dim"),
            (f"   {figures.count(totals.checks_per_s)} checks/s", ""),
            ("   workers ", "dim"), (f"{totals.workers}", ""),
        ),
        _line(
            ("lag p99 ", "dim"), (figures.duration(totals.lag_p99_us), ""),
            ("   late p99 ", "dim"), (figures.duration(totals.late_p99_us), ""),
            ("   missed ", "dim"), (f"{totals.missed:,}", "bold yellow" if totals.missed else ""),
            ("   cpu ", "dim"), (f"{totals.cpu:.0%}", ""),
            ("   in flight ", "dim"), (f"{totals.in_flight:,}", ""),
        ),
        _line(
            ("stored ", "dim"), (f"{totals.stored:,}", ""),
            ("   buffered ", "dim"), (f"{totals.buffered:,}", ""),
            ("   spooled ", "dim"), (f"{totals.spooled:,}", "yellow" if totals.spooled else ""),
            *dropped,
            ("   database ", "dim"), (figures.plain(database), "green" if database == "ok" else "bold yellow"),
        ),
        *([_line((troubles, "bold red"))] if troubles else []),
    ]  # fmt: skip


def endpoints(rows: Sequence[Mapping[str, Any]], wall_s: float, width: int) -> Table:
    """Make the table of endpoints: one line each, whatever the width."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, expand=True, header_style="dim", width=width)
    table.add_column("status", no_wrap=True)
    table.add_column("endpoint", ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("http", no_wrap=True, justify="right")
    table.add_column("latency", no_wrap=True, justify="right")
    wide = width >= WIDE
    if wide:
        table.add_column("checked", no_wrap=True, justify="right")
        table.add_column("changed", no_wrap=True, justify="right")
    for row in rows:
        status = row.get("status") or "unknown"
        cells = [figures.name(row.get("name", "")), str(row.get("http_status") or "")]
        cells.append(figures.duration(row.get("latency_us")))
        if wide:
            cells += [_ago(row.get("at_us"), wall_s), _ago(row.get("changed_us"), wall_s)]
        table.add_row(Text(status, STYLES.get(status, "dim")), *map(Text, cells))
    return table


def _ago(at_us: int | None, wall_s: float) -> str:
    return figures.age(wall_s - at_us / 1e6) if at_us else ""


def _failure(row: Mapping[str, Any], width: int) -> Text:
    name = Text(figures.name(row.get("name", "")))
    name.truncate(max(NAME_COLUMNS, width // 2), overflow="ellipsis")  # the reason is to be seen, too
    return _line(
        (figures.moment(row.get("at_us", 0))[11:19], "dim"),
        (f" {name.plain} ", ""),
        (figures.cause(row.get("reason"), row.get("detail")), STYLES.get(row.get("status", ""), "")),
    )


def _line(*parts: tuple[str, str]) -> Text:
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")
