"""The keys that encrypt secrets, as they are written: base64, the first of several in use."""

from __future__ import annotations

import base64
import re


def parse(text: str) -> tuple[bytes, ...]:
    """Read keys that stand in a text, the first one the one that encrypts.

    Raises:
        ValueError: there is none, or what is none.
    """
    found = [_bytes(word) for word in re.split(r"[\s,]+", text.strip())]
    if not all(found):
        raise ValueError("is no key of 32 bytes in base64; `openssl rand -base64 32` makes one")
    return tuple(found)


def _bytes(word: str) -> bytes:
    try:
        key = base64.b64decode(word.translate({ord("-"): "+", ord("_"): "/"}), validate=True)
    except ValueError:
        return b""
    return key if len(key) >= 32 else b""
