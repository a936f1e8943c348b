"""`watcher.Match`: a wish about one text, wherever an option may have it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest

from watcher import Match, Options, ProbeError, Reason, Secret
from watcher.config.options import OptionTypes
from watcher.match import REGEX_CHARS

HOSTILE = r"(([a-z])+.)+[A-Z]([a-z])+$"


class Banner(Options):
    """A table as a plugin may have it, with wishes at every depth."""

    first: Match
    others: list[Match] = []
    last: Match | None = None


class Token(Options):
    """A table that would have a secret stand for it."""

    __brief__: ClassVar[str] = "text"

    text: Secret

    def __post_init__(self) -> None:
        if len(self.text) < 10:
            raise ValueError(f"{str.__str__(self.text)} is too short")


class Place(Options):
    """A table that would have a path stand for it."""

    __brief__: ClassVar[str] = "file"

    file: Path


class Quote(Options):
    """A table that a wish alone stands for, in its own brief form too."""

    __brief__: ClassVar[str] = "wish"

    wish: Match
    least: int = 1


def first(value: Any) -> Any:
    """Stand for the check of a plugin."""
    return value[0] if isinstance(value, list) else value


TYPES = {
    "one": Match,
    "some": Match | list[Match],
    "fields": dict[str, Match],
    "either": dict[str, Match | list[Match]],
    "banner": Banner,
    "checked": Annotated[Match | list[Match], first],
    "apart": str | Match,
    "sign": Token,
    "place": Place,
    "quote": Quote,
    "quotes": Quote | list[Quote],
}


def convert(**raw: Any) -> tuple[dict[str, Any], list[str]]:
    """Give the options that a table stands for, and what is wrong with it."""
    mistakes: list[str] = []
    types = OptionTypes({key: (wanted, "imagined") for key, wanted in TYPES.items()})
    return types.convert(raw, lambda key, text: mistakes.append(f"{key}: {text}"), {"WISH": "from outside"}), mistakes


@pytest.mark.parametrize(
    ("match", "good", "bad"),
    [
        (Match("nginx"), ["nginx"], ["Nginx", "nginx/1", "", None]),
        (Match(""), [""], ["a", None]),
        (Match("STRASSE", ignore_case=True), ["straße", "Strasse"], ["gasse"]),
        (Match(contains="gin"), ["nginx", "gin"], ["Gin", "", None]),
        (Match(contains="GIN", ignore_case=True), ["nginx"], ["apache"]),
        (Match(regex=r"^HIT\b"), ["HIT from edge"], ["MISS", "a HIT", None]),
        (Match(regex="hit", ignore_case=True), ["a HIT"], ["MISS"]),
        (Match(regex=r"(?<=max-age=\s*)\d{3,}"), ["max-age=  600"], ["max-age=60"]),
        (Match(absent=True), [None], ["", "anything"]),
        (Match("nginx", absent=True), ["apache", "", None], ["nginx"]),
        (Match(contains="gin", absent=True), ["apache", None], ["nginx"]),
        (Match(regex="^5", absent=True), ["200", None], ["503"]),
    ],
)
def test_a_wish_holds_for_what_it_says_and_nothing_else(
    match: Match, good: list[str | None], bad: list[str | None]
) -> None:
    assert [text for text in good if not match.holds(text)] == []
    assert [text for text in bad if match.holds(text)] == []


@pytest.mark.parametrize(
    ("match", "words"),
    [
        (Match("nginx"), '"nginx"'),
        (Match("a\nb\x1b"), r'"a\nb\x1b"'),
        (Match("x" * 200), '"' + "x" * 79 + '…"'),
        (Match(contains="gin"), 'containing "gin"'),
        (Match(regex=r"^HIT\b"), r"matching /^HIT\b/"),
        (Match(regex="hit", ignore_case=True), "matching /hit/ in any case"),
        (Match(regex="^5", absent=True), "not matching /^5/"),
        (Match("a", absent=True), 'not "a"'),
        (Match(absent=True), "none"),
    ],
)
def test_its_words_fit_into_a_message(match: Match, words: str) -> None:
    assert str(match) == words


@pytest.mark.parametrize(
    ("match", "texts", "holds"),
    [
        (Match(equals="a"), ["b", "a"], True),
        (Match(equals="a"), ["b", "c"], False),
        (Match(equals="a"), [], False),
        (Match(equals="a", absent=True), ["b", "a"], False),
        (Match(equals="a", absent=True), ["b", "c"], True),
        (Match(absent=True), [], True),
        (Match(absent=True), ["a"], False),
    ],
)
def test_one_of_several_texts_is_enough_and_none_may_be_what_must_be_absent(
    match: Match, texts: list[str], holds: bool
) -> None:
    assert match.holds_among(texts) is holds


def test_a_hostile_pattern_ends_soon_and_says_nothing_of_the_site() -> None:
    with pytest.raises(ProbeError) as caught:
        Match(regex=HOSTILE).holds("a" * 4000)
    assert caught.value.reason is Reason.REGEX_TIMEOUT
    assert HOSTILE in caught.value.detail


def test_of_a_long_text_only_the_beginning_is_searched() -> None:
    assert Match(regex="needle").holds("x" * (REGEX_CHARS - 6) + "needle")
    assert not Match(regex="needle").holds("x" * REGEX_CHARS + "needle")
    assert Match(contains="needle").holds("x" * 10 * REGEX_CHARS + "needle")


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ({"one": "x"}, Match("x")),
        ({"one": {"regex": "^x"}}, Match(regex="^x")),
        ({"one": "${WISH}"}, Match("from outside")),
        ({"some": "x"}, Match("x")),
        ({"some": ["x", {"absent": True}]}, [Match("x"), Match(absent=True)]),
        ({"fields": {"A": "x", "B": {"contains": "y"}}}, {"A": Match("x"), "B": Match(contains="y")}),
        ({"either": {"A": "x", "B": ["y", "z"]}}, {"A": Match("x"), "B": [Match("y"), Match("z")]}),
        ({"banner": {"first": "a", "others": ["b"]}}, Banner(Match("a"), [Match("b")])),
        ({"banner": {"first": {"equals": "a"}, "last": "c"}}, Banner(Match("a"), last=Match("c"))),
        ({"checked": ["x", "y"]}, Match("x")),
        ({"apart": "x"}, "x"),
        ({"apart": {"equals": "x"}}, Match("x")),
        ({"quote": "x"}, Quote(Match("x"))),
        ({"quote": {"wish": {"regex": "^x"}, "least": 2}}, Quote(Match(regex="^x"), 2)),
        ({"quotes": ["x", {"wish": "y"}]}, [Quote(Match("x")), Quote(Match("y"))]),
    ],
)
def test_it_may_stand_wherever_a_type_may(raw: dict[str, Any], value: Any) -> None:
    converted, mistakes = convert(**raw)
    assert (list(converted.values()), mistakes) == ([value], [])


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        ({"one": 5}, "one: expected a string or a table, got 5"),
        ({"one": True}, "one: expected a string or a table, got true"),
        ({"one": {}}, "one: give one of equals, contains and regex, or absent = true"),
        ({"one": {"equals": "a", "regex": "b"}}, "one: give one of equals, contains and regex, not equals and regex"),
        ({"one": {"contains": ""}}, "one: an empty text is contained in every text"),
        ({"one": {"regex": ""}}, "one: an empty pattern is found everywhere"),
        ({"one": {"regex": "a("}}, 'one: bad pattern "a(": missing ) at position 2'),
        ({"one": {"regx": "a"}}, 'one.regx: unknown key; did you mean "regex"?'),
        ({"some": ["a", 5]}, "some[1]: expected a string or a table, got 5"),
        ({"fields": {"A": 5}}, "fields.A: expected a string or a table, got 5"),
        ({"fields": 5}, "fields: expected a table of strings or tables, got 5"),
        ({"quote": 5}, "quote: expected a string or a table, got 5"),
        ({"quotes": 5}, "quotes: expected a string or a table or a list of strings or tables, got 5"),
        ({"banner": {"first": {"absent": "yes"}}}, 'banner.first.absent: expected true or false, got "yes"'),
    ],
)
def test_a_wrong_wish_is_found_when_the_configuration_is_read(raw: dict[str, Any], complaint: str) -> None:
    assert convert(**raw)[1] == [complaint]


def test_a_secret_that_stands_for_a_table_is_not_shown() -> None:
    assert convert(sign="hunter2-hunter2") == ({"sign": Token(Secret("hunter2-hunter2"))}, [])
    assert convert(sign="hunter2")[1] == ["sign: *** is too short"]
    assert convert(sign=["hunter2"])[1] == ["sign: expected a string or a table, got a list"]
    types = OptionTypes({key: (wanted, "imagined") for key, wanted in TYPES.items()})
    assert types.masked({"sign": "hunter2", "one": "x"}) == {"sign": "***", "one": "x"}


def test_a_path_cannot_stand_for_a_table() -> None:
    assert convert(place="a.pem")[1] == ['place: expected a table, got "a.pem"']


def test_the_import_stays_light() -> None:
    code = "import sys, watcher; print([name for name in ('regex', 'gevent', 'requests') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
