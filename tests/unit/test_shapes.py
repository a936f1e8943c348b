"""`watcher.config.shapes`: types in words, and the types of the parts of a value."""

from __future__ import annotations

import enum
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, field

from watcher import Duration, Options, Secret
from watcher.config import shapes


class Colour(enum.Enum):
    """An enum as a plugin may have it."""

    RED = "red"
    BLUE = "blue"


class Login(Options):
    """A table as a plugin may have it."""

    user: str
    password: Secret | None = None
    max_age: int = field(default=1, name="max-age")


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (str, "a string"),
        (bool, "true or false"),
        (int | None, "a whole number"),
        (float, "a number"),
        (Any, "anything"),
        (date, "a date"),
        (Secret, "a string"),
        (Path | None, "the path of a file"),
        (Login, "a table"),
        (list[str], "a list of strings"),
        (list[int | str], "a list of whole numbers or strings"),
        (dict[str, Secret], "a table of strings"),
        (list[list[float]], "a list of lists of numbers"),
        (str | Login | list[str | Login], "a string, a table or a list of strings or tables"),
        (Literal["a", "b"], 'one of "a", "b"'),
        (Literal[4, 6], "one of 4, 6"),
        (Colour, 'one of "red", "blue"'),
        (Annotated[int, Meta(ge=1, le=5)], "a whole number from 1 to 5"),
        (Annotated[int, Meta(ge=1)], "a whole number of at least 1"),
        (Annotated[float, Meta(gt=0, lt=1)], "a number above 0 below 1"),
        (Annotated[str, Meta(min_length=1)], "a string that is not empty"),
        (Annotated[str, Meta(pattern="^a")], "a string that matches ^a"),
        (Annotated[list[str], Meta(min_length=2)], "a list of strings of length 2 or more"),
        (Annotated[str, len], "a string"),
    ],
)
def test_says_a_type_in_words(wanted: Any, words: str) -> None:
    assert shapes.words(wanted) == words


def test_says_a_duration_by_example() -> None:
    assert '"30s"' in shapes.words(Duration)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "5"),
        (True, "true"),
        ("a\nb", '"a\\nb"'),
        ("x" * 80, '"' + "x" * 57 + '..."'),
        ([1], "a list"),
        ({"a": 1}, "a table"),
        (None, "nothing"),
        (date(2024, 2, 29), "a date or time"),
        ("https://me:hunter2@h/", '"https://me:***@h/"'),
    ],
)
def test_shows_a_value(value: Any, text: str) -> None:
    assert shapes.shown(value) == text


@pytest.mark.parametrize("value", ["hunter2", 1234567, True, ["hunter2"], {"hunter2": 1}])
def test_shows_only_the_kind_of_a_secret(value: Any) -> None:
    said = shapes.shown(value, secret=True)
    assert "hunter2" not in said and "1234567" not in said


def test_gives_the_types_of_the_parts() -> None:
    table = {"user": 1, "password": 2, "password_file": 3, "max-age": 4, "else": 5}
    assert dict((key, kind) for key, _, kind in shapes.parts(table, str | Login)) == {
        "user": str,
        "password": Secret | None,
        "password_file": shapes.SecretFile,
        "max-age": int,
        "else": Any,
    }
    assert list(shapes.parts([1, 2], str | list[int])) == [(0, 1, int), (1, 2, int)]
    assert list(shapes.parts({"a": 1}, dict[str, Secret])) == [("a", 1, Secret)]
    assert list(shapes.parts({"a": 1}, {})) == [("a", 1, Any)]
    assert not list(shapes.parts("text", str))


class Tree(Options):
    """A type that holds itself."""

    leaves: list["Tree"] = []
    file: Path | None = None


class Bush(Options):
    """A type that holds itself and no path."""

    leaves: dict[str, list["Bush"]] = {}
    lengths: tuple[int, ...] = ()


@pytest.mark.parametrize(
    ("wanted", "holds"),
    [(Path, True), (Tree, True), (dict[str, list[Tree | str]], True), (Bush, False), (Login, False), (Any, False)],
)
def test_knows_which_types_hold_paths(wanted: Any, holds: bool) -> None:
    assert shapes.holds_path(wanted) is holds
