"""The option `json`: what a page that is JSON must say, asked for by JMESPath expressions (https://jmespath.org).

The cost is bounded: of the page by its size, of an expression by the steps that it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, ClassVar

import msgspec
import requests

from watcher import Endpoint, Failure, Match, Options, Reason, Step, hookimpl, offload
from watcher.match import SHOWN_CHARS, cut, shown
from watcher.plugins.assertions import _jmespath
from watcher.plugins.assertions._scope import for_response
from watcher.several import several

PAGE_BYTES_MAX = 1 << 20  # 10 to 25 ms to parse, which no thread can take off the others
INLINE_BYTES = 64 * 1024
INLINE_STEPS = 1_000  # about a millisecond
STEPS_MAX = 500_000  # about half a second in a thread
BOM = b"\xef\xbb\xbf"

Scalar = str | int | float | bool


class Wish(Options):
    """`json = { path = "load", max = 0.9, degraded = true }`; a text alone is a `path` that must give true."""

    __brief__: ClassVar[str] = "path"

    path: str
    """A JMESPath expression; with nothing else it must give true."""
    equals: Scalar | list[Any] | dict[str, Any] | None = None
    """What it must give; 1 and 1.0 are the same, 1 and true are not."""
    min: float | None = None
    """It must give a number of at least this."""
    max: float | None = None
    """It must give a number of at most this."""
    matches: Match | None = None
    """It must give such a text; what is none is taken as JSON."""
    exists: bool | None = None
    """Whether it must give anything but null."""
    degraded: bool = False
    """What is not wished makes it degraded, not down."""

    def __post_init__(self) -> None:
        _jmespath.parse(self.path)
        if self.min is not None and self.max is not None and self.max < self.min:
            raise ValueError(f"max {self.max:g} is less than min {self.min:g}")
        if self.exists is False and any(wish is not None for wish in (self.equals, self.min, self.max, self.matches)):
            raise ValueError("exists = false leaves nothing that equals, min, max or matches could judge")


class Question:
    """A wish made ready: its expression, and what the answer must be like, with words for it."""

    __slots__ = ("degraded", "expression", "wanted")

    def __init__(self, wish: Wish) -> None:
        self.expression = _jmespath.parse(wish.path)
        self.degraded = wish.degraded
        self.wanted = tuple(wishes(wish))

    def failure(self, page: Any, steps: int) -> Failure | None:
        """Ask the page.

        Raises:
            TooManySteps: it takes more than `steps`, and more are allowed.
        """
        try:
            words = self._wrong(page, steps)
        except _jmespath.TooManySteps:
            if steps < STEPS_MAX:
                raise
            words = f"{self.expression.shown} takes more than {STEPS_MAX} steps on this page"
            return Failure(f"json: {words}", Reason.CONFIG)
        except _jmespath.NotApplicable as error:
            words = f"{self.expression.shown}: {error}"
        return words and Failure(f"json: {words}", degraded=self.degraded)

    def _wrong(self, page: Any, steps: int) -> str | None:
        found = self.expression.value(page, steps)
        for good, words in self.wanted:
            if not good(found):
                return f"{self.expression.shown} is {written(found)}, wanted {words}"
        if self.wanted or found is True:
            return None
        return self.expression.verdict(page, steps, found, written)


def wishes(wish: Wish) -> Iterator[tuple[Callable[[Any], bool], str]]:
    """Give each thing that the answer must be like; nothing where it must be true."""
    equals, low, high, matches = wish.equals, wish.min, wish.max, wish.matches
    if wish.exists is not None:
        yield lambda found: (found is not None) is wish.exists, "any value" if wish.exists else "none"
    if equals is not None:
        yield lambda found: same(found, equals), written(equals)
    if low is not None:
        yield lambda found: is_number(found) and found >= low, f"at least {low:g}"
    if high is not None:
        yield lambda found: is_number(found) and found <= high, f"at most {high:g}"
    if matches is not None:
        yield lambda found: matches.holds(text_of(found)), str(matches)


def questions(value: Wish | list[Wish]) -> tuple[Question, ...]:
    """Make the questions, once for all endpoints whose options are equal."""
    return tuple(map(Question, several(value)))


@hookimpl
def watcher_options() -> dict[str, Any]:
    """Add the key `json`."""
    return {"json": Annotated[Wish | list[Wish], questions]}


@hookimpl
def watcher_steps(endpoint: Endpoint) -> Step | None:
    """Ask the pages of an endpoint that has the option."""
    given = for_response(endpoint, "json", of_body=True)
    return None if given is None else Asked(given)


class Asked(Step):
    """The questions of one endpoint."""

    __slots__ = ("questions",)

    def __init__(self, given: tuple[Question, ...]) -> None:
        self.questions = given

    def examine(self, response: requests.Response) -> Failure | None:
        """Ask the page: a small one here, one that is large or takes many steps in a thread."""
        content = response.content or b""
        if getattr(response, "truncated", False) or len(content) > PAGE_BYTES_MAX:
            most = min(len(content), PAGE_BYTES_MAX)
            return Failure(f"json: the page is longer than the {most} bytes that are looked at", Reason.CONFIG)
        if len(content) > INLINE_BYTES:
            return offload(ask, self.questions, content, STEPS_MAX)
        try:
            return ask(self.questions, content, INLINE_STEPS)
        except _jmespath.TooManySteps:
            return offload(ask, self.questions, content, STEPS_MAX)


def ask(given: tuple[Question, ...], content: bytes, steps: int) -> Failure | None:
    """Read the page, and give the first failure; one that makes it down goes before one that makes it degraded."""
    try:
        page = msgspec.json.decode(content.removeprefix(BOM))
        failures = [failure for question in given if (failure := question.failure(page, steps))]
        return min(failures, key=lambda failure: failure.degraded, default=None)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Failure(f"json: the page is {f'not JSON: {str(error)[:SHOWN_CHARS]}' if content else 'empty'}")
    except RecursionError:
        return Failure("json: the page is nested too deeply")


def is_number(found: Any) -> bool:
    """Tell whether a value is a number of JSON; in Python true and false are numbers too."""
    return isinstance(found, (int, float)) and not isinstance(found, bool)


def same(found: Any, wanted: Any) -> bool:
    """Compare as JSON does: 1 and 1.0 are the same, 1 and true are not."""
    if is_number(found) and is_number(wanted):
        return found == wanted
    if isinstance(found, list) and isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    if isinstance(found, dict) and isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(same(found[key], wanted[key]) for key in wanted)
    return type(found) is type(wanted) and found == wanted


def text_of(found: Any) -> str | None:
    """Give a value as a text: null as none, all else as JSON."""
    return found if isinstance(found, str) or found is None else msgspec.json.encode(found).decode()


def written(value: Any) -> str:
    """Write a value as JSON in a few words."""
    return shown(value) if isinstance(value, str) else cut(msgspec.json.encode(value).decode())
