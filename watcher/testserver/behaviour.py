"""What the query of a URL asks of the server: the parameters and their grammar, not how they are carried out."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from watcher.testserver.bad import KINDS
from watcher.testserver.request import BadRequest

SIZE_LIMIT_BYTES = 64 * 1024 * 1024

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "": 1.0}
_BYTES = {"": 1, "k": 1024, "m": 1024 * 1024}


def duration(text: str) -> float:
    """Read a time such as `50ms`, `2s`, `1m` or `0.5` (seconds)."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(us|ms|s|m|)", text)
    if match is None:
        raise ValueError(f"{text!r} is no time such as 50ms, 2s or 1m")
    return float(match[1]) * _SECONDS[match[2]]


def size(text: str) -> int:
    """Read a size such as `512`, `10k` or `1m`, at most 64 MiB."""
    match = re.fullmatch(r"(\d{1,9})([km]?)", text.lower())
    if match is None or int(match[1]) * _BYTES[match[2]] > SIZE_LIMIT_BYTES:
        raise ValueError(f"{text!r} is no size such as 512, 10k or 1m, up to 64m")
    return int(match[1]) * _BYTES[match[2]]


def _share(text: str) -> float:
    """Read a share from 0 to 1."""
    share = float(text)
    if not 0 <= share <= 1:
        raise ValueError(f"{text} is not between 0 and 1")
    return share


def _status(text: str) -> int:
    """Read an HTTP status; those below 200 are no answers and have kinds of their own."""
    if not re.fullmatch(r"[2-9]\d\d", text):
        raise ValueError(f"{text!r} is no status from 200 to 999")
    return int(text)


def _hops(text: str) -> int:
    """Read a count from 0 to 99."""
    if not re.fullmatch(r"\d|[1-9]\d", text):
        raise ValueError(f"{text!r} is no number from 0 to 99")
    return int(text)


def _flag(text: str) -> bool:
    """Read `1` or nothing as yes, `0` as no."""
    if text not in ("", "0", "1"):
        raise ValueError(f"{text!r} is neither 0 nor 1")
    return text != "0"


def outage(text: str) -> tuple[float, float]:
    """Read `20s/60s`: how long it is down, in each how long."""
    down, _, of = text.partition("/")
    times = duration(down), duration(of)
    if not 0 < times[0] < times[1]:
        raise ValueError(f"{text!r} is no outage such as 20s/60s")
    return times


def _pattern(text: str) -> str:
    """Read a row of 1 (answers well) and 0 (fails)."""
    if not re.fullmatch("[01]+", text):
        raise ValueError(f"{text!r} is no row of 1 and 0")
    return text


def _fail(text: str) -> str:
    """Read how to fail: a status or the name of a kind."""
    if text not in KINDS:
        _status(text)
    return text


def _one_line(text: str) -> str:
    """Read what goes into a header."""
    if re.search(r"[\x00-\x1f]", text):
        raise ValueError("control characters do not belong in a header")
    return text


def _header(text: str) -> str:
    """Read a header line."""
    if ":" not in text:
        raise ValueError(f"{text!r} is no header such as X-Name:value")
    return _one_line(text)


def _asks(reader: Callable[[str], Any], default: Any, about: str) -> Any:
    """Declare a parameter: how it is read, what holds without it, what it does."""
    metadata = {"read": reader, "about": about}
    return dataclasses.field(default=default, metadata=metadata)  # pylint: disable=invalid-field-call  # used in one


@dataclasses.dataclass(frozen=True, slots=True)
class Behaviour:  # pylint: disable=too-many-instance-attributes  # as many as there are parameters
    """What one query asks for; each field is a parameter of the same name."""

    delay: float = _asks(duration, 0.0, "time between the request's arrival and the answer")
    jitter: float = _asks(duration, 0.0, "added to the delay: 0 to this much, different each time")
    status: int = _asks(_status, 200, "HTTP status, 200 to 999")
    body: str | None = _asks(str, None, "text of the body")
    size: int | None = _asks(size, None, "length of the body: filled up with words, or cut")
    type: str = _asks(_one_line, "text/plain; charset=utf-8", "Content-Type")
    header: tuple[str, ...] = _asks(_header, (), "a further header, `Name:value`; may be given again")
    chunked: bool = _asks(_flag, False, "body in chunks of 4 KiB")
    gzip: bool = _asks(_flag, False, "body compressed with gzip")
    encoding: str = _asks(_one_line, "", "body compressed with `gzip`, `deflate`, `br` or `zstd`")
    drip: float = _asks(duration, 0.0, "time over which the body is sent, in 20 pieces")
    redirect: str = _asks(_one_line, "", "Location to redirect to, with 302 unless `status` is given")
    hops: int = _asks(_hops, 0, "redirects to itself this many times before it answers")
    close: bool = _asks(_flag, False, "closes the connection after the answer")
    echo: bool = _asks(_flag, False, "the body is the request as JSON: method, target, headers, body")
    basic: str = _asks(str, "", "`user:password` that must be given, else 401")
    bearer: str = _asks(str, "", "token that must be given, else 401")
    need: str = _asks(_header, "", "header that must be given, `Name:value`, else 403")
    method: str = _asks(_one_line, "", "the only method that is taken, else 405")
    flaky: float = _asks(_share, 0.0, "share of the requests that fail; which ones follows from the seed")
    pattern: str = _asks(_pattern, "", "which requests fail, in turn: `110` fails every third")
    outage: tuple[float, float] | None = _asks(outage, None, "down this long in each so long: `20s/60s`")
    fail: str = _asks(_fail, "503", "how those three fail: a status, or the name of a kind")


@functools.lru_cache(maxsize=4096)
def read(query: str) -> Behaviour:
    """Read a query string.

    Raises:
        BadRequest: a parameter is unknown or its value is not of its grammar.
    """
    fields = {field.name: field for field in dataclasses.fields(Behaviour)}
    values: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in fields:
            near = difflib.get_close_matches(name, fields, 1)
            raise BadRequest(f"unknown parameter {name!r}" + (f", did you mean {near[0]!r}?" if near else ""))
        try:
            value = fields[name].metadata["read"](text)
        except ValueError as error:
            raise BadRequest(f"{name}: {error}") from None
        values[name] = (*values.get(name, ()), value) if name == "header" else value
    if values.get("redirect"):
        values.setdefault("status", 302)
    if values.get("gzip"):
        values["encoding"] = "gzip"
    return Behaviour(**values)
