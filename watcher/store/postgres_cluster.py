"""The data directory of the embedded PostgreSQL: made once, whole or not at all, and its settings.

Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from watcher.errors import EnvironmentProblem
from watcher.store.postgres_account import Account
from watcher.store.postgres_binaries import Binaries, quotable

ROLE = DATABASE = "watcher"
SETTINGS_FILE = "watcher.conf"
SETTINGS = """\
# Written by watcher at each start. Settings of your own belong into postgresql.conf, which is read after these.
cluster_name = 'watcher'
listen_addresses = ''                # no network: only who can enter this directory
unix_socket_directories = '"{socket_dir}"'
unix_socket_permissions = 0700
synchronous_commit = on              # a stored result survives a power cut; a batch a second makes the wait cheap
jit = off                            # short queries; compiling them takes longer than running them
log_destination = 'stderr'           # postgres.log, which watcher keeps short
logging_collector = off
log_line_prefix = '%m [%p] '
log_checkpoints = off
log_min_error_statement = panic      # statements carry what is stored, and endpoints may carry secrets
log_error_verbosity = terse          # so does DETAIL
include 'postgresql.conf'
"""


def environment(stale_pid: int = 0) -> dict[str, str]:
    """Return the environment for the programs of PostgreSQL: little, since ours may hold passwords of endpoints.

    Args:
        stale_pid: of a server that is known to be gone. Without it PostgreSQL would not start while any process of
            the account has that id now, which in a restarted container is likely. (The variable is what pg_ctl sets
            for its own id; PostgreSQL still looks for processes that use the directory's shared memory.)
    """
    chosen = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if name in os.environ}
    if stale_pid:
        chosen["PG_GRANDPARENT_PID"] = str(stale_pid)
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", **chosen}


def command(directory: Path, binaries: Binaries) -> list[str]:
    """Return the command that serves a data directory, with the file of `settings`."""
    settings_file = f"config_file={directory / SETTINGS_FILE}"
    return [str(binaries.directory / "postgres"), "-D", str(directory), "-c", settings_file]


def settings(socket_dir: Path) -> Mapping[str, str]:
    """Return the files that a server finds in its data directory, by name."""
    return {SETTINGS_FILE: SETTINGS.format(socket_dir=socket_dir)}


def major(directory: Path) -> int | None:
    """Return the major version of PostgreSQL that made a data directory; None when there is none."""
    try:
        return int((directory / "PG_VERSION").read_text(encoding="ascii"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise EnvironmentProblem(
            f"{directory} is damaged: {error}; restore it from a backup, or move it away to begin anew"
        ) from None


def create(directory: Path, binaries: Binaries, account: Account, keep: int) -> None:
    """Make a data directory with the role and database `watcher`, on the disk when this returns.

    Args:
        directory: where; made beside it under another name and renamed at last.
        binaries: what makes it.
        account: who makes and owns it.
        keep: a descriptor for the programs to hold as long as they run.

    Raises:
        EnvironmentProblem: it cannot be made; the reason is in the message.
    """
    new = directory.with_name(f"{directory.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    # byte order does not change with the system's libraries, which would break indexes; from 17 on it knows letters
    locale = ["--locale=C"]
    if binaries.major >= 17:
        locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    # trust: the lock is the directory, 0700, which lets in just root and the account, who own the files anyway
    access = [f"--username={ROLE}", "--auth-local=trust", "--auth-host=reject"]
    with _whole_or_not(new), quotable(binaries, account) as programs:
        initdb, postgres = str(programs / "initdb"), str(programs / "postgres")
        # each step without waiting for the disk, then all at once: 0.2 s less
        _run([initdb, "--pgdata", str(new), "--encoding=UTF8", "--no-sync", *locale, *access], account, keep)
        single = [postgres, "--single", "-F", "-D", str(new), "-c", "exit_on_error=on", "postgres"]
        _run(single, account, keep, f"CREATE DATABASE {DATABASE};\n")
        _run([initdb, "--pgdata", str(new), "--sync-only"], account, keep)
    new.rename(directory)


@contextlib.contextmanager
def _whole_or_not(directory: Path) -> Iterator[None]:
    """Leave nothing of what failed: a disk that was full would stay so."""
    try:
        yield
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def _run(program: Sequence[str], account: Account, keep: int, text: str = "") -> None:
    ended = subprocess.run(
        program,
        check=False,
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd="/",
        env=environment(),
        pass_fds=(keep,),
        start_new_session=True,
        umask=0o077,
        **account.popen_options(),
    )
    name, code = Path(program[0]).name, ended.returncode
    if code < 0:
        why = " (as the kernel does when memory runs out)" if code == -signal.SIGKILL else ""
        raise EnvironmentProblem(f"{name} was ended by {signal.Signals(-code).name}{why}; start again")
    if code != 0:
        raise EnvironmentProblem(f"{name} failed: {problem(ended.stdout) or code}")


def problem(output: str) -> str:
    """Return the line that says what is wrong, of what a program of PostgreSQL printed; with a remedy where known."""
    telling = ("FATAL:", "PANIC:", "error:", "child process")
    lines = [line for line in output.splitlines() if any(word in line for word in telling)]
    if not lines:
        return output.strip().splitlines()[-1] if output.strip() else ""
    for line in lines:
        for symptom, remedy in _REMEDIES.items():
            if symptom in line:
                return f"{_bare(line)}: {remedy}"
    return _bare(lines[0])


_REMEDIES = {
    "No space left on device": "the disk is full: free some space, or set agent.data_dir to a directory on another one",
    "Disk quota exceeded": "free some space, or set agent.data_dir to a directory elsewhere",
    "Read-only file system": "set agent.data_dir to a directory that can be written",
    "could not map anonymous shared memory": "there is too little memory for shared_buffers, see postgresql.conf",
    "invalid permissions": "chmod 700 it",
    "wrong ownership": "chown it to the account that PostgreSQL runs as",
    "terminated by signal 9": "the kernel does so when memory runs out; start again",
    "exit code 137": "it was killed, as the kernel does when memory runs out; start again",
}


def _bare(line: str) -> str:
    """Return a message without the time and process id before it."""
    for word in ("FATAL:", "PANIC:", "error:"):
        if word in line:
            return line.partition(word)[2].strip()
    return line.strip()
