"""What is missed at each check is said once an endpoint and reason, and never floods the log."""

from __future__ import annotations

from watcher import Endpoint, Result, Status
from watcher.models import Reason
from watcher.unchecked import LINES_MOST, Unchecked


class Log:
    """What was said, on a clock that the test sets."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.now = 1000.0
        self.unchecked = Unchecked(self.lines.append, lambda: self.now)

    def note(self, number: int, reason: Reason, detail: str = "why") -> None:
        """Tell of an endpoint."""
        endpoint = Endpoint(id=number, name=f"e{number}", url="https://user:hidden@example.com/")
        self.unchecked.note(Result(endpoint, 1, Status.MISSED, reason, detail=detail))


def test_the_line_names_endpoint_reason_and_detail() -> None:
    log = Log()
    log.note(1, Reason.CONFIG, "no plugin probes gopher: URLs\x1b[2J")
    line = 'endpoint "e1" is not checked: config: no plugin probes gopher: URLs\N{REPLACEMENT CHARACTER}[2J'
    assert log.lines == [line]


def test_what_passes_by_itself_is_not_said() -> None:
    log = Log()
    for reason in (Reason.OVERLOAD, Reason.SUSPENDED, Reason.AGENT_NETWORK):
        log.note(1, reason)
    assert not log.lines


def test_many_are_counted() -> None:
    log = Log()
    for number in range(LINES_MOST + 1500):
        log.note(number, Reason.CREDENTIALS)
    log.unchecked.tend()
    assert len(log.lines) == LINES_MOST
    log.now += 61
    log.unchecked.tend()
    assert log.lines[LINES_MOST:] == ["1,500 more endpoints could not be checked; their rows say why"]
    log.unchecked.tend()
    log.note(7, Reason.PLUGIN)
    assert log.lines[-1] == 'endpoint "e7" is not checked: plugin: why' and len(log.lines) == LINES_MOST + 2
