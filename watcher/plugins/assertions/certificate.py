"""The option `certificate`: what the TLS handshake of the check itself must have shown.

The certificate is that of the connection that was measured, kept ones included; no other connection is made.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from hashlib import sha256
from importlib import import_module
from time import time
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from watcher import Endpoint, Failure, Match, Options, Reason, Step, hookimpl
from watcher.match import shown
from watcher.plugins.assertions._scope import for_tls
from watcher.several import several

if TYPE_CHECKING:
    from cryptography import x509

    from watcher.transport import Exchange

DAY_S = 86_400
FINGERPRINT = re.compile(r"[0-9a-f]{64}")
NAMES_SHOWN = 3


class Wish(Options):
    """`certificate = { days = 14, degraded_days = 30, issuer = { contains = "Let's Encrypt" } }`; a number: `days`."""

    __brief__: ClassVar[str] = "days"

    days: float = 0
    """With less time left it is down."""
    degraded_days: float | None = None
    """With less time left it is degraded."""
    issuer: Match | list[Match] | None = None
    """Held against the issuer's common name, its organisation and its whole name as RFC 4514 writes it."""
    names: Match | list[Match] | None = None
    """Each must hold for one of the names that the certificate is for; an absent one for none."""
    fingerprint: str | list[str] | None = None
    """SHA-256 of the certificate; of several any is good."""

    def __post_init__(self) -> None:
        for wish in (self.issuer, self.names, self.fingerprint):
            several(wish)
        if self.days < 0:
            raise ValueError("days cannot be less than 0")
        if self.degraded_days is not None and self.degraded_days <= self.days:
            raise ValueError(f"degraded_days {self.degraded_days:g} must be more than days {self.days:g}")
        for digest in self.fingerprints():
            if not FINGERPRINT.fullmatch(digest):
                raise ValueError(f"fingerprint {digest[:80]!r} is no SHA-256: 64 hexadecimal digits, colons allowed")

    def fingerprints(self) -> tuple[str, ...]:
        """Give the digests that are good, none where any is."""
        return tuple(digest.replace(":", "").lower() for digest in several(self.fingerprint))


@hookimpl
def watcher_options() -> dict[str, type]:
    """Add the key `certificate`."""
    return {"certificate": Wish}


@hookimpl
def watcher_steps(endpoint: Endpoint) -> Step | None:
    """Judge the TLS peer of an endpoint that has the option."""
    wish = for_tls(endpoint, "certificate")
    if wish is None:
        return None
    import_module("cryptography.x509")  # 60 ms that no check shall wait for
    return Certificate(wish)


class Facts(NamedTuple):
    """What is known of the certificate seen last: its digest, its end, and what is wrong with it for good."""

    digest: bytes
    ends_at: float
    wrong: Failure | None


class Certificate(Step):
    """The certificate of one endpoint; read only when it is another one than at the check before."""

    __slots__ = ("facts", "wish")

    def __init__(self, wish: Wish) -> None:
        self.wish = wish
        self.facts: Facts | None = None

    def assess(self, exchange: Exchange) -> Failure | None:
        """Say what is wrong with the certificate now."""
        der = getattr(exchange.peer, "certificate_der", None)
        if not der:
            return Failure("no certificate: there is no TLS where the check ended", Reason.CERTIFICATE)
        digest = sha256(der).digest()
        if self.facts is None or self.facts.digest != digest:
            self.facts = read(der, digest, self.wish)
        return self.facts.wrong or ending(self.facts.ends_at, time(), self.wish)


def ending(ends_at: float, now: float, wish: Wish) -> Failure | None:
    """Judge the time that is left."""
    left_days = (ends_at - now) / DAY_S
    if left_days >= max(wish.days, wish.degraded_days or 0):
        return None
    wanted, degraded = (wish.days, False) if left_days < wish.days else (wish.degraded_days, True)
    when = f"on {datetime.fromtimestamp(ends_at, UTC):%Y-%m-%d %H:%M} UTC"
    words = f"ended {when}" if left_days < 0 else f"ends in {left_days:.1f} days, {when}, wanted {wanted:g} days"
    return Failure(f"certificate {words}", Reason.CERTIFICATE, degraded)


def read(der: bytes, digest: bytes, wish: Wish) -> Facts:
    """Read a certificate and judge what does not change with time."""
    from cryptography import x509  # 20 ms: only where it is used

    try:
        found = x509.load_der_x509_certificate(der)
        ends_at = found.not_valid_after_utc.timestamp()
        return Facts(digest, ends_at, judged(found, digest.hex(), wish))
    except (ValueError, x509.DuplicateExtension) as error:
        return Facts(digest, 0, Failure(f"certificate cannot be read: {str(error)[:80]}", Reason.CERTIFICATE))


def judged(found: x509.Certificate, digest: str, wish: Wish) -> Failure | None:
    """Judge fingerprint, issuer and names."""
    good = wish.fingerprints()
    if good and digest not in good:
        return Failure(f"certificate fingerprint is {digest[:16]}…, wanted {good[0][:16]}…", Reason.CERTIFICATE)
    for what, wanted, texts in (("issuer", wish.issuer, issuers(found)), ("names", wish.names, names(found))):
        for match in several(wanted):
            if not match.holds_among(texts):
                words = ", ".join(shown(text) for text in texts[:NAMES_SHOWN]) + ", …" * (len(texts) > NAMES_SHOWN)
                return Failure(f"certificate {what}: {words or 'none'}, wanted {match}", Reason.CERTIFICATE)
    return None


def issuers(found: x509.Certificate) -> list[str]:
    """Give the issuer's common name and organisation, and its whole name as RFC 4514 writes it."""
    from cryptography.x509.oid import NameOID

    parts = (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
    short = [str(part.value) for oid in parts for part in found.issuer.get_attributes_for_oid(oid)]
    return [*short, found.issuer.rfc4514_string()]


def names(found: x509.Certificate) -> list[str]:
    """Give the subject's alternative names: host names and addresses."""
    from cryptography import x509

    try:
        given = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [*given.get_values_for_type(x509.DNSName), *map(str, given.get_values_for_type(x509.IPAddress))]
