"""The option `regex`: patterns that the body must hold, or must not; none of them can stop the agent.

Sets `response.regex_found`: whether all patterns that must be found were found or, where all must be absent, whether
one of them was found; None when a pattern timed out.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from functools import lru_cache
from time import perf_counter, thread_time
from typing import Annotated, Any

import regex
import requests

from watcher import Duration, Endpoint, Failure, Options, Reason, Step, hookimpl, offload
from watcher.plugins.assertions._anchor import anchored
from watcher.plugins.assertions._scope import for_response

INLINE_CHARS = 16 * 1024  # a longer text goes to a thread whatever the pattern
INLINE_S = 0.005  # how long a pattern may hold up every other probe
QUICK_S = 0.0002
QUICK_RUNS = 3  # so many runs below QUICK_S on end prove that a pattern is fast on its endpoint's pages
NOT_FOUND = -1
CHARSET = re.compile(r";\s*charset\s*=\s*\"?([\w.:+-]+)", re.IGNORECASE | re.ASCII)
NOT_FOR_SITES = frozenset({"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"})  # slow, or raise


class Pattern(Options):
    """One table of the option; a text alone stands for the table with that `pattern`."""

    pattern: str
    absent: bool = False
    ignore_case: bool = False
    multiline: bool = True
    dotall: bool = False
    timeout: Duration = Duration(0.5)

    def __post_init__(self) -> None:
        if not self.pattern:
            raise ValueError("an empty pattern is found everywhere")
        if not 0.001 <= self.timeout <= 10:
            raise ValueError(f"timeout {self.timeout:g} s is not between 1ms and 10s")
        self.compiled()

    def compiled(self) -> regex.Pattern[str]:
        """Compile the pattern, once for all endpoints that use it."""
        return compile_once(
            self.pattern,
            regex.IGNORECASE * self.ignore_case | regex.MULTILINE * self.multiline | regex.DOTALL * self.dotall,
        )


@lru_cache(maxsize=4096)
def compile_once(pattern: str, flags: int) -> regex.Pattern[str]:
    """Compile a pattern or say where it is wrong."""
    try:
        regex.compile(pattern, flags, cache_pattern=False)  # where it is wrong is said of it as it was written
        return regex.compile(anchored(pattern), flags, cache_pattern=False)
    except (regex.error, RecursionError, OverflowError) as error:
        raise ValueError(f"bad pattern {shown(pattern)}: {error}") from error


def shown(pattern: str) -> str:
    """Give a pattern as it may stand in one line; `repr` would double its backslashes."""
    return '"' + pattern[:80].replace("\n", r"\n") + '"'


def patterns(value: str | Pattern | list[str | Pattern]) -> tuple[Pattern, ...]:
    """Give the tables that the value stands for, those that must be found first."""
    given = value if isinstance(value, list) else [value]
    if not given:
        raise ValueError("an empty list checks nothing")
    tables = [Pattern(pattern=each) if isinstance(each, str) else each for each in given]
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
                cut = f" in the first {len(response.content)} bytes (max_body)"
                return failure(pattern, "not found" + cut * getattr(response, "truncated", False))
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


def page(response: requests.Response) -> str:
    """Decode the body by its declared charset, else UTF-8, and let its lines end in a line feed alone.

    Not `response.text`: that guesses the charset of some pages, which takes longer than all the rest of a check.
    """
    content = response.content or b""
    if content.startswith(codecs.BOM_UTF8):
        text = content[3:].decode("utf-8", "replace")
    else:
        text = content.decode(charset(response.headers.get("Content-Type") or ""), "replace")
    return text.replace("\r\n", "\n") if "\r" in text else text


@lru_cache(maxsize=256)
def charset(content_type: str) -> str:
    """Give the codec for a Content-Type, UTF-8 where it names none that a site may use."""
    match = CHARSET.search(content_type)
    if match is None:
        return "utf-8"
    try:
        name = codecs.lookup(match[1]).name
        b"a".decode(name, "replace")
    except (LookupError, ValueError):
        return "utf-8"
    return "utf-8" if name.replace("_", "-") in NOT_FOR_SITES else name
