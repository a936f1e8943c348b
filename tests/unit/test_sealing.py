"""Secrets at rest: what is encrypted, what stays, and what is said when it cannot be read again."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as some

from watcher import Options, Secret, config
from watcher.config import Database, keys, sealing
from watcher.config.options import OptionTypes
from watcher.errors import ConfigError
from watcher.registry import option_types, own_plugins

KEYS = tuple(os.urandom(32) for _ in range(3))
TEXT = "hunter2 geheim/&?"


class Login(Options):
    """What a third party might declare."""

    user: str
    password: Secret | None = None
    codes: list[Secret] = []
    named: dict[str, Annotated[Secret, str.strip]] = {}
    rounds: int = 1


class Brief(Options):
    """One whose secret may stand alone."""

    __brief__ = "value"
    value: Secret


def types(*ring: bytes, **own: Any) -> OptionTypes:
    """Give option types of a third party and of ours, with keys."""
    found = OptionTypes({"login": (Login, "x"), "pin": (Secret, "x"), "brief": (Brief, "x"), **own})
    found.update(option_types(own_plugins()))
    found = OptionTypes(found)
    found.keyring = sealing.Keyring(ring or KEYS[:1])
    return found


SECRET_OPTIONS: list[dict[str, Any]] = [
    {"login": {"user": "me", "password": TEXT, "rounds": 3}},
    {"login": {"user": "me", "codes": ["a-" + TEXT, TEXT]}},
    {"login": {"user": "me", "named": {"x": TEXT}}},
    {"pin": TEXT},
    {"brief": TEXT},
    {"brief": {"value": TEXT}},
    {"basic_auth": {"username": "me", "password": TEXT}},
    {"bearer": {"token": "hunter2-geheim"}},
    {"headers": {"X-Api-Key": TEXT, "Accept": "text/html"}},
    {"headers": {"Authorization": f"Bearer {TEXT}"}},
    {"cookies": {"session": TEXT}},
    {"body": {"json": {"user": {"password": TEXT, "pin": 1234, "x": [1]}}}},
    {"proxy": f"http://me:{TEXT.split()[0]}@proxy:3128"},
    {"no_such_option": {"password": TEXT}},
]


@pytest.mark.parametrize("options", SECRET_OPTIONS, ids=str)
def test_a_secret_is_not_readable_and_means_the_same(options: dict[str, Any]) -> None:
    with_key, told = types(), []
    sealed = with_key.sealed(options)
    text = msgspec.json.encode(sealed).decode()
    assert "hunter2" not in text and "1234" not in text and "${sealed:" in text
    assert with_key.sealed(sealed) == sealed and types().sealed(options) == sealed  # and so does another process
    assert with_key.keyring.opened(sealed, lambda *problem: told.append(problem)) == options and not told
    assert "sealed" not in str(with_key.masked(sealed)) and with_key.masked(sealed) == with_key.masked(options)
    if "no_such_option" not in options:
        row = {"name": "a", "url": "https://a/", "options": sealed}
        assert config.endpoint(row, with_key).options == config.endpoint({**row, "options": options}, types()).options


@pytest.mark.parametrize(
    "options",
    [
        {"basic_auth": {"username": "me", "password": "${PASSWORD}"}},
        {"basic_auth": {"username": "me", "password_file": "/run/secrets/x"}},
        {"headers": {"Authorization": "Bearer ${TOKEN}"}},
        {"regex": "x? .* token", "user_agent": "mine", "body": {"text": "password"}},
        {"proxy": "http://me:${PASSWORD}@proxy:3128"},
        {"login": {"user": "me", "password": "", "rounds": 5}},
        {},
    ],
    ids=str,
)
def test_what_is_no_literal_secret_stays(options: dict[str, Any]) -> None:
    assert types().sealed(options) == options and not types().holds_literals(options)


@pytest.mark.parametrize("text", ["${A:-fall}", "x${A}", "${A}${B}x", "x ${A} y", "$${A}"])
def test_a_reference_with_more_than_a_word_before_it_is_encrypted(text: str) -> None:
    with_key = types()
    options = {"pin": text}
    assert with_key.sealed(options) != options and with_key.holds_literals(options)
    assert with_key.keyring.opened(with_key.sealed(options), print) == options


@given(some.text(min_size=1))
def test_any_text_comes_back(text: str) -> None:
    ring = sealing.Keyring(KEYS[:1])
    sealed = ring.sealed(text, Secret)
    assert ring.opened(sealed, print) == text


def test_the_form_is_what_the_document_says() -> None:
    """Decrypted with nothing of ours: HKDF-SHA512 to 64 bytes, AES-SIV, JSON."""
    name, key_id, text = sealing.Keyring(KEYS[:1]).sealed(TEXT, Secret).removesuffix("}").split(":")
    assert name == "${sealed" and len(key_id) == 8
    derived = HKDF(SHA512(), 64, None, b"watcher: options at rest").derive(KEYS[0])
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    assert msgspec.json.decode(AESSIV(derived).decrypt(data, None)) == TEXT


def test_a_new_key_reads_what_the_old_one_wrote_and_writes_it_anew() -> None:
    old, both, new = sealing.Keyring(KEYS[:1]), sealing.Keyring((KEYS[1], KEYS[0])), sealing.Keyring(KEYS[1:2])
    first = old.sealed(TEXT, Secret)
    second = both.sealed(first, Secret)
    assert second != first and new.opened(second, print) == both.opened(first, print) == TEXT


def problems(options: Any, ring: sealing.Keyring) -> str:
    """Give what is said of an endpoint whose options cannot be read."""
    known = types()
    known.keyring = ring
    row = {"name": "shop", "url": "https://a/", "options": options}
    with pytest.raises(ConfigError) as caught:
        config.endpoint(row, known)
    (problem,) = caught.value.problems
    return problem


def test_a_wrong_or_lost_key_is_told_with_endpoint_option_and_remedy(tmp_path: Path) -> None:
    sealed = types().sealed({"login": {"user": "me", "password": TEXT}})
    key_id = sealed["login"]["password"].split(":")[1]
    begins = f'endpoint "shop": login.password: is encrypted with the key {key_id}'
    remedy = "; set WATCHER_SECRET_KEY or [database] secret_key_file to that key, or write the secret anew"
    assert problems(sealed, sealing.Keyring()) == f"{begins}, and none is set{remedy}"
    assert begins + ", and those that are set are " in problems(sealed, sealing.Keyring(KEYS[1:]))
    missing = sealing.Keyring(path=tmp_path / "secret.key")
    assert problems(sealed, missing) == f"{begins}, and {tmp_path}/secret.key is not there{remedy}"
    missing.sealed(TEXT, Secret)
    assert "secret.key has another" in problems(sealed, missing)
    (tmp_path / "secret.key").write_text("no key")
    assert "is no key of 32 bytes" in problems(sealed, sealing.Keyring(path=tmp_path / "secret.key"))


@pytest.mark.parametrize("damage", [lambda text: text[:-5] + "}", lambda text: text[:-1], lambda text: "${sealed:x}"])
def test_a_damaged_one_is_told(damage: Any) -> None:
    sealed = types().sealed({"pin": TEXT})
    problem = problems({"pin": damage(sealed["pin"])}, sealing.Keyring(KEYS[:1]))
    assert problem == 'endpoint "shop": pin: is damaged: encrypted, and not as it was written; write the secret anew'


def test_a_mistake_beside_a_secret_does_not_tell_it() -> None:
    sealed = types().sealed({"login": {"user": 5, "password": TEXT}, "pin": TEXT})
    said = problems(sealed, sealing.Keyring(KEYS[:1]))
    assert "login.user: expected a string" in said and "hunter2" not in said


def test_the_file_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "data" / "secret.key"
    first, second = sealing.Keyring(path=path), sealing.Keyring(path=path)
    assert not path.exists() and first.opened(first.sealed(TEXT, Secret), print) == TEXT
    assert path.stat().st_mode & 0o777 == 0o600 and len(keys.parse(path.read_text())[0]) == 32
    assert second.sealed(TEXT, Secret) == first.sealed(TEXT, Secret) and os.listdir(path.parent) == ["secret.key"]


def test_whose_key_it_is(tmp_path: Path) -> None:
    text = base64.b64encode(KEYS[0]).decode()
    ours = sealing.Keyring(KEYS[:1]).sealed(TEXT, Secret)
    for database in (Database(secret_key=Secret(text)), Database(dsn=Secret("host=x"), secret_key=Secret(text))):
        assert sealing.keyring(database, tmp_path).sealed(TEXT, Secret) == ours
    assert not sealing.keyring(Database(dsn=Secret("host=x")), tmp_path)
    assert sealing.keyring(Database(), tmp_path) and not os.listdir(tmp_path)


@pytest.mark.parametrize("name", ["WATCHER_SECRET_KEY", "WATCHER_DATABASE_DSN"])
def test_no_endpoint_refers_to_secrets_of_watcher_itself(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, TEXT)
    monkeypatch.setenv("WATCHER_OTHER", "mine")
    row = {"name": "a", "url": "https://a/", "options": {"user_agent": f"${{{name}}}"}}
    with pytest.raises(ConfigError, match=f"user_agent: environment variable {name} is not set"):
        config.endpoint(row, types())
    row["options"] = {"user_agent": "${WATCHER_OTHER}"}
    assert config.endpoint(row, types()).options == {"user_agent": "mine"}


def test_keys_as_they_are_written() -> None:
    standard, safe = base64.b64encode(KEYS[0]).decode(), base64.urlsafe_b64encode(KEYS[1]).decode()
    assert keys.parse(f"{standard}\n") == KEYS[:1] and keys.parse(f"{safe}, {standard}") == (KEYS[1], KEYS[0])
    for wrong in ("", "hunter2", base64.b64encode(b"short").decode(), f"{standard},hunter2", "ä" * 50):
        with pytest.raises(ValueError, match="openssl rand -base64 32") as caught:
            keys.parse(wrong)
        assert "hunter2" not in str(caught.value)
