"""Every error that watcher raises on purpose, under one root, with the exit code each one ends a command with."""

from __future__ import annotations

from collections.abc import Sequence

BOOT_FAILED = 3  # the exit code of a worker that cannot start at all, and would not if it were started again
OTHER_DATABASE = 4  # of one that ended because of `OtherDatabase`


def in_one_line(error: BaseException | str) -> str:
    """Give the first line of what an exception says, fit for a log: what cannot be shown is escaped."""
    lines = [line for line in map(str.strip, str(error).splitlines()) if line]
    return printable(lines[0]) if lines else ""


def printable(text: str) -> str:
    """Give a text in which nothing moves a terminal's cursor, or turns the direction of writing: that is escaped."""
    return text if text.isprintable() else "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


class WatcherError(Exception):
    """Root of all errors that watcher raises on purpose; the message names the place and the remedy."""

    exit_code = 1


class UsageError(WatcherError):
    """The user's input cannot be used as it is."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration that is not valid, with every mistake found in it.

    Args:
        problems: one line a mistake, each naming file, endpoint and key.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class DatabaseError(WatcherError):
    """The database refused or could not do what was asked; trying again may help only after a change."""


class DatabaseUnavailable(DatabaseError):
    """The database cannot be reached now; trying again may help."""


class OtherDatabase(WatcherError):
    """It is not the database that it was: ids, and results by them, are of no use in it, however often one tries."""


class SchemaOutdated(DatabaseError):
    """The schema is of an older version, and this user may not change it: somebody else must, then all is well."""

    exit_code = UsageError.exit_code


class Unstorable(DatabaseError):
    """The database will not take these rows, whatever becomes of it; it may take others."""


class EnvironmentProblem(UsageError):
    """The machine cannot do what was asked: a full disk, a taken port, a directory that cannot be written."""


class ProbeError(WatcherError):
    """A probe that ended early: raised by a prober, turned into a row by `watcher.probe`, never seen by users.

    Args:
        reason: a `watcher.models.Reason`.
        detail: one line for people; no secrets, it is stored.
    """

    def __init__(self, reason: object, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(detail)
