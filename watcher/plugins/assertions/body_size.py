"""The option `body_size`: how many bytes the page must have, decompressed."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, ClassVar

import requests

from watcher import Endpoint, Failure, Options, hookimpl
from watcher.plugins.assertions._scope import for_response
from watcher.several import several

MAX_BODY_BYTES = 1 << 20  # what `max_body` is when it is not given


class Size(Options):
    """`body_size = { min = 1000, max = 200000 }`, both included; a number alone stands for `min`."""

    __brief__: ClassVar[str] = "min"

    min: int | None = None
    """The fewest bytes that are good."""
    max: int | None = None
    """The most; less than `max_body`."""
    degraded: bool = False
    """What is not wished makes it degraded, not down."""

    def __post_init__(self) -> None:
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both, in bytes")
        if min(self.min or 0, self.max or 0) < 0:
            raise ValueError("give a number of bytes of at least 0")
        if self.max is not None and self.max < (self.min or 0):
            raise ValueError(f"max {self.max} is less than min {self.min}")


def sizes(value: Size | list[Size]) -> tuple[Size, ...]:
    """Give the tables that the value stands for, those that make it down first."""
    return tuple(sorted(several(value), key=lambda size: size.degraded))


@hookimpl
def watcher_options() -> dict[str, Any]:
    """Add the key `body_size`."""
    return {"body_size": Annotated[Size | list[Size], sizes]}


@hookimpl
def watcher_steps(endpoint: Endpoint) -> Callable[[requests.Response], Failure | None] | None:
    """Judge the size of the pages of an endpoint that has the option."""
    given = for_response(endpoint, "body_size", of_body=True)
    if given is None:
        return None
    cap = endpoint.options.get("max_body", MAX_BODY_BYTES)
    if any((size.min or 0) > cap or (size.max or 0) >= cap for size in given):
        raise ValueError(f"body_size: only max_body = {cap} bytes are read; raise max_body above what is wanted")
    return examiner(given)


@lru_cache(maxsize=1024)
def examiner(wanted: tuple[Size, ...]) -> Callable[[requests.Response], Failure | None]:
    """Make the step, one for all endpoints that want the same."""

    def examine(response: requests.Response) -> Failure | None:
        size = len(response.content or b"")
        for each in wanted:
            if each.min is not None and size < each.min:
                return Failure(f"body has {size} bytes, wanted at least {each.min}", degraded=each.degraded)
            if each.max is not None and size > each.max:
                more = " or more" * getattr(response, "truncated", False)  # what was cut has all that max_body allows
                return Failure(f"body has {size}{more} bytes, wanted at most {each.max}", degraded=each.degraded)
        return None

    return examine
