"""Invented endpoints: valid wherever endpoints are taken, the same for the same seed, in the shares asked for."""

from __future__ import annotations

import io
import itertools
import json
import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import certifi
import msgspec
import pytest
import regex
from click.testing import CliRunner

from watcher import config, registry
from watcher.commands import generate
from watcher.store import interchange
from watcher.testserver.invention import FAILURES, PATTERNS, Mix, Weighted, invent
from watcher.testserver.site import Site

EVERYTHING = (
    "--interval", "5:1,60:9", "--method", "GET:8,POST:1,HEAD:1", "--delay", "0,50ms", "--size", "10,1k",
    "--regex", "0.4", "--down", "0.2", "--flaky", "0.1", "--ca", certifi.where(),
)  # fmt: skip
MIXED = Mix(
    interval=Weighted(("5", "60"), (1, 9)),
    method=Weighted(("GET", "POST"), (9, 1)),
    delay=Weighted(("0", "50ms")),
    regex=0.2,
    down=0.05,
    flaky=0.1,
)


def generated(*arguments: str) -> str:
    """Run the command and give what it wrote."""
    done = CliRunner().invoke(generate.command, arguments)
    assert done.exit_code == 0, done.output
    return done.output


def answer(table: Mapping[str, Any]) -> bytes:
    """Give the answer of a test server, without a socket, to a GET of an endpoint's URL."""
    parts = urlsplit(table["url"])
    found, _ = Site(clock=lambda: 0.0).answer(f"GET {parts.path}?{parts.query} HTTP/1.1\r\n\r\n".encode())
    return found.wire


@pytest.fixture(scope="module", name="types")
def fixture_types() -> Any:
    """Give the options of the built-in plugins."""
    return registry.option_types(registry.plugin_manager())


def test_a_file_is_a_valid_configuration(types: Any, tmp_path: Path) -> None:
    """Everything it may contain is what `watcher validate` takes."""
    path = tmp_path / "endpoints.toml"
    path.write_text(generated("300", *EVERYTHING), encoding="utf-8")
    loaded = config.load(path, types)
    assert len(loaded.endpoints) == 300
    assert {spec.interval_s for spec in loaded.endpoints} == {5.0, 60.0}


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_the_other_formats_say_the_same_and_can_be_imported(types: Any, form: str) -> None:
    """`watcher endpoints import` reads what the configuration has."""
    arguments = ("200", *EVERYTHING[:-2])
    wanted = tomllib.loads(generated(*arguments))["endpoints"]
    stream = io.BytesIO(generated(*arguments, "--format", form).encode())
    reading = interchange.read(stream, form, "file", types, ".")
    assert reading.problems == []
    read = [msgspec.structs.replace(spec, source="here") for spec in reading.specs]
    assert read == list(config.specs(wanted, types, "here"))


def test_names_are_unique_and_the_seed_decides() -> None:
    """The same seed gives the same file, another seed another one; a longer file begins as a shorter one."""
    first = generated("500", *EVERYTHING)
    assert first == generated("500", *EVERYTHING)
    assert first != generated("500", *EVERYTHING, "--seed", "1")
    assert generated("700", *EVERYTHING).startswith(first)
    names = [table["name"] for table in tomllib.loads(first)["endpoints"]]
    assert len(set(names)) == 500


def test_the_mix_has_its_shares() -> None:
    """Of 20,000 endpoints each share is met within a hundredth: over four standard deviations."""
    tables = list(invent(MIXED, 20_000))
    expected = Counter(table["labels"]["expect"] for table in tables)
    assert expected["down"] / 20_000 == pytest.approx(0.05, abs=0.01)
    assert expected["flaky"] / 20_000 == pytest.approx(0.1, abs=0.01)
    assert sum(table["interval"] == 5 for table in tables) / 20_000 == pytest.approx(0.1, abs=0.01)
    assert sum("method" in table for table in tables) / 20_000 == pytest.approx(0.1, abs=0.01)
    answering = [table for table in tables if table["labels"]["expect"] != "down"]
    assert sum("regex" in table for table in answering) / len(answering) == pytest.approx(0.2, abs=0.015)


def test_a_share_changes_no_other_endpoint() -> None:
    """Two runs that differ in one share can be compared endpoint by endpoint."""
    some, more = (list(invent(Mix(down=down, interval=MIXED.interval), 500)) for down in (0.1, 0.2))
    assert all(table == other for table, other in zip(some, more) if other["labels"]["expect"] == "up")
    assert [table["interval"] for table in some] == [table["interval"] for table in more]


def test_endpoints_are_made_one_at_a_time() -> None:
    """A million million begin at once: nothing is kept."""
    first = list(itertools.islice(invent(Mix(), 10**12), 3))
    assert [table["name"] for table in first] == ["0000001 up", "0000002 up", "0000003 up"]


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_every_pattern_judges_the_smallest_page_as_up(pattern: Any) -> None:
    """Patterns are found in, or absent from, every page of an endpoint that has one."""
    mix = Mix(regex=1.0, size=Weighted(("10",)))
    page = next(answer(table) for table in invent(mix, 100) if table["regex"] == pattern).decode()
    body = page.partition("\r\n\r\n")[2]
    if isinstance(pattern, dict):
        assert not regex.search(pattern["pattern"], body, regex.IGNORECASE)
    else:
        assert regex.search(pattern, body, regex.MULTILINE)


def test_endpoints_that_are_to_fail_do_so_and_others_do_not() -> None:
    """The URLs mean to the server what the names say."""
    tables = list(invent(Mix(down=0.5), 200))
    failing = [table["name"].partition(" down: ")[2] for table in tables if table["labels"]["expect"] == "down"]
    assert set(failing) == {what for _, what in FAILURES}
    for table in tables:
        ok = answer(table).startswith(b"HTTP/1.1 200 ")
        assert ok == (table["labels"]["expect"] == "up"), table


def test_those_that_fail_now_and_then_have_outages() -> None:
    """The query tells the server when."""
    table = next(invent(Mix(flaky=1.0, outage="5s/20s"), 1))
    assert parse_qs(urlsplit(table["url"]).query)["outage"] == ["5s/20s"]


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--interval", "1", "from 5 to 300"),
        ("--interval", "5:0", "weights"),
        ("--interval", ",", "weights"),
        ("--interval", "often", "often"),
        ("--method", "get", "no method"),
        ("--delay", "soon", "soon"),
        ("--size", "1t", "1t"),
        ("--down", "2", "range"),
        ("--outage", "60s/20s", "60s/20s"),
    ],
)
def test_what_cannot_be_is_refused(option: str, value: str, words: str) -> None:
    """One line, exit code 2, before anything is written."""
    done = CliRunner().invoke(generate.command, ["3", option, value])
    assert done.exit_code == 2
    assert words in done.output


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """The message names it."""
    done = CliRunner().invoke(generate.command, ["3", "--output", str(tmp_path / "no" / "file")])
    assert "cannot write" in str(done.exception)
    assert "no/file: No such file or directory" in str(done.exception)


def test_a_file_is_written(tmp_path: Path) -> None:
    """The file has what the standard output would have."""
    path = tmp_path / "endpoints.ndjson"
    generated("3", "--format", "ndjson", "--output", str(path))
    assert [json.loads(line)["name"] for line in path.read_text(encoding="utf-8").splitlines()] == [
        "0000001 up", "0000002 up", "0000003 up",
    ]  # fmt: skip
