"""Sends each result to StatsD, DogStatsD (Datadog) or what understands them: `[plugins.statsd]`.

`PREFIX.latency` (ms), `PREFIX.up` (gauge: 1 up or degraded, 0 down), `PREFIX.checks` (counter), with `phases` also
`PREFIX.dns`, `.connect`, `.tls`, `.ttfb`, `.transfer` (ms). In the dialect "dogstatsd" what is measured stands in tags,
in "statsd" in the name: `PREFIX.ENDPOINT.latency`, `PREFIX.ENDPOINT.checks.STATUS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from watcher import Options, Result, Status, hookimpl
from watcher.breath import next_turn
from watcher.config.references import masked
from watcher.models import PHASES
from watcher.plugins.outputs._datagrams import Datagrams, packed

UDP_BYTES = 1432  # Ethernet's 1500 less IPv6 and UDP, with room for tunnels: what StatsD clients agree upon
UNIX_BYTES = 8192
SLICE_ROWS = 250  # written between two pauses: the checks come first

ADDRESS = re.compile(r"unix:/+[^/].*|(?!unix:)[^/?#@\s]+")

_NOT_IN_NAME = re.compile(r"[^\w-]+", re.ASCII)
_NOT_IN_TAG = re.compile(r"[\s,|#\x00-\x1f\x7f]+")


class Server(Options):
    """Who receives: `address` is "HOST:PORT" or "unix:/PATH"; `labels` are those that become tags, all by default."""

    address: str = "127.0.0.1:8125"
    dialect: Literal["dogstatsd", "statsd"] = "dogstatsd"
    prefix: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*\Z")] = "watcher"
    phases: bool = False
    labels: list[str] | None = None
    tags: dict[str, str] = {}
    max_bytes: Annotated[int, msgspec.Meta(ge=200, le=65_000)] | None = None

    def __post_init__(self) -> None:
        try:
            fits = ADDRESS.fullmatch(self.address) and (self.unix_path is not None or all(self.host_port))
        except ValueError:  # brackets without an end, a port that is none
            fits = False
        if not fits:
            raise ValueError(f'address "{self.address}" is neither "HOST:PORT" nor "unix:/PATH"')

    @property
    def unix_path(self) -> str | None:
        """Give the path of the Unix socket, when it is one."""
        scheme, _, path = self.address.partition(":")
        return "/" + path.lstrip("/") if scheme == "unix" else None

    @property
    def host_port(self) -> tuple[str | None, int | None]:
        """Give host and port, None for what is missing."""
        parts = urlsplit(f"//{self.address}")
        return parts.hostname, parts.port


@hookimpl
def watcher_settings() -> Any:
    """Take `[plugins.statsd]`."""
    return Server


@hookimpl
def watcher_output(settings: Any) -> StatsdOutput | None:
    """Send results when a server is configured."""
    server = settings.plugins.get("statsd")
    return None if server is None else StatsdOutput(server, settings.agent.location)


class StatsdOutput:
    """An output into datagrams; one that cannot be sent fails the batch, and the next one gets a new socket."""

    def __init__(self, server: Server, location: str) -> None:
        self._metrics = dogstatsd(server, location) if server.dialect == "dogstatsd" else statsd(server)
        self._limit = server.max_bytes or (UDP_BYTES if server.unix_path is None else UNIX_BYTES)
        self._datagrams = Datagrams(server.unix_path or server.host_port)

    def __call__(self, results: Sequence[Result]) -> None:
        for first in range(0, len(results), SLICE_ROWS):
            lines = (line for result in results[first : first + SLICE_ROWS] for line in self._metrics(result))
            for datagram in packed(lines, self._limit):
                self._datagrams.send(datagram)
            next_turn()

    def close(self) -> None:
        """Close the socket."""
        self._datagrams.close()


def dogstatsd(server: Server, location: str) -> Any:
    """Give the function from a result to its metrics, with tags."""
    constant = [_tag(key, value) for key, value in {"location": location, **server.tags}.items()]

    def metrics(result: Result) -> Iterator[str]:
        labels = result.endpoint.labels
        kept = labels if server.labels is None else {key: labels[key] for key in server.labels if key in labels}
        own = [_tag("endpoint", masked(result.endpoint.name)), *(_tag(key, value) for key, value in kept.items())]
        tags = ",".join([*own, *constant, f"status:{result.status.value}"])
        reason = f",reason:{result.reason.value}" if result.reason else ""
        for name, value in _measured(result, server.phases):
            yield f"{server.prefix}.{name}:{value}|#{tags}"
        if result.status is not Status.MISSED:  # without the status: a gauge is one series, whatever it says
            yield f"{server.prefix}.up:{int(result.status is not Status.DOWN)}|g|#{','.join([*own, *constant])}"
        yield f"{server.prefix}.checks:1|c|#{tags}{reason}"

    return metrics


def statsd(server: Server) -> Any:
    """Give the function from a result to its metrics, without tags."""

    def metrics(result: Result) -> Iterator[str]:
        place = f"{server.prefix}.{_NOT_IN_NAME.sub('_', masked(result.endpoint.name))}"
        for name, value in _measured(result, server.phases):
            yield f"{place}.{name}:{value}"
        if result.status is not Status.MISSED:
            yield f"{place}.up:{int(result.status is not Status.DOWN)}|g"
        yield f"{place}.checks.{result.status.value}:1|c"

    return metrics


def _measured(result: Result, phases: bool) -> Iterator[tuple[str, str]]:
    for name in ("latency", *(PHASES if phases else ())):
        if (value_us := getattr(result, f"{name}_us")) is not None:
            yield name, f"{value_us / 1000}|ms"


@lru_cache(maxsize=16_384)
def _tag(key: str, value: str) -> str:
    return f"{_NOT_IN_TAG.sub('_', key)}:{_NOT_IN_TAG.sub('_', value)}"
