"""`watcher --config F --once`, in a process that was made green: every endpoint once, without a database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import click
import gevent
import msgspec
from gevent.pool import Pool
from rich.table import Table
from rich.text import Text

from watcher import config, descriptors, registry
from watcher.commands import interrupt
from watcher.commands.record import record
from watcher.config import references
from watcher.errors import ConfigError
from watcher.models import PHASES, Result, Status
from watcher.ledger import Ledger, Watchman
from watcher.plan import Plan, compile_plan
from watcher.probe import probe
from watcher.screen import figures
from watcher.screen.paper import paper

STYLES = {Status.UP: "green", Status.DEGRADED: "yellow", Status.DOWN: "bold red", Status.MISSED: "yellow"}
ANSWERS = (Status.UP, Status.DEGRADED)
START_GAP_S = 0.002
WIDE = 120  # columns, for a table with reasons


def run_once(path: Path, disabled: Iterable[str], as_json: bool) -> int:
    """Check and print; return 1 when an endpoint is neither up nor degraded."""
    interrupt.raise_here()
    loaded, plugins, types = registry.configured(path, disabled)
    specs = [spec for spec in loaded.endpoints if spec.enabled and _is_here(spec, loaded.settings.agent.location)]
    if not specs:
        raise ConfigError([f"{path}: has no endpoint to check here; is one enabled?"])
    descriptors.allow_many()
    ledger = Ledger()
    Watchman(ledger).start()
    plans = (compile_plan(config.endpoint(spec, types), plugins, ledger) for spec in specs)
    results = _probe_all(plans, loaded.settings.agent.concurrency)
    if as_json:
        return _print_lines(results, {spec.name: references.masked(spec.url) for spec in specs})
    names = {spec.name: position for position, spec in enumerate(specs)}
    return _print_table(sorted(results, key=lambda result: names[result.endpoint.name]))


def _is_here(spec: config.EndpointSpec, location: str) -> bool:
    return not spec.locations or location in spec.locations


def _probe_all(plans: Iterator[Plan], concurrency: int) -> Iterator[Result]:
    """Give results as they come, with so many probes in flight."""
    return Pool(concurrency).imap_unordered(probe, _paced(plans), maxsize=concurrency)


def _paced(plans: Iterator[Plan]) -> Iterator[Plan]:
    """Let some time pass between starts: a host that has many endpoints may not take them all at the same instant."""
    for plan in plans:
        yield plan
        gevent.sleep(START_GAP_S)


def _print_lines(results: Iterable[Result], urls: Mapping[str, str]) -> int:
    code = 0
    for result in results:
        click.echo(msgspec.json.encode(record(result, urls[result.endpoint.name])))
        code |= result.status not in ANSWERS
    return code


def _print_table(results: Sequence[Result]) -> int:
    console = paper()
    narrow = console.width < WIDE
    console.print(_table(results, narrow))
    for result in results if narrow else ():
        if result.reason:
            console.print(Text(f"{figures.name(result.endpoint.name)}: {_cause(result)}"))
    counts = {status: sum(result.status is status for result in results) for status in Status}
    parts = [f"{count:,} {status.value}" for status, count in counts.items() if count]
    console.print(f"{figures.counted(len(results), 'endpoint')}: {', '.join(parts)}")
    return int(sum(counts[status] for status in ANSWERS) < len(results))


def _table(results: Sequence[Result], narrow: bool) -> Table:
    """Make a row a result; phases that none has are left out, and on a narrow terminal the reasons."""
    phases = [phase for phase in PHASES if any(_took(result, phase) for result in results)]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("status", no_wrap=True)
    table.add_column("endpoint", no_wrap=True, overflow="ellipsis")
    for name in ("http", "latency", *phases):
        table.add_column(name, justify="right", no_wrap=True)
    if not narrow:
        table.add_column("reason", overflow="fold")
    for result in results:
        cells = [figures.name(result.endpoint.name), str(result.http_status or ""), _took(result, "latency")]
        cells += [_took(result, phase) for phase in phases] + ([] if narrow else [_cause(result)])
        table.add_row(Text(result.status.value, STYLES[result.status]), *map(Text, cells))
    return table


def _cause(result: Result) -> str:
    return figures.cause(result.reason.value if result.reason else None, result.detail)


def _took(result: Result, name: str) -> str:
    return figures.duration(getattr(result, f"{name}_us"))
