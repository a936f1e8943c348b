"""The options `certificate` and `tls_version`: what the peer of the handshake must be."""

from __future__ import annotations

import datetime
import hashlib
import ssl
from types import SimpleNamespace
from typing import Any

import plugged
import pytest
import trustme
from cryptography import x509

from watcher import Failure, Reason, Step
from watcher.plugins.assertions import certificate, tls_version
from watcher.plugins.protocols import http
from watcher.plugins.request import proxy
from watcher.testing import exchange

PLUGINS = plugged.manager(certificate, tls_version, http, proxy)
DAY_S = 86_400


@pytest.fixture(scope="module", name="authority")
def fixture_authority() -> trustme.CA:
    """Give an authority whose names are known."""
    return trustme.CA(organization_name="Example Trust", organization_unit_name="Tests")


def der(authority: trustme.CA, *names: str, days: float = 90) -> bytes:
    """Give a certificate that ends in so many days."""
    now = datetime.datetime.now(datetime.UTC)
    start = min(now, now + datetime.timedelta(days)) - datetime.timedelta(1)
    leaf = authority.issue_cert(*names, not_before=start, not_after=now + datetime.timedelta(days))
    return ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())


def steps(url: str = "https://site.test/", **options: Any) -> list[Step]:
    """Give the steps for options as they are written."""
    return PLUGINS.hook.watcher_steps(endpoint=plugged.endpoint(PLUGINS, url, **options))


def verdict(shown: bytes | None, version: str = "TLSv1.3", **options: Any) -> Failure | None:
    """Give the verdict on a check whose peer showed this certificate."""
    (step,) = steps(**options)
    return step.assess(exchange(peer=SimpleNamespace(certificate_der=shown, version=version)))


@pytest.mark.parametrize(
    ("days", "written", "left", "degraded"),
    [
        (20, 14, None, None),
        (10, 14, "ends in 10.0 days, {}, wanted 14 days", False),
        (20, {"days": 14, "degraded_days": 30}, "ends in 20.0 days, {}, wanted 30 days", True),
        (10, {"days": 14, "degraded_days": 30}, "ends in 10.0 days, {}, wanted 14 days", False),
        (20, {"degraded_days": 30}, "ends in 20.0 days, {}, wanted 30 days", True),
        (1, {}, None, None),
        (-2, {}, "ended {}", False),
        (-2, {"degraded_days": 30}, "ended {}", False),
    ],
)
def test_the_time_that_is_left(
    authority: trustme.CA, days: float, written: Any, left: str | None, degraded: bool | None
) -> None:
    shown = der(authority, "site.test", days=days)
    ends = x509.load_der_x509_certificate(shown).not_valid_after_utc.strftime("on %Y-%m-%d %H:%M UTC")
    wanted = left and Failure(f"certificate {left.format(ends)}", Reason.CERTIFICATE, degraded=degraded)
    assert verdict(shown, certificate=written) == wanted


def test_the_last_day_counts_to_the_second() -> None:
    wish = plugged.endpoint(PLUGINS, certificate={"days": 14, "degraded_days": 30}).options["certificate"]
    ends_at = 1_800_000_000.0
    assert certificate.ending(ends_at, ends_at - 30 * DAY_S, wish) is None
    assert certificate.ending(ends_at, ends_at - 30 * DAY_S + 1, wish).degraded is True
    assert certificate.ending(ends_at, ends_at - 14 * DAY_S, wish).degraded is True
    assert certificate.ending(ends_at, ends_at - 14 * DAY_S + 1, wish).degraded is False
    assert certificate.ending(ends_at, ends_at - 60, wish).detail == (
        "certificate ends in 0.0 days, on 2027-01-15 08:00 UTC, wanted 14 days"
    )


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({"issuer": {"contains": "Example Trust"}}, None),
        ({"issuer": "Example Trust"}, None),
        ({"issuer": {"regex": "O=Example Trust"}}, None),
        ({"issuer": "Let's Encrypt"},
         'issuer: "Example Trust", "OU=Tests,O=Example Trust", wanted "Let\'s Encrypt"'),
        ({"issuer": {"contains": "Trust", "absent": True}},
         'issuer: "Example Trust", "OU=Tests,O=Example Trust", wanted not containing "Trust"'),
        ({"names": "site.test"}, None),
        ({"names": ["site.test", "*.site.test", "192.0.2.7"]}, None),
        ({"names": ["site.test", "www.site.test"]},
         'names: "site.test", "*.site.test", "192.0.2.7", wanted "www.site.test"'),
        ({"names": {"regex": r"^\*", "absent": True}},
         'names: "site.test", "*.site.test", "192.0.2.7", wanted not matching /^\\*/'),
        ({"names": {"contains": "test2", "absent": True}}, None),
    ],
)  # fmt: skip
def test_issuer_and_names(authority: trustme.CA, written: Any, words: str | None) -> None:
    wanted = words and Failure(f"certificate {words}", Reason.CERTIFICATE)
    assert verdict(der(authority, "site.test", "*.site.test", "192.0.2.7"), certificate=written) == wanted


