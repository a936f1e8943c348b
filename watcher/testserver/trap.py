"""What goes wrong before a request can be sent: a port of its own for each, as no path can choose it."""

from __future__ import annotations

import dataclasses
import enum

from watcher.models import Reason
from watcher.testserver.answer import End, Step
from watcher.testserver.kind import response


class Moment(enum.Enum):
    """When a trap springs."""

    REFUSE = "refuse"  # the port is taken, but nobody listens
    IGNORE = "ignore"  # the queue of connections is full: the kernel drops every further SYN
    ACCEPT = "accept"  # as soon as the connection is there
    HELLO = "hello"  # at the first bytes of the client
    HANDSHAKE = "handshake"  # in TLS: by a certificate or by settings that a client should not take


@dataclasses.dataclass(frozen=True, slots=True)
class Trap:
    """One way to fail before a request; `https` tells which scheme its URL has."""

    name: str
    verdicts: tuple[Reason, ...]
    about: str
    moment: Moment
    steps: tuple[Step, ...] = ()

    @property
    def https(self) -> bool:
        """Whether its URL is one of https."""
        return self.name.startswith(("tls-", "certificate-"))

    @property
    def expected(self) -> str:
        """The verdicts as text."""
        return " or ".join(verdict.value for verdict in self.verdicts)


_TLS = (Reason.TLS,)
_CUT = (Reason.TLS, Reason.CLOSED)
_CERTIFICATE = (Reason.CERTIFICATE,)
_WEAK = (Reason.CERTIFICATE, Reason.TLS)
_TIMEOUT = (Reason.TIMEOUT,)
_ALERT_HANDSHAKE_FAILURE = b"\x15\x03\x03\0\2\2\x28"
_HALF_SERVER_HELLO = b"\x16\x03\x03\0\x7a\2\0\0\x76\x03\x03" + bytes(20)
_SMTP_BANNER = b"220 mail.example ESMTP ready\r\n"

_PORTS = (
    Trap("refused", (Reason.CONNECT,), "nobody listens", Moment.REFUSE),
    Trap("backlog-full", _TIMEOUT, "the handshake of TCP is never answered", Moment.IGNORE),
    Trap("accept-reset", (Reason.CLOSED, Reason.CONNECT), "a reset as soon as connected", Moment.ACCEPT, (End.RESET,)),
    Trap("accept-close", (Reason.CLOSED,), "closed as soon as connected", Moment.ACCEPT, (End.CLOSE,)),
    Trap("accept-silent", _TIMEOUT, "connected, and nothing is ever read or sent", Moment.ACCEPT, (End.HOLD,)),
    Trap("banner", (Reason.PROTOCOL,), "a mail server", Moment.ACCEPT, (_SMTP_BANNER, End.HOLD)),
    Trap("tls-silent", _TIMEOUT, "no answer to the client's hello", Moment.HELLO, (End.HOLD,)),
    Trap("tls-half", _TIMEOUT, "half a server's hello, then nothing", Moment.HELLO, (_HALF_SERVER_HELLO, End.HOLD)),
    Trap("tls-garbage", _TLS, "bytes that are no TLS", Moment.HELLO, (bytes(range(256)), End.HOLD)),
    Trap("tls-plain", _TLS, "plain HTTP on the port of https", Moment.HELLO,
         (response(b"plain\n", status=b"400 Bad Request"), End.CLOSE)),
    Trap("tls-alert", _TLS, "the alert handshake_failure", Moment.HELLO, (_ALERT_HANDSHAKE_FAILURE, End.CLOSE)),
    Trap("tls-reset", _CUT, "a reset in the handshake", Moment.HELLO, (End.RESET,)),
    Trap("tls-close", _CUT, "closed in the handshake", Moment.HELLO, (End.CLOSE,)),
    Trap("tls-old", _TLS, "TLS 1.1 at most", Moment.HANDSHAKE),
    Trap("tls-client-certificate", _CUT, "a client certificate is demanded", Moment.HANDSHAKE),
)  # fmt: skip

_CERTIFICATES = (
    Trap("certificate-expired", _CERTIFICATE, "it was valid until yesterday", Moment.HANDSHAKE),
    Trap("certificate-not-yet", _CERTIFICATE, "it is valid from tomorrow", Moment.HANDSHAKE),
    Trap("certificate-other-name", _CERTIFICATE, "it is another host's", Moment.HANDSHAKE),
    Trap("certificate-no-name", _CERTIFICATE, "the host is only its common name, as before RFC 2818", Moment.HANDSHAKE),
    Trap("certificate-self-signed", _CERTIFICATE, "it vouches for itself", Moment.HANDSHAKE),
    Trap("certificate-unknown-ca", _CERTIFICATE, "nobody knows who signed it", Moment.HANDSHAKE),
    Trap("certificate-no-chain", _CERTIFICATE, "the certificate between it and the CA is not sent", Moment.HANDSHAKE),
    Trap("certificate-not-a-server", _CERTIFICATE, "it is for clients only", Moment.HANDSHAKE),
    Trap("certificate-not-a-ca", _CERTIFICATE, "it is signed by one that may not sign", Moment.HANDSHAKE),
    Trap("certificate-weak-key", _WEAK, "RSA with 1024 bits", Moment.HANDSHAKE),
    Trap("certificate-sha1", _WEAK, "signed over SHA-1", Moment.HANDSHAKE),
)  # fmt: skip

TRAPS: dict[str, Trap] = {trap.name: trap for trap in (*_PORTS, *_CERTIFICATES)}
