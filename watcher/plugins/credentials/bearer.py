"""The option `bearer`: a token in the header `Authorization` (RFC 6750), also from a file that somebody else renews.

A `token_file` is looked at before each check: a token that Kubernetes or a sidecar renewed is used without a reload.
"""

from __future__ import annotations

import os
import re
import stat
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import requests

from watcher import Endpoint, Options, ProbeError, Reason, Secret, Step, hookimpl
from watcher.plugins.credentials._sole import sole

TOKEN = re.compile(r"[\x21-\x7e]+")  # RFC 6750 allows less, its servers hand out more
FILE_CAP_BYTES = 65_536


class Bearer(Options):
    """`bearer = "${TOKEN}"`, or a table with one of `token` and `token_file`."""

    __brief__: ClassVar[str] = "token"

    token: Secret | None = None
    token_file: Path | None = None

    def __post_init__(self) -> None:
        if (self.token is None) is (self.token_file is None):
            raise ValueError("give one of token and token_file")
        if self.token is not None and not TOKEN.fullmatch(self.token):
            raise ValueError("the token is empty, or holds a blank, a line end or a character beyond ASCII")


class TokenFile:
    """The token in a file, read again when the file is another one than before."""

    __slots__ = ("_path", "_stamp", "_token")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._token = ""

    def token(self) -> str:
        """Give what the file holds now.

        Raises:
            ProbeError: it is not there, cannot be read, or holds no token.
        """
        try:
            found = os.stat(self._path)  # follows links: Kubernetes renews by changing one
            stamp = (found.st_mtime_ns, found.st_ino, found.st_size)
            if stamp != self._stamp:
                if not stat.S_ISREG(found.st_mode):  # a pipe would be waited for, and all other checks with it
                    raise ProbeError(Reason.CREDENTIALS, f"bearer.token_file {self._path}: is no regular file")
                self._token = self._read()
                self._stamp = stamp
        except OSError as error:
            raise ProbeError(Reason.CREDENTIALS, f"bearer.token_file {self._path}: {error.strerror}") from error
        return self._token

    def _read(self) -> str:
        with self._path.open("rb") as stream:
            text = stream.read(FILE_CAP_BYTES).decode("latin-1").strip()
        if not TOKEN.fullmatch(text):
            why = "holds no token, or more than one word"
            raise ProbeError(Reason.CREDENTIALS, f"bearer.token_file {self._path}: {why}")
        return text


class FromFile(Step):
    """Sends the token that the file holds at the time of the check."""

    __slots__ = ("_file",)

    def __init__(self, file: TokenFile) -> None:
        self._file = file

    def before(self, request: requests.PreparedRequest) -> None:
        request.headers["Authorization"] = f"Bearer {self._file.token()}"


@lru_cache(maxsize=4096)
def token_file(path: Path) -> TokenFile:
    """Give the one reader of a file, for all endpoints that use it."""
    return TokenFile(path)


@hookimpl
def watcher_options() -> dict[str, type]:
    """Add the key `bearer`."""
    return {"bearer": Bearer}


@hookimpl
def watcher_prepare(endpoint: Endpoint, request: requests.Request) -> None:
    """Write the header once: a token that is not in a file costs nothing at a check."""
    given = sole(endpoint, "bearer")
    if given is not None and given.token is not None:
        request.headers["Authorization"] = f"Bearer {given.token}"


@hookimpl
def watcher_steps(endpoint: Endpoint) -> FromFile | None:
    """Look at the file at each check."""
    given = sole(endpoint, "bearer")
    return None if given is None or given.token_file is None else FromFile(token_file(given.token_file))
