"""Settings, all of a configuration but its endpoints; here what a node is, and does."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

import msgspec

from watcher.config import conversion, foreign, keys, references, shapes
from watcher.config.conversion import Note, Report
from watcher.config.documents import Document
from watcher.durations import Duration
from watcher.models import Secret

SYSTEM_DATA_DIR = Path("/var/lib/watcher")
CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")
BATCH_AGE_S = (0.01, 60.0)
BUDGET_S = (0.001, 10.0)
WITNESSES = ("resolver", "gateway")
WITNESS_SCHEMES = ("tcp", "dns", "icmp")


class Database(msgspec.Struct, frozen=True, kw_only=True):
    """Where results go, and for how long; without a DSN the embedded PostgreSQL under `Agent.data_dir`."""

    dsn: Secret | None = None
    secret_key: Secret | None = None
    keep_days: int = 90
    keep_minute_rollups_days: int = 7
    keep_hour_rollups_days: int = 400
    keep_day_rollups_days: int = 3650


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """What this node is and how much it may do; docs/configuration.md gives the reason of each default."""

    # pylint: disable=duplicate-code  # watcher.worker.Job: what a worker is told of this
    data_dir: Path
    location: str = "local"
    variant: str = "default"
    source: str | None = None
    workers: int = 1
    concurrency: int = 2000
    keepers: int = 2
    batch_rows: int = 2000
    batch_age_s: float = 1.0
    buffer_rows: int = 100_000
    disabled_plugins: tuple[str, ...] = ()


class Accuracy(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent holds itself to; docs/configuration.md gives the reason of each default."""

    max_lag_s: float = 0.1
    max_late_s: float = 0.5
    max_error_s: float = 0.005
    witnesses: tuple[str, ...] = WITNESSES


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All of a configuration but its endpoints; `path` is None when there is no file.

    `source` names the file's endpoints in the table `endpoints`: "file:" and `Agent.source`, else the absolute path of
    the main file. `plugins` has the part `[plugins.NAME]` of each plugin that has one, converted to the type that the
    plugin declared; `plugin_tables` has them as written, for a worker to convert them again. `worker` is the index of
    the worker that asks, 0 elsewhere.
    """

    database: Database
    agent: Agent
    accuracy: Accuracy = Accuracy()
    path: Path | None = None
    source: str = ""
    plugins: dict[str, Any] = {}
    plugin_tables: dict[str, Any] = {}
    worker: int = 0

    def __repr__(self) -> str:
        """Show all but `plugin_tables`, where what is secret is not told from what is not."""
        shown = (f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name != "plugin_tables")
        return f"Settings({', '.join(shown)})"


Word = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]

Days = Annotated[int, msgspec.Meta(ge=1, le=36_500)]

DATABASE_TYPES: Mapping[str, Any] = shapes.with_files(
    {
        "dsn": Secret,
        "secret_key": Secret,
        "keep_days": Days,
        "keep_minute_rollups_days": Days,
        "keep_hour_rollups_days": Days,
        "keep_day_rollups_days": Days,
    }
)
AGENT_TYPES: Mapping[str, Any] = {
    "data_dir": Path,
    "location": Word,
    "variant": Word,
    "source": Word,
    "workers": Annotated[int, msgspec.Meta(ge=1, le=1024)],
    "concurrency": Annotated[int, msgspec.Meta(ge=1, le=100_000)],
    "keepers": Annotated[int, msgspec.Meta(ge=1, le=64)],
    "batch_rows": Annotated[int, msgspec.Meta(ge=1, le=100_000)],
    "batch_age": Duration,
    "buffer_rows": Annotated[int, msgspec.Meta(ge=1, le=100_000_000)],
    "disabled_plugins": list[str],
}
ACCURACY_TYPES: Mapping[str, Any] = {
    "max_lag": Duration,
    "max_late": Duration,
    "max_error": Duration,
    "witnesses": list[str],
}


def settings(document: Document, environ: Mapping[str, str], report: Report) -> tuple[Database, Agent]:
    """Give what a main file says, completed by the environment and the defaults; of no use once anything was reported.

    Raises nothing; keys are reported as `agent.workers`.
    """
    return _database(document, environ, report), _agent(document, environ, report)


def _database(document: Document, environ: Mapping[str, str], report: Report) -> Database:
    table = dict(document.table("database"))
    written = table.get("dsn")
    note = Note(report)
    if isinstance(written, str):
        table["dsn"] = _with_password(written, environ)
    values = _converted(document, "database", table, DATABASE_TYPES, note, environ)
    given = values.pop("dsn", None)
    if not {"dsn", "dsn_file"} & table.keys() and (given := environ.get("WATCHER_DATABASE_DSN") or None):
        note = Note(lambda _, text: report("WATCHER_DATABASE_DSN (environment)", text))
    wrong = _dsn_fault(given) if given is not None else None
    if wrong and not {"database.dsn", "database.dsn_file"} & set(note.keys):
        note("database.dsn", wrong)
    if not {"secret_key", "secret_key_file"} & table.keys() and environ.get("WATCHER_SECRET_KEY"):
        values["secret_key"] = Secret(environ["WATCHER_SECRET_KEY"])
        note = Note(lambda _, text: report("WATCHER_SECRET_KEY (environment)", text))
    if wrong := _key_fault(values.get("secret_key")):
        note("database.secret_key", wrong)
        del values["secret_key"]
    return Database(dsn=None if given is None else Secret(given), **values)


def _key_fault(given: str | None) -> str | None:
    try:
        if given is not None:
            keys.parse(given)
    except ValueError as error:
        return str(error)
    return None


_USERINFO = re.compile(r"(?P<scheme>postgres(?:ql)?://)(?P<userinfo>(?:\$\{[^}]*\}|[^@/?#])*)(?P<rest>@.*)", re.S)
_REFERENCE = re.compile(r"(?<!\$)\$\{(\w+)(?::-[^}]*)?\}", re.ASCII)


def _with_password(dsn: str, environ: Mapping[str, str]) -> str:
    """Percent-encode what references put before the `@` of a URL: a password may hold any character."""
    parts = _USERINFO.fullmatch(dsn)
    if parts is None:
        return dsn

    def encoded(reference: re.Match[str]) -> str:
        value = environ.get(reference[1])
        return quote(value, safe="", errors="surrogateescape") if value else reference[0]

    return parts["scheme"] + _REFERENCE.sub(encoded, parts["userinfo"]) + parts["rest"]


def _dsn_fault(dsn: str) -> str | None:
    if not dsn:
        return "is empty; leave it out for the embedded PostgreSQL"
    if dsn.startswith(("postgresql://", "postgres://")) or re.match(r"\s*\w+\s*=", dsn):
        return None
    return 'is no PostgreSQL DSN; write "postgresql://user@host/database" or "host=… dbname=…"'


def _agent(document: Document, environ: Mapping[str, str], report: Report) -> Agent:
    given = _converted(document, "agent", document.table("agent"), AGENT_TYPES, report, environ)
    written = given.pop("data_dir", None)
    data_dir = Path(document.directory, written) if written else default_data_dir(environ)
    if environ.get("WATCHER_DATA_DIR"):
        data_dir = Path(environ["WATCHER_DATA_DIR"]).absolute()
    elif not data_dir.is_absolute():
        report("agent.data_dir", "is not given, and this user has no home directory; set it or WATCHER_DATA_DIR")
    batch_age_s = float(given.pop("batch_age", 1.0))
    if not BATCH_AGE_S[0] <= batch_age_s <= BATCH_AGE_S[1]:
        report("agent.batch_age", f"must be from {BATCH_AGE_S[0]:g} to {BATCH_AGE_S[1]:g} seconds, got {batch_age_s:g}")
    given["disabled_plugins"] = tuple(given.get("disabled_plugins", ()))
    agent = Agent(**{"workers": cores()} | given, data_dir=data_dir, batch_age_s=batch_age_s)
    if agent.buffer_rows < agent.batch_rows:
        report("agent.buffer_rows", f"is less than a batch of {agent.batch_rows} rows; raise it or lower batch_rows")
    return agent


def accuracy(document: Document, environ: Mapping[str, str], report: Report) -> Accuracy:
    """Give what a main file says under `[accuracy]`; of no use once anything was reported."""
    given = _converted(document, "accuracy", document.table("accuracy"), ACCURACY_TYPES, report, environ)
    budgets = {f"{key}_s": float(value) for key, value in given.items() if key != "witnesses"}
    for key, value_s in budgets.items():
        if not BUDGET_S[0] <= value_s <= BUDGET_S[1]:
            key = f"accuracy.{key.removesuffix('_s')}"
            report(key, f"must be from {BUDGET_S[0]:g} to {BUDGET_S[1]:g} seconds, got {value_s:g}")
    witnesses = tuple(given.get("witnesses", WITNESSES))
    for name in witnesses:
        if wrong := _witness_fault(name):
            report("accuracy.witnesses", f'"{name}" {wrong}')
    return Accuracy(**budgets, witnesses=witnesses)


def _witness_fault(name: str) -> str | None:
    if name in WITNESSES:
        return None
    try:
        parts = urlsplit(name)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        return f"is no witness: {error}"
    if parts.scheme not in WITNESS_SCHEMES or not host or parts.path or parts.query:
        return 'is no witness; known are "resolver", "gateway", "tcp://ADDRESS:PORT", "dns://ADDRESS", "icmp://ADDRESS"'
    try:
        version = ip_address(host.partition("%")[0]).version
    except ValueError:
        return "needs an address: a name would have to be looked up first, over the network in question"
    if parts.scheme == "icmp" and (port or version == 6):
        return "has a port, which a ping has not" if port else "is IPv6, which is not pinged; use tcp:// or dns://"
    return None


def _converted(
    document: Document,
    section: str,
    table: Mapping[str, Any],
    wanted: Mapping[str, Any],
    report: Report,
    environ: Mapping[str, str],
) -> dict[str, Any]:
    """Give the keys of a section that are right, expanded and converted, after reporting the others."""
    hidden = conversion.secrets(dict(table), wanted, environ)
    note = Note(lambda key, text: report(key, references.scrubbed(text, hidden)))
    right = {}
    for key, value in table.items():
        place = f"{section}.{key}"
        if key not in wanted:
            known = foreign.section_hint(section, key) or conversion.suggestion(key, wanted)
            known = known or f"; known are {', '.join(wanted)}"
            note(place, f"unknown key{known}")
    known = {key: value for key, value in table.items() if key in wanted}
    kept = conversion.storable(known, wanted, section, note, document.directory)
    expanded = conversion.expand(kept, wanted, section, note, environ)
    for key, value in expanded.items():
        place = f"{section}.{key}"
        if place not in note.keys:
            converted = conversion.convert(value, wanted[key], place, note, lax="${" in str(table.get(key)))
            if converted is not msgspec.UNSET:
                right[key] = converted
    return right


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """Give the directory for what an agent keeps: the system's for root, else the user's (XDG base directories)."""
    if os.geteuid() == 0:
        return SYSTEM_DATA_DIR
    shared = environ.get("XDG_DATA_HOME", "")
    return Path(shared if os.path.isabs(shared) else os.path.expanduser("~/.local/share"), "watcher")


def cores() -> int:
    """Count the cores that this process may use: by affinity, and by the CPU limit of its container."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        limit, period = CPU_LIMIT.read_text(encoding="ascii").split()
        return max(1, min(usable, math.ceil(int(limit) / int(period))))
    except (OSError, ValueError):  # no cgroup v2, or "max"
        return usable
