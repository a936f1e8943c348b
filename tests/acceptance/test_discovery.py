"""Endpoints that are known elsewhere, watched by a real agent: they join, they leave, a failed look keeps them."""

from __future__ import annotations

import http.server
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from agent_process import AGENT, AgentProcess, Eventually, Run, Write

FILES = f"""{AGENT}
[[plugins.file_sd]]
files = ["targets/*.json"]
interval = 1
name = "{{{{target}}}}"
endpoint = {{{{ interval = 5, status = "2xx" }}}}
"""
SITEMAP = f"""{AGENT}
[[plugins.sitemap]]
url = "{{site}}/sitemap.xml"
endpoint = {{{{ interval = 5 }}}}
"""
WITHIN_S = 30.0

Targets = Callable[..., Path]


class Table:
    """The database as a user asks it."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Give what it answers."""
        with closing(psycopg2.connect(self.dsn)) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()

    def names(self) -> list[str]:
        """Name the endpoints that are to be watched."""
        return [row[0] for row in self.rows("SELECT name FROM endpoints WHERE removed_at IS NULL ORDER BY name")]

    def checks(self, name: str) -> int:
        """Count the good checks of an endpoint."""
        of = "SELECT count(*) FROM metrics JOIN endpoints ON id = endpoint_id WHERE status = 'up' AND name = "
        return self.rows(f"{of}'{name}'")[0][0]


@pytest.fixture(name="table")
def fixture_table(database: str) -> Table:
    """Give the database."""
    return Table(database)


@pytest.fixture(name="targets")
def fixture_targets(tmp_path: Path) -> Targets:
    """Give a function that writes a file of targets as one should: beside its place, then renamed."""
    (tmp_path / "targets").mkdir()

    def write(name: str, *of: str) -> Path:
        path = tmp_path / f"targets/{name}.json"
        beside = path.with_suffix(".new")
        beside.write_text(json.dumps([{"targets": of, "labels": {"file": name}}]), encoding="utf-8")
        os.replace(beside, path)
        return path

    return write


def test_targets_in_files_join_and_leave(
    write: Write, table: Table, site: str, targets: Targets, eventually: Eventually
) -> None:
    one, two = f"{site}/1", f"{site}/2"
    targets("one", one)
    with AgentProcess(write(FILES.format(dsn=table.dsn))) as agent:
        agent.wait_for("plugin:file_sd: 1 added")
        path = targets("two", two)
        agent.wait_for("plugin:file_sd: 1 added", times=2)
        eventually(lambda: table.checks(one) and table.checks(two), WITHIN_S)

        whole = path.read_text(encoding="utf-8")
        with path.open("w", encoding="utf-8") as stream:  # as one should not: in its place
            stream.write(whole[:-2])
            stream.flush()
            agent.wait_for("two.json: is no JSON, or not written to its end")
            before = table.checks(two)
            eventually(lambda: table.checks(two) > before, WITHIN_S)
            stream.write(whole[-2:])
        agent.wait_for("plugin:file_sd: works again, 2 endpoints found")
        assert table.names() == [one, two] and not agent.said(": 1 removed")

        targets("one")
        agent.wait_for("plugin:file_sd: 1 removed")
        agent.process.send_signal(signal.SIGHUP)
        agent.wait_for("plugin:file_sd: 1 unchanged")
        assert table.names() == [two]
        assert agent.end() == 0, agent.everything()
    found = table.rows(f"SELECT source, labels FROM endpoints WHERE name = '{two}'")
    assert found == [("plugin:file_sd", {"file": "two"})]


def test_a_look_that_hangs_holds_up_neither_a_reload_nor_the_end(
    write: Write, table: Table, site: str, targets: Targets, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "hangs.json")  # who opens it to read waits until somebody writes
    path = write(FILES.format(dsn=table.dsn) + '[[plugins.file_sd]]\nfiles = ["hangs.json"]\n')
    targets("one", f"{site}/1")
    with AgentProcess(path) as agent:
        agent.wait_for("plugin:file_sd: 1 added")
        with path.open("a", encoding="utf-8") as stream:
            stream.write(f'[[endpoints]]\nurl = "{site}/2"\ninterval = 5\n')
        agent.process.send_signal(signal.SIGHUP)
        agent.wait_for(f"{path.name}: 1 added")
        agent.wait_for("plugin:file_sd: 1 unchanged")
        targets("two", f"{site}/3")
        agent.wait_for("plugin:file_sd: 1 added", times=2)
        assert agent.end() == 0, agent.everything()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a directory."""

    def log_message(self, *_: Any) -> None:  # pylint: disable=arguments-differ
        """Say nothing."""


@pytest.fixture(name="pages")
def fixture_pages(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Give a directory and the URL where it is served."""
    directory = tmp_path / "pages"
    directory.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(directory))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield directory, f"http://localhost:{server.server_port}"
        server.shutdown()
        thread.join()


def test_pages_of_a_sitemap_join_and_a_sitemap_that_is_gone_keeps_them(
    write: Write, table: Table, pages: tuple[Path, str], eventually: Eventually
) -> None:
    directory, site = pages
    sitemap, page = directory / "sitemap.xml", f"{site}/page.html"
    (directory / "page.html").write_text("welcome", encoding="utf-8")
    text = f"<urlset><url><loc>{page}</loc></url></urlset>"
    sitemap.write_text(text, encoding="utf-8")
    with AgentProcess(write(SITEMAP.format(dsn=table.dsn, site=site))) as agent:
        agent.wait_for("plugin:sitemap: 1 added")
        eventually(lambda: table.checks(f"sitemap {page}"), WITHIN_S)
        sitemap.unlink()
        agent.process.send_signal(signal.SIGHUP)
        agent.wait_for(f"{site}/sitemap.xml answers 404 File not found; its endpoints stay as they are")
        sitemap.write_text(text.replace("page.html", "other.html"), encoding="utf-8")
        agent.process.send_signal(signal.SIGHUP)
        agent.wait_for("plugin:sitemap: 1 added, 1 removed")
        assert table.names() == [f"sitemap {site}/other.html"]
        assert agent.end() == 0, agent.everything()


def test_settings_that_are_wrong_are_told_before_anything_starts(write: Write, run: Run) -> None:
    ended = run("validate", "--config", str(write('[[plugins.srv]]\nrecords = ["_imap._tcp.example.com"]\n')))
    assert ended.returncode == 2
    assert 'plugins.srv[0]: _imap._tcp.example.com does not tell the scheme; add url = "tcp://' in ended.stderr
