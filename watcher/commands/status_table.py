"""How endpoints and agents are, as a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from io import StringIO

from rich.table import Table
from rich.text import Text

from watcher.screen import figures
from watcher.screen.paper import paper
from watcher.store import standing
from watcher.store.standing import Agent, Endpoint, Standing

STYLES = {"down": "bold red", "degraded": "yellow", "missed": "yellow"}


def drawn(found: Standing, endpoints: Sequence[Endpoint], limit: int) -> str:
    """Draw it."""
    written = StringIO()
    console = paper(written, soft_wrap=True)
    console.print(", ".join(f"{count:,} {name}" for name, count in standing.counts(found).items()))
    for agent in found.agents:
        console.print(_agent(agent, found.at))
    if not found.agents:
        console.print("no agent was seen in the last 7 days")
    if endpoints:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("endpoint", "status", "since", "for", "checked", "why"):
            table.add_column(name, no_wrap=True)
        for one in endpoints[:limit]:
            table.add_row(*_cells(one, found.at))
        console.print("", table)
    if len(endpoints) > limit:
        console.print(f"and {len(endpoints) - limit:,} more: --limit, or another --format")
    return written.getvalue()


def _agent(agent: Agent, at: datetime) -> Text:
    named = " ".join(filter(None, (agent.host, agent.location, agent.variant)))
    troubles = [name for name in ("away", "saturated", "suspect") if getattr(agent, name)]
    text = Text(f"agent {figures.plain(named)}: seen {_age(agent.seen_at, at)} ago, ")
    return text.append(", ".join(troubles) or "well", "bold red" if troubles else "")


def _cells(one: Endpoint, at: datetime) -> list[Text]:
    since = f"{one.since:%Y-%m-%d %H:%M} UTC" if one.since else "-"
    return [
        Text(figures.name(one.name)),
        Text(one.status or "unchecked", STYLES.get(one.status or "", "")),
        Text(since),
        Text(_age(one.since, at)),
        Text(f"{_age(one.checked_at, at)} ago" if one.checked_at else "never"),
        Text(figures.cause(one.reason, one.detail)),
    ]


def _age(moment: datetime | None, at: datetime) -> str:
    return figures.age((at - moment).total_seconds()) if moment else "-"
