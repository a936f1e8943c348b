"""The TLS engine: bytes in, bytes out, no I/O. The one seam behind which OpenSSL lives.

One context a trust set, shared by all endpoints that name it; its CA file is read once.
"""

from __future__ import annotations

import ssl
from functools import lru_cache
from typing import NamedTuple

import certifi

from watcher.errors import ProbeError
from watcher.models import Reason

PLAIN_BYTES = 65_536


class Trust(NamedTuple):
    """What an endpoint trusts and shows: paths of PEM files; and the protocols that it offers (ALPN, RFC 7301).

    Without `ca` it is the bundle of the system where OpenSSL knows one (SSL_CERT_FILE names another), else certifi's.
    """

    verify: bool = True
    ca: str = ""
    certificate: str = ""
    key: str = ""
    alpn: tuple[str, ...] = ("http/1.1",)

    @classmethod
    def of(cls, verify: bool | str, cert: str | tuple[str, str] | None) -> Trust:
        """Give the trust set of what `requests` calls `verify` and `cert`."""
        certificate, key = cert if isinstance(cert, tuple) else (cert or "", "")
        return cls(bool(verify), verify if isinstance(verify, str) else "", certificate, key)

    def check(self) -> None:
        """Raise ValueError when a file cannot be read or does not hold what it should."""
        try:
            self.load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        except ssl.SSLError as error:
            named = ", ".join(path for path in (self.ca, self.certificate, self.key) if path)
            raise ValueError(f"{named}: not a usable PEM file ({(error.reason or str(error)).lower()})") from None
        except OSError as error:
            named = error.filename or ", ".join(path for path in (self.ca, self.certificate, self.key) if path)
            raise ValueError(f"{named}: {(error.strerror or str(error)).lower()}") from None

    def load(self, into: ssl.SSLContext) -> None:
        """Load the files that are named into a context; raises as `context` does."""
        if self.ca:
            into.load_verify_locations(self.ca)
        if self.certificate:
            into.load_cert_chain(self.certificate, self.key or None)


def context(trust: Trust) -> ssl.SSLContext:
    """Give the context of a trust set.

    Raises:
        OSError, ssl.SSLError: a file cannot be read or is not PEM.
    """
    return context_of_files(trust) if trust.ca or trust.certificate else _context_of_none(trust)


@lru_cache(maxsize=4096)
def context_of_files(trust: Trust) -> ssl.SSLContext:
    """Give the context of a trust set that names files, which are read once until the cache is cleared."""
    return _context(trust)


@lru_cache(maxsize=64)
def _context_of_none(trust: Trust) -> ssl.SSLContext:
    return _context(trust)


def _context(trust: Trust) -> ssl.SSLContext:
    # not create_default_context(): that looks into the CA directory at every handshake
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if trust.alpn:
        made.set_alpn_protocols(list(trust.alpn))
    if not trust.verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    elif not trust.ca:
        made.load_verify_locations(ssl.get_default_verify_paths().cafile or certifi.where())
    trust.load(made)
    return made


class Engine:
    """One TLS connection: what the peer sent goes into `feed`, what it shall get comes out of `output`."""

    __slots__ = ("_incoming", "_object", "_outgoing", "ended", "established")

    def __init__(self, trusted: ssl.SSLContext, server_name: str | None) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = trusted.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        self.established = False
        self.ended = False  # the peer has said that there is no more (close_notify), or hung up
        self._shake()

    def feed(self, data: bytes) -> None:
        """Take what arrived; nothing means the end of the connection. Goes on with the handshake until it is
        established.

        Raises:
            ProbeError: reason `tls`, `certificate` or `closed`.
        """
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
        if not self.established:
            self._shake()

    def _shake(self) -> None:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return
        except ssl.SSLError as error:
            raise failure(error) from None
        self.established = True

    def encrypt(self, data: bytes) -> None:
        """Put plain bytes into the output."""
        self._object.write(data)

    def decrypt(self) -> bytes:
        """Give the plain bytes that have come; empty when there are none now."""
        plain = b""
        try:
            while True:
                piece = self._object.read(PLAIN_BYTES)
                if not piece:
                    self.ended = True
                    return plain
                plain = plain + piece if plain else piece
        except ssl.SSLWantReadError:
            return plain
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self.ended = True
            return plain
        except ssl.SSLError as error:
            raise failure(error) from None

    def has_output(self) -> bool:
        """Say whether there are bytes to send."""
        return self._outgoing.pending > 0

    def output(self) -> bytes:
        """Give, once, the bytes to send."""
        return self._outgoing.read()

    # what a curious step or `watcher check` asks for

    @property
    def version(self) -> str | None:
        """The protocol version, e.g. `TLSv1.3`."""
        return self._object.version()

    @property
    def cipher(self) -> str | None:
        """The cipher suite's name."""
        cipher = self._object.cipher()
        return cipher[0] if cipher else None

    @property
    def alpn(self) -> str | None:
        """The protocol that was agreed on."""
        return self._object.selected_alpn_protocol()

    @property
    def certificate_der(self) -> bytes | None:
        """The peer's certificate."""
        return self._object.getpeercert(binary_form=True)


def failure(error: ssl.SSLError) -> ProbeError:
    """Give the failure that an error of OpenSSL stands for."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return ProbeError(Reason.CERTIFICATE, error.verify_message.rstrip("."))
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return ProbeError(Reason.TLS, "connection closed in the handshake")
    text = (error.reason or str(error)).replace("_", " ").lower()
    if error.reason == "WRONG_VERSION_NUMBER":  # what came is no TLS: a banner, or an answer in plain HTTP
        text = f"the server probably does not speak TLS on this port ({text})"
    return ProbeError(Reason.TLS, text)
