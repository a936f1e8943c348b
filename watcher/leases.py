"""Which shards a worker works for. Now by its number among the workers of one agent; the seam for many nodes.

A share says of any shard whether it is held at this moment; who asks never learns how it came by it.
"""

from __future__ import annotations

from typing import Protocol


class Share(Protocol):
    """The shards that are held; may change between two questions."""

    def __contains__(self, shard: object) -> bool: ...


class FixedShare:
    """Every `of`-th shard, from `index` on: for workers that are numbered by whoever starts them."""

    def __init__(self, index: int, of: int) -> None:
        if not 0 <= index < of:
            raise ValueError(f"share {index}/{of}: the index counts from 0")
        self._index = index
        self._of = of

    def __contains__(self, shard: object) -> bool:
        return isinstance(shard, int) and shard % self._of == self._index
