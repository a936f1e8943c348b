"""What `watcher check` does, in a process that was made green: one probe, laid open."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from watcher import config, registry
from watcher.commands import interrupt
from watcher.commands.record import record
from watcher.config import EndpointSpec, references
from watcher.config.options import OptionTypes
from watcher.errors import UsageError
from watcher.models import INTERVAL_MAX_S, PHASES, Reason, Result, Status
from watcher.ledger import Ledger, Watchman
from watcher.plan import compile_plan
from watcher.probe import inspect
from watcher.screen import certificate, figures
from watcher.transport.exchange import Exchange

BAR_COLUMNS = 40
YELLOW = "bold yellow"
STYLES = {Status.UP: "bold green", Status.DEGRADED: YELLOW, Status.DOWN: "bold red", Status.MISSED: YELLOW}
SOURCE = "command line"
FETCH_S = 5.0


def probe_once(
    target: str, given: dict[str, Any], timeout: str | None, path: Path | None, disabled: Iterable[str]
) -> Inspection:
    """Probe a URL, or the endpoint of that name in a file; `given` are options as an endpoint's table has them."""
    interrupt.raise_here()
    spec, plugins, types = _spec(target, given, timeout, path, disabled)
    others: list[Result] = []
    ledger = Ledger()
    with Watchman(ledger):
        result, exchange = inspect(compile_plan(config.endpoint(spec, types), plugins, ledger), keep=others.append)
    return Inspection(result, exchange, spec, others)


class Inspection:
    """A result with all that the probe saw on its way; `others` are those of the name's other addresses."""

    def __init__(
        self, result: Result, exchange: Exchange, spec: EndpointSpec, others: Sequence[Result] = ()
    ) -> None:
        self.result = result
        self.others = others
        self.spec = spec
        self.url = references.masked(spec.url)
        self.exchange = exchange
        self.hops = _hops(exchange, spec)
        self.peer = _peer(result, exchange)

    @property
    def is_up(self) -> bool:
        """Tell whether it answers as was asked for, if perhaps slowly."""
        return self.result.status in (Status.UP, Status.DEGRADED)

    def record(self) -> bytes:
        """Write it as a JSON object."""
        more = {"hops": self.hops, "hops_us": self.exchange.hops_us, "tls": self.peer}
        if self.others:
            more["others"] = [record(other, self.url) for other in self.others]
        return msgspec.json.encode(record(self.result, self.url) | more)

    def _asked(self) -> list[tuple[str, str]]:
        named = [("endpoint", references.masked(self.spec.name))] if self.spec.name != self.spec.url else []
        redirects = [("redirected to", hop) for hop in self.hops[1:]]
        return [*named, ("url", self.url), *redirects]

    def picture(self) -> RenderableType:
        """Draw it for people."""
        facts = Table.grid(padding=(0, 2))
        facts.add_column(style="dim", no_wrap=True)
        facts.add_column(overflow="fold")
        others = [("other", _other(other)) for other in self.others]
        for name, value in [*self._asked(), *_facts(self.result, self.exchange, self.peer), *others]:
            facts.add_row(name, Text(figures.plain(value)))
        verdict = Text(self.result.status.value, STYLES[self.result.status])
        if what := figures.cause(self.result.reason and self.result.reason.value, self.result.detail):
            verdict.append(f"  {what}", "default not bold")
        return Group(facts, "", _waterfall(self.result, self.exchange.hops_us), "", verdict)


def _spec(
    target: str, given: dict[str, Any], timeout: str | None, path: Path | None, disabled: Iterable[str]
) -> tuple[EndpointSpec, registry.Plugins, OptionTypes]:
    """Give what to probe: an endpoint of the file by its name, else one made of the URL."""
    if path is None:
        plugins = registry.plugin_manager(tuple(disabled))
        types = registry.option_types(plugins)
        return _made(target, given, timeout, types), plugins, types
    loaded, plugins, types = registry.configured(path, tuple(disabled))
    named = {spec.name: spec for spec in loaded.endpoints}
    if target in named:
        return _changed(named[target], given, timeout, types), plugins, types
    if "://" not in target:
        near = [references.masked(name) for name in difflib.get_close_matches(target, named, n=1)]
        raise UsageError(f'{path} has no endpoint "{target}"' + (f'; did you mean "{near[0]}"?' if near else ""))
    return _made(target, given, timeout, types), plugins, types


def _made(url: str, given: dict[str, Any], timeout: str | None, types: OptionTypes) -> EndpointSpec:
    table = {"url": url if "://" in url else f"https://{url}", **given}
    if timeout:
        table |= {"timeout": timeout, "interval": INTERVAL_MAX_S}  # no next check follows, to be in time for
    return config.specs([table], types, SOURCE)[0]


