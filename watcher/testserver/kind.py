"""One way to misbehave: its name, what a monitor should make of it, the steps that do it; and how steps are made."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator

from watcher.models import Reason
from watcher.testserver.answer import End, Step

Verdicts = tuple[Reason | None, ...]  # the best first; None stands for a site that is up
Steps = tuple[Step, ...] | Callable[[str], Iterator[Step]]

TEXT = b"watcher test server\n"
OK = b"HTTP/1.1 200 OK\r\nServer: watcher-testserver\r\nContent-Type: text/plain\r\n"
LENGTH = b"Content-Length: %d\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
BLOCK = b"never enough " * 1260 + b"\r\n"
SLOW_S = 0.25
SETTLE_S = 0.05  # what was sent before a reset must have been read, else the reset may overtake it


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """One way to misbehave; `steps` are data where they can be, a function of the query where they cannot."""

    name: str
    verdicts: Verdicts
    about: str
    steps: Steps

    def play(self, query: str = "") -> Iterator[Step]:
        """Begin the steps of one answer; `query` is the request's."""
        return self.steps(query) if callable(self.steps) else iter(self.steps)

    @property
    def expected(self) -> str:
        """The verdicts as text: `timeout`, `protocol or up`."""
        return " or ".join("up" if verdict is None else verdict.value for verdict in self.verdicts)


def response(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """Make a whole response, right in its length whatever its headers say, for a connection that is then closed."""
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), b"Connection: close", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def endless(first: bytes, again: bytes, pause_s: float = 0.0) -> Callable[[str], Iterator[Step]]:
    """Make steps without an end: `first`, then `again` for ever."""
    pause: tuple[Step, ...] = (pause_s,) if pause_s else ()
    return lambda query: itertools.chain((first,), itertools.cycle((*pause, again)))


def redirect(location: bytes | None) -> tuple[Step, ...]:
    """Make the steps of a redirect to `location`, or to nowhere."""
    headers = () if location is None else (b"Location: " + location,)
    return response(b"", *headers, status=b"302 Found"), End.CLOSE
