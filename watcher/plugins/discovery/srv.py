"""Endpoints from DNS SRV records (RFC 2782), one for each host and port: `[[plugins.srv]]`.

    [[plugins.srv]]
    records = ["_https._tcp.example.com"]
    endpoint = { interval = 30 }
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from watcher import Discovery, Duration, Failure, Options, hookimpl
from watcher.plugins.discovery._template import Template, check_endpoint, check_fields, discoveries
from watcher.transport import name_server

INTERVAL_MIN_S = 1.0
TTL_MOST_S = 86_400.0
FIELDS = ("record", "host", "port")
SERVICE = re.compile(r"_(https?)\._tcp\.", re.I)
LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
HOST = re.compile(rf"{LABEL}(?:\.{LABEL})*")


class Srv(Options):
    """SRV records and what to make of the hosts and ports that they name.

    `records`: their names. `interval`: how often they are asked for, but not before the time to live of an answer is
    over. `resolver`: the address of a name server, also `"127.0.0.1:5353"`, by default the system's. `timeout`: for one
    answer. `url` and `name`: templates with `{record}`, `{host}`, `{port}`; `url` may be left out for records that
    begin with `_http._tcp` or `_https._tcp`. `endpoint`: all other keys of the endpoints.
    """

    records: list[str]
    interval: Duration = Duration(30)
    timeout: Duration = Duration(5)
    resolver: str | None = None
    url: str | None = None
    name: str = "{record} {host}:{port}"
    endpoint: dict[str, Any] = {}

    def __post_init__(self) -> None:
        if not self.records:
            raise ValueError('records is empty; name one, such as "_https._tcp.example.com"')
        for record in self.records:
            if not HOST.fullmatch(record.removesuffix(".")):
                raise ValueError(f"{record!r} is no name of a record, such as _https._tcp.example.com")
            if self.url is None and not SERVICE.match(record):
                raise ValueError(f'{record} does not tell the scheme; add url = "tcp://{{host}}:{{port}}"')
        if self.interval < INTERVAL_MIN_S or self.timeout <= 0:
            raise ValueError(f"interval must be {INTERVAL_MIN_S:g} s or more, timeout more than 0")
        if self.resolver is not None:
            name_server(self.resolver)
        check_fields("url", self.url or "", FIELDS)
        check_fields("name", self.name, (*FIELDS, "url"))
        check_endpoint(self.endpoint)


@hookimpl
def watcher_settings() -> Any:
    """Have tables `[[plugins.srv]]`."""
    return list[Srv]


@hookimpl
def watcher_endpoints(settings: Any) -> list[Discovery] | None:
    """Look up the records of each table on its own."""
    return discoveries(settings, "srv", Lookup)


class Lookup:
    """Gives a table for each host and port; an answer holds for as long as its time to live says."""

    def __init__(self, part: Srv, written: Mapping[str, Any]) -> None:
        self._part = part
        self._written = written
        self._answers: dict[str, tuple[float, list[tuple[str, int]]]] = {}

    def __call__(self) -> Iterator[dict[str, Any] | Failure]:
        import dns.exception

        for record in self._part.records:
            service = SERVICE.match(record)
            scheme = service[1].lower() if service else "tcp"
            template = Template(self._written, self._part.name, f"{scheme}://{{host}}:{{port}}/")
            try:
                targets = self._targets(record)
            except dns.exception.DNSException as error:
                yield Failure(f"{record}: {str(error) or type(error).__name__}")
                continue
            for host, port in targets:
                if HOST.fullmatch(host) and port:
                    yield template.table({"record": record, "host": host, "port": str(port)})
                else:
                    yield Failure(f"{record}: names {host!r} with port {port}, which cannot be an endpoint")

    def _targets(self, record: str) -> list[tuple[str, int]]:
        until, targets = self._answers.get(record, (0.0, []))
        if time.monotonic() < until:
            return targets
        ttl_s, targets = resolved(record, self._part.resolver, self._part.timeout)
        self._answers[record] = time.monotonic() + min(ttl_s, TTL_MOST_S), targets
        return targets


def resolved(record: str, resolver: str | None, timeout_s: float) -> tuple[float, list[tuple[str, int]]]:
    """Give the time to live of a record and its hosts and ports, none when there is no such record.

    Raises:
        dns.exception.DNSException: nobody could tell.
    """
    import dns.resolver

    asking = dns.resolver.Resolver(configure=resolver is None)
    if resolver is not None:
        address, asking.port = name_server(resolver)
        asking.nameservers = [address]
    try:
        answer = asking.resolve(record, "SRV", lifetime=timeout_s, raise_on_no_answer=False, search=False)
    except dns.resolver.NXDOMAIN:
        return 0.0, []
    if answer.rrset is None:
        return 0.0, []
    targets = {(found.target.to_text(omit_final_dot=True).lower(), found.port) for found in answer.rrset}
    return float(answer.rrset.ttl), sorted(target for target in targets if target[0] not in ("", "@", "."))
