"""The adapter of a plain `requests.Session` whose connections can be asked where they went and who was there."""

from __future__ import annotations

import ssl
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any, NamedTuple

from requests.adapters import HTTPAdapter
from requests.exceptions import SSLError
from urllib3.connection import HTTPConnection

from watcher.transport.tls import Trust, context


class Peer(NamedTuple):
    """The TLS peer of a connection that may be closed by now; has what `transport.tls.Engine` has."""

    version: str | None
    cipher: str | None
    alpn: str | None
    certificate_der: bytes | None


class WatchedAdapter(HTTPAdapter):
    """`requests`' own adapter; `connection` is the one that served the last request, or was to serve it.

    Args:
        contexts: of the plan, filled as they are needed: files that are replaced meanwhile do not concern it.
    """

    def __init__(self, contexts: dict[Trust, ssl.SSLContext]) -> None:
        super().__init__()
        self._contexts = contexts
        self.connection: Watched | None = None

    def get_connection_with_tls_context(self, *arguments: Any, **options: Any) -> Any:
        """Give the pool of a request's host, whose connections this adapter hears of."""
        pool = super().get_connection_with_tls_context(*arguments, **options)
        if not isinstance(pool.ConnectionCls, partial):
            pool.ConnectionCls = partial(self._connection, _watched(pool.ConnectionCls))
        return pool

    def cert_verify(self, conn: Any, url: str, verify: bool | str, cert: Any) -> None:
        """Have an https proxy prove itself for http URLs too, whose requests are as readable for it."""
        if conn.proxy is not None and conn.proxy.scheme == "https" and url.lower().startswith("http:"):
            url, cert = conn.proxy.url, None
        super().cert_verify(conn, url, verify, cert)
        if url.lower().startswith("https:") and (conn.proxy is None or conn.proxy.scheme != "https"):
            # one context for all: to load the public bundle at each check takes longer than all the rest of it
            conn.conn_kw["ssl_context"] = self._context(Trust.of(verify, cert))
            conn.ca_certs = conn.ca_cert_dir = conn.cert_file = conn.key_file = None

    def _context(self, trust: Trust) -> ssl.SSLContext:
        if trust not in self._contexts:
            try:
                self._contexts[trust] = context(trust)
            except OSError as error:  # ssl.SSLError is one too
                raise SSLError(error) from error
        return self._contexts[trust]

    def _connection(self, kind: type[Watched], *arguments: Any, **options: Any) -> Watched:
        self.connection = kind(*arguments, **options)
        self.connection.adapter = self
        return self.connection


class Watched(HTTPConnection):
    """Put before a connection of urllib3: tells what it was when it is closed, as it is when its response is here."""

    adapter: WatchedAdapter | None = None
    address: str | None = None
    peer: Peer | None = None
    stood = False

    def connect(self) -> None:
        """Connect, through the proxy if there is one, with the TLS handshake if there is one."""
        super().connect()
        self.stood = True
        with suppress(AttributeError, OSError):  # TLS within the TLS of a proxy has none, nor has who is gone again
            self.address = self.sock.getpeername()[0]
        if hasattr(self.sock, "getpeercert"):
            cipher = self.sock.cipher()
            self.peer = Peer(
                self.sock.version(),
                cipher[0] if cipher else None,
                self.sock.selected_alpn_protocol(),
                self.sock.getpeercert(binary_form=True),
            )
        self.is_verified = True  # as far as the user wants it: urllib3 would warn at each check with `verify = false`

    def request(self, *arguments: Any, **options: Any) -> None:
        """Send a request; a connection may serve a redirect too."""
        self.adapter.connection = self
        super().request(*arguments, **options)


@lru_cache(maxsize=16)
def _watched(kind: type) -> type[Watched]:
    return type(f"Watched{kind.__name__}", (Watched, kind), {})
