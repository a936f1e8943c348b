"""`watcher.config.references`: `${NAME}` in strings, and texts as they may be shown."""

from __future__ import annotations

import pytest

from watcher.config import references

ENVIRON = {"HOST": "db", "EMPTY": "", "BRACES": "${HOST}", "RAW": "caf\udce9"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("plain $HOST $5 } {", "plain $HOST $5 } {"),
        ("${HOST}", "db"),
        ("a ${HOST}${HOST} b", "a dbdb b"),
        ("${EMPTY}", ""),
        ("${NONE:-text}", "text"),
        ("${NONE:-}", ""),
        ("${EMPTY:-text}", "text"),
        ("${HOST:-text}", "db"),
        ("$${HOST}", "${HOST}"),
        ("$$${HOST}", "$${HOST}"),
        ("${BRACES}", "${HOST}"),  # a value is not read again
    ],
)
def test_expands(text: str, expanded: str) -> None:
    assert references.expand(text, ENVIRON) == (expanded, [])


def test_names_every_variable_that_is_not_set() -> None:
    _, wrong = references.expand("${NONE} ${HOST} ${OTHER}", ENVIRON)
    assert [problem.split(" is ")[0].split()[-1] for problem in wrong] == ["NONE", "OTHER"]


@pytest.mark.parametrize("text", ["${", "${HOST", "${}", "${1}", "${A B}", "${A:-${HOST}}"])
def test_explains_what_is_no_reference(text: str) -> None:
    _, wrong = references.expand(text, ENVIRON)
    assert len(wrong) == 1 and "${NAME}" in wrong[0] and "$${" in wrong[0]


def test_a_variable_must_be_text() -> None:
    assert references.expand("${RAW}", ENVIRON) == (
        "",
        ["environment variable RAW is not UTF-8 text; set it anew"],
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("hunter2", "***"),
        ("${PASSWORD}", "${PASSWORD}"),
        ("${PASSWORD:-hunter2}", "${PASSWORD:-***}"),
        ("x${PASSWORD}", "***"),
        ("$${PASSWORD}", "***"),
    ],
)
def test_a_secret_is_shown_as_its_reference_at_most(text: str, shown: str) -> None:
    assert references.masked_secret(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://example.com/a?b=c", "https://example.com/a?b=c"),
        ("postgresql://me:hunter2@db/x", "postgresql://me:***@db/x"),
        ("postgresql://me:hun@ter2@db/x", "postgresql://me:***@db/x"),
        ("postgresql://me:${PASSWORD}@db/x", "postgresql://me:${PASSWORD}@db/x"),
        ("postgresql://me:${P:-a/b}@db/x", "postgresql://me:${P:-***}@db/x"),
        ("https://h/?page=2&api_key=hunter2&x=y", "https://h/?page=2&api_key=***&x=y"),
        ("https://h/?access_token=${TOKEN}", "https://h/?access_token=${TOKEN}"),
        ("host=db password=hunter2 user=me", "host=db password=*** user=me"),
        ("password='hun ter2' user=me", "password=*** user=me"),
        ("password = s3cret user = me", "password = *** user = me"),
        ("user=me password= 'a \\'b\\\\' host=db", "user=me password= *** host=db"),
        ("password=a\\ b&c#d host=db", "password=*** host=db"),
        ("host=db\nsslpassword\t=\tx", "host=db\nsslpassword\t=\t***"),
        ("dbname='a b'password=x", "dbname='a b'password=***"),
        ("password='never ended", "password=***"),
        ("password='' user=me", "password=*** user=me"),
        ("scram_client_key=x user=me", "scram_client_key=*** user=me"),
        ("password=${P:-a b} user=me", "password=${P:-***} user=me"),
        ("https://h/?key=x&token=&pin=1&y=2", "https://h/?key=***&token=&pin=***&y=2"),
        ("https://h/?monkey=x&ping=1&author=me&passive=1", "https://h/?monkey=x&ping=1&author=me&passive=1"),
    ],
)
def test_masks_what_urls_and_pairs_hide(text: str, shown: str) -> None:
    assert references.masked(text) == shown


def test_scrubs_secrets_from_a_message() -> None:
    secrets = {"hunter2": "***", "hunter": "${USER}", "5": "${N}", "": "nothing"}
    text = references.scrubbed("'hunter2' of hunter: 5 is not 55", secrets)
    assert text == "'***' of ${USER}: ${N} is not 55"
