"""The option `contains`: texts that the page must hold, or must not; for what is no pattern.

The page is decoded as for `regex`. It does not set `regex_found`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, ClassVar

import regex
import requests

from watcher import Endpoint, Failure, Options, hookimpl, offload
from watcher.match import compile_once, shown
from watcher.plugins.assertions._page import not_found, page
from watcher.plugins.assertions._scope import for_response
from watcher.plugins.assertions.regex import INLINE_CHARS
from watcher.several import several

SEARCH_S = 1.0  # a text without case takes some 10 ns a character


class Text(Options):
    """`contains = { text = "Error", absent = true, ignore_case = true }`; a text alone stands for `text`."""

    __brief__: ClassVar[str] = "text"

    text: str
    """What is looked for, character by character."""
    absent: bool = False
    """The page must not hold it."""
    ignore_case: bool = False
    """Upper and lower case are the same."""

    def __post_init__(self) -> None:
        if not self.text:
            raise ValueError("an empty text is found everywhere")


@hookimpl
def watcher_options() -> dict[str, Any]:
    """Add the key `contains`."""
    return {"contains": Annotated[Text | list[Text], several]}


@hookimpl
def watcher_steps(endpoint: Endpoint) -> Callable[[requests.Response], Failure | None] | None:
    """Look into every page of an endpoint that has the option."""
    given = for_response(endpoint, "contains", of_body=True)
    return None if given is None else examiner(given)


@lru_cache(maxsize=1024)
def examiner(wanted: tuple[Text, ...]) -> Callable[[requests.Response], Failure | None]:
    """Make the step, one for all endpoints that want the same."""
    searches = tuple((text, finder(text)) for text in wanted)

    def examine(response: requests.Response) -> Failure | None:
        content = page(response)
        for text, finds in searches:
            if finds(content) is text.absent:
                return Failure(verdict(text, response))
        return None

    return examine


def finder(wanted: Text) -> Callable[[str], bool]:
    """Make the search for one text; a long page whose case does not count is searched in a thread."""
    if not wanted.ignore_case:
        return lambda content: wanted.text in content
    search = compile_once(regex.escape(wanted.text), ignore_case=True).search

    def find(content: str) -> bool:
        if len(content) <= INLINE_CHARS:
            return search(content) is not None
        return offload(search, content, timeout=SEARCH_S, concurrent=True) is not None

    return find


def verdict(wanted: Text, response: requests.Response) -> str:
    """Say what was found, or was not."""
    text = shown(wanted.text)
    return f"contains {text}, must be absent" if wanted.absent else f"{text} {not_found(response)}"
