"""A server with TimescaleDB, for the tests that need one: WATCHER_TEST_TIMESCALE_DSN, a superuser's, names it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2
import pytest
from statements import ask

from watcher.store import roles
from watcher.store.connection import connect

SERVER = os.environ.get("WATCHER_TEST_TIMESCALE_DSN", "")

needed = pytest.mark.skipif(not SERVER, reason="WATCHER_TEST_TIMESCALE_DSN is not set")


@contextmanager
def fresh(name: str) -> Iterator[str]:
    """Give the DSN of an empty database on that server."""
    with closing(psycopg2.connect(SERVER)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(f"CREATE DATABASE {name}")
        try:
            yield psycopg2.extensions.make_dsn(SERVER, dbname=name)
        finally:
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


def need(dsn: str, licence: str) -> None:
    """Skip the test on a server with the other licence: it cannot be changed in a session."""
    if ask(dsn, "SHOW timescaledb.license") != [(licence,)]:
        pytest.skip(f"needs a server with timescaledb.license = {licence}")


def compresses(dsn: str) -> bool:
    """Tell whether the edition of a database can compress."""
    return ask(dsn, "SHOW timescaledb.license") == [("timescale",)]


def compress_no_more(dsn: str) -> None:
    """Take the job away that compresses: it begins at once, and gets in the way of who compresses or drops a chunk."""
    if compresses(dsn):
        ask(dsn, "SELECT remove_compression_policy('metrics')")


def compress(dsn: str) -> int:
    """Compress what is older than two days, as the policy would, and count it."""
    old = "show_chunks('metrics', older_than => interval '2 days') AS chunk"
    ask(dsn, f"SELECT compress_chunk(chunk, if_not_compressed => true) FROM {old}")
    return ask(dsn, "SELECT count(*) FROM timescaledb_information.chunks WHERE is_compressed")[0][0]


@contextmanager
def with_roles(*dsns: str) -> Iterator[roles.Names]:
    """Give databases roles, which belong to the whole server, and take them away at the end."""
    names = roles.Names("timescale_test_migrate", "timescale_test_write", "timescale_test_read")
    try:
        for dsn in dsns:
            with closing(connect(dsn, name="test")) as connection:
                roles.make(connection, names)
        yield names
    finally:
        for name in (names.migrate, names.write, names.read):
            for dsn in dsns:
                ask(dsn, f"REASSIGN OWNED BY {name} TO CURRENT_USER")
                ask(dsn, f"DROP OWNED BY {name}")
            ask(dsns[0], f"DROP ROLE {name}")
