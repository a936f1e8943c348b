"""Invented endpoints over a test server: a mix by weights, the same for the same seed, one at a time however many."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from watcher.testserver.behaviour import duration
from watcher.testserver.behaviour import size as size_bytes

# What a failing endpoint does, and what a monitor will say of it.
FAILURES = (
    ("/?status=503", "status 503"),
    ("/?status=404", "status 404"),
    ("/?status=500&delay=100ms", "status 500"),
    ("/bad/silent", "silent"),
    ("/bad/stalled-body", "stalled body"),
    ("/bad/slow-headers", "slow headers"),
    ("/bad/reset-before-headers", "reset"),
    ("/bad/reset-in-body", "reset in the body"),
    ("/bad/short-body", "short body"),
    ("/bad/garbage", "no HTTP"),
    ("/bad/bad-chunk", "bad chunk"),
    ("/bad/endless-headers", "endless headers"),
    ("/bad/redirect-loop", "redirect loop"),
    ("/bad/redirect-nowhere", "redirect to nowhere"),
)

# Options of endpoints with a pattern: all are found in, or absent from, the server's pages (`site.WORDS`).
PATTERNS: tuple[Any, ...] = (
    "asked for",
    r"(?i)\bPAGE\s+of\s+\w+",
    r"^A (?=.*over and over)(?!.*forbidden).*again\.$",
    r"(?<=that was )asked (?:for|from), (?:\w+\s){2}",
    {"pattern": "error|exception|forbidden", "absent": True, "ignore_case": True},
)
_WITH_BODY = ("POST", "PUT", "PATCH")
_PAGE_BYTES = 100  # the least that holds what the patterns look for


@dataclasses.dataclass(frozen=True, slots=True)
class Weighted:
    """Values, as written, with how often each is to be drawn: equally often without weights."""

    values: tuple[str, ...]
    weights: tuple[float, ...] | None = None

    @classmethod
    def read(cls, text: str) -> Weighted:
        """Read `5:1,60:9`, or `5,60` for equal shares.

        Raises:
            ValueError: a weight is no number above 0, or there is no value.
        """
        pairs = [part.strip().partition(":") for part in text.split(",")]
        weights = tuple(float(weight or 1) for _, _, weight in pairs)
        if not all(value for value, _, _ in pairs) or not all(0 < weight < float("inf") for weight in weights):
            raise ValueError(f"{text!r} is no list such as 5,30 or, with weights, 5:1,30:9")
        return cls(tuple(value for value, _, _ in pairs), weights)

    def draw(self, chance: random.Random) -> str:
        """Draw a value."""
        return chance.choices(self.values, self.weights)[0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mix:
    """What the endpoints are like; shares are from 0 to 1, texts as users write them."""

    url: str = "http://127.0.0.1:8080"
    interval: Weighted = Weighted(("60",))
    method: Weighted = Weighted(("GET",))
    delay: Weighted = Weighted(("0",))
    size: Weighted = Weighted(("1k",))
    regex: float = 0.0
    down: float = 0.0
    flaky: float = 0.0
    outage: str = "20s/97s"  # a prime: an interval that divides it would meet the same moment each time
    ca: str = ""
    seed: int = 0


def invent(mix: Mix, count: int) -> Iterator[dict[str, Any]]:
    """Give `count` endpoints as tables like `[[endpoints]]`.

    The first ones of a larger count are those of a smaller one. Names are unique and say what to expect.
    """
    chance = random.Random(mix.seed)
    for number in range(1, count + 1):
        yield _endpoint(mix, chance, f"{number:07d}")


def _endpoint(mix: Mix, chance: random.Random, number: str) -> dict[str, Any]:
    """Invent one; every endpoint takes the same draws, so that a share changes none but those that it concerns."""
    interval, method = mix.interval.draw(chance), mix.method.draw(chance)
    delay, size = mix.delay.draw(chance), mix.size.draw(chance)
    fate, which, searched = chance.random(), chance.random(), chance.random()
    table: dict[str, Any] = {"interval": int(interval) if interval.isdecimal() else interval}
    if fate < mix.down and method == "HEAD":
        method = "GET"  # several failures lie in the body
    if method != "GET":
        table["method"] = method
    if method in _WITH_BODY:
        table["body"] = {"json": {"probe": number}}
    if mix.ca:
        table["tls"] = {"ca": mix.ca}
    if fate < mix.down:
        path, what = FAILURES[int(which * len(FAILURES))]
        path = f"/{number}{path[1:]}" if path.startswith("/?") else f"{path}?{number}"
        return _named(f"{number} down: {what}", mix.url + path, "down", table)
    query = {"size": size}
    expected = what = "up"
    if fate < mix.down + mix.flaky:
        query["outage"] = mix.outage
        expected = what = "flaky"
    if duration(delay):
        query["delay"] = delay
        what += f" after {delay}"
    if searched < mix.regex and method != "HEAD":
        table["regex"] = PATTERNS[int(which * len(PATTERNS))]
        query["size"] = size if size_bytes(size) >= _PAGE_BYTES else str(_PAGE_BYTES)
        what += ", searched"
    return _named(f"{number} {what}", f"{mix.url}/{number}?{urlencode(query, safe='/')}", expected, table)


def _named(name: str, url: str, expected: str, table: dict[str, Any]) -> dict[str, Any]:
    """Put what tells an endpoint from others in front of its options."""
    return {"name": name, "url": url, **table, "labels": {"expect": expected}}
