"""What steps examine: a `requests.Response` that decodes and parses only what is looked at."""

from __future__ import annotations

import codecs
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from http.client import HTTPMessage
from typing import Any

import requests
from requests.cookies import RequestsCookieJar, extract_cookies_to_jar
from requests.models import REDIRECT_STATI
from requests.structures import CaseInsensitiveDict
from requests.utils import get_encoding_from_headers

from watcher.errors import ProbeError
from watcher.models import Reason
from watcher.transport.decode import decoded
from watcher.transport.wire import ResponseReader, header_fields, reason_phrase

NOT_FOR_PAGES = frozenset({"idna", "punycode", "undefined"})


class lazy:  # pylint: disable=invalid-name  # it is used as property is
    """A property that is computed when first asked for; functools.cached_property takes a lock until Python 3.12."""

    def __init__(self, compute: Callable[[Any], Any]) -> None:
        self._compute = compute
        self._name = compute.__name__
        self.__doc__ = compute.__doc__

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        value = instance.__dict__[self._name] = self._compute(instance)
        return value


class Headers(CaseInsensitiveDict):
    """Header fields as `requests` has them; those that occur more than once are joined by a comma (RFC 9110, 5.3).

    One field is found in the bytes without a parse of all: most steps look at none, or at the Content-Type.
    """

    def __init__(self, head: bytes) -> None:
        # deliberately not super().__init__(): filling its store one by one takes longer than parsing
        # pylint: disable=super-init-not-called
        end = head.find(b"\n\r\n")
        # lone LFs, or interim responses before it: for the parser
        self._whole = end < 0 or head[9:10] == b"1" or head.find(b"\n\n", 0, end) >= 0
        self._head = head if self._whole else head[: end + 3]
        self._lower = self._head.lower()

    @lazy
    def _store(self) -> OrderedDict[str, tuple[str, str]]:
        store: OrderedDict[str, tuple[str, str]] = OrderedDict()
        for raw_name, raw_value in header_fields(self._head):
            name, value = raw_name.decode("latin-1"), raw_value.strip().decode("latin-1")  # llhttp leaves one before LF
            key = name.lower()
            store[key] = (name, f"{store[key][1]}, {value}" if key in store else value)
        return store

    def get(self, key: str, default: Any = None) -> Any:
        """Give a field, or the default."""
        if self._whole:
            return super().get(key, default)
        line = b"\n" + key.lower().encode("latin-1") + b":"
        at = self._lower.find(line)
        if at < 0:
            return default
        begin = at + len(line)
        end = self._head.find(b"\n", begin)
        if self._lower.find(line, begin) >= 0 or self._head[end + 1 : end + 2] in (b" ", b"\t"):
            return super().get(key, default)  # more than once, or folded
        return self._head[begin:end].strip().decode("latin-1")


class Response(requests.Response):
    """A response as `requests` has it, made lazily from the bytes of one exchange.

    `truncated` says that the body is longer than `max_body` and only its beginning is here. A step may set
    `regex_found`.
    """

    _content_consumed = True
    regex_found: bool | None = None

    def __init__(
        self, reader: ResponseReader, url: str, max_body: int, elapsed_us: int, prepared: Callable[[], Any]
    ) -> None:
        # deliberately not super().__init__(): it makes a dozen objects that most checks never look at
        # pylint: disable=super-init-not-called
        self.status_code = reader.status
        self.url = url
        self.truncated = reader.capped
        self.head = reader.head
        self.encoded_body = reader.body
        self._max_body = max_body
        self._elapsed_us = elapsed_us
        self._prepared = prepared

    @lazy
    def headers(self) -> Headers:
        """The header fields."""
        return Headers(self.head)

    @property
    def is_redirect(self) -> bool:
        """Say whether it leads to another URL: what `requests` says, without a look at the headers of most pages."""
        return self.status_code in REDIRECT_STATI and "Location" in self.headers

    @lazy
    def _content(self) -> bytes:
        codings = self.headers.get("Content-Encoding")
        if not codings or not self.encoded_body:
            return self.encoded_body
        content, whole = decoded(self.encoded_body, codings, self._max_body)
        if not whole and not self.truncated and len(content) < self._max_body:
            raise ProbeError(Reason.PROTOCOL, f"the body breaks off inside its {codings}, after {len(content)} bytes")
        self.truncated = self.truncated or not whole
        return content

    def leave_coded(self) -> None:
        """Take the body as it came for the content."""
        self.__dict__["_content"] = self.encoded_body

    @lazy
    def encoding(self) -> str | None:
        """The charset that the headers declare; None for one whose decoder would raise whatever `errors` says."""
        declared = get_encoding_from_headers(self.headers)
        return None if declared and _raises(declared) else declared

    @lazy
    def reason(self) -> str:
        """The reason phrase."""
        return reason_phrase(self.head)

    @lazy
    def request(self) -> requests.PreparedRequest:
        """The request that this answers."""
        return self._prepared()

    @lazy
    def raw(self) -> Raw:
        """What `requests` asks for cookies."""
        return Raw(self.head)

    @lazy
    def cookies(self) -> RequestsCookieJar:
        """The cookies that the response sets."""
        jar = RequestsCookieJar()
        extract_cookies_to_jar(jar, self.request, self.raw)
        return jar

    @lazy
    def history(self) -> list[requests.Response]:  # pylint: disable=no-self-use  # a fresh list for each response
        """The redirects before it."""
        return []

    @lazy
    def elapsed(self) -> timedelta:
        """What a visitor waited for it: the sum of this hop's phases."""
        return timedelta(microseconds=self._elapsed_us)

    connection: Any = None
    _next: Any = None


def _raises(charset: str) -> bool:
    try:
        return codecs.lookup(charset).name in NOT_FOR_PAGES
    except LookupError:
        return False  # `requests` takes UTF-8 instead


class Raw:
    """The little of urllib3's response that `requests` uses once the body is read."""

    def __init__(self, head: bytes) -> None:
        message = HTTPMessage()
        for name, value in header_fields(head):
            message.add_header(name.decode("latin-1"), value.decode("latin-1"))
        self._original_response = _Original(message)

    def close(self) -> None:
        """Do nothing: the connection is the stream's."""

    def release_conn(self) -> None:
        """Do nothing: the connection is the stream's."""


class _Original:
    """Has the `msg` that cookie jars read."""

    def __init__(self, message: HTTPMessage) -> None:
        self.msg = message

    @staticmethod
    def isclosed() -> bool:
        """Say that there is nothing more to read."""
        return True
