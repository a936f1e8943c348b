"""Where the cookies that a request was given go when it is redirected."""

from __future__ import annotations

import pytest
import requests

from watcher.transport.cookies import bind


def redirected(url: str, to: str, cookie: str = "session=1; lang=en", **fields: str) -> str | None:
    """Give the field Cookie of the request to which `requests` would turn one that was redirected."""
    with requests.Session() as session:
        request = requests.Request("GET", url, headers={"Cookie": cookie, **fields}).prepare()
        bind(request, session)
        response = requests.Response()
        response.request, response.url, response.status_code = request, url, 302
        response.headers["Location"] = to
        response.raw = Closed()
        following = next(session.resolve_redirects(response, request, yield_requests=True))
    return following.headers.get("Cookie")


class Closed:
    """A response that was read."""

    @staticmethod
    def stream(*_args: object, **_options: object) -> list[bytes]:
        """Give nothing."""
        return []

    read = stream

    @staticmethod
    def close() -> None:
        """Do nothing."""

    release_conn = close


@pytest.mark.parametrize(
    ("url", "to"),
    [
        ("http://shop.test/a/b", "/"),
        ("http://shop.test/", "http://SHOP.test/deep/er"),
        ("http://shop.test/", "https://shop.test/"),
        ("http://shop.test/", "http://shop.test:8080/"),  # RFC 6265, 8.5: cookies are not kept apart by port
        ("https://shop.test/", "https://shop.test/in"),
        ("http://localhost:8080/", "/in"),
        ("http://192.0.2.1/", "/in"),
        ("http://[2001:db8::1]:8080/", "/in"),
    ],
)
def test_they_go_with_it_on_its_own_host(url: str, to: str) -> None:
    assert redirected(url, to) == "session=1; lang=en"


@pytest.mark.parametrize(
    ("url", "to"),
    [
        ("http://shop.test/", "http://evil.test/"),
        ("http://shop.test/", "http://www.shop.test/"),
        ("http://www.shop.test/", "http://shop.test/"),
        ("http://shop.test/", "http://notshop.test/"),
        ("http://shop.test/", "//evil.test/"),
        ("http://192.0.2.1/", "http://192.0.2.2/"),
        ("http://localhost/", "http://127.0.0.1/"),
        ("https://shop.test/", "http://shop.test/"),  # in the clear
    ],
)
def test_they_go_to_no_other(url: str, to: str) -> None:
    assert redirected(url, to) is None


@pytest.mark.parametrize("cookie", ["a=b=c", 'a="b c"', "a="])
def test_a_cookie_goes_as_it_was_given(cookie: str) -> None:
    assert redirected("http://shop.test/", "/in", cookie) == cookie


def test_without_a_cookie_there_is_none() -> None:
    assert redirected("http://shop.test/", "/in", "") is None
