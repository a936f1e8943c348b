"""Options of which there may be several: `"one"` or `["one", "two"]`."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def several(value: T | list[T] | None) -> tuple[T, ...]:
    """Give what an option means, none where it is not there; `Annotated[T | list[T], several]` makes it a tuple.

    Raises:
        ValueError: the list is empty.
    """
    if value == []:
        raise ValueError("an empty list checks nothing")
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list) else (value,)
