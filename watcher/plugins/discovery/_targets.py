"""Files in Prometheus' file_sd format: which there are, what is in them, what a target says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import msgspec

FILE_CAP_BYTES = 32 * 1024 * 1024
MAGIC = re.compile(r"[*?\[]")
PLACE = re.compile(r"[^\s/?#@\\]+")  # host or host:port
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
PARAMETER = "__param_"


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An element of a file: targets that share labels."""

    targets: list[str]
    labels: dict[str, str] = {}


def matching(pattern: Path) -> list[Path]:
    """Give the files that a pattern means; hidden ones, which may still be written, only when it says so."""
    if not MAGIC.search(pattern.name) or pattern.exists():
        return [pattern]
    names = sorted(entry.name for entry in pattern.parent.iterdir())
    hidden = pattern.name.startswith(".")
    return [
        pattern.parent / name for name in names if fnmatchcase(name, pattern.name) and name.startswith(".") <= hidden
    ]


def read(path: Path) -> list[Group]:
    """Read a file; JSON that is half written is never whole JSON.

    Raises:
        ValueError: in words why it cannot be used.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(FILE_CAP_BYTES + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    if len(content) > FILE_CAP_BYTES:
        raise ValueError(f"is larger than {FILE_CAP_BYTES // 1024**2} MiB")
    if not content.strip():
        raise ValueError("is empty; write [] when there are no targets")
    try:
        return msgspec.json.decode(content, type=list[Group])
    except msgspec.ValidationError as error:
        raise ValueError(f"is not as file_sd files are: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"is no JSON, or not written to its end: {error}") from error


def fields(target: str, labels: Mapping[str, str]) -> dict[str, str]:
    """Give what templates may say of a target, a URL or `host:port`.

    Raises:
        ValueError: it is neither.
    """
    is_url = URL.fullmatch(target) is not None
    if not is_url and not PLACE.fullmatch(target):
        raise ValueError("is neither host:port nor a URL")
    try:
        parts = urlsplit(target if is_url else f"//{target}")
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ValueError(f"cannot be read: {error}") from error
    known = {"target": target, "host": f"[{host}]" if ":" in host else host} | ({"port": str(port)} if port else {})
    if is_url:
        return known | {"scheme": parts.scheme, "path": parts.path, "query": f"?{parts.query}" if parts.query else ""}
    query = urlencode({key[len(PARAMETER) :]: value for key, value in labels.items() if key.startswith(PARAMETER)})
    return known | {
        "scheme": labels.get("__scheme__", "http"),
        "path": "/" + labels.get("__metrics_path__", "").removeprefix("/"),
        "query": f"?{query}" if query else "",
    }
