"""Files that endpoints name are replaced while a worker runs: their checks use the new ones."""

from __future__ import annotations

import contextlib
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from owners import ask
from scripted import page, request, scripted
from worker_process import Running, put, query, spec

from watcher.store import connection as store_connection
from watcher.store import endpoints

WITHIN_S = 60
ROWS = "SELECT status::text, reason::text FROM metrics WHERE endpoint_id = (SELECT id FROM endpoints WHERE name = '{}')"


def look(dsn: str) -> None:
    """Have the workers look at files, as an agent does at SIGHUP."""
    with contextlib.closing(store_connection.connect(dsn, name="test")) as connection:
        endpoints.call_files(connection)
        connection.commit()


@pytest.fixture(name="start")
def fixture_start(database: str, tmp_path: Path) -> Iterator[Callable[[], Running]]:
    """Start a worker, which is ended with the test."""
    running: list[Running] = []

    def run() -> Running:
        running.append(Running(database, tmp_path, batch_age_s=0.1))
        return running[-1]

    yield run
    for one in running:
        one.end()


@pytest.fixture(name="rows")
def fixture_rows(database: str) -> Callable[[str], list[tuple[Any, ...]]]:
    """Give the status and reason of the checks of an endpoint, the last one first."""
    return lambda name: query(database, ROWS.format(name) + " ORDER BY time DESC")


def serve(connection: socket.socket) -> None:
    """Let in who has the new password and sends the new body."""
    head = request(connection)
    allowed = b64encode(b"probe:new") in head and head.endswith(b"new body")
    connection.sendall(page(b"hello", status="200 OK" if allowed else "403 Forbidden"))


def test_a_password_and_a_body_that_were_replaced_are_sent(
    database: str, tmp_path: Path, start: Callable[[], Running], rows: Any, eventually: Any
) -> None:
    password, body = tmp_path / "password", tmp_path / "body"
    password.write_text("old", encoding="utf-8")
    body.write_text("old body", encoding="utf-8")
    options = {"basic_auth": {"username": "probe", "password_file": str(password)}, "body": {"file": str(body)}}
    with scripted(serve) as port:
        put(database, spec("shop", f"http://127.0.0.1:{port}/", options=options))
        start()
        eventually(lambda: rows("shop") and rows("shop")[0] == ("down", "status"), WITHIN_S)
        password.write_text("new", encoding="utf-8")
        body.write_text("new body", encoding="utf-8")
        look(database)
        eventually(lambda: rows("shop")[0] == ("up", None), WITHIN_S)


def test_a_certificate_that_was_replaced_is_used_and_one_that_is_none_is_not(
    database: str, tmp_path: Path, start: Callable[[], Running], rows: Any, eventually: Any
) -> None:
    right, wrong, context = trustme.CA(), trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    right.issue_cert("localhost").configure_cert(context)
    ca = tmp_path / "ca.pem"
    ca.write_bytes(wrong.cert_pem.bytes())

    def hello(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(page(b"hello"))

    with scripted(hello, context) as port:
        options = {"tls": {"ca": str(ca)}, "address": "127.0.0.1"}
        put(database, spec("shop", f"https://localhost:{port}/", options=options))
        worker = start()
        eventually(lambda: rows("shop") and rows("shop")[0] == ("down", "certificate"), WITHIN_S)
        ca.write_bytes(right.cert_pem.bytes())
        look(database)
        eventually(lambda: rows("shop")[0] == ("up", None), WITHIN_S)

        ca.write_bytes(b"half of it")
        look(database)
        before = len(rows("shop"))
        eventually(lambda: len(rows("shop")) >= before + 2, WITHIN_S)
        assert rows("shop")[0] == ("up", None)
        ca.write_bytes(wrong.cert_pem.bytes())
        look(database)
        eventually(lambda: rows("shop")[0] == ("down", "certificate"), WITHIN_S)
        code, log = worker.end()
    assert code == 0
    assert f"{ca}: not a usable PEM file" in log and "the files as they were before are used" in log


def test_a_file_that_was_missing_is_used_when_it_is_there(
    database: str, tmp_path: Path, start: Callable[[], Running], rows: Any, eventually: Any
) -> None:
    password, body = tmp_path / "password", tmp_path / "body"
    body.write_text("new body", encoding="utf-8")
    options = {"basic_auth": {"username": "probe", "password_file": str(password)}, "body": {"file": str(body)}}
    with scripted(serve) as port:
        put(database, spec("shop", f"http://127.0.0.1:{port}/", options=options))
        worker = start()
        eventually(lambda: rows("shop") and rows("shop")[0] == ("missed", "config"), WITHIN_S)
        password.write_text("new", encoding="utf-8")
        look(database)
        eventually(lambda: rows("shop")[0] == ("up", None), WITHIN_S)
        _, log = worker.end()
    assert 'endpoint "shop" is not checked: config: ' in log and f"cannot read {password}: No such file" in log
    assert log.count("is not checked") == 1


def test_a_file_that_was_replaced_is_read_though_the_database_went_away_just_then(
    database: str, tmp_path: Path, start: Callable[[], Running], rows: Any, eventually: Any
) -> None:
    body = tmp_path / "body"
    body.write_text("old body", encoding="utf-8")
    options = {"basic_auth": {"username": "probe", "password": "new"}, "body": {"file": str(body)}}

    def followers() -> list[tuple[Any, ...]]:
        return query(
            database,
            "SELECT pid FROM pg_stat_activity"
            " WHERE application_name LIKE 'watcher roster%' AND datname = current_database()",
        )

    def looked_and_sent() -> bool:
        look(database)
        return bool(rows("shop")[0] == ("up", None))

    with scripted(serve) as port:
        put(database, spec("shop", f"http://127.0.0.1:{port}/", options=options))
        start()
        eventually(lambda: rows("shop") and rows("shop")[0] == ("down", "status"), WITHIN_S)
        before = followers()
        ask(database, "ALTER TABLE endpoints RENAME TO endpoints_away")
        body.write_text("new body", encoding="utf-8")
        look(database)
        eventually(lambda: followers() not in (before, []), WITHIN_S)
        ask(database, "ALTER TABLE endpoints_away RENAME TO endpoints")
        eventually(looked_and_sent, WITHIN_S)
