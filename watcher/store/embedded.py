"""The embedded PostgreSQL: a server under the data directory that lives as long as somebody here needs it.

Owns the server's process, its log and its locks; knows nothing of SQL. Standard library only: the supervisor uses it.

Two locks of the kernel (flock) tell who is there, whatever process ids may lie in files. `postgres.owner` is held by
the watcher process whose child the server is; whoever finds it taken joins that server. `postgres.server` is held by
the server's processes themselves, which inherit it: whoever has both knows that no server runs, and that what lies in
the directory is what a crash left.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO
from urllib.parse import quote

from watcher.errors import DatabaseUnavailable, EnvironmentProblem
from watcher.store import libpq_environment, postgres_account, postgres_binaries, postgres_cluster, postgres_socket

LAUNCHER = Path(__file__).with_name("postgres_launch.py")
LOG_BYTES = 8 << 20
READY_S = 600.0  # after a crash a server replays up to a gigabyte of its log
PATIENCE_S = 5.0  # after which a wait is told of
RETRY_S = 2.0  # between two starts
NOTICE_S = 5.0  # in which the processes of a server notice that it is gone
STOP_S = 30.0  # for a last checkpoint


@contextlib.contextmanager
def serve(data_dir: Path, say: Callable[[str], None], give_up: Callable[[], bool] = lambda: False) -> Iterator[Server]:
    """Run a server under `data_dir`, or join the one that another process runs there, until the context ends.

    Args:
        data_dir: made when it is missing; PostgreSQL's own files go into `postgres` in it.
        say: told in a line what happens.
        give_up: asked while waiting for the server to be ready; true ends the wait.

    Raises:
        EnvironmentProblem: this machine cannot run it here; the message has the remedy.
        DatabaseUnavailable: it is not ready in ten minutes, or `give_up`.
    """
    # pylint: disable-next=contextmanager-generator-missing-cleanup  # running ends in a with of its own
    with running(data_dir, say) as server:
        server.wait(give_up)
        yield server


@contextlib.contextmanager
def running(data_dir: Path, say: Callable[[str], None]) -> Iterator[Server]:
    """Do what `serve` does, but for `Server.wait`, which is the caller's to call."""
    libpq_environment.hide()
    server = Server(data_dir.absolute(), say)
    try:
        yield server
    finally:
        server.stop()


