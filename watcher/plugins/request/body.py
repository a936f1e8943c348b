"""The option `body`: what the request carries, as JSON, a form, a multipart form, a text or the content of a file."""

from __future__ import annotations

import json
import mimetypes
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from watcher import Endpoint, Options, hookimpl
from watcher.plugins.request._scope import for_request

FILE_CAP_BYTES = 16 * 1024 * 1024
MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(?:\s*;[\t\x20-\x7e]*)?", re.ASCII)  # RFC 9110, section 8.3.1
KINDS = ("json", "form", "multipart", "text", "file")
WORDS = f"{', '.join(KINDS[:-1])} and {KINDS[-1]}"


class Part(Options):
    """A part of a multipart form: `{ file = "x.png", type = "image/png", filename = "y.png" }`; or `text`."""

    file: Path | None = None
    text: str | None = None
    type: str | None = None
    filename: str | None = None

    def __post_init__(self) -> None:
        if (self.file is None) is (self.text is None):
            raise ValueError("give one of file and text")
        if self.type is not None:
            check_media_type(self.type)


Field = str | int | float | Part


class Body(Options):
    """`body = { json = { user = "probe" } }`, or `form`, `multipart`, `text` or `file`; `type` is the Content-Type."""

    json: Any = None
    form: dict[str, str | int | float | list[str | int | float]] | None = None
    multipart: dict[str, Field | list[Field]] | None = None
    text: str | None = None
    file: Path | None = None
    type: str | None = None

    def __post_init__(self) -> None:
        given = [name for name in KINDS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of {WORDS}, not {' and '.join(given) or 'none of them'}")
        if self.multipart is not None and (self.type is not None or not self.multipart):
            raise ValueError("multipart has one part at least; its type is multipart/form-data, parts have their own")
        if self.type is not None:
            check_media_type(self.type)
        try:
            json.dumps(self.json, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"json cannot be written as JSON: {error}") from error


def check_media_type(text: str) -> None:
    """Raise ValueError for what is no media type."""
    if not MEDIA_TYPE.fullmatch(text):
        raise ValueError(f"type {text!r} is not a media type like text/plain")


@hookimpl
def watcher_options() -> dict[str, type]:
    """Add the key `body`."""
    return {"body": Body}


@hookimpl
def watcher_prepare(endpoint: Endpoint, request: requests.Request) -> None:
    """Give the request its body and its Content-Type; without the option `method` it becomes a POST."""
    body = for_request(endpoint, "body")
    if body is None:
        return
    media_type = body.type
    if body.json is not None:
        request.json = body.json
    elif body.form is not None:
        request.data = body.form
    elif body.multipart is not None:
        request.files = list(parts(body.multipart))
    elif body.text is not None:
        request.data = body.text.encode()
        media_type = media_type or "text/plain; charset=utf-8"
    else:
        request.data = read("body.file", body.file)
        media_type = media_type or guessed_type(body.file)
    if media_type:
        request.headers["Content-Type"] = media_type
    if "method" not in endpoint.options:
        request.method = "POST"


def parts(form: dict[str, Field | list[Field]]) -> Iterator[tuple[str, tuple[str | None, str | bytes, str | None]]]:
    """Give each part of a multipart form as `requests` takes it: its name; its file's name, content and type.

    Raises:
        ValueError: a file cannot be read, or the files are larger than `FILE_CAP_BYTES` together.
    """
    left_bytes = FILE_CAP_BYTES
    for name, value in form.items():
        for part in value if isinstance(value, list) else [value]:
            if not isinstance(part, Part):
                yield name, (None, str(part), None)
            elif part.text is not None:
                yield name, (part.filename, part.text, part.type)
            else:
                content = read(f"body.multipart.{name}.file", part.file, left_bytes)
                left_bytes -= len(content)
                yield name, (part.filename or part.file.name, content, part.type or guessed_type(part.file))


def guessed_type(path: Path) -> str:
    """Give the media type that the name of a file suggests."""
    return mimetypes.guess_type(path)[0] or "application/octet-stream"


def read(key: str, path: Path, cap_bytes: int = FILE_CAP_BYTES) -> bytes:
    """Read the whole file.

    Raises:
        ValueError: it is not there, cannot be read or is larger than what is left of `FILE_CAP_BYTES`.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for, and all other checks with it
            raise ValueError(f"{key} {path}: is no regular file")
        with path.open("rb") as stream:
            content = stream.read(cap_bytes + 1)
    except OSError as error:
        raise ValueError(f"{key} {path}: {error.strerror}") from error
    if len(content) > cap_bytes:
        whole = "" if cap_bytes == FILE_CAP_BYTES else " with the files before it"
        raise ValueError(f"{key} {path}{whole}: larger than {FILE_CAP_BYTES // 1024**2} MiB")
    return content
