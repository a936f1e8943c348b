"""A report as a table for a terminal, with a line of blocks an endpoint."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

from rich.table import Table
from rich.text import Text

from watcher.models import PHASES
from watcher.screen import availability, figures
from watcher.screen.paper import paper
from watcher.store.report import Line, Picture
from watcher.store.report_period import DAY, HOUR, cell

ROWS = (0.9, 0.99)  # below the first a share is red, below the second yellow


def drawn(picture: Picture) -> str:
    """Draw it."""
    report, count = picture.report, picture.count
    written = StringIO()
    console = paper(written, soft_wrap=True)
    console.print(f"{_moment(report.since)} to {_moment(report.until)}, {figures.counted(count, 'endpoint')}")
    console.print(_summary(report.total))
    if not report.endpoints:
        return written.getvalue()
    table = Table(box=None, pad_edge=False, header_style="bold")
    is_cut = len(report.endpoints) < count
    table.add_column("least available" if is_cut else "endpoint", overflow="ellipsis", no_wrap=True)
    for name in ("available", "incidents", "outage", "missed", "p50", "p95", "p99", *PHASES):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(f"by {_length(cell(report.since, report.until))}", no_wrap=True)
    for line in report.endpoints:
        table.add_row(*_cells(line), Text(availability.sparkline(picture.series[line.name])))
    console.print(table, "")
    slow = [f"{figures.name(line.name)} {figures.duration(line.latency_p95_us)}" for line in picture.slowest]
    console.print(f"slowest by p95: {', '.join(slow) or '-'}", markup=False)
    return written.getvalue()


def _summary(line: Line) -> str:
    checks = line.up + line.degraded + line.down
    return (
        f"available {availability.percent(line.availability)} of {checks:,} checks, {line.missed:,} missed;"
        f" {figures.counted(line.incidents, 'incident')}, {line.outage_minutes:,} outage minutes,"
        f" {line.incident_free_minutes:,} free of incidents;"
        f" p50 {figures.duration(line.latency_p50_us) or '-'}, p95 {figures.duration(line.latency_p95_us) or '-'},"
        f" p99 {figures.duration(line.latency_p99_us) or '-'}\n"
    )


def _cells(line: Line) -> list[Text | str]:
    share = line.availability
    style = "" if share is None or share >= ROWS[1] else "yellow" if share >= ROWS[0] else "red"
    return [
        Text(figures.name(line.name) + availability.mark(line.removed)),
        Text(availability.percent(share), style),
        f"{line.incidents:,}",
        f"{line.outage_minutes:,} min",
        f"{line.missed:,}",
        *(
            figures.duration(value) or "-"
            for value in (line.latency_p50_us, line.latency_p95_us, line.latency_p99_us)
        ),
        *(figures.duration(getattr(line, f"{phase}_mean_us")) or "-" for phase in PHASES),
    ]


def _moment(at: object) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _length(step: timedelta) -> str:
    for unit, name in ((DAY, "day"), (HOUR, "hour")):
        if step >= unit:
            return name if step == unit else f"{step // unit} {name}s"
    return f"{step // timedelta(minutes=1)} min"
