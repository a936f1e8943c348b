"""The option `regex`: patterns that the body must hold, or must not; none of them can stop the agent.

Sets `response.regex_found`: whether all patterns that must be found were found or, where all must be absent, whether
one of them was found; None when a pattern timed out.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter, thread_time
from typing import Annotated, Any

import regex
import requests

from watcher import Duration, Endpoint, Failure, Options, Reason, Step, hookimpl, offload
from watcher.match import compile_once, shown
from watcher.plugins.assertions._anchor import anchored
from watcher.plugins.assertions._page import not_found, page
from watcher.plugins.assertions._scope import for_response
from watcher.several import several

INLINE_CHARS = 16 * 1024  # a longer text goes to a thread whatever the pattern
INLINE_S = 0.005  # how long a pattern may hold up every other probe
QUICK_S = 0.0002
QUICK_RUNS = 3  # so many runs below QUICK_S on end prove that a pattern is fast on its endpoint's pages
NOT_FOUND = -1


class Pattern(Options):
    """One table of the option; a text alone stands for the table with that `pattern`."""

    pattern: str
    absent: bool = False
    ignore_case: bool = False
    multiline: bool = True
    dotall: bool = False
    timeout: Duration = Duration(0.5)

    def __post_init__(self) -> None:
        if not 0.001 <= self.timeout <= 10:
            raise ValueError(f"timeout {self.timeout:g} s is not between 1ms and 10s")
        self._compiled(self.pattern)  # where it is wrong is said of it as it was written

    def compiled(self) -> regex.Pattern[str]:
        """Compile the pattern, once for all endpoints that use it."""
        return self._compiled(anchored(self.pattern))

    def _compiled(self, pattern: str) -> regex.Pattern[str]:
        return compile_once(pattern, ignore_case=self.ignore_case, multiline=self.multiline, dotall=self.dotall)


def patterns(value: str | Pattern | list[str | Pattern]) -> tuple[Pattern, ...]:
    """Give the tables that the value stands for, those that must be found first."""
    tables = [Pattern(pattern=each) if isinstance(each, str) else each for each in several(value)]
    return tuple(sorted(tables, key=lambda table: table.absent))


@hookimpl
def watcher_options() -> dict[str, Any]:
    """Add the key `regex`."""
    return {"regex": Annotated[str | Pattern | list[str | Pattern], patterns]}


@hookimpl
def watcher_steps(endpoint: Endpoint) -> Step | None:
    """Search every response of an endpoint that has the option."""
    given = for_response(endpoint, "regex", of_body=True)
    return Searches(given) if given else None


class Searches(Step):
    """The patterns of one endpoint."""

    __slots__ = ("searches",)

    def __init__(self, given: tuple[Pattern, ...]) -> None:
        self.searches = tuple(Search(pattern) for pattern in given)

    def examine(self, response: requests.Response) -> Failure | None:
        """Give the first pattern that was not found, or must be absent and was found."""
        text = page(response)
        all_absent = self.searches[0].pattern.absent  # as those that must be found come first
        for search in self.searches:
            pattern, place = search.pattern, search.place(text)
            found = None if place is None else place != NOT_FOUND
            if all_absent or not pattern.absent:
                response.regex_found = found  # type: ignore[attr-defined]
            if place is None:
                return failure(pattern, f"gave no answer in {pattern.timeout:g} s", Reason.REGEX_TIMEOUT)
            if found and pattern.absent:
                return failure(pattern, f"found in line {text.count(chr(10), 0, place) + 1}, must be absent")
            if not found and not pattern.absent:
                return failure(pattern, not_found(response))
        return None


def failure(pattern: Pattern, what: str, reason: Reason = Reason.REGEX) -> Failure:
    """Say what is wrong with which pattern."""
    return Failure(f"pattern {what}: {shown(pattern.pattern)}", reason)


class Search:
    """One pattern of one endpoint, with how many of its last runs on end were quick."""

    __slots__ = ("literal", "pattern", "quick_runs", "search")

    def __init__(self, pattern: Pattern) -> None:
        self.pattern = pattern
        self.search = pattern.compiled().search
        self.quick_runs = 0
        plain = regex.escape(pattern.pattern, special_only=True, literal_spaces=True) == pattern.pattern
        self.literal = pattern.pattern if plain and not pattern.ignore_case else None

    def place(self, text: str) -> int | None:
        """Give where the pattern is found, `NOT_FOUND`, or None when it took too long."""
        if self.literal is not None:
            return text.find(self.literal)  # linear in the text: 50 µs for 180 KB, which a thread's switches cost too
        if self.quick_runs >= QUICK_RUNS and len(text) <= INLINE_CHARS:
            began = perf_counter()
            try:
                match = self.search(text, timeout=INLINE_S)
            except TimeoutError:
                self.quick_runs = 0
            else:
                if perf_counter() - began > QUICK_S:
                    self.quick_runs = 0
                return NOT_FOUND if match is None else match.start()
        place, spent_s = offload(search_in_thread, self.search, text, self.pattern.timeout)
        self.quick_runs = self.quick_runs + 1 if spent_s < QUICK_S else 0
        return place


def search_in_thread(search: Callable[..., Any], text: str, timeout_s: float) -> tuple[int | None, float]:
    """Search without the GIL; give the place, None for a timeout, and the CPU seconds that it took.

    `regex` counts a timeout on the CPU clock of the whole process, which the hub and other threads drive on too. What
    counts is this thread's own time: an alarm that comes much too early is answered by one longer try.
    """
    allowance_s = timeout_s
    while True:
        began = thread_time()
        try:
            match = search(text, timeout=allowance_s, concurrent=True)
            return (NOT_FOUND if match is None else match.start()), thread_time() - began
        except TimeoutError:
            spent_s = thread_time() - began
            if spent_s > 0.8 * timeout_s or allowance_s > timeout_s:
                return None, spent_s
            allowance_s = timeout_s * min(4.0, timeout_s / max(spent_s, 0.001))
