"""A certificate as people want to know it: whose, by whom, how long still."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import NameOID

_TITLES = (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME)


@dataclass(frozen=True)
class Certificate:
    """What is shown of a certificate."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime

    def days_left(self, now: datetime) -> int:
        """Return the whole days until it expires, negative when it has."""
        return (self.not_after - now).days


def parse(der: bytes) -> Certificate:
    """Read a certificate.

    Raises:
        ValueError: it cannot be read.
    """
    found = x509.load_der_x509_certificate(der)
    return Certificate(
        subject=_title(found.subject),
        issuer=_title(found.issuer),
        names=_names(found),
        not_before=found.not_valid_before_utc,
        not_after=found.not_valid_after_utc,
    )


def fetch(address: str, port: int, server_name: str, timeout_s: float) -> Certificate:
    """Read the certificate that a server shows, trusted or not, over a connection of its own.

    Args:
        address: of the server, or its host name.
        port: where it listens.
        server_name: whose certificate it is asked for (SNI).
        timeout_s: for each step.

    Raises:
        OSError, ValueError: it cannot be had.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # it is looked at because it is not trusted
    with socket.create_connection((address, port), timeout_s) as plain:
        with context.wrap_socket(plain, server_hostname=server_name) as secured:
            return parse(secured.getpeercert(binary_form=True) or b"")


def _title(name: x509.Name) -> str:
    """Name a subject or issuer by the first part that people use."""
    for oid in _TITLES:
        if found := name.get_attributes_for_oid(oid):
            return str(found[0].value)
    return name.rfc4514_string() or "no name"


def _names(found: x509.Certificate) -> tuple[str, ...]:
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = names.get_values_for_type(x509.IPAddress)
    return (*names.get_values_for_type(x509.DNSName), *map(str, addresses))
