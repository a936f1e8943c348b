"""Secrets at rest: what must not be shown is encrypted in the table `endpoints`, as `${sealed:KEY:TEXT}`.

AES-SIV (RFC 5297): the same secret gives the same text, so a file that is synced again changes no row. Which parts of
an option are secret is what commands mask, by type or by name: `conversion.masked`.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from watcher.config import conversion, keys, references, shapes
from watcher.config.conversion import Report
from watcher.config.settings import Database
from watcher.errors import EnvironmentProblem

FILE = "secret.key"
MARK = references.SEALED.encode()
READABLE = "write them as ${NAME}, or encrypt them: docs/configuration.md#secrets-in-the-database"
REMEDY = "set WATCHER_SECRET_KEY or [database] secret_key_file"

_FORM = re.compile(re.escape(references.SEALED) + r"(?P<id>[0-9a-f]{8}):(?P<text>[\w-]+)\}", re.ASCII)
# A reference without a fallback, after a word at most, or as the password of a URL: `Bearer ${TOKEN}`.
_NAME = r"\$\{[A-Za-z_]\w*(?::-)?\}"
_REFERENCE = re.compile(rf"(?:[\w-]+\s+)?{_NAME}|[a-z][\w+.-]*://[^\s:/@]*:{_NAME}@[^\s@]*", re.ASCII)


class _Key:
    """One key, known by the beginning of its hash."""

    def __init__(self, secret: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV
        from cryptography.hazmat.primitives.hashes import SHA512
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        derived = HKDF(SHA512(), 64, None, b"watcher: options at rest").derive(secret)
        self.id = hashlib.sha256(derived).hexdigest()[:8]
        self._cipher = AESSIV(derived)

    def seal(self, value: Any) -> str:
        """Give what stands for a value in the table."""
        sealed = self._cipher.encrypt(msgspec.json.encode(value), None)
        text = base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()
        return f"{references.SEALED}{self.id}:{text}}}"

    def open(self, text: str) -> Any:
        """Give the value again; any exception when the text was damaged."""
        return msgspec.json.decode(self._cipher.decrypt(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), None))


class Keyring:
    """The keys that there are: the first encrypts, all decrypt.

    Args:
        given: as `keys.parse` gives them.
        path: of a file with the one key, made when the first secret is encrypted; in place of those.
    """

    def __init__(self, given: Sequence[bytes] = (), path: Path | None = None) -> None:
        self._given = tuple(given)
        self._path = path
        self._keys: tuple[_Key, ...] = ()

    def __bool__(self) -> bool:
        """Tell whether secrets can be encrypted."""
        return bool(self._given or self._path)

    def sealed(self, value: Any, wanted: Any) -> Any:
        """Give a raw value of this type with its secrets encrypted by the first key; references stay.

        Raises:
            EnvironmentProblem: the key's file can neither be read nor made.
        """

        def change(part: Any, kind: Any, place: str) -> Any:
            if references.is_sealed(part):
                return self._renewed(part)
            return self._first().seal(part) if _is_literal(part, kind, place) else part

        return conversion.changed(value, wanted, "", change)

    def opened(self, value: Any, report: Report) -> Any:
        """Give a raw value with what is encrypted in it decrypted, after reporting what cannot be."""

        def change(part: Any, _: Any, place: str) -> Any:
            if not references.is_sealed(part):
                return part
            try:
                return self._open(part)
            except (ValueError, EnvironmentProblem) as error:
                report(place, str(error))
                return ""

        return conversion.changed(value, Any, "", change)

    def _renewed(self, part: str) -> str:
        with contextlib.suppress(ValueError):
            return self._first().seal(self._open(part))
        return part

    def _open(self, part: str) -> Any:
        found = _FORM.fullmatch(part)
        if found is None:
            raise ValueError("is damaged: encrypted, and not as it was written; write the secret anew")
        known = self._known()
        key = next((key for key in known if key.id == found["id"]), None)
        if key is None:
            where = f"the key {found['id']}"
            if self._path:
                where += f", and {self._path} " + ("has another" if known else "is not there")
            elif known:
                where += f", and those that are set are {', '.join(key.id for key in known)}"
            else:
                where += ", and none is set"
            raise ValueError(f"is encrypted with {where}; {REMEDY} to that key, or write the secret anew")
        try:
            return key.open(found["text"])
        except Exception as error:
            raise ValueError("is damaged: encrypted, and not as it was written; write the secret anew") from error

    def _first(self) -> _Key:
        if not self._known():
            self._make()
        return self._known()[0]

    def _known(self) -> tuple[_Key, ...]:
        if not self._keys:
            given = self._given or self._read()
            self._keys = tuple(map(_Key, given))
        return self._keys

    def _read(self) -> tuple[bytes, ...]:
        try:
            return keys.parse(self._path.read_text(encoding="utf-8")) if self._path else ()
        except FileNotFoundError:
            return ()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise EnvironmentProblem(f"{self._path}: {why}; secrets of endpoints are encrypted with it") from error

    def _make(self) -> None:
        """Make the file with a new key; whoever comes second finds that of the first."""
        import tempfile  # slow to import, and seldom needed

        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, new = tempfile.mkstemp(dir=self._path.parent, prefix=f".{FILE}.")  # for its owner alone to read
            try:
                with open(handle, "wb") as file:
                    file.write(base64.b64encode(os.urandom(32)) + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                with contextlib.suppress(FileExistsError):
                    os.link(new, self._path)
            finally:
                os.unlink(new)
        except OSError as error:
            raise EnvironmentProblem(f"{self._path}: {error.strerror}; {REMEDY}") from error


def keyring(database: Database, data_dir: Path) -> Keyring:
    """Give the keys for a database; the embedded one has a key beside it when none is given."""
    if database.secret_key:
        return Keyring(keys.parse(database.secret_key))
    return Keyring(path=data_dir / FILE if database.dsn is None else None)


def holds_literals(value: Any, wanted: Any) -> bool:
    """Tell whether a raw value holds a secret that stands there readable."""
    found = False

    def look(part: Any, kind: Any, place: str) -> Any:
        nonlocal found
        found |= not references.is_sealed(part) and _is_literal(part, kind, place)
        return part

    conversion.changed(value, wanted, "", look)
    return found


def _is_literal(part: Any, kind: Any, place: str) -> bool:
    """Tell whether commands mask a part, and it is more than a reference."""
    if kind is shapes.SecretFile or part in ("", None):
        return False
    if isinstance(part, str) and _REFERENCE.fullmatch(part) and references.masked(part) == part:
        return False
    return conversion.is_masked(part, kind, place)
