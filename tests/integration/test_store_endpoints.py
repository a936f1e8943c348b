"""The endpoints table on a real server: what a sync touches, and that no change escapes a reader."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from green_process import run_green
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from statements import execute

from watcher import config
from watcher.config import EndpointSpec
from watcher.config.options import OptionTypes
from watcher.errors import ConfigError, DatabaseUnavailable
from watcher.store import endpoints
from watcher.store.connection import Connection, connect
from watcher.store.endpoints import Selection, Synced

FILE = "file:/etc/watcher/endpoints.toml"


def spec(name: str, url: str = "https://example.com/", **fields: Any) -> EndpointSpec:
    """Make a spec."""
    return EndpointSpec(name=name, url=url, **fields)


@pytest.fixture(name="connection")
def open_connection(database: str) -> Iterator[Connection]:
    """Give a connection as the supervisor and commands have it."""
    with closing(connect(database, name="test")) as connection:
        yield connection


@pytest.fixture(name="worker")
def open_worker(database: str) -> Iterator[Connection]:
    """Give a connection as a worker has it."""
    with closing(connect(database, name="worker", autocommit=True)) as connection:
        yield connection


def marks(connection: Connection) -> dict[str, tuple[Any, ...]]:
    """Give of each endpoint what a change of its row changes, after its id."""
    rows = execute(connection, "SELECT name, id, updated_at, changed_xid::text, xmin::text FROM endpoints")
    return {row[0]: row[1:] for row in rows}


def follow(worker: Connection, cursor: str) -> tuple[list[str], list[int], str]:
    """Give the names that changed, the ids that went, the next cursor."""
    changed, gone, cursor = endpoints.changes(worker, cursor)
    return [row["name"] for row in changed], gone, cursor


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("options", '{"x":' + "[" * 1500 + "]" * 1500 + "}"),
        ("options", '{"x":' + "[" * 300 + "]" * 300 + "}"),
        ("options", '{"x": ' + "9" * 5000 + "}"),
        ("labels", '{"x":' + "[" * 1500 + "]" * 1500 + "}"),
    ],
)
def test_a_row_that_nobody_can_use_does_not_hide_the_others(worker: Connection, column: str, value: str) -> None:
    _, _, cursor = follow(worker, "0")
    for name, written in (("a", "{}"), ("b", value), ("c", "{}")):
        statement = f"INSERT INTO endpoints (name, url, {column}) VALUES (%s, 'https://example.com/', %s)"
        execute(worker, statement, name, written)
    for rows in (
        list(endpoints.load(worker)[0]),
        list(endpoints.changes(worker, cursor)[0]),
        list(endpoints.find(worker, Selection())),
    ):
        assert [row["name"] for row in rows] == ["a", "b", "c"]
        with pytest.raises(ConfigError, match=f'endpoint "b": {column}: '):
            config.endpoint(rows[1], OptionTypes({"x": (Any, "test")}))


def test_brackets_within_strings_are_no_depth(connection: Connection) -> None:
    options = {"x": '["[' * 500 + "\\", "y": [[]] * 100}
    endpoints.sync(connection, [spec("a", options=options)], FILE)
    assert next(endpoints.load(connection)[0])["options"] == options


def test_a_sync_stores_every_field(connection: Connection, worker: Connection) -> None:
    whole = EndpointSpec(
        name="whole", url="https://${HOST}/", interval_s=7.5, timeout_s=0.25, priority=3, enabled=True,
        labels={"team": "web"}, locations=("fra", "nyc, east"),
        options={"basic_auth": {"username": "u", "password": "${P}"}, "status": ["2xx", 304], "big": 2**60, "no": None},
    )  # fmt: skip
    assert endpoints.sync(connection, [whole], FILE) == Synced(added=1)
    (row,), _ = endpoints.load(worker)
    assert row == {
        "id": 1, "name": "whole", "url": "https://${HOST}/", "interval_s": 7.5, "timeout_s": 0.25, "priority": 3,
        "enabled": True, "labels": {"team": "web"}, "locations": ["fra", "nyc, east"], "source": FILE,
        "options": {
            "basic_auth": {"username": "u", "password": "${P}"}, "status": ["2xx", 304], "big": 2**60, "no": None,
        },
    }  # fmt: skip


def test_a_sync_touches_only_what_differs(connection: Connection) -> None:
    old = [spec("same"), spec("other", options={"a": 1}), spec("gone")]
    endpoints.sync(connection, old, FILE)
    before = marks(connection)
    new = [spec("same"), spec("other", options={"a": 2}), spec("new")]
    assert endpoints.sync(connection, new, FILE) == Synced(added=1, changed=1, removed=1, unchanged=1)
    after = marks(connection)
    assert after["same"] == before["same"]
    for name in ("other", "gone"):
        assert after[name][0] == before[name][0]
        assert all(one != other for one, other in zip(after[name][1:], before[name][1:], strict=True))
    assert [row["name"] for row in endpoints.find(connection, Selection())] == ["new", "other", "same"]
    assert [row["name"] for row in endpoints.find(connection, Selection(removed=True))] == ["gone"]


@pytest.mark.parametrize(
    "change",
    [
        {"url": "https://example.com/2"}, {"interval_s": 61.0}, {"timeout_s": 9.0}, {"priority": -1},
        {"enabled": False},
        {"labels": {"a": "b"}}, {"locations": ("fra",)}, {"options": {"regex": "x"}},
    ],
)  # fmt: skip
def test_each_field_counts_as_a_change(connection: Connection, change: dict[str, Any]) -> None:
    endpoints.sync(connection, [spec("a")], FILE)
    assert endpoints.sync(connection, [spec("a", **{"url": "https://example.com/", **change})], FILE) == Synced(
        changed=1
    )
    assert endpoints.sync(connection, [spec("a", **{"url": "https://example.com/", **change})], FILE) == Synced(
        unchanged=1
    )


def test_a_removed_name_that_comes_back_has_its_id(connection: Connection) -> None:
    endpoints.sync(connection, [spec("a"), spec("b")], FILE)
    before = marks(connection)["b"][0]
    assert endpoints.sync(connection, [spec("a")], FILE) == Synced(removed=1, unchanged=1)
    assert endpoints.sync(connection, [spec("a")], FILE) == Synced(unchanged=1)
    assert endpoints.sync(connection, [spec("a"), spec("b")], FILE) == Synced(added=1, unchanged=1)
    assert marks(connection)["b"][0] == before


def test_a_sync_leaves_other_sources_alone_but_takes_a_name_that_it_needs(connection: Connection) -> None:
    endpoints.sync(connection, [spec("shared"), spec("theirs")], "import:a.csv")
    assert endpoints.sync(connection, [spec("shared"), spec("ours")], FILE) == Synced(
        added=1, changed=1, taken=(("shared", "import:a.csv"),)
    )
    rows = {row["name"]: row["source"] for row in endpoints.find(connection, Selection())}
    assert rows == {"shared": FILE, "theirs": "import:a.csv", "ours": FILE}


def test_an_import_adds_without_removing(connection: Connection) -> None:
    endpoints.sync(connection, [spec("a")], "import:x", replace=False)
    assert endpoints.sync(connection, [spec("b")], "import:x", replace=False) == Synced(added=1)
    assert [row["name"] for row in endpoints.find(connection, Selection(source="import:x"))] == ["a", "b"]


def test_more_specs_than_a_statement_takes(connection: Connection) -> None:
    many = [spec(f"e{number}", options={"regex": "x" * 100}) for number in range(5003)]
    assert endpoints.sync(connection, iter(many), FILE) == Synced(added=5003)
    assert endpoints.sync(connection, iter(many), FILE) == Synced(unchanged=5003)
    assert endpoints.sync(connection, [], FILE) == Synced(removed=5003)


def test_a_sync_that_fails_changes_nothing(connection: Connection) -> None:
    endpoints.sync(connection, [spec("a")], FILE)
    with pytest.raises(ConfigError, match=r"endpoint 'b': contains the character NUL"):
        endpoints.sync(connection, [spec("c"), spec("b", options={"deep": [{"in": "a\0b"}]})], FILE)
    assert [row["name"] for row in endpoints.find(connection, Selection())] == ["a"]


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=TEXT, url=TEXT, labels=st.dictionaries(TEXT, TEXT, max_size=3), locations=st.lists(TEXT, max_size=3),
    options=st.dictionaries(TEXT, JSON, max_size=3),
)  # fmt: skip
def test_any_text_comes_back_as_it_was(
    connection: Connection, name: str, url: str, labels: dict, locations: list, options: dict
) -> None:
    wanted = spec(name, url, labels=labels, locations=tuple(locations), options=options)
    endpoints.sync(connection, [wanted], FILE)
    (row,), _ = endpoints.load(connection)
    assert (row["name"], row["url"], row["labels"], row["options"]) == (name, url, labels, options)
    assert row["locations"] == locations


def test_a_backslash_before_u0000_is_no_nul(connection: Connection) -> None:
    endpoints.sync(connection, [spec("a", options={"regex": r"\u0000"})], FILE)
    (row,), _ = endpoints.load(connection)
    assert row["options"] == {"regex": r"\u0000"}


def test_a_reader_sees_only_what_is_to_be_watched(connection: Connection, worker: Connection) -> None:
    endpoints.sync(connection, [spec("a"), spec("off", enabled=False), spec("gone")], FILE)
    endpoints.sync(connection, [spec("a"), spec("off", enabled=False)], FILE)
    rows, _ = endpoints.load(worker)
    assert [row["name"] for row in rows] == ["a"]


def test_an_empty_table_has_a_cursor_too(connection: Connection, worker: Connection) -> None:
    rows, cursor = endpoints.load(worker)
    assert not list(rows)
    assert follow(worker, cursor)[:2] == ([], [])
    endpoints.sync(connection, [spec("a")], FILE)
    assert follow(worker, cursor)[:2] == (["a"], [])


def test_a_change_is_seen_once_when_all_is_quiet(connection: Connection, worker: Connection) -> None:
    endpoints.sync(connection, [spec("a"), spec("b"), spec("c")], FILE)
    _, cursor = endpoints.load(worker)
    ids = {name: mark[0] for name, mark in marks(connection).items()}
    assert follow(worker, cursor)[:2] == ([], [])
    endpoints.sync(connection, [spec("a", options={"x": 1}), spec("b", enabled=False), spec("d")], FILE)
    changed, gone, cursor = follow(worker, cursor)
    assert (sorted(changed), sorted(gone)) == (["a", "d"], [ids["b"], ids["c"]])
    assert follow(worker, cursor)[:2] == ([], [])


def test_a_commit_that_comes_late_is_not_missed(database: str, connection: Connection, worker: Connection) -> None:
    with closing(connect(database, name="slow")) as slow:
        slow.cursor().execute("INSERT INTO endpoints (name, url) VALUES ('late', 'https://late/')")  # not committed
        endpoints.sync(connection, [spec("early")], FILE)
        rows, cursor = endpoints.load(worker)
        assert [row["name"] for row in rows] == ["early"]
        changed, _, cursor = follow(worker, cursor)
        assert "late" not in changed
        slow.commit()
        changed, _, cursor = follow(worker, cursor)
        assert "late" in changed
        assert follow(worker, cursor)[0] == []


def test_any_client_s_change_is_marked(connection: Connection, worker: Connection) -> None:
    endpoints.sync(connection, [spec("a"), spec("b")], FILE)
    _, cursor = endpoints.load(worker)
    execute(connection, "UPDATE endpoints SET interval_s = 30, updated_at = '2000-01-01' WHERE name = 'a'")
    execute(connection, "UPDATE endpoints SET interval_s = 60 WHERE name = 'b'")  # as it is
    execute(connection, "INSERT INTO endpoints (name, url, changed_xid) VALUES ('c', 'https://c/', '5')")
    assert follow(worker, cursor)[:2] == (["a", "c"], [])
    assert execute(connection, "SELECT count(*) FROM endpoints WHERE updated_at < now() - interval '1 day'") == [(0,)]


@pytest.mark.parametrize(
    ("statement", "notices"),
    [
        ("INSERT INTO endpoints (name, url) VALUES ('b', 'https://b/')", {"changed"}),
        ("UPDATE endpoints SET enabled = false", {"changed"}),
        ("DELETE FROM endpoints", {endpoints.DELETED}),
        ("TRUNCATE endpoints", {endpoints.DELETED}),
    ],
)
def test_listeners_have_notice(connection: Connection, worker: Connection, statement: str, notices: set[str]) -> None:
    endpoints.sync(connection, [spec("a")], FILE)
    endpoints.listen(worker)
    assert endpoints.wait_for_notice(worker, 0) == frozenset()
    execute(connection, statement)
    assert endpoints.wait_for_notice(worker, 10) == notices
    assert endpoints.wait_for_notice(worker, 0) == frozenset()


def test_a_sync_that_changes_much_is_few_notices(connection: Connection, worker: Connection) -> None:
    endpoints.listen(worker)
    endpoints.sync(connection, [spec(f"e{number}") for number in range(100)], FILE)
    assert endpoints.wait_for_notice(worker, 10) == {"changed"}
    assert endpoints.wait_for_notice(worker, 0) == frozenset()


def test_a_listener_learns_that_its_connection_broke(connection: Connection, worker: Connection) -> None:
    endpoints.listen(worker)
    execute(connection, "SELECT pg_terminate_backend(%s, 10000)", worker.get_backend_pid())
    with pytest.raises(DatabaseUnavailable):
        endpoints.wait_for_notice(worker, 10)


def test_green_a_notice_comes_while_the_hub_turns(database: str) -> None:
    printed = run_green(
        """
        import sys, gevent
        from contextlib import closing
        from watcher.store import endpoints
        from watcher.store.connection import connect, transaction
        turns = []
        def insert():
            turns.append("other")
            with closing(connect(sys.argv[1], name="test")) as connection, transaction(connection) as cursor:
                cursor.execute("INSERT INTO endpoints (name, url) VALUES ('a', 'https://a/')")
        with closing(connect(sys.argv[1], name="worker", autocommit=True)) as worker:
            endpoints.listen(worker)
            rows, cursor = endpoints.load(worker)
            other = gevent.spawn(insert)
            print(sorted(endpoints.wait_for_notice(worker, 10)), turns)
            changed, gone, cursor = endpoints.changes(worker, cursor)
            print([row["name"] for row in changed], gone)
            print(sorted(endpoints.wait_for_notice(worker, 0.01)))
            other.get()
        """,
        database,
    )
    assert printed.splitlines() == ["['changed'] ['other']", "['a'] []", "[]"]


def test_listening_in_a_transaction_is_refused(connection: Connection) -> None:
    with pytest.raises(ValueError, match="autocommit"):
        endpoints.listen(connection)


@pytest.fixture(name="stocked")
def stock(connection: Connection) -> Connection:
    """Fill the table from two sources."""
    endpoints.sync(
        connection, [spec("a", labels={"team": "web", "tier": "1"}), spec("b", labels={"team": "web"})], "one"
    )
    endpoints.sync(connection, [spec("c", enabled=False), spec("d", labels={"team": "db"})], "two")
    return connection


@pytest.mark.parametrize(
    ("selection", "names"),
    [
        (Selection(), ["a", "b", "c", "d"]),
        (Selection(names=("d", "a", "x")), ["a", "d"]),
        (Selection(names=()), []),
        (Selection(labels={"team": "web"}), ["a", "b"]),
        (Selection(labels={"team": "web", "tier": "1"}), ["a"]),
        (Selection(source="two"), ["c", "d"]),
        (Selection(enabled=False), ["c"]),
        (Selection(source="one", enabled=False), []),
        (Selection(removed=True), []),
    ],
)
def test_a_selection_finds_what_it_says(stocked: Connection, selection: Selection, names: list[str]) -> None:
    assert [row["name"] for row in endpoints.find(stocked, selection)] == names


def test_enabling_and_removing_count_what_they_change(stocked: Connection) -> None:
    ids = [row["id"] for row in endpoints.find(stocked, Selection())]
    assert endpoints.enable(stocked, ids) == 1
    assert endpoints.enable(stocked, ids[:2], False) == 2
    assert endpoints.remove(stocked, ids[:3]) == 3
    assert endpoints.remove(stocked, ids) == 1
    assert [row["enabled"] for row in endpoints.find(stocked, Selection(removed=True))] == [False, False, True, True]


def test_near_names_are_found_whatever_their_case(connection: Connection) -> None:
    endpoints.sync(connection, [spec("Front page"), spec("login"), spec("shop")], FILE)
    assert endpoints.near(connection, "frnt page") == ["Front page"]
    assert endpoints.near(connection, "zzzzzzzz") == []


@pytest.mark.parametrize(
    "values",
    ["interval_s = 4.9", "interval_s = 301", "timeout_s = 0", "timeout_s = 'NaN'", "options = '[]'", "name = ''",
     "labels = 'null'", "locations = ARRAY[NULL]", "interval_s = 'NaN'"],
)  # fmt: skip
def test_the_table_refuses_what_no_agent_could_use(stocked: Connection, values: str) -> None:
    with pytest.raises(Exception, match="violates check constraint"):
        execute(stocked, f"UPDATE endpoints SET {values} WHERE name = 'a'")
