"""The option `body`: what the request carries, as JSON, a form, a text or the content of a file."""

from __future__ import annotations

import json
import mimetypes
import re
from pathlib import Path
from typing import Any

import requests

from watcher import Endpoint, Options, hookimpl

FILE_CAP_BYTES = 16 * 1024 * 1024
MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(?:\s*;[\t\x20-\x7e]*)?", re.ASCII)  # RFC 9110, section 8.3.1


class Body(Options):
    """`body = { json = { user = "probe" } }`, or `form`, `text` or `file`; `type` is the Content-Type to send."""

    json: Any = None
    form: dict[str, str | int | float | list[str | int | float]] | None = None
    text: str | None = None
    file: Path | None = None
    type: str | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("json", "form", "text", "file") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of json, form, text and file, not {' and '.join(given) or 'none of them'}")
        if self.type is not None and not MEDIA_TYPE.fullmatch(self.type):
            raise ValueError(f"type {self.type!r} is not a media type like text/plain")
        try:
            json.dumps(self.json, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"json cannot be written as JSON: {error}") from error


@hookimpl
def watcher_options() -> dict[str, type]:
    """Add the key `body`."""
    return {"body": Body}


@hookimpl
def watcher_prepare(endpoint: Endpoint, request: requests.Request) -> None:
    """Give the request its body and its Content-Type; without the option `method` it becomes a POST."""
    body = endpoint.options.get("body")
    if body is None:
        return
    media_type = body.type
    if body.json is not None:
        request.json = body.json
    elif body.form is not None:
        request.data = body.form
    elif body.text is not None:
        request.data = body.text.encode()
        media_type = media_type or "text/plain; charset=utf-8"
    else:
        request.data = read(body.file)
        media_type = media_type or mimetypes.guess_type(body.file)[0] or "application/octet-stream"
    if media_type:
        request.headers["Content-Type"] = media_type
    if "method" not in endpoint.options:
        request.method = "POST"


def read(path: Path) -> bytes:
    """Read the whole file.

    Raises:
        ValueError: it is not there, cannot be read or is larger than `FILE_CAP_BYTES`.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(FILE_CAP_BYTES + 1)
    except OSError as error:
        raise ValueError(f"body.file {path}: {error.strerror}") from error
    if len(content) > FILE_CAP_BYTES:
        raise ValueError(f"body.file {path}: larger than {FILE_CAP_BYTES // 1024**2} MiB")
    return content