class Server:
    """A PostgreSQL server that this process started or joined.

    The thread that starts it, in `wait` or `ensure`, must live as long as the server is needed: on Linux the server
    dies with it. `stop` may be called by another.
    """

    def __init__(self, data_dir: Path, say: Callable[[str], None]) -> None:
        self._data_dir = data_dir
        self._home = data_dir / "postgres"
        self._cluster = self._home / "data"
        self._say = say
        self._account = postgres_account.choose(data_dir)
        with explained(data_dir):
            make_directory(data_dir, self._account.foreign)
            self._owner = Lock(data_dir / "postgres.owner")
        self._turn = threading.Lock()  # `ensure` must not start again what `stop` ends
        self._stopped = False
        self._process: subprocess.Popen[bytes] | None = None
        self._log_from = 0
        self._retry_at = 0.0
        self._leftover_at: float | None = None

    @property
    def dsn(self) -> str:
        """The address for libpq; without a password, and the same after each restart."""
        host = quote(str(postgres_socket.recorded(self._data_dir)), safe="/")
        return f"postgresql://{postgres_cluster.ROLE}@/{postgres_cluster.DATABASE}?host={host}&port=5432"

    @property
    def pid(self) -> int | None:
        """The server's process id when it is ours; None when we joined another's."""
        return self._process.pid if self._process else None

    @property
    def programs(self) -> Path | None:
        """The directory with the other programs of its version, such as pg_dump."""
        major = postgres_cluster.major(self._cluster)
        return postgres_binaries.directory(major) if major else None

    def ensure(self) -> bool:
        """Look once whether the server runs and start it if not, without waiting until it answers; True if it did.

        Keeps the log short, too. To be called about once a second.

        Raises:
            EnvironmentProblem: it cannot be started; a later call may.
        """
        with self._turn, explained(self._data_dir):
            if self._process and self._serves(self._process):
                self._shorten_log()
                return False
            if self._stopped or time.monotonic() < self._retry_at or not self._owner.acquire():
                return False
            if self._process:
                self._bury(self._process)
            with contextlib.closing(Lock(self._data_dir / "postgres.server")) as lock:
                if not lock.acquire():
                    self._end_leftover()
                    return False
                self._leftover_at = None
                self._retry_at = time.monotonic() + RETRY_S
                self._process = self._start(lock)
            return True

    def wait(self, give_up: Callable[[], bool] = lambda: False) -> None:
        """Wait until the server answers, after starting it where nobody runs one.

        Raises:
            EnvironmentProblem: it cannot be started, or ended instead.
            DatabaseUnavailable: it is not ready in ten minutes, or `give_up`.
        """
        with explained(self._data_dir):
            self._wait(give_up)

    def _wait(self, give_up: Callable[[], bool]) -> None:
        began, told = time.monotonic(), False
        while True:
            process = self._process
            if process is None:
                self.ensure()  # before a look at what is there: what nobody owns is about to end
            elif process.poll() is not None:
                raise EnvironmentProblem(f"PostgreSQL in {self._home} does not start: {self._why(process)}")
            if self._ready():
                return
            waited_s = time.monotonic() - began
            if waited_s > READY_S or self._stopped or give_up():
                raise DatabaseUnavailable(
                    f"PostgreSQL in {self._home} is not ready after {waited_s:.0f} s, see {self._log}"
                )
            if waited_s > PATIENCE_S and not told:
                told = True
                self._say(f"waiting for PostgreSQL in {self._home}, see {self._log}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop the server if it is ours, leave another's alone; it is gone when this returns."""
        with self._turn:
            self._stopped = True
            process, self._process = self._process, None
            if process:
                self._end(process)
            self._owner.close()

    @property
    def _log(self) -> Path:
        return self._data_dir / "postgres.log"

    def _start(self, lock: Lock) -> subprocess.Popen[bytes]:
        """Start a server; the caller holds both locks."""
        account = self._account
        self._provide_home()
        major = postgres_cluster.major(self._cluster)
        binaries = postgres_binaries.choose(account, self._data_dir, major, self._say)
        where = f"{self._home}, as the account {account.name}" if account.foreign else f"{self._home}"
        if major is None:
            self._say(f"making a database with {binaries} in {where}")
            postgres_cluster.create(self._cluster, binaries, account, lock.fileno())
        self._say(f"starting {binaries} in {where}")
        job = {
            "parent": os.getpid(),
            "ids": (account.uid, account.gid) if account.foreign else None,
            "data": str(self._cluster),
            "files": postgres_cluster.settings(directory := postgres_socket.choose(self._data_dir, account.uid)),
            "socket": str(directory),
            "command": postgres_cluster.command(self._cluster, binaries),
            "environment": postgres_cluster.environment(stale_pid=self._postmaster()[0]),
        }
        with self._open_log() as log:
            self._log_from = log.seek(0, os.SEEK_END)
            process = subprocess.Popen(  # pylint: disable=consider-using-with  # it outlives this function
                [sys.executable, "-I", "-S", str(LAUNCHER)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=(lock.fileno(),),
                start_new_session=True,  # Ctrl-C at the terminal is for its owner, who stops it after the workers
            )
        with contextlib.suppress(BrokenPipeError), process.stdin:
            process.stdin.write(json.dumps(job).encode())
        return process

    def _provide_home(self) -> None:
        """Make the directory that the account owns, and see that the account gets there."""
        account = self._account
        if not self._home.is_dir():
            self._home.mkdir(0o700)
            if account.foreign:
                os.chown(self._home, account.uid, account.gid, follow_symlinks=False)
        if self._home.stat().st_uid != account.uid:
            raise EnvironmentProblem(
                f"{self._home} must belong to the account {account.name}, which PostgreSQL runs as: "
                f"chown -R {account.name} {self._home}, or set agent.data_dir to another directory"
            )
        if not account.reaches(self._home):
            closed = next(place for place in reversed((self._home, *self._home.parents)) if not account.reaches(place))
            raise EnvironmentProblem(
                f"PostgreSQL does not run as root but as the account {account.name}, which cannot reach "
                f"{closed}: chmod o+x {closed}, or set agent.data_dir to a directory outside of it"
            )

    def _ready(self) -> bool:
        """Tell whether the server takes connections. The file alone does not tell: a crash leaves it as it was."""
        if self._owner.held and not self._process:
            return False
        if self._postmaster()[1] != "ready":
            return False
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(self._socket_path()))
            except OSError:
                return False
        return self._postmaster()[1] == "ready"

    def _serves(self, process: subprocess.Popen[bytes]) -> bool:
        """Tell whether our server lives and has its socket: who cleans temporary directories may have taken it."""
        if process.poll() is not None:
            return False
        return self._postmaster() != (process.pid, "ready") or self._socket_path().exists()

    def _socket_path(self) -> Path:
        return (postgres_socket.recorded(self._data_dir) or self._home) / postgres_socket.NAME

    def _postmaster(self) -> tuple[int, str]:
        """Return process id and status from the server's lock file, zero and nothing where there is none."""
        try:
            lines = (self._cluster / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
            return int(lines[0]), lines[7].strip() if len(lines) > 7 else ""
        except (FileNotFoundError, ValueError, IndexError):
            return 0, ""

    def _bury(self, process: subprocess.Popen[bytes]) -> None:
        """End what is left of a server that cannot serve any more."""
        if process.poll() is None:
            self._say("PostgreSQL has lost its socket and starts again")
            self._end(process)
        else:
            self._say(f"PostgreSQL has ended and starts again: {self._why(process)}")
        self._process = None

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """End a server: fast, else at once as after a power cut, else by force."""
        for name, patience_s in (("SIGINT", STOP_S), ("SIGQUIT", STOP_S / 3), ("SIGKILL", STOP_S)):
            process.send_signal(getattr(signal, name))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience_s)
                return
            self._say(f"PostgreSQL (process {process.pid}) has not ended {patience_s:.0f} s after {name}")

    def _end_leftover(self) -> None:
        """End a server whose owner is gone: only a child of ours would end with us. Not waited for.

        Its processes that outlive it are killed, such as one that is stopped: no other may start before.

        Raises:
            EnvironmentProblem: it was asked long ago and still runs.
        """
        pid, now = self._postmaster()[0], time.monotonic()
        is_left = bool(pid) and self._is_ours(pid)
        if self._leftover_at is None:
            self._leftover_at = now
            if is_left:
                self._say(f"ending the PostgreSQL that an earlier run left (process {pid})")
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGINT)
        elif now - self._leftover_at > STOP_S:
            who = f"kill {pid}" if is_left else f"end the process that holds {self._data_dir / 'postgres.server'}"
            raise EnvironmentProblem(f"a PostgreSQL of an earlier run in {self._home} does not end: {who}")
        elif now - self._leftover_at > NOTICE_S and not is_left:
            for orphan in self._orphans():
                self._say(f"killing process {orphan} of a PostgreSQL that is gone")
                with contextlib.suppress(ProcessLookupError):
                    os.kill(orphan, signal.SIGKILL)

    def _orphans(self) -> list[int]:
        """Give the processes that work in our data directory, where the system lets us see them."""
        if not sys.platform.startswith("linux"):
            return []
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._is_ours(pid)]

    def _is_ours(self, pid: int) -> bool:
        """Tell whether a process works in our data directory as our account, where the system lets us see it."""
        if not sys.platform.startswith("linux"):
            return True  # the lock is held, so the file is of a server that runs
        try:
            link = f"/proc/{pid}/cwd"
            return os.stat(f"/proc/{pid}").st_uid == self._account.uid and os.readlink(link) == str(self._cluster)
        except OSError:
            return False

    def _open_log(self) -> IO[bytes]:
        return open(_private(self._log, os.O_RDWR | os.O_APPEND), "ab+")  # pylint: disable=consider-using-with

    def _shorten_log(self) -> None:
        """Move a long log into `postgres.log.1`; the server goes on writing into the same file."""
        with contextlib.suppress(OSError), self._open_log() as log:  # an unkept log is no reason to end anything
            if log.seek(0, os.SEEK_END) > LOG_BYTES:
                old = self._log.with_name("postgres.log.1")
                old.unlink(missing_ok=True)
                log.seek(0)
                with open(_private(old, os.O_WRONLY | os.O_EXCL), "wb") as copy:
                    shutil.copyfileobj(log, copy)
                log.truncate(0)

    def _why(self, process: subprocess.Popen[bytes]) -> str:
        """Say why a server ended: by what signal, or what it wrote."""
        code = process.returncode
        if code < 0:
            return f"it was ended by {signal.Signals(-code).name}"
        if code == 0:
            return "it was shut down"
        with self._open_log() as log:
            log.seek(self._log_from)
            said = postgres_cluster.problem(log.read(LOG_BYTES).decode(errors="replace"))
        return f"{said or f'exit code {code}'} (see {self._log})"


