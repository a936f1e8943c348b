"""The option `body_hash`: the page must be byte for byte the one that is known, or the one of the check before."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Any, Literal

import requests

from watcher import Endpoint, Failure, Options, Reason, Step, hookimpl, offload
from watcher.plugins.assertions._scope import for_response
from watcher.several import several

DIGEST = re.compile(r"[0-9a-f]{64}")
INLINE_BYTES = 256 * 1024  # 0.2 ms with the instructions that processors have for it, 1 ms without
STATUSES_MAX = 8


class Hash(Options):
    """`body_hash = { sha256 = "9f86d0…", changed = "degraded" }`, or `{ unchanged = true, changed = "down" }`."""

    sha256: str | list[str] | None = None
    """Of the page, decompressed, in hexadecimal; of several any is good."""
    unchanged: bool = False
    """The page must be that of the check before."""
    changed: Literal["degraded", "down"] | None = None
    """What another page makes it: down for `sha256`, degraded for `unchanged`."""

    def __post_init__(self) -> None:
        if self.unchanged is (self.sha256 is not None):
            raise ValueError("give one of sha256 and unchanged = true")
        for digest in self.digests():
            if not DIGEST.fullmatch(digest):
                raise ValueError(f"{digest[:80]!r} is no SHA-256: 64 hexadecimal digits, as sha256sum prints them")

    def digests(self) -> tuple[str, ...]:
        """Give the digests that are good, none where the page must be unchanged."""
        return tuple(digest.lower() for digest in several(self.sha256))


def table(value: str | list[str] | Hash) -> Hash:
    """Give the table that the value stands for."""
    if isinstance(value, Hash):
        return value
    return Hash(unchanged=True) if value == "unchanged" else Hash(sha256=value)


@hookimpl
def watcher_options() -> dict[str, Any]:
    """Add the key `body_hash`."""
    return {"body_hash": Annotated[str | list[str] | Hash, table]}


@hookimpl
def watcher_steps(endpoint: Endpoint) -> Step | None:
    """Compare the pages of an endpoint that has the option."""
    given = for_response(endpoint, "body_hash", of_body=True)
    if given is None:
        return None
    return Unchanged(given.changed != "down") if given.unchanged else Known(given)


class Known(Step):
    """The page must be one of those that are known."""

    __slots__ = ("degraded", "digests")

    def __init__(self, wanted: Hash) -> None:
        self.digests = wanted.digests()
        self.degraded = wanted.changed == "degraded"

    def examine(self, response: requests.Response) -> Failure | None:
        """Compare the digests."""
        found = digest(response)
        if getattr(response, "truncated", False):  # of a compressed page only known once it was looked at
            return Failure("body_hash: the page is longer than max_body; raise max_body above its size", Reason.CONFIG)
        if found in self.digests:
            return None
        more = f" or {len(self.digests) - 1} more" * (len(self.digests) > 1)
        return Failure(f"body has SHA-256 {found[:16]}…, wanted {self.digests[0][:16]}…{more}", degraded=self.degraded)


class Unchanged(Step):
    """The page must be that of the check before; of each HTTP status the last page is known, from the first on."""

    __slots__ = ("degraded", "last")

    def __init__(self, degraded: bool) -> None:
        self.degraded = degraded
        self.last: dict[int, str] = {}

    def examine(self, response: requests.Response) -> Failure | None:
        """Compare with the last page of the same status, and keep this one's digest in its place."""
        found = digest(response)
        if len(self.last) >= STATUSES_MAX and response.status_code not in self.last:
            self.last.clear()
        before = self.last.get(response.status_code, found)
        self.last[response.status_code] = found
        if before == found:
            return None
        return Failure(f"body changed: SHA-256 {found[:16]}…, before {before[:16]}…", degraded=self.degraded)


def digest(response: requests.Response) -> str:
    """Give the SHA-256 of a page, decompressed; of one that was cut, of what was read."""
    content = response.content or b""
    if len(content) <= INLINE_BYTES:
        return hashlib.sha256(content).hexdigest()
    return offload(hashlib.sha256, content).hexdigest()
