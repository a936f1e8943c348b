"""The cookies that a request was given, where it is redirected: they go with it on its own host, and to no other."""

from __future__ import annotations

from collections.abc import Iterator
from http.cookiejar import Cookie, DefaultCookiePolicy, eff_request_host
from urllib.parse import urlsplit

import requests
from requests.cookies import MockRequest, RequestsCookieJar


def bind(request: requests.PreparedRequest, session: requests.Session) -> None:
    """Put the cookies of a request's header into a session, bound to its host; of https never for http.

    `requests` by itself drops a field that was set, and sends cookies without a domain to every host. Subdomains are
    other hosts (RFC 6265, 5.4), which Python's jar takes for the same if it is not told.
    """
    policy = DefaultCookiePolicy(strict_ns_domain=DefaultCookiePolicy.DomainStrictNonDomain)
    request._cookies = RequestsCookieJar(policy=policy)  # pylint: disable=protected-access  # what its redirects copy
    for cookie in _cookies(request):
        session.cookies.set_cookie(cookie)


def _cookies(request: requests.PreparedRequest) -> Iterator[Cookie]:
    _, host = eff_request_host(MockRequest(request))
    secure = urlsplit(request.url or "").scheme == "https"
    for pair in request.headers.get("Cookie", "").split(";"):
        name, _, value = pair.strip().partition("=")
        if name:
            yield Cookie(
                version=0,
                name=name,
                value=value,
                port=None,
                port_specified=False,
                domain=host,
                domain_specified=False,
                domain_initial_dot=False,
                path="/",
                path_specified=True,
                secure=secure,
                expires=None,
                discard=True,
                comment=None,
                comment_url=None,
                rest={},
            )