class Lock:
    """An exclusive lock on a file, held until it is closed here and in every process that inherited it."""

    def __init__(self, path: Path) -> None:
        self._file = open(_private(path, os.O_RDWR), "rb+")  # pylint: disable=consider-using-with
        self.held = False

    def fileno(self) -> int:
        """Return the descriptor, for a child to inherit."""
        return self._file.fileno()

    def note(self, text: str) -> None:
        """Write into the file who we are, once we have it."""
        self._file.truncate(0)
        self._file.seek(0)
        self._file.write(text.encode())
        self._file.flush()

    def holder(self) -> str:
        """Give what the one who has it wrote; nothing if it wrote nothing."""
        self._file.seek(0)
        return self._file.read().decode(errors="replace")

    def acquire(self) -> bool:
        """Take it if it is free or ours already; tell whether we have it."""
        if not self.held:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self.held = True
        return self.held

    def close(self) -> None:
        """Let go of it."""
        self.held = False
        self._file.close()


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the system refuses into a line that says what and what to do."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "set agent.data_dir to another directory")
        raise EnvironmentProblem(f"{error.filename or path}: {error.strerror or error}: {remedy}") from error


_ELSEWHERE = "set agent.data_dir to a directory that can be written"
_REMEDIES = {
    errno.EACCES: f"run watcher as its owner, or {_ELSEWHERE}",
    errno.EPERM: f"run watcher as its owner, or {_ELSEWHERE}",
    errno.EROFS: _ELSEWHERE,
    errno.ENOTDIR: _ELSEWHERE,
    errno.EEXIST: _ELSEWHERE,
    errno.ENOSPC: "free some space, or set agent.data_dir to a directory on another disk",
    errno.EDQUOT: "free some space, or set agent.data_dir to a directory on another disk",
    errno.ENOLCK: "its file system has no locks; set agent.data_dir to a directory on a local disk",
    errno.ENOTSUP: "its file system has no locks; set agent.data_dir to a directory on a local disk",
    errno.EMFILE: "too many open files; raise the limit (ulimit -n)",
}


def make_directory(path: Path, foreign: bool) -> None:
    """Make the data directory; one that another account must pass through lets everyone pass, and nobody look."""
    missing = [directory for directory in (path, *path.parents) if not directory.exists()]
    for directory in reversed(missing):
        directory.mkdir(exist_ok=True)
        if foreign:
            directory.chmod(0o711)
        elif directory == path:
            directory.chmod(0o700)


def _private(path: Path, flags: int) -> int:
    """Open a file of the data directory, made when it is missing; what root makes belongs to the directory's owner."""
    made = not path.exists()
    descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    if made and os.geteuid() == 0:
        owner = path.parent.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    return descriptor
