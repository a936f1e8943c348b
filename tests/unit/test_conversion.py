"""`watcher.config.conversion`: values of the types asked for, and every mistake in them in plain words."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest

from watcher import Duration, Options, Secret
from watcher.config import conversion


class Login(Options):
    """A table with a secret and a rule of its own."""

    user: str
    password: Secret
    pause: Duration = Duration(1)
    proof: Path | None = None

    def __post_init__(self) -> None:
        if self.user == "root":
            raise ValueError("root may not log in")


class Site(Options):
    """A table with tables in it."""

    login: Login
    others: list[Login] = []
    codes: dict[str, int] = {}


Pair = Annotated[list[str], msgspec.Meta(min_length=2)]


def even(value: int) -> int:
    """Stand for a plugin's own check."""
    if value % 2:
        raise ValueError(f"{value} is odd")
    return value // 2


def convert(value: Any, wanted: Any, lax: bool = False) -> Any:
    """Convert a value that must be right."""
    mistakes: list[Any] = []
    found = conversion.convert(value, wanted, "key", lambda *mistake: mistakes.append(mistake), lax)
    assert not mistakes
    return found


def mistakes_in(value: Any, wanted: Any, lax: bool = False) -> list[str]:
    """Convert a value that must be wrong."""
    mistakes: list[str] = []
    report = lambda key, text: mistakes.append(f"{key}: {text}")  # pylint: disable=unnecessary-lambda-assignment
    assert conversion.convert(value, wanted, "key", report, lax) is msgspec.UNSET
    return mistakes


def test_converts_nested_tables() -> None:
    login = {"user": "me", "password": "hunter2", "pause": "500ms", "proof": "~/x"}
    site = convert({"login": login, "others": [login], "codes": {"ok": 200}}, Site)
    assert (site.login.pause, site.codes) == (0.5, {"ok": 200})
    assert isinstance(site.login.password, Secret) and site.others == [site.login]
    assert site.login.proof == Path("~/x").expanduser()


@pytest.mark.parametrize(
    ("value", "wanted", "text"),
    [
        (5, str, "expected a string, got 5"),
        ("5", int, 'expected a whole number, got "5"'),
        (True, int, "expected a whole number, got true"),
        ({}, list[str], "expected a list of strings, got a table"),
        (0, Annotated[int, msgspec.Meta(ge=1, le=9)], "expected a whole number from 1 to 9, got 0"),
        (["a"], Pair, "expected a list of strings of length 2 or more, got a list"),
        ("red", Literal["rad", "blue"], 'expected one of "blue", "rad", got "red"; did you mean "rad"?'),
        ("soon", Duration, 'expected a duration such as 30 or "30s" ("500ms", "5m", "1h"), got "soon"'),
        (1234567, Secret, "expected a string, got a number"),
        (3, Annotated[int, even], "3 is odd"),
        ("3", Annotated[int, even], 'expected a whole number, got "3"'),
        (5, str | Login, "expected a string or a table, got 5"),
    ],
)
def test_says_what_was_expected(value: Any, wanted: Any, text: str) -> None:
    assert mistakes_in(value, wanted) == [f"key: {text}"]


def test_reports_all_that_is_wrong_in_nested_tables() -> None:
    site = {
        "login": {"usr": "me", "password": 5, "pause": "soon"},
        "others": [{"user": "root", "password": "hunter2"}, {"user": "me"}, 3],
        "codes": {"ok": "200", "bad": 404, "worse": None},
        "zzz": 1,
    }
    assert sorted(line.partition(":")[0] for line in mistakes_in(site, Site)) == [
        "key.codes.ok",
        "key.codes.worse",
        "key.login.password",
        "key.login.pause",
        "key.login.usr",
        "key.others[0]",
        "key.others[1]",
        "key.others[2]",
        "key.zzz",
    ]


def test_suggests_the_key_that_was_meant() -> None:
    assert mistakes_in({"usr": "me", "password": "x"}, Login) == ['key.usr: unknown key; did you mean "user"?']
    assert mistakes_in({"user": "me", "password": "x", "colour": 1}, Login) == [
        "key.colour: unknown key; known are password, pause, proof, user"
    ]


def test_names_what_is_missing_and_its_file() -> None:
    assert mistakes_in({"user": "me"}, Login) == ['key: "password" is missing; add "password" or "password_file"']


def test_gives_the_words_of_the_author_of_a_type() -> None:
    assert mistakes_in({"user": "root", "password": "x"}, Login) == ["key: root may not log in"]


def test_keeps_what_a_check_gives() -> None:
    assert convert(6, Annotated[int, even]) == 3


def test_only_a_lax_conversion_takes_text_for_numbers() -> None:
    assert convert("2", int, lax=True) == 2
    assert convert("true", bool, lax=True) is True
    assert convert("2", int | str, lax=True) in (2, "2")
    assert mistakes_in("two", int, lax=True) == ['key: expected a whole number, got "two"']


def expanded(value: Any, wanted: Any, **environ: str) -> tuple[Any, list[str]]:
    """Expand a value and give what is wrong with it too."""
    mistakes: list[str] = []
    found = conversion.expand(value, wanted, "key", lambda key, text: mistakes.append(f"{key}: {text}"), environ)
    return found, mistakes