def _changed(spec: EndpointSpec, given: dict[str, Any], timeout: str | None, types: OptionTypes) -> EndpointSpec:
    """Put the command line's options over those of an endpoint of the file."""
    extra = _made(spec.url, given, timeout, types)
    timing = {"timeout_s": extra.timeout_s, "interval_s": extra.interval_s} if timeout else {}
    return msgspec.structs.replace(spec, options=spec.options | extra.options, **timing)


def _peer(result: Result, exchange: Exchange) -> dict[str, Any] | None:
    """Give what is known of the TLS peer; of one that was not trusted, what it shows over another connection."""
    peer: Any = exchange.peer
    if peer is None:
        return None
    known = {"version": peer.version, "cipher": peer.cipher}
    try:
        found = _certificate(result, exchange)
    except (OSError, ValueError):  # it ended the handshake, or shows what cannot be read
        found = None
    if found is None:
        return known
    return known | {
        "subject": found.subject,
        "issuer": found.issuer,
        "names": found.names,
        "not_after": found.not_after.isoformat(),
        "days_left": found.days_left(datetime.now(UTC)),
    }


def _certificate(result: Result, exchange: Exchange) -> certificate.Certificate | None:
    shown = None
    with suppress(ValueError):  # the handshake was not finished
        shown = getattr(exchange.peer, "certificate_der", None)
    if shown:
        return certificate.parse(shown)
    options, parts = result.endpoint.options, urlsplit(result.endpoint.url)
    elsewhere = exchange.hops_us or options.get("proxy")  # then the address is not that of the URL's host
    if result.reason is not Reason.CERTIFICATE or elsewhere:
        return None
    host = parts.hostname or ""
    name = getattr(options.get("tls"), "server_name", None) or host
    return certificate.fetch(result.address or host, parts.port or 443, name, FETCH_S)


def _hops(exchange: Exchange, spec: EndpointSpec) -> list[str]:
    """Give the URLs that were asked for, one after the other, as they may be shown."""
    response = exchange.response
    if response is None:
        return []
    hops = [hop.url for hop in [*response.history, response]][1:]
    if "${" in spec.url:  # a site that redirects may repeat what a variable held
        hops = [f"{urlsplit(hop).scheme}://{urlsplit(hop).netloc}/\N{HORIZONTAL ELLIPSIS}" for hop in hops]
    return [references.masked(url) for url in (spec.url, *hops)]


def _facts(result: Result, exchange: Exchange, peer: dict[str, Any] | None) -> list[tuple[str, str]]:
    facts = []
    if result.address:
        facts.append(("address", result.address))
    if result.http_status:
        reason = getattr(exchange.response, "reason", None) or ""
        body = f", body {figures.size(result.body_bytes)}" if result.body_bytes is not None else ""
        facts.append(("answer", f"HTTP {result.http_status} {reason}".rstrip() + body))
    if result.regex_found is not None:
        facts.append(("regex", "found" if result.regex_found else "not found"))
    if peer:
        facts += _tls_facts(peer)
    return facts


def _other(result: Result) -> str:
    """Say what another address of the name had to say."""
    cause = figures.cause(result.reason.value if result.reason else None, result.detail)
    took = figures.duration(result.latency_us)
    return ", ".join(filter(None, (result.address, result.status.value, took, cause)))


def _tls_facts(peer: dict[str, Any]) -> list[tuple[str, str]]:
    spoken = ", ".join(filter(None, (peer["version"], peer["cipher"])))
    facts = [("tls", spoken)] if spoken else []
    if "subject" in peer:
        days = peer["days_left"]
        term = f"{days} days left" if days >= 0 else f"expired {-days} days ago"
        facts.append(("certificate", f"{peer['subject']}, issued by {peer['issuer']}"))
        facts.append(("valid until", f"{peer['not_after'][:10]}, {term}"))
    return facts


def _waterfall(result: Result, hops_us: int) -> Table:
    """Draw each phase as a bar that begins where the one before it ended."""
    rows = [("redirects", hops_us or None)] + [(phase, getattr(result, f"{phase}_us")) for phase in PHASES]
    total_us = result.latency_us or 0
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(width=BAR_COLUMNS, no_wrap=True)
    table.add_column(justify="right")
    begun_us = 0
    for name, spent_us in rows:
        if spent_us is not None:
            table.add_row(name, Text(drawn(begun_us, spent_us, total_us), "cyan"), figures.duration(spent_us))
            begun_us += spent_us
    table.add_row("total", "", Text(figures.duration(total_us), "bold"))
    if result.lag_us is not None:
        table.add_row("lag", Text("the agent's own time, not counted", "dim"), figures.duration(result.lag_us))
    return table


def drawn(begun_us: int, spent_us: int, total_us: int) -> str:
    """Draw a phase in its place on a line of BAR_COLUMNS; however short, it is seen."""
    scale = BAR_COLUMNS / max(1, total_us)
    start = min(BAR_COLUMNS - 1, int(begun_us * scale))
    width = max(1, min(BAR_COLUMNS - start, round((begun_us + spent_us) * scale) - start))
    return " " * start + "\N{FULL BLOCK}" * width
