"""tls://HOST[:PORT] endpoints: the TLS handshake and the certificate, nothing after it; port 443 when the URL has none.

The option `tls` says what is trusted and what is shown, as for https. The check is up when the handshake is done.
"""

from __future__ import annotations

from watcher import Endpoint, hookimpl
from watcher.transport import Exchange, Prober, Target, dial, target

PORT = 443


@hookimpl
def watcher_prober(endpoint: Endpoint) -> Prober | None:
    """Probe tls."""
    if not endpoint.url.lower().startswith("tls://"):
        return None
    return TlsProber(target(endpoint, PORT, tls=True))


class TlsProber:
    """Does the handshake with one endpoint."""

    __slots__ = ("_target",)

    def __init__(self, where: Target) -> None:
        self._target = where

    def __call__(self, exchange: Exchange) -> None:
        with dial(exchange, self._target):
            pass
