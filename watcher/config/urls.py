"""What makes a URL fit to be watched; which schemes there are is known to the plugins alone."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

LENGTH_MOST = 8192

_BLANK = re.compile(r"[\s\x00-\x1f\x7f]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_PLAIN = re.compile(r"https?://(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,30}[A-Za-z0-9])?\.){1,6}[A-Za-z]{2,20}(?:/[!-~]*)?")
_HTTP = frozenset({"http", "https"})


def fault(url: str) -> str | None:
    """Give what is wrong with a URL and how to put it right, or None; the URL itself is not in the text."""
    if _PLAIN.fullmatch(url) and len(url) <= LENGTH_MOST:  # nearly all are; the others are looked at part by part
        return None
    if not url:
        return 'is empty; write one such as "https://example.com/"'
    if len(url) > LENGTH_MOST:
        return f"has {len(url)} characters; {LENGTH_MOST} is the most"
    if _BLANK.search(url):
        return "contains a space or a control character; write a space as %20"
    if _SCHEME.match(url) is None:
        return 'has no scheme; begin it with "https://" or "http://"'
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"cannot be read: {_lowered(error)}"
    if port == 0:
        return "has port 0; ports go from 1 to 65535"
    return _userinfo_fault(parts) or _host_fault(parts.hostname or "")


def http_parts(url: str) -> SplitResult | None:
    """Give the parts of an http or https URL, None of what is none; a user or password may be in it."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in _HTTP and parts.hostname and parts.port != 0
    except ValueError:  # brackets without an end, a port that is none
        return None
    return parts if fits and not _BLANK.search(url) else None


def _lowered(error: ValueError) -> str:
    text = str(error)
    if text.startswith("Port could not be cast"):
        return "the port is not a number"
    return text[:1].lower() + text[1:]


def _userinfo_fault(parts: SplitResult) -> str | None:
    if "@" not in parts.netloc:
        return None
    if parts.scheme in _HTTP:
        return "holds a user or password, which would be shown wherever the URL is; use basic_auth instead"
    if parts.password is not None:
        return "holds a password, which would be shown wherever the URL is; protocols have options for that"
    return None


def _host_fault(host: str) -> str | None:
    if not host:
        return 'has no host; write it as in "https://example.com/"'
    if ":" in host:  # urlsplit has checked what stands in brackets
        return None
    if not host.isascii():
        import idna  # requests brings it; its tables are large, and few hosts need them

        try:
            host = idna.encode(host, uts46=True).decode()
        except idna.IDNAError as error:
            return f"has a host that is no domain name: {error}"
    name = host.removesuffix(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        return "has a host that is no domain name; labels are 1 to 63 letters, digits and hyphens, with dots between"
    return None
