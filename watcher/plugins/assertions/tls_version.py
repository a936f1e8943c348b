"""The option `tls_version`: the oldest version of TLS that the handshake of the check may have ended with."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta

from watcher import Endpoint, Failure, Reason, Step, hookimpl
from watcher.plugins.assertions._scope import for_tls

if TYPE_CHECKING:
    from watcher.transport import Exchange


@hookimpl
def watcher_options() -> dict[str, Any]:
    """Add the key `tls_version`."""
    oldest = Meta(description="The oldest that is good.")
    return {"tls_version": Annotated[Literal["1.2", "1.3"], oldest, float]}


@hookimpl
def watcher_steps(endpoint: Endpoint) -> Step | None:
    """Judge the TLS peer of an endpoint that has the option."""
    given = for_tls(endpoint, "tls_version")
    return None if given is None else version(given)


@lru_cache(maxsize=8)
def version(least: float) -> Version:
    """Make the step, one for all endpoints that want the same."""
    return Version(least)


class Version(Step):
    """The protocol must be this version or a newer one."""

    __slots__ = ("least",)

    def __init__(self, least: float) -> None:
        self.least = least

    def assess(self, exchange: Exchange) -> Failure | None:
        """Compare the version that the handshake agreed on."""
        found = getattr(exchange.peer, "version", None)
        if found is None:
            return Failure(f"no TLS where the check ended, wanted at least TLSv{self.least}", Reason.TLS)
        if float(found.removeprefix("TLSv").replace("SSLv", "0.")) >= self.least:
            return None
        return Failure(f"{found}, wanted at least TLSv{self.least}", Reason.TLS)
