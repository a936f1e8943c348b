"""The operating-system account that the embedded PostgreSQL runs as: PostgreSQL refuses to run as root.

Standard library only. Nothing here changes the account of this process; what it starts for PostgreSQL changes its own.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from watcher.errors import EnvironmentProblem

# The first two are made for such a purpose. `nobody` is everywhere, but other programs may run as it too, and they
# could read the database's files then: better than not to run, so it comes last.
NAMES = ("watcher", "postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """Who PostgreSQL is; `foreign` when this process is root and what it starts must become somebody else."""

    name: str
    uid: int
    gid: int
    foreign: bool

    def popen_options(self) -> dict[str, Any]:
        """Return the arguments for `subprocess` that start a program as this account, in no supplementary group."""
        return {"user": self.uid, "group": self.gid, "extra_groups": ()} if self.foreign else {}

    def reaches(self, directory: Path) -> bool:
        """Tell whether the account can enter a directory; asked of the kernel, so that ACLs count too.

        Raises:
            EnvironmentProblem: this root may not become another account.
        """
        command = ("/bin/sh", "-c", 'cd -- "$1"', "sh", str(directory))
        try:
            return subprocess.run(command, check=False, capture_output=True, **self.popen_options()).returncode == 0
        except PermissionError:
            raise EnvironmentProblem(
                f"PostgreSQL does not run as root, and this root may not become the account {self.name} "
                "(no CAP_SETUID): run watcher as an ordinary user, e.g. docker run --user, or set database.dsn"
            ) from None


def choose(data_dir: Path) -> Account:
    """Return the account: our own, or for root the owner of what is there already, else the first of `NAMES`.

    Raises:
        EnvironmentProblem: there is no such account.
    """
    uid = os.geteuid()
    if uid != 0:
        return _entry(uid)
    for owner in (_owner(data_dir / "postgres"), _owner(data_dir)):
        if owner:
            return _entry(owner)
    for name in NAMES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, foreign=True)
    raise EnvironmentProblem(
        f"PostgreSQL does not run as root, and none of the accounts {', '.join(NAMES)} exists: "
        "create one (useradd --system watcher), run watcher as an ordinary user, or set database.dsn"
    )


def _owner(path: Path) -> int:
    """Return the id of the owner of a directory; 0, as for root, when there is none."""
    try:
        return path.stat().st_uid
    except OSError:
        return 0


def _entry(uid: int) -> Account:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise EnvironmentProblem(
            f"PostgreSQL needs a name for the account it runs as, and user id {uid} has none in /etc/passwd: "
            "run watcher as a user that has, e.g. docker run --user watcher, or set database.dsn"
        ) from None
    foreign = os.geteuid() == 0
    return Account(entry.pw_name, uid, entry.pw_gid if foreign else os.getegid(), foreign)
