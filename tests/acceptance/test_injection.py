"""Texts that would be code somewhere, through every field that takes a text: they stay texts."""

from __future__ import annotations

import csv
import html.parser
import io
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

import psycopg2
import pytest
from agent_process import AGENT, AgentProcess, Eventually, Run, Write

TEXTS = (
    "'); DROP TABLE metrics; --",
    "\\'; DELETE FROM endpoints; --",
    "$$; SELECT pg_sleep(99); $$ %s %(names)s %% {0} {name}",
    "E'\\x27' || (SELECT 1/0) || '{\"a\": \"b\"}",
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>&amp;",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(1)",
    "[red]rich[/] [link=https://evil/]x[/link]",
    "\u009b31m\u202etxet \u2028 \ufeff é ☃",  # C1 controls and what turns the direction of writing
)
ESCAPES = "\x1b[2J\x1b]0;owned\x07\x9b5n\x08\r\n\x00".encode("latin-1")
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
STYLE = re.compile(r"\x1b\[[\d;]*m")  # of our own
FORMULA = tuple("=+-@\t\r")


class Page(html.parser.HTMLParser):
    """Collects the elements of a page, and its texts."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        """Take note of an element."""
        self.elements.add(tag)
        self.attributes.update(name for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        """Take note of a text."""
        self.texts.append(data)


@pytest.fixture(name="hostile")
def fixture_hostile() -> Iterator[str]:
    """Serve answers whose every part holds escapes and code; give the URL."""
    parts = ESCAPES.replace(b"\r\n", b"").replace(b"\x00", b""), b"<script>'; DROP TABLE metrics; --"
    text = b"".join(parts)
    head = b"HTTP/1.1 500 %b\r\nServer: %b\r\nContent-Type: text/%b\r\nContent-Length: 60\r\n\r\n"
    answer = head % (text, text, text) + text.ljust(60)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    peer, _ = listening.accept()
                    with peer, suppress(OSError):
                        peer.recv(65536)
                        peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def rows(dsn: str, statement: str, *values: object) -> list[tuple]:
    """Execute a statement and give the rows."""
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []


def ascii_of(text: str) -> str:
    """Give what a header can hold of a text."""
    return "".join(sign for sign in text if sign.isascii() and sign.isprintable()).strip()


def table(text: str, url: str) -> dict:
    """Give an endpoint that has a text in every field that takes one."""
    literal = text.replace("${", "$${")
    return {
        "name": f"name {literal}",
        "url": f"{url}?q=" + "".join(f"%{byte:02x}" for byte in text.encode()),
        "interval": 5,
        "labels": {literal: literal},
        "locations": ["local", literal],
        "contains": literal,
        "headers": {"X-Text": ascii_of(literal)},
        "user_agent": ascii_of(literal),
        "basic_auth": {"username": "me", "password": literal},
    }


def shown(text: str) -> str:
    """Give what a terminal got, without styles of our own; fail when anything else would move its cursor."""
    plain = STYLE.sub("", text)
    assert not CONTROL.search(plain), ascii(plain)
    return plain


class Place(NamedTuple):
    """A database, the configuration that names it, and the command line."""

    database: str
    where: tuple[str, str]
    run: Run

    def endpoints(self, command: str, *arguments: str) -> str:
        """Run a command that must go well, and give what a terminal got of it."""
        done = self.run("endpoints", command, *self.where, *arguments)
        assert done.returncode == 0, done.stderr
        return shown(done.stdout + done.stderr)


@pytest.fixture(name="place")
def fixture_place(database: str, write: Write, run: Run) -> Place:
    """Give a place."""
    return Place(database, ("--config", str(write(AGENT.format(dsn=database)))), run)


NAMES = tuple(f"name {text}" for text in TEXTS)
ESCAPED = ESCAPES.replace(b"\x00", b"").decode("latin-1")


def fill(place: Place, hostile: str, sites: Path) -> None:
    """Import an endpoint for each text, and write two as any client of the database may and no file of ours could."""
    wanted = [table(text, hostile) for text in TEXTS]
    sites.write_text("".join(json.dumps(one) + "\n" for one in wanted), encoding="utf-8")
    assert f"{len(TEXTS)} added" in place.endpoints("import", str(sites), "--source", TEXTS[0])
    insert = "INSERT INTO endpoints (name, url, interval_s, labels, options) VALUES (%s, %s, 5, %s, %s)"
    escaped = json.dumps({ESCAPED: ESCAPED})
    rows(place.database, insert, f"sql {ESCAPED}", hostile, escaped, json.dumps({"contains": ESCAPED}))
    rows(place.database, insert, f"bad {ESCAPED}", f"x://{ESCAPED}/", "{}", escaped)


def test_a_text_is_a_text_on_its_way_to_results(
    place: Place, hostile: str, tmp_path: Path, eventually: Eventually
) -> None:
    fill(place, hostile, tmp_path / "sites.ndjson")
    columns = "name, labels, locations, options->>'contains', source"
    stored = rows(place.database, f"SELECT {columns} FROM endpoints WHERE source <> 'sql'")
    wanted = [(f"name {text}", {text: text}, ["local", text], text, TEXTS[0]) for text in TEXTS]
    assert sorted(stored, key=str) == sorted(wanted, key=str)
    with AgentProcess(Path(place.where[1])) as agent:
        checked = "SELECT count(DISTINCT endpoint_id) FROM metrics"
        eventually(lambda: rows(place.database, checked) == [(len(TEXTS) + 2,)], 60)
        assert agent.end() == 0
        shown(agent.everything())
    assert rows(place.database, "SELECT count(*) FROM endpoints WHERE removed_at IS NULL") == [(len(TEXTS) + 2,)]
    details = {detail for (detail,) in rows(place.database, "SELECT DISTINCT detail FROM metrics")}
    assert details and not any(CONTROL.search(detail or "") for detail in details), details


def test_commands_take_it_for_a_text_and_show_it_as_one(place: Place, hostile: str, tmp_path: Path) -> None:
    fill(place, hostile, tmp_path / "sites.ndjson")
    found = place.endpoints("show", "--json", "--", *NAMES).splitlines()
    assert sorted(str(json.loads(line)["labels"]) for line in found) == sorted(str({text: text}) for text in TEXTS)
    assert len(place.endpoints("list", "--source", TEXTS[0]).splitlines()) == len(TEXTS) + 1
    place.endpoints("list")
    place.endpoints("show", f"sql {ESCAPED}")
    assert f"{len(TEXTS)} disabled" in place.endpoints("disable", "--source", TEXTS[0])
    for option, values in (("--endpoint", NAMES), ("--label", [f"x={text}" for text in TEXTS])):
        done = place.run("report", *place.where, "--format", "json", *(f"{option}={value}" for value in values))
        assert done.returncode in (0, 2) and "Traceback" not in done.stderr, done.stderr
        shown(done.stderr)
    assert {one["name"] for one in json.loads(report(place, *NAMES))["endpoints"]} == set(NAMES)


def report(place: Place, *names: str) -> str:
    """Give a report of endpoints."""
    return place.run("report", *place.where, "--format", "json", *(f"--endpoint={name}" for name in names)).stdout


def test_a_mistake_is_told_without_moving_the_cursor(write: Write, run: Run) -> None:
    tables = (f"[[endpoints]]\nname = {json.dumps(text)}\nurl = {json.dumps(text)}\n" for text in TEXTS)
    refused = run("validate", "--config", str(write("".join(tables))))
    assert refused.returncode == 2 and refused.stderr.count(": url: ") == len(TEXTS)
    shown(refused.stderr)


def test_reports_escape_what_is_code_elsewhere(database: str, write: Write, run: Run) -> None:
    path = write(AGENT.format(dsn=database))
    texts = [*TEXTS, ESCAPED]
    insert = "INSERT INTO endpoints (name, url, labels) VALUES (%s, 'https://a/', %s) RETURNING id"
    rows(database, "SELECT watcher_add_partition('metrics', now())")
    for text in texts:
        (number,) = rows(database, insert, text, json.dumps({text: text}))[0]
        rows(
            database,
            "INSERT INTO metrics (time, endpoint_id, agent_id, status, latency_us, detail)"
            " VALUES (now() - interval '1 second', %s, 1, 'down', 5, %s)", number, text,
        )  # fmt: skip
    where = ("--config", str(path))
    page, empty = Page(), Page()
    page.feed(run("report", *where, "--format", "html").stdout)
    empty.feed(run("report", *where, "--format", "html", "--endpoint", texts[3]).stdout)
    assert page.elements == empty.elements and not {"script", "img"} & page.elements
    assert page.attributes == empty.attributes
    assert all(any(text in found for found in page.texts) for text in texts[:-2])
    cells = csv.DictReader(io.StringIO(run("report", *where, "--format", "csv").stdout))
    names = [cell["name"] for cell in cells]
    assert len(names) == len(texts) and not any(name.startswith(FORMULA) for name in names)
    assert {name.removeprefix("'") for name in names} >= {text.removeprefix("'") for text in texts[:-1]}
    shown(run("report", *where).stdout)


def test_what_a_server_says_does_not_reach_the_terminal_as_it_is(hostile: str, write: Write, run: Run) -> None:
    path = write(f'[[endpoints]]\nname = "hostile"\nurl = "{hostile}"\n')
    for arguments in (("check", hostile), ("check", hostile, "--json"), ("--config", str(path), "--once")):
        done = run(*arguments)
        assert done.returncode == 1, done.stderr
        shown(done.stdout + done.stderr)
