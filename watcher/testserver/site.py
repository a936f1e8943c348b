"""The site that the server shows: takes a request's bytes, gives the answer; what it did before is all it remembers."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import time
import zlib
from collections.abc import Callable

from watcher.testserver import behaviour as asked
from watcher.testserver.answer import Answer, Page, dripping
from watcher.testserver.bad import KINDS
from watcher.testserver.behaviour import Behaviour
from watcher.testserver.request import BadRequest, Request, parse

WORDS = b"A page of words to fill a body up to the size that was asked for, over and over again.\n"

_MEMO_ENTRIES = 65_536
_MEMO_REQUEST_BYTES = 1024
_MEMO_ANSWER_BYTES = 64 * 1024
_COUNTERS = 1_000_000
_GOLDEN = (math.sqrt(5) - 1) / 2


class Site:
    """Answers requests.

    The same bytes get the same answer unless the query asks for change, so answers are kept by the request's bytes:
    a request that was seen before costs one look into a dict.

    Args:
        seed: decides which requests fail where a share of them has to.
        clock: gives the Unix time, for outages.
    """

    def __init__(self, seed: int = 0, clock: Callable[[], float] = time.time) -> None:
        self.memo: dict[bytes, Answer] = {}  # only requests that came whole and alone
        self._requests: dict[bytes, Request] = {}
        self._wires: dict[tuple[str, bool, bool], Answer] = {}
        self._counts: dict[str, int] = {}
        self._seed = seed
        self._clock = clock

    def answer(self, data: bytes) -> tuple[Answer, bytes] | None:
        """Answer the first request in `data`: the answer and what follows, or None when more must arrive."""
        request = self._requests.get(data)
        try:
            if request is None:
                taken = parse(data)
                if taken is None:
                    return None
                request, rest = taken
            else:
                rest = b""
            found, lasting = self._respond(request)
        except BadRequest as error:
            return _refusal(error), b""
        if not rest and len(data) <= _MEMO_REQUEST_BYTES and len(found.wire) <= _MEMO_ANSWER_BYTES:
            _remember(self.memo if lasting else self._requests, data, found if lasting else request, _MEMO_ENTRIES)
        return found, rest

    def _respond(self, request: Request) -> tuple[Answer, bool]:
        """Answer a request; the second value tells whether the same request will always get this answer."""
        path, _, query = request.target.partition("?")
        if path.startswith("/bad/"):
            return _misbehave(path.removeprefix("/bad/"), query), True
        behaviour = asked.read(query)
        count = self._count(request.target) if behaviour.jitter or behaviour.flaky or behaviour.pattern else 0
        if self._fails(behaviour, request.target, count):
            return _timed(_failure(behaviour, request), behaviour, count), False
        plain = not (behaviour.echo or behaviour.flaky or behaviour.pattern or behaviour.outage)
        refusal = _gatekeeper(behaviour, request)
        if refusal is not None:
            found = _encode(refusal, request)
        elif behaviour.echo or behaviour.hops:
            found = _encode(_page(behaviour, request), request, behaviour)
        else:
            found = self._kept(query, behaviour, request)
        return _timed(found, behaviour, count), plain and not behaviour.jitter

    def _kept(self, query: str, behaviour: Behaviour, request: Request) -> Answer:
        """Give the answer of a query that depends on nothing else, made once."""
        key = query, request.method == "HEAD", request.keep_alive
        found = self._wires.get(key)
        if found is None:
            found = _encode(_page(behaviour, request), request, behaviour)
            if len(found.wire) <= _MEMO_ANSWER_BYTES:
                _remember(self._wires, key, found, 4096)
        return found

    def _fails(self, behaviour: Behaviour, target: str, count: int) -> bool:
        """Tell whether this request is one that has to fail."""
        if behaviour.pattern and behaviour.pattern[count % len(behaviour.pattern)] == "0":
            return True
        if behaviour.flaky and (self._phase(target) + count * _GOLDEN) % 1.0 < behaviour.flaky:
            return True
        if behaviour.outage is not None:
            down_s, every_s = behaviour.outage
            return (self._clock() + self._phase(target) * every_s) % every_s < down_s
        return False

    def _count(self, target: str) -> int:
        """Count the requests for a target, from 0; the counts start anew at a million targets."""
        count = self._counts.get(target, 0)
        _remember(self._counts, target, count + 1, _COUNTERS)
        return count

    def _phase(self, target: str) -> float:
        """Give the place of a target between 0 and 1 that follows from the seed.

        With multiples of the golden ratio added, the places of its requests are spread so evenly (Weyl's theorem)
        that any stretch of them holds the asked share of failures, give or take one or two.
        """
        return zlib.crc32(f"{self._seed} {target}".encode()) / 2**32


def _remember(store: dict, key: object, value: object, entries: int) -> None:
    """Keep a value; a store that is full starts anew."""
    if len(store) >= entries and key not in store:
        store.clear()
    store[key] = value


def _misbehave(name: str, query: str) -> Answer:
    """Give the bad answer of a kind."""
    kind = KINDS.get(name)
    if kind is None:
        raise BadRequest(f"no kind {name!r}; there are: " + ", ".join(KINDS), 404)
    return Answer(close=True, steps=lambda: kind.play(query))


def _failure(behaviour: Behaviour, request: Request) -> Answer:
    """Fail as the query asks."""
    if behaviour.fail in KINDS:
        return _misbehave(behaviour.fail, "")
    return _encode(Page(int(behaviour.fail), b"failed as asked\n"), request)


def _timed(found: Answer, behaviour: Behaviour, count: int) -> Answer:
    """Give the answer its delay."""
    delay_s = behaviour.delay + behaviour.jitter * (count * math.sqrt(2) % 1.0)
    return dataclasses.replace(found, delay_s=delay_s) if delay_s else found


def _refusal(error: BadRequest) -> Answer:
    """Tell the sender what is wrong with a request."""
    head, body = Page(error.status, f"{error}\n".encode()).parts(head_only=False, close=True)
    return Answer(head + body, close=True)


def _gatekeeper(behaviour: Behaviour, request: Request) -> Page | None:
    """Give the page for a request that lacks what the query says it must have."""
    credentials = request.headers.get("authorization", "")
    if behaviour.method and request.method != behaviour.method.upper():
        return Page(405, b"another method is wanted\n", headers=[f"Allow: {behaviour.method.upper()}"])
    if behaviour.basic and credentials != "Basic " + base64.b64encode(behaviour.basic.encode()).decode():
        return Page(401, b"credentials are wanted\n", headers=['WWW-Authenticate: Basic realm="watcher"'])
    if behaviour.bearer and credentials != "Bearer " + behaviour.bearer:
        return Page(401, b"a token is wanted\n", headers=["WWW-Authenticate: Bearer"])
    name, _, value = behaviour.need.partition(":")
    if name and request.headers.get(name.lower()) != value.strip():
        return Page(403, b"a header is wanted\n")
    return None


def _page(behaviour: Behaviour, request: Request) -> Page:
    """Make the page that the query asks for."""
    if behaviour.hops:
        rest = request.target.replace(f"hops={behaviour.hops}", f"hops={behaviour.hops - 1}")
        return Page(302, headers=[f"Location: {rest}"])
    headers = list(behaviour.header)
    if behaviour.redirect:
        headers.append(f"Location: {behaviour.redirect}")
    content, media_type = _content(behaviour, request), behaviour.type
    if behaviour.echo:
        media_type = "application/json"
    return Page(behaviour.status, content, media_type, headers, behaviour.encoding, behaviour.chunked)


def _content(behaviour: Behaviour, request: Request) -> bytes:
    """Make the body."""
    if behaviour.echo:
        asked_for = {"method": request.method, "target": request.target, "headers": request.headers}
        return json.dumps(asked_for | {"body": request.body.decode("latin-1")}).encode()
    content = b"watcher test server\n" if behaviour.body is None else behaviour.body.encode()
    if behaviour.size is None:
        return content
    if behaviour.body is None:
        content = b""
    missing = behaviour.size - len(content)
    return (content + WORDS * (missing // len(WORDS) + 1))[: behaviour.size]


def _encode(page: Page, request: Request, behaviour: Behaviour | None = None) -> Answer:
    """Turn a page into the answer to a request."""
    close = not request.keep_alive or (behaviour is not None and behaviour.close)
    head, body = page.parts(head_only=request.method == "HEAD", close=close)
    if behaviour is not None and behaviour.drip and body:
        return Answer(close=close, steps=dripping(head, body, behaviour.drip))
    return Answer(head + body, close=close)
