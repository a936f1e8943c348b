"""Becomes the PostgreSQL server: gives up root, ties its life to its parent's, writes the configuration, executes.

Run by its path as `python -I -S`, never imported by watcher: a fresh process has no threads, so that it may do between
fork and exec what `subprocess` warns of. Its standard input is one JSON object, see `Job`.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import stat
import sys
from typing import TypedDict

PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Job(TypedDict):
    """What to become. The standard streams and other descriptors stay as they are, except standard input."""

    parent: int  # whose death ends the server
    ids: tuple[int, int] | None  # user and group to become, in no supplementary group
    data: str  # the data directory, to work in
    files: dict[str, str]  # to write there first: as the account, since root must not write where others can put links
    socket: str  # the directory of the socket, made when it is missing
    command: list[str]
    environment: dict[str, str]  # all of it: ours may hold passwords of endpoints


def main() -> None:
    """Do what the job on standard input says; on success it never returns."""
    job: Job = json.load(sys.stdin)
    if job["ids"]:
        uid, gid = job["ids"]
        os.setgroups(())
        os.setgid(gid)
        os.setuid(uid)
    os.umask(0o077)
    die_with(job["parent"])
    make_private(job["socket"])
    os.chdir(job["data"])
    for name, text in job["files"].items():
        with open(f"{name}.new", "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(f"{name}.new", name)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.execve(job["command"][0], job["command"], job["environment"])


def make_private(directory: str) -> None:
    """Make a directory for this account alone; one that is there must be so already."""
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        seen = os.lstat(directory)
        if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.geteuid() or seen.st_mode & 0o077:
            sys.exit(f"FATAL:  {directory} is not a directory of this account alone: move it away")


def die_with(parent: int) -> None:
    """Have the kernel send SIGINT, a fast shutdown, when the thread that started us ends, however it ends.

    Linux only; setuid takes it away, so it comes after. The parent may have died before: then nobody would tell.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        sys.exit("the process that started this one is gone")


if __name__ == "__main__":
    try:
        main()
    except OSError as problem:
        sys.exit(f"FATAL:  {problem}")
