"""The page of a response as the text that assertions look into."""

from __future__ import annotations

import codecs
import re
from functools import lru_cache

import requests

CHARSET = re.compile(r";\s*charset\s*=\s*\"?([\w.:+-]+)", re.IGNORECASE | re.ASCII)
NOT_FOR_SITES = frozenset({"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"})  # slow, or raise


def page(response: requests.Response) -> str:
    """Decode the body by its declared charset, else UTF-8, and let its lines end in a line feed alone.

    Not `response.text`: that guesses the charset of some pages, which takes longer than all the rest of a check.
    """
    content = response.content or b""
    if content.startswith(codecs.BOM_UTF8):
        text = content[3:].decode("utf-8", "replace")
    else:
        text = content.decode(charset(response.headers.get("Content-Type") or ""), "replace")
    return text.replace("\r\n", "\n") if "\r" in text else text


@lru_cache(maxsize=256)
def charset(content_type: str) -> str:
    """Give the codec for a Content-Type, UTF-8 where it names none that a site may use."""
    match = CHARSET.search(content_type)
    if match is None:
        return "utf-8"
    try:
        name = codecs.lookup(match[1]).name
        b"a".decode(name, "replace")
    except (LookupError, ValueError):
        return "utf-8"
    return "utf-8" if name.replace("_", "-") in NOT_FOR_SITES else name


def not_found(response: requests.Response) -> str:
    """Say that something was not found, and in how much of the page, if not in all of it."""
    cut = f" in the first {len(response.content)} bytes (max_body)"
    return "not found" + cut * getattr(response, "truncated", False)
