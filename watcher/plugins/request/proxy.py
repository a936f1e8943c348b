"""The option `proxy`: the HTTP or SOCKS proxy through which a http or https endpoint is asked."""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import SplitResult, unquote, urlsplit

from watcher import Secret, hookimpl

SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")
EXAMPLE = 'write it as in "http://proxy.example:3128" or "socks5h://user:password@proxy.example:1080"'
BEGINNING = re.compile(rf"(?:{'|'.join(SCHEMES)})://", re.ASCII)
SOCKS_MOST_BYTES = 255  # RFC 1929, section 2


def check(url: Secret) -> Secret:
    """Refuse what would fail at each check; nothing of the URL is told, as a password is in it."""
    if not BEGINNING.match(url):
        raise ValueError(f"a proxy begins with one of {', '.join(SCHEMES)} and ://; {EXAMPLE}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(f"cannot be read; write @, :, /, # and ? of a password as %40 and so on; {EXAMPLE}") from None
    if not parts.hostname or not port or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"is a host and a port, no more; {EXAMPLE}")
    check_user(parts)
    return url


def check_user(parts: SplitResult) -> None:
    """Refuse a user or password that the proxy's protocol cannot carry."""
    user, password = (unquote(text or "") for text in (parts.username, parts.password))
    if password and not user:
        raise ValueError("a password goes with a user")
    if parts.scheme.startswith("socks4") and password:
        raise ValueError("SOCKS 4 knows a user and no password; socks5 does")
    if parts.scheme.startswith("socks5") and max(len(user.encode()), len(password.encode())) > SOCKS_MOST_BYTES:
        raise ValueError(f"user and password have {SOCKS_MOST_BYTES} bytes at most (RFC 1929)")
    if parts.scheme.startswith("http") and not f"{user}{password}".isascii():
        raise ValueError("user and password of an HTTP proxy have to be ASCII: proxies read the rest as they like")


@hookimpl
def watcher_options() -> dict[str, Any]:
    """Add the key `proxy`, a secret; the plugin `http` goes that way."""
    return {"proxy": Annotated[Secret, check]}
