"""What each role may do and may not, on a real server. Roles are the server's: each test has names of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import NamedTuple

import pytest
from psycopg2.extensions import make_dsn, parse_dsn
from statements import ask
from test_grafana import DASHBOARD, filled_in

from watcher.config import EndpointSpec
from watcher.errors import DatabaseError, SchemaOutdated, UsageError
from watcher.models import Endpoint, Result, Status
from watcher.store import agents, endpoints, metrics, migrations, rollups, roles, status
from watcher.store.connection import connect, transaction

NUMBERS = count()
NOW = datetime.now(UTC)
HEALTH = {
    "checks": 1, "missed": 0, "shed": 0, "lag_p99_us": 0, "late_p99_us": 0, "canary_checks": 0, "error_p50_us": None,
    "error_max_us": None, "suspect": False, "produced": 1, "stored": 1, "damaged": 0, "dropped": 0, "spooled": 0,
}  # fmt: skip


class Users(NamedTuple):
    """DSNs of one member of each role, and of who made them."""

    names: roles.Names
    owner: str
    migrate: str
    write: str
    read: str


def new_names() -> roles.Names:
    """Give names that nobody has."""
    number = next(NUMBERS)
    return roles.Names(f"migrate_{number}", f"Write-{number}", f'read "{number}"')


def quoted(name: str) -> str:
    """Quote an identifier."""
    return '"' + name.replace('"', '""') + '"'


def make(dsn: str, names: roles.Names) -> bool:
    """Make the roles."""
    with closing(connect(dsn, name="test")) as connection:
        return roles.make(connection, names)


def member(dsn: str, role: str) -> str:
    """Make a user that is in a role, and give the DSN."""
    user = f"member_{next(NUMBERS)}"
    ask(dsn, f"CREATE ROLE {user} LOGIN; GRANT {quoted(role)} TO {user}")
    return make_dsn(dsn, user=user)


@pytest.fixture(name="users")
def fixture_users(database: str) -> Users:
    """Make roles in a fresh database."""
    names = new_names()
    assert make(database, names)
    return Users(names, database, *(member(database, name) for name in (names.migrate, names.write, names.read)))


def refused(dsn: str, statement: str) -> str:
    """Execute what must be refused, and give the words."""
    with pytest.raises(DatabaseError) as caught:
        ask(dsn, statement)
    assert "permission denied" in str(caught.value) or "must be owner" in str(caught.value), caught.value
    return str(caught.value)


def store(dsn: str, *moments: datetime) -> None:
    """Store a result for each moment, and fold, as an agent does."""
    endpoint = Endpoint(id=1, name="a", url="https://a/")
    results = [Result(endpoint, int(moment.timestamp() * 1e6), Status.UP, latency_us=9000) for moment in moments]
    with closing(connect(dsn, name="test", autocommit=True)) as connection:
        metrics.store(connection, [metrics.encode(results)], 1)
        rollups.fold(connection)
        rollups.fold(connection)


def test_making_them_again_changes_nothing(users: Users) -> None:
    assert not make(users.owner, users.names)
    assert not make(users.migrate, users.names)


def test_all_that_is_watchers_is_the_first_roles_and_known(users: Users) -> None:
    """A table that a migration adds must be told of in `watcher.store.roles`: who may write it?"""
    owners = ask(
        users.owner,
        "SELECT relname, relowner::regrole::name FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relkind IN ('r', 'p', 'v', 'S')"
        " UNION ALL SELECT proname, proowner::regrole::name FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        " UNION ALL SELECT typname, typowner::regrole::name FROM pg_type WHERE typname ~ '^check_(status|reason)$'",
    )
    assert len(owners) > 25 and {owner for _, owner in owners} == {users.names.migrate}


def test_who_writes_does_all_that_an_agent_does(users: Users, eventually: Callable) -> None:
    spec = EndpointSpec(name="a", url="https://a/", options={"regex": "x"})
    with closing(connect(users.write, name="test", autocommit=True)) as connection:
        agent_id = agents.register(connection, "here", "h", "a", "1", "kernel")
        agents.seen(connection, agent_id)
        agents.add_health(connection, agent_id, 0, HEALTH)
        agents.forget_health(connection, 90)
        assert endpoints.sync(connection, [spec], "file:x").added == 1
        assert endpoints.sync(connection, [], "file:x").removed == 1
        assert [row["name"] for row in endpoints.load(connection)[0]] == []
        assert len(metrics.upkeep(connection, datetime.now(UTC), 90).created) == 4
        assert status.read(connection).level == migrations.newest()
    hours = [NOW - timedelta(hours=ago) for ago in (3, 2, 1)]
    store(users.write, *hours)
    store(users.write, NOW - timedelta(hours=4))  # late

    def folded() -> bool:
        with closing(connect(users.write, name="test", autocommit=True)) as connection:
            rollups.fold(connection)
        return ask(users.read, "SELECT sum(up)::int FROM metrics_hours") == [(4,)]

    eventually(folded, 30)
    assert ask(users.owner, "SELECT count(*) FROM metrics") == [(4,)]
    owners = ask(users.owner, "SELECT DISTINCT relowner::regrole::name FROM pg_class WHERE relname ~ '^metrics_.*2'")
    assert owners == [(users.names.migrate,)]


def test_who_writes_drops_what_is_too_old_and_nothing_else(users: Users) -> None:
    long_ago = [NOW - timedelta(days=days) for days in (500, 30, 9)]
    endpoint = Endpoint(id=1, name="a", url="https://a/")
    results = [Result(endpoint, int(moment.timestamp() * 1e6), Status.UP) for moment in (*long_ago, NOW)]
    with closing(connect(users.write, name="test", autocommit=True)) as connection:
        metrics.store(connection, [metrics.encode(results)], 1)
        with transaction(connection) as cursor:
            for table in ("metrics_minutes", "metrics_hours", "metrics_days"):
                rollups.make_room(cursor, table, long_ago[0])
        expired = metrics.upkeep(connection, datetime.now(UTC), keep_days=20).expired
        assert expired == tuple(sorted(f"metrics_{moment:%Y%m%d}" for moment in long_ago[:2]))
        dropped = rollups.expire(connection)
        assert dropped == (f"metrics_minutes_{long_ago[0]:%Y%m%d}", f"metrics_hours_{long_ago[0]:%Y%m}")
    ask(users.owner, "SELECT watcher_add_partition('metrics_days', now())")
    left = ask(users.owner, "SELECT count(*) FROM metrics")
    assert left == [(2,)]
    today, month = f"metrics_{NOW:%Y%m%d}", f"metrics_days_{NOW:%Y%m}"
    for part in (today, month, "endpoints", "metrics", "metrics_20250231", "x'; --"):
        with pytest.raises(DatabaseError, match="is no part of the results that is over|out of range"):
            ask(users.write, "SELECT watcher_drop_partition(%s)", part)
    ask(users.owner, "CREATE TABLE metrics_20200101 (of_mine int)")
    with pytest.raises(DatabaseError, match="is no part of the results that is over"):
        ask(users.write, "SELECT watcher_drop_partition('metrics_20200101')")
    with pytest.raises(DatabaseError, match='no table "endpoints" is kept in partitions'):
        ask(users.write, "SELECT watcher_add_partition('endpoints', now())")


WRITERS_SHALL_NOT = (
    "DROP TABLE metrics", "DROP TABLE metrics_{today}", "ALTER TABLE metrics ADD COLUMN x int", "TRUNCATE metrics",
    "ALTER TABLE endpoints DISABLE TRIGGER ALL", "UPDATE metrics SET status = 'up'", "DELETE FROM metrics",
    "UPDATE metrics_{today} SET status = 'up'", "DELETE FROM metrics_{today}",
    "INSERT INTO metrics_{today} DEFAULT VALUES",
    "DELETE FROM endpoints", "DELETE FROM metrics_days", "DELETE FROM agents", "DELETE FROM rollup_progress",
    "INSERT INTO metrics_late VALUES (now())", "INSERT INTO watcher_migrations VALUES (99, 'x', now())",
    "DELETE FROM watcher_roles", "CREATE TABLE public.mine (x int)", "DROP VIEW endpoint_status", "CREATE SCHEMA mine",
    "CREATE FUNCTION public.now(text) RETURNS text LANGUAGE sql AS 'SELECT 1'", "DROP FUNCTION watcher_drop_partition",
    "ALTER FUNCTION watcher_metrics_late SET search_path = public", "CREATE ROLE mine",
    "ALTER TABLE metrics DETACH PARTITION metrics_{today}",
)  # fmt: skip
READERS_SHALL_NOT = (
    *WRITERS_SHALL_NOT, "INSERT INTO endpoints (name, url) VALUES ('b', 'https://b/')",
    "UPDATE endpoints SET enabled = false",
    "SELECT options FROM endpoints", "SELECT * FROM endpoints", "SELECT watcher_drop_partition('metrics_20200101')",
    "SELECT watcher_add_partition('metrics', now())", "SELECT watcher_drop_chunks(1)",
    "INSERT INTO metrics (time, endpoint_id, agent_id, status) VALUES (now(), 1, 1, 'up')", "DELETE FROM agent_health",
)  # fmt: skip


@pytest.mark.parametrize("who", ["write", "read"])
def test_neither_changes_or_drops_what_it_must_not(users: Users, who: str) -> None:
    store(users.write, NOW)
    for statement in WRITERS_SHALL_NOT if who == "write" else READERS_SHALL_NOT:
        refused(getattr(users, who), statement.format(today=f"{NOW:%Y%m%d}"))
    assert ask(users.owner, "SELECT count(*) FROM metrics WHERE status = 'up'") == [(1,)]


def test_who_reads_sees_all_that_dashboards_show(users: Users) -> None:
    store(users.write, NOW)
    queries = [panel["targets"][0]["rawSql"] for panel in DASHBOARD["panels"]]
    queries += [variable["query"] for variable in DASHBOARD["templating"]["list"]]
    for query in queries:
        ask(users.read, filled_in(query).replace("%%", "%"))
    for (view,) in ask(users.read, "SELECT viewname FROM pg_views WHERE schemaname = 'public'"):
        ask(users.read, f"SELECT * FROM {view}")


def test_what_runs_as_the_owner_is_not_led_astray_by_its_caller(users: Users) -> None:
    """The function of the trigger looks for metrics_late, the others for metrics: a temporary one is no match."""
    store(users.write, NOW - timedelta(days=1), NOW, NOW + timedelta(days=1))  # the day is there, whichever it is
    with closing(connect(users.write, name="test")) as connection, transaction(connection) as cursor:
        cursor.execute("CREATE TEMPORARY TABLE metrics_late (minute timestamptz)")
        cursor.execute("CREATE TEMPORARY TABLE metrics (time timestamptz) PARTITION BY RANGE (time)")
        cursor.execute("SET search_path = pg_temp, public")
        cursor.execute(
            "INSERT INTO public.metrics (time, endpoint_id, agent_id, status)"
            " VALUES (now() - interval '3 minutes', 2, 1, 'up')"
        )
        cursor.execute("SELECT count(*) FROM pg_temp.metrics_late")
        assert cursor.fetchone() == (0,)
        cursor.execute("SELECT watcher_add_partition('metrics', '2031-05-01 00:00+00')")
    parent = "SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = 'metrics_20310501'::regclass"
    assert ask(users.owner, parent) == [("metrics",)]
    assert ask(users.owner, "SELECT count(*) > 0 FROM metrics_late") == [(True,)]


def test_rights_that_were_added_are_taken_away(users: Users) -> None:
    ask(users.owner, f"GRANT ALL ON metrics, endpoints TO {quoted(users.names.write)}, {quoted(users.names.read)}")
    ask(users.owner, f"GRANT CREATE ON SCHEMA public TO {quoted(users.names.write)}")
    assert make(users.owner, users.names)
    refused(users.write, "DELETE FROM metrics")
    refused(users.read, "SELECT options FROM endpoints")
    assert not make(users.owner, users.names)


def test_a_role_that_could_do_more_is_refused(users: Users) -> None:
    names = users.names
    ask(users.owner, f"GRANT {names.migrate} TO {quoted(names.write)}")
    with pytest.raises(UsageError, match=f'is a member of "{names.migrate}" and could do all'):
        make(users.owner, names)
    with pytest.raises(UsageError, match='"watcher" has rights over the whole server; choose another'):
        make(users.owner, roles.Names(names.migrate, names.write, "watcher"))
    with pytest.raises(UsageError, match="three names"):
        make(users.owner, roles.Names("a", "b", "a"))


def test_who_may_not_make_roles_is_told_what_to_do(users: Users) -> None:
    with pytest.raises(DatabaseError, match=r"give the DSN of a superuser, or let one run what .* --sql"):
        make(users.write, new_names())


def test_the_script_does_the_same(database: str) -> None:
    names = new_names()
    with closing(connect(database, name="test")) as connection:
        text = roles.script(connection, names)
    assert ask(database, "SELECT count(*) FROM watcher_roles") == [(0,)]
    ask(database, text.replace("%", "%%"))
    assert not make(database, names)


def test_who_owns_the_database_and_may_create_roles_needs_no_superuser(empty_database: str) -> None:
    user, name = f"admin_{next(NUMBERS)}", parse_dsn(empty_database)["dbname"]
    ask(empty_database, f"CREATE ROLE {user} LOGIN CREATEROLE; ALTER DATABASE {name} OWNER TO {user}")
    admin, names = make_dsn(empty_database, user=user), new_names()
    migrations.migrate(admin)
    assert make(admin, names) and not make(admin, names)
    ask(admin, f"CREATE ROLE {user}_agent LOGIN; GRANT {quoted(names.write)} TO {user}_agent")
    writer = make_dsn(empty_database, user=f"{user}_agent")
    store(writer, NOW)
    refused(writer, "DROP TABLE metrics")


def test_who_owned_the_schema_before_goes_on(empty_database: str) -> None:
    user = f"former_{next(NUMBERS)}"
    ask(empty_database, f"CREATE ROLE {user} LOGIN; GRANT ALL ON SCHEMA public TO {user}")
    former = make_dsn(empty_database, user=user)
    migrations.migrate(former)
    names = new_names()
    make(empty_database, names)
    store(former, NOW)
    ask(former, "ALTER TABLE metrics ADD COLUMN more int")
    assert ask(former, "SELECT count(*) FROM metrics") == [(1,)]


def test_a_later_migration_is_the_owners_and_grants_what_it_brings(
    users: Users, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    newest = migrations.newest()
    late = tmp_path / f"{newest + 1:04}_more.sql"
    late.write_text("CREATE TABLE metrics_weeks (LIKE metrics_days)")
    files = migrations._files()  # pylint: disable=protected-access  # which migrations there are is nobody's to say
    monkeypatch.setattr(migrations, "_files", lambda: {**files, newest + 1: late})
    monkeypatch.setattr(roles, "RELATIONS", (*roles.RELATIONS, "metrics_weeks"))
    monkeypatch.setattr(roles, "WRITE", {**roles.WRITE, "metrics_weeks": "INSERT"})
    remedy = f'run `watcher db migrate` as a member of "{users.names.migrate}"'
    with pytest.raises(SchemaOutdated, match=remedy) as caught:
        migrations.migrate(users.write)
    assert caught.value.exit_code == 2 and f"at level {newest} of the schema" in str(caught.value)
    assert migrations.migrate(users.migrate) == [f"{newest + 1:04}_more"]
    ask(users.write, "INSERT INTO metrics_weeks SELECT * FROM metrics_days")
    assert ask(users.read, "SELECT count(*) FROM metrics_weeks") == [(0,)]
    refused(users.write, "DROP TABLE metrics_weeks")
    owner = ask(users.owner, "SELECT relowner::regrole::name FROM pg_class WHERE relname = 'metrics_weeks'")
    assert owner == [(users.names.migrate,)] and not make(users.owner, users.names)


def test_who_may_make_no_tables_is_told_who_must(empty_database: str) -> None:
    user = f"nobody_{next(NUMBERS)}"
    ask(empty_database, f"CREATE ROLE {user} LOGIN")
    with pytest.raises(SchemaOutdated, match=r"has no tables of watcher's \(permission denied .*\); run `watcher db"):
        migrations.migrate(make_dsn(empty_database, user=user))
