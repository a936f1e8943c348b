"""The option `status`: which HTTP status codes are good; without it 2xx, and 3xx where redirects are not followed."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus
from typing import Annotated, Any

import requests
from msgspec import Meta

from watcher import Endpoint, Failure, Reason, hookimpl
from watcher.plugins.assertions._scope import WITH_RESPONSE, for_response, scheme

FORM = re.compile(r"(?P<hundreds>[1-9])xx|(?P<first>[1-9]\d\d)(?:-(?P<last>[1-9]\d\d))?", re.IGNORECASE | re.ASCII)
DEFAULT = ("2xx",)
GOOD = "Codes, ranges and classes that are good: `200`, `\"400-404\"`, `\"3xx\"`, or a list of them."
DEFAULT_UNFOLLOWED = ("2xx", "3xx")

Written = int | str | list[int | str]


def parts(value: Written) -> tuple[str, ...]:
    """Give the parts of `200`, `"2xx"`, `"400-404"` or a list of those, all known to be right."""
    written = tuple(str(part) for part in (value if isinstance(value, list) else [value]))
    if not written:
        raise ValueError("an empty list would refuse every status")
    for part in written:
        codes(part)
    return written


def codes(part: str) -> range:
    """Give the codes that one part stands for."""
    match = FORM.fullmatch(part)
    if match is None:
        raise ValueError(f'{part!r} is no status: write 200, "2xx" or "400-404", between 100 and 999')
    if match["hundreds"]:
        return range(int(match["hundreds"]) * 100, int(match["hundreds"]) * 100 + 100)
    first, last = int(match["first"]), int(match["last"] or match["first"])
    if last < first:
        raise ValueError(f"{part!r} ends before it begins")
    return range(first, last + 1)


@hookimpl
def watcher_options() -> dict[str, Any]:
    """Add the key `status`."""
    return {"status": Annotated[Written, Meta(description=GOOD, extra_json_schema={"default": "2xx"}), parts]}


@hookimpl(tryfirst=True)
def watcher_steps(endpoint: Endpoint) -> Callable[[requests.Response], Failure | None] | None:
    """Judge the status before other steps judge what may be an error page."""
    given = for_response(endpoint, "status")
    if given is None and scheme(endpoint) not in WITH_RESPONSE:
        return None
    default = DEFAULT_UNFOLLOWED if endpoint.options.get("follow_redirects") is False else DEFAULT
    return examiner(default if given is None else given)


@lru_cache(maxsize=1024)
def examiner(wanted: tuple[str, ...]) -> Callable[[requests.Response], Failure | None]:
    """Make the step, one for all endpoints that want the same; at each check it looks up one number in one set."""
    good = frozenset(code for part in wanted for code in codes(part))
    wish = ", ".join(wanted)

    def examine(response: requests.Response) -> Failure | None:
        if response.status_code in good:
            return None
        return Failure(f"{response.status_code} {phrase(response)}, wanted {wish}", Reason.STATUS)

    return examine


def phrase(response: requests.Response) -> str:
    """Give the site's own words where it has some (RFC 9112 leaves them free), else those of RFC 9110."""
    own = "".join(char for char in response.reason or "" if char.isprintable()).strip()[:80]
    try:
        return own or HTTPStatus(response.status_code).phrase
    except ValueError:
        return "(no reason given)"
