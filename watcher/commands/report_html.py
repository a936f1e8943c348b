"""A report as one page that needs nothing else: no script, no font, no request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from html import escape

from watcher.models import PHASES
from watcher.screen import availability, figures
from watcher.store.report import Line, Picture, Report
from watcher.store.report_period import cell

BAR = (7, 18)  # pixels of a cell
COLOURS = ((1.0, "#2e9e5b"), (0.99, "#a6c94f"), (0.9, "#f0b429"), (0.0, "#d64545"))
UNKNOWN = "#d9dde3"

_STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:100rem;padding:0 1rem}
table{border-collapse:collapse;width:100%}th,td{padding:.3rem .6rem;text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left;white-space:normal;overflow-wrap:anywhere}
tbody tr:nth-child(odd){background:#8881}thead th{border-bottom:2px solid #8886}
.figures{display:flex;flex-wrap:wrap;gap:1rem 2.5rem;padding:0;list-style:none}.figures b{display:block;font-size:1.6rem}
small{color:#777}.wide{overflow-x:auto}
"""


def page(picture: Picture) -> Iterator[str]:
    """Give the page in pieces."""
    report, count = picture.report, picture.count
    period = f"{report.since:%Y-%m-%d %H:%M} to {report.until:%Y-%m-%d %H:%M} UTC"
    yield (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Availability, {period}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>Availability</h1>\n<p>{period}</p>\n"
    )
    yield _summary(report.total, count)
    if len(report.endpoints) < count:
        yield f"<p>The {len(report.endpoints):,} least available:</p>\n"
    slow = ", ".join(
        f"{escape(figures.name(line.name))} {figures.duration(line.latency_p95_us)}" for line in picture.slowest
    )
    names = ("available", "incidents", "outage", "missed", "p50", "p95", "p99", *PHASES)
    heads = "".join(f"<th>{name}</th>" for name in names)
    yield f'<div class="wide"><table>\n<thead><tr><th>endpoint</th>{heads}<th></th></tr></thead>\n<tbody>\n'
    step = cell(report.since, report.until)
    for line in report.endpoints:
        yield _row(line, _bars(picture.series[line.name], report, step))
    yield (
        f"</tbody>\n</table></div>\n<p>Slowest by p95: {slow}</p>\n"
        "<p><small>Available: up or degraded, of all checks but those that were missed. "
        "Percentiles are at most 2.2 % off; phases are means. Times of latency are those of checks that were answered."
        "</small></p>\n</body>\n</html>\n"
    )


def _summary(line: Line, count: int) -> str:
    shown = {
        "available": availability.percent(line.availability),
        "endpoints": f"{count:,}",
        "checks": f"{line.up + line.degraded + line.down:,}",
        "missed": f"{line.missed:,}",
        "incidents": f"{line.incidents:,}",
        "outage minutes": f"{line.outage_minutes:,}",
        "minutes free of incidents": f"{line.incident_free_minutes:,}",
        "p50": figures.duration(line.latency_p50_us) or "-",
        "p95": figures.duration(line.latency_p95_us) or "-",
        "p99": figures.duration(line.latency_p99_us) or "-",
    }
    return f'<ul class="figures">{"".join(f"<li><b>{value}</b>{name}</li>" for name, value in shown.items())}</ul>\n'


def _row(line: Line, bars: str) -> str:
    cells = [
        availability.percent(line.availability),
        f"{line.incidents:,}",
        f"{line.outage_minutes:,} min",
        f"{line.missed:,}",
        *(figures.duration(value) or "-" for value in (line.latency_p50_us, line.latency_p95_us, line.latency_p99_us)),
        *(figures.duration(getattr(line, f"{phase}_mean_us")) or "-" for phase in PHASES),
    ]
    values = "".join(f"<td>{value}</td>" for value in cells)
    name = escape(figures.name(line.name) + availability.mark(line.removed))
    return f"<tr><td>{name}</td>{values}<td>{bars}</td></tr>\n"


def _bars(values: Sequence[float | None], report: Report, step: timedelta) -> str:
    width, height = BAR
    drawn = "".join(
        f'<rect x="{place * width}" width="{width - 1}" height="{height}" fill="{_colour(value)}">'
        f"<title>{report.since + place * step:%Y-%m-%d %H:%M}: {availability.percent(value)}</title></rect>"
        for place, value in enumerate(values)
    )
    return f'<svg width="{width * len(values)}" height="{height}" role="img">{drawn}</svg>'


def _colour(value: float | None) -> str:
    return UNKNOWN if value is None else next(colour for least, colour in COLOURS if value >= least)
