"""A wish about one text: what a header, a name, a banner or a line of an answer must be like."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from time import thread_time
from typing import TYPE_CHECKING, ClassVar

from watcher.errors import ProbeError
from watcher.models import Options, Reason

if TYPE_CHECKING:
    import regex

REGEX_CHARS = 16 * 1024  # of a longer text only the beginning is searched
REGEX_S = 0.01  # how long a pattern may hold up every other probe
SHOWN_CHARS = 80


class Match(Options):
    """`"exact text"`, or a table with one of `equals`, `contains` and `regex`; `absent` turns it round.

    `{ absent = true }` alone wishes that there be no such text at all. As the type of an option it may stand wherever
    a type may: `Match`, `Match | list[Match]`, `dict[str, Match]`.
    """

    __brief__: ClassVar[str] = "equals"  # the field that a text alone stands for

    equals: str | None = None
    """The whole text; what a text alone stands for."""
    contains: str | None = None
    """A part of it."""
    regex: str | None = None
    """A pattern of the module `regex`, found anywhere in the first 16,384 characters."""
    absent: bool = False
    """The text must not be like that; with nothing else: there must be no such text."""
    ignore_case: bool = False
    """Upper and lower case are the same."""

    def __post_init__(self) -> None:
        given = [name for name in ("equals", "contains", "regex") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of equals, contains and regex, not {' and '.join(given)}")
        if not given and not self.absent:
            raise ValueError("give one of equals, contains and regex, or absent = true")
        if self.contains == "":
            raise ValueError("an empty text is contained in every text")
        if self.regex is not None:
            compile_once(self.regex, ignore_case=self.ignore_case)

    def holds(self, text: str | None) -> bool:
        """Tell whether a text is as wished; None stands for a text that is not there.

        Raises:
            ProbeError: the pattern took too long (reason `regex_timeout`).
        """
        return (text is not None and self._found(text)) is not self.absent

    def holds_among(self, texts: Iterable[str]) -> bool:
        """Tell whether one of some texts is as wished; of what must be absent, whether all are."""
        return (all if self.absent else any)(map(self.holds, texts))

    def _found(self, text: str) -> bool:
        if self.regex is not None:
            return _search(self.regex, self.ignore_case, text)
        if self.equals is None and self.contains is None:
            return True  # `absent` alone: any text is one too many
        wanted = self.equals if self.equals is not None else self.contains or ""
        if self.ignore_case:
            text, wanted = text.casefold(), wanted.casefold()
        return text == wanted if self.equals is not None else wanted in text

    def __str__(self) -> str:
        """Give the wish in words: `"exact"`, `containing "part"`, `not matching /pattern/`."""
        if self.equals is not None:
            words = shown(self.equals)
        elif self.contains is not None:
            words = f"containing {shown(self.contains)}"
        elif self.regex is not None:
            words = f"matching /{_line(self.regex)}/"
        else:
            return "none"
        return "not " * self.absent + words + " in any case" * self.ignore_case


def shown(text: str) -> str:
    """Give a text in quotation marks as it may stand in one line; a long one is cut."""
    return f'"{_line(text)}"'


def cut(text: str) -> str:
    """Give a text as it is, or the beginning of a long one."""
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"


def _line(text: str) -> str:
    some = cut(text)
    return some if some.isprintable() else "".join(char if char.isprintable() else repr(char)[1:-1] for char in some)


@lru_cache(maxsize=4096)
def compile_once(
    pattern: str, *, ignore_case: bool = False, multiline: bool = False, dotall: bool = False
) -> regex.Pattern[str]:
    """Compile a pattern for all that have it, or say where it is wrong."""
    import regex as engine

    if not pattern:
        raise ValueError("an empty pattern is found everywhere")
    try:
        flags = engine.IGNORECASE * ignore_case | engine.MULTILINE * multiline | engine.DOTALL * dotall
        return engine.compile(pattern, flags, cache_pattern=False)
    except (engine.error, RecursionError, OverflowError) as error:
        raise ValueError(f"bad pattern {shown(pattern)}: {error}") from error


def _search(pattern: str, ignore_case: bool, text: str) -> bool:
    search = compile_once(pattern, ignore_case=ignore_case).search
    for allowance_s in (REGEX_S, 3 * REGEX_S):  # `regex` counts the CPU time of other threads too: then once more
        began = thread_time()
        try:
            return search(text[:REGEX_CHARS], timeout=allowance_s) is not None
        except TimeoutError:
            if thread_time() - began > REGEX_S / 2:
                break
    raise ProbeError(Reason.REGEX_TIMEOUT, f"pattern gave no answer in {REGEX_S:g} s: {shown(pattern)}")
