"""`watcher db roles`: makes the roles that agents, reports and migrations work as."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from watcher.commands.configured import configured, read, say
from watcher.errors import UsageError
from watcher.store.roles import Names

NAMES = Names()


@click.command(name="roles")
@configured
@click.option("--migrate-role", default=NAMES.migrate, show_default=True, metavar="NAME", help="Owns the schema.")
@click.option("--write-role", default=NAMES.write, show_default=True, metavar="NAME", help="What agents need.")
@click.option("--read-role", default=NAMES.read, show_default=True, metavar="NAME", help="What reports need.")
@click.option("--sql", "as_sql", is_flag=True, help="Print the statements, for somebody else to run them.")
def command(path: Path | None, migrate_role: str, write_role: str, read_role: str, as_sql: bool) -> None:
    """Make three roles with no more rights than their part needs, or bring those that are there up to date.

    They are groups that nobody logs in as: let users join them, e.g. in psql CREATE USER agent; \\password agent;
    GRANT watcher_write TO agent. The DSN must be of a user who may create roles and owns watcher's tables, such as a
    superuser. Who owned the tables until now joins the role that migrates, so agents that run go on.
    """
    from watcher.store import migrations, roles, serving
    from watcher.store.connection import connect

    names = Names(migrate_role, write_role, read_role)
    if not all(0 < len(name.encode()) < 64 and name.isprintable() for name in (migrate_role, write_role, read_role)):
        raise UsageError("a role's name has 1 to 63 bytes, and no control character")
    with serving(read(path)[0], say) as dsn:
        if not as_sql:
            migrations.migrate(dsn, say)
        with closing(connect(dsn, name="watcher db roles")) as connection:
            if as_sql:
                click.echo(roles.script(connection, names))
                return
            changed = roles.make(connection, names)
    click.echo(f"{migrate_role}: owns the schema, for watcher db migrate and backups")
    click.echo(f"{write_role}: for agents and watcher endpoints; changes no result, drops no table")
    click.echo(f"{read_role}: for watcher report and Grafana; sees no options of endpoints")
    click.echo("made; let users join them" if changed else "all is as it was, nothing to do")
