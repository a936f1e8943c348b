"""PostgreSQL: the only package that knows psycopg2. Importing the package itself loads the standard library alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watcher.config import Settings


@contextmanager
def database(settings: Settings, say: Callable[[str], None]) -> Iterator[str]:
    """Give the DSN of the database that the settings mean, migrated; the embedded server runs as long as it is needed.

    Raises:
        DatabaseError: it cannot be reached, refuses, or is newer than this version.
        EnvironmentProblem: the embedded server cannot run here.
    """
    from watcher.store import migrations

    # pylint: disable-next=contextmanager-generator-missing-cleanup  # serving ends in a with of its own
    with serving(settings, say) as dsn:
        migrations.migrate(dsn, say)
        yield dsn


@contextmanager
def serving(settings: Settings, say: Callable[[str], None]) -> Iterator[str]:
    """Give that DSN with the database as it is, not even connected to."""
    if settings.database.dsn is not None:
        yield settings.database.dsn
        return
    from watcher.store import embedded

    with embedded.serve(settings.agent.data_dir, say) as server:
        yield server.dsn
