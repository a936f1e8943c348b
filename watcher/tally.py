"""What became of a worker's results, in rows: every one is counted once, wherever it is."""

from __future__ import annotations

from dataclasses import dataclass

OK = "ok"


@dataclass
class Tally:
    """Counts since the start; at any time `produced + recovered` is what all the others but `outages` add up to.

    The buffer knows those that it holds and those that had no room in it.
    """

    recovered: int = 0
    """Found in the spool at the start: an earlier run produced them."""
    stored: int = 0
    spooled: int = 0
    """On disk now."""
    damaged: int = 0
    """In files of the spool that cannot be used, or are for another database, and were set aside."""
    dropped: int = 0
    """Neither the database nor the disk took them."""
    in_hand: int = 0
    """Taken from the buffer and not yet safe."""
    outages: int = 0
    database: str = OK
    """OK, or what keeps results from being stored."""

    @property
    def away(self) -> bool:
        """Whether the database takes nothing."""
        return self.database != OK