def test_the_fingerprint_is_written_as_openssl_and_sha256sum_write_it(authority: trustme.CA) -> None:
    shown = der(authority, "site.test")
    digest = hashlib.sha256(shown).hexdigest()
    with_colons = ":".join(digest[at : at + 2] for at in range(0, 64, 2)).upper()
    for good in (digest, with_colons, ["0" * 64, digest]):
        assert verdict(shown, certificate={"fingerprint": good}) is None
    assert verdict(shown, certificate={"fingerprint": "0" * 64}) == Failure(
        f"certificate fingerprint is {digest[:16]}…, wanted 0000000000000000…", Reason.CERTIFICATE
    )


def test_a_certificate_is_read_once_and_a_new_one_at_once(authority: trustme.CA, monkeypatch) -> None:
    (step,) = steps(certificate={"names": "new.test"})
    shown = [der(authority, name) for name in ("old.test", "new.test")]
    old, new = (exchange(peer=SimpleNamespace(certificate_der=one)) for one in shown)
    read, count = certificate.read, []
    monkeypatch.setattr(certificate, "read", lambda *given: count.append(1) or read(*given))
    told = [step.assess(seen) is not None for seen in (old, old, new, new, new)]
    assert (told, len(count)) == ([True, True, False, False, False], 2)


def test_no_certificate_is_a_failure_not_a_silence() -> None:
    gone = Failure("no certificate: there is no TLS where the check ended", Reason.CERTIFICATE)
    assert verdict(None, certificate=14) == gone
    assert steps(certificate=14)[0].assess(exchange()) == gone
    assert verdict(b"no DER", certificate=14).detail.startswith("certificate cannot be read: ")


@pytest.mark.parametrize(
    ("least", "version", "words"),
    [
        ("1.2", "TLSv1.2", None),
        ("1.2", "TLSv1.3", None),
        ("1.3", "TLSv1.3", None),
        ("1.3", "TLSv1.2", "TLSv1.2, wanted at least TLSv1.3"),
        ("1.3", "TLSv1", "TLSv1, wanted at least TLSv1.3"),
        ("1.2", "SSLv3", "SSLv3, wanted at least TLSv1.2"),
    ],
)
def test_the_version_of_tls(least: str, version: str, words: str | None) -> None:
    assert verdict(None, version, tls_version=least) == (words and Failure(words, Reason.TLS))


def test_no_tls_has_no_version() -> None:
    (step,) = steps(tls_version="1.2")
    assert step.assess(exchange()) == Failure("no TLS where the check ended, wanted at least TLSv1.2", Reason.TLS)


@pytest.mark.parametrize(
    ("url", "options", "complaint"),
    [
        ("http://site.test/", {"certificate": 14}, '"certificate" judges the TLS handshake, and http:// has none'),
        ("HTTP://site.test/", {"tls_version": "1.3"}, '"tls_version" judges the TLS handshake, and http:// has none'),
        ("icmp://site.test", {"certificate": 14}, '"certificate" judges the TLS handshake, and icmp:// has none'),
    ],
)
def test_where_there_can_be_none_it_is_refused(url: str, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        steps(url, **options)


@pytest.mark.parametrize("url", ["https://a.test/", "tls://a.test:853", "smtp://a.test", "tcp://a.test:5", "wss://a/"])
def test_where_there_may_be_one_it_is_judged(url: str) -> None:
    assert len(steps(url, certificate=14, tls_version="1.3")) == 2
    assert not steps(url)


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ({"certificate": -1}, "certificate: days cannot be less than 0"),
        ({"certificate": {"issuer": []}}, "certificate: an empty list checks nothing"),
        ({"certificate": {"names": []}}, "certificate: an empty list checks nothing"),
        ({"certificate": {"fingerprint": []}}, "certificate: an empty list checks nothing"),
        ({"certificate": {"days": 14, "degraded_days": 14}}, "certificate: degraded_days 14 must be more than days 14"),
        ({"certificate": {"fingerprint": "ab:cd"}}, "certificate: fingerprint 'abcd' is no SHA-256"),
        ({"certificate": "soon"}, 'certificate: expected a number or a table, got "soon"'),
        ({"certificate": {"name": "a"}}, 'certificate.name: unknown key; did you mean "names"?'),
        ({"tls_version": "1.1"}, 'tls_version: expected one of "1.2", "1.3", got "1.1"'),
        ({"tls_version": 1.3}, 'tls_version: expected one of "1.2", "1.3", got 1.3'),
    ],
)
def test_a_wrong_value_is_found_when_the_configuration_is_read(written: Any, complaint: str) -> None:
    _, mistakes = plugged.convert(PLUGINS, written)
    assert len(mistakes) == 1
    mistake = mistakes[0]
    assert mistake.startswith(complaint)