def test_expands_references_wherever_they_stand() -> None:
    value = {"login": {"user": "${U}"}, "free": [{"a": "x${U}"}, 5, True]}
    assert expanded(value, Any, U="me") == ({"login": {"user": "me"}, "free": [{"a": "xme"}, 5, True]}, [])
    _, mistakes = expanded({"a": "${U}", "b": ["${V}"]}, Any)
    assert [line.partition(":")[0] for line in mistakes] == ["key.a", "key.b[0]"]


@pytest.mark.parametrize(
    ("content", "secret"),
    [("hunter2", "hunter2"), ("hunter2\n", "hunter2"), ("hunter2\r\n", "hunter2"), ("a\n\n", "a\n"), ("\r", "\r")],
)
def test_reads_a_secret_from_a_file(tmp_path: Path, content: str, secret: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content.encode())
    site = {"others": [{"user": "me", "password_file": "${DIR}/secret"}]}
    assert expanded(site, Site, DIR=str(tmp_path)) == ({"others": [{"user": "me", "password": secret}]}, [])


def test_says_why_a_secret_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"x" * 65_537)
    os.mkfifo(tmp_path / "pipe")  # nobody ever writes to it
    for name, said in {
        "none": "No such file",
        "": "expected the path",
        ".": "Is a directory",
        "pipe": "is no regular file; name one that holds the secret",
        "binary": "not UTF-8",
        "large": "larger than 64 KiB",
    }.items():
        _, (line,) = expanded({"user": "me", "password_file": str(tmp_path / name) if name else ""}, Login)
        assert line.startswith("key.password_file: ") and said in line


def test_a_secret_and_its_file_exclude_each_other() -> None:
    _, mistakes = expanded({"password": "x", "password_file": "/x"}, Login)
    assert mistakes == ['key.password_file: excludes "password"; keep one of them']


def test_makes_a_value_storable() -> None:
    mistakes: list[str] = []
    value = {"since": date(2024, 2, 29), "login": {"proof": "a/b", "password_file": "pw", "user": "c/d"}}
    wanted = {"login": Login}
    found = conversion.storable(value, wanted, "", lambda *mistake: mistakes.append(": ".join(mistake)), "/etc/w")
    assert found["since"] == "2024-02-29"
    assert found["login"] == {"proof": "/etc/w/a/b", "password_file": "/etc/w/pw", "user": "c/d"}
    for path in ("/abs", "~/home", "${DIR}/x", ""):
        assert conversion.storable(path, Path, "", print, "/etc/w") == path
    conversion.storable({"a": float("nan"), "b": "x\0"}, Any, "", lambda key, _: mistakes.append(key), "/")
    assert mistakes == ["a", "b"]


@pytest.mark.parametrize(
    "key",
    [
        "pass", "user_pass", "dbpass", "pwd", "passphrase", "passcode", "pin", "jwt", "session", "sessionid",
        "X-Auth-User", "x-auth", "oauth", "connect.sid", "csrf_token", "key", "private_key", "accessKey", "otp", "sig",
    ],
)  # fmt: skip
def test_masks_what_a_field_holds_that_is_named_like_a_secret(key: str) -> None:
    field = int | str | list[int | str]
    raw = {"json": {"deep": [{key: "hunter2"}], key: 7}, "form": {key: ["hunter2", 7]}}
    masked = conversion.masked(raw, {"json": Any, "form": dict[str, field]})
    assert masked == {"json": {"deep": [{key: "***"}], key: "***"}, "form": {key: ["***", "***"]}}


@pytest.mark.parametrize("key", ["user", "author", "ping", "passenger", "monkey", "inside", "design", "keyword"])
def test_shows_what_a_field_holds_that_is_not(key: str) -> None:
    assert conversion.masked({key: ["text", 7]}) == {key: ["text", 7]}


def test_a_number_of_seconds_is_no_secret() -> None:
    assert conversion.masked({"session_s": 30}, {"session_s": int}) == {"session_s": 30}


def test_masks_what_may_not_be_shown() -> None:
    raw = {
        "login": {"user": "me", "password": "hunter2", "password_file": "/run/x", "proof": "/token.pem"},
        "reference": {"user": "${U}", "password": "${P}"},
        "headers": {"Authorization": "Bearer hunter2", "X-Api-Key": "hunter2", "Accept": "*/*"},
        "proxy": "http://me:hunter2@proxy:3128",
        "body": {"json": {"user": "me", "passwd": "hunter2", "items": [{"secret": "hunter2"}]}},
    }
    types = {"login": Login, "reference": Login, "headers": dict[str, str], "proxy": str, "body": Any}
    masked = conversion.masked(raw, types)
    assert "hunter2" not in str(masked)
    assert masked["login"] == {"user": "me", "password": "***", "password_file": "/run/x", "proof": "/token.pem"}
    assert masked["reference"] == {"user": "${U}", "password": "${P}"}
    assert masked["headers"]["Accept"] == "*/*"
    assert masked["body"]["json"]["user"] == "me"
