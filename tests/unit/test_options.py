"""`watcher.config.options`: tables of options, converted, shared, and as they may be shown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
from option_types import Login, option_types

from watcher.config import options


def convert(types: options.OptionTypes, raw: dict[str, Any], **environ: str) -> tuple[dict[str, Any], list[str]]:
    """Give the options and what is wrong with them."""
    mistakes: list[str] = []
    return types.convert(raw, lambda key, text: mistakes.append(f"{key}: {text}"), environ), mistakes


def test_converts_each_key_to_its_type() -> None:
    raw = {"login": {"user": "me", "password": "${P}"}, "codes": ["2xx", 304], "most": "${N}"}
    found, mistakes = convert(option_types(), raw, P="hunter2", N="5")
    assert not mistakes
    assert found == {"login": Login("me", "hunter2"), "codes": ["2xx", 304], "most": 5}
    assert "hunter2" not in repr(found)


def test_equal_tables_are_one_object() -> None:
    types = option_types()
    one, _ = convert(types, {"most": 1, "codes": [1]})
    assert convert(types, {"codes": [1], "most": 1})[0] is one
    other, _ = convert(types, {"most": 2, "codes": [1]})
    assert other is not one and other["codes"] is one["codes"]


def test_what_the_environment_changes_is_not_shared() -> None:
    types = option_types()
    assert convert(types, {"most": "${N}"}, N="1")[0] == {"most": 1}
    assert convert(types, {"most": "${N}"}, N="2")[0] == {"most": 2}
    first, _ = convert(types, {"token": "${T}"}, T="x")
    assert convert(types, {"token": "${U}"}, U="x")[0] is first


def test_a_secret_in_a_file_is_read_anew(tmp_path: Path) -> None:
    types, path = option_types(), tmp_path / "secret"
    for secret in ("old", "new"):
        path.write_text(secret)
        assert convert(types, {"token_file": str(path)})[0] == {"token": secret}


def test_one_and_true_are_not_the_same() -> None:
    types = option_types()
    assert not convert(types, {"most": 1})[1]
    assert convert(types, {"most": True})[1] == ["most: expected a whole number, got true"]


def test_only_what_came_from_the_environment_is_taken_for_a_number() -> None:
    _, mistakes = convert(option_types(), {"most": "5", "token": "${T}"}, T="x")
    assert mistakes == ['most: expected a whole number, got "5"']


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("patern", 'unknown option "patern"; did you mean "pattern"? (watcher plugins lists what is installed)'),
        ("intervall", 'unknown option "intervall"; did you mean "interval"? (watcher plugins lists what is installed)'),
        ("token_fil", 'unknown option "token_fil"; did you mean "token_file"? (watcher plugins'),
        ("zzz", 'unknown option "zzz" (watcher plugins lists what is installed)'),
        ("asleep", 'unknown option "asleep"; the plugin "asleep" is installed but was not chosen to be loaded'),
    ],
)
def test_suggests_what_an_unknown_key_may_have_meant(key: str, said: str) -> None:
    lines = convert(option_types(), {key: 1})[1]
    assert len(lines) == 1 and lines[0].startswith(f"{key}: {said}")


def test_reports_every_mistake_once() -> None:
    raw = {"pattern": "${NONE}(", "codes": [1, None], "fields": {"a": "${NONE}", "b": 3}, "most": "x", "zzz": 1}
    _, mistakes = convert(option_types(), raw)
    assert sorted(line.partition(":")[0] for line in mistakes) == [
        "codes[1]", "fields.a", "fields.b", "most", "pattern", "zzz",
    ]  # fmt: skip


def telling(value: Login) -> Login:
    """Stand for a careless author: the message shows what was given."""
    raise ValueError(f"{value.user} with {str.__str__(value.password)} is no good")


@pytest.mark.parametrize("password", [{"password": "hunter2"}, {"password": "${P}"}, {"password_file": "secret"}])
def test_messages_hold_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: dict[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_text("hunter2")
    types = options.OptionTypes({"login": (Annotated[Login, telling], "imagined")})
    _, (line,) = convert(types, {"login": {"user": "${U}"} | password}, P="hunter2", U="somebody")
    assert line in ("login: ${U} with *** is no good", "login: ${U} with ${P} is no good")


def test_messages_do_not_show_what_stands_in_the_place_of_a_table_with_a_secret() -> None:
    assert convert(option_types(), {"login": "me:hunter2"})[1] == ["login: expected a table, got a string"]


def test_messages_hide_the_passwords_of_urls() -> None:
    def refuse(value: str) -> str:
        raise ValueError(f"{value!r} is no resolver")

    types = options.OptionTypes({"resolver": (Annotated[str, refuse], "imagined")})
    _, mistakes = convert(types, {"resolver": "http://me:hunter2@host/"})
    assert mistakes == ["resolver: 'http://me:***@host/' is no resolver"]


def test_shares_stay_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "SHARED_MOST", 8)
    types = option_types()
    for number in range(100):
        assert convert(types, {"most": number})[0] == {"most": number}
    newest, _ = convert(types, {"most": 99})
    assert convert(types, {"most": 99})[0] is newest


def test_stores_references_and_absolute_paths() -> None:
    types = option_types()
    mistakes: list[str] = []
    raw = {"token": "${T}", "login": {"password_file": "pw"}, "trust": {"ca": "ca.pem"}}
    stored = types.storable(raw, lambda key, _: mistakes.append(key), "/etc/w")
    assert stored == {"token": "${T}", "login": {"password_file": "/etc/w/pw"}, "trust": {"ca": "/etc/w/ca.pem"}}
    assert types.storable(dict(raw), lambda key, _: mistakes.append(key), "/etc/w") is stored
    assert types.storable(dict(raw), lambda key, _: mistakes.append(key), "/srv")["trust"] == {"ca": "/srv/ca.pem"}
    for bad in ({"codes": ["\0"]}, {"codes": ["\ud800"]}, {"codes": [object()]}, {"most": float("inf")}):
        for _ in range(2):
            types.storable(bad, lambda key, _: mistakes.append(key), "/")
    assert mistakes == ["codes[0]"] * 2 + [""] * 4 + ["most"] * 2


@pytest.mark.parametrize("levels", [101, 400, 900, 5000])
def test_what_is_nested_too_deeply_is_a_mistake_at_once(levels: int) -> None:
    deep: Any = []
    for _ in range(levels):
        deep = [deep]
    mistakes: list[str] = []
    assert not option_types().storable({"codes": deep}, lambda _, text: mistakes.append(text), "/")
    assert mistakes == ["tables or lists are nested too deeply; 100 levels are the most"]


def test_shows_no_secret() -> None:
    raw = {"token": "hunter2", "token_file": "/run/t", "login": {"user": "me", "password": "${P}"}, "zzz_key": "x"}
    shown = option_types().masked(raw)
    assert shown == raw | {"token": "***"}
    assert option_types().masked({"secret": "hunter2", "fields": {"A": "hunter2"}}) == {
        "secret": "***", "fields": {"A": "***"},
    }  # fmt: skip
