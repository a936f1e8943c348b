"""Connections to PostgreSQL: opening them in time, transactions, and errors that say where and what to do.

Works in a green process (psycogreen) and in a plain one. One connection a greenlet, never shared. A `gevent.Timeout`
or kill that strikes inside a query leaves the connection closed: open another.
"""

from __future__ import annotations

import contextlib
import math
import random
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import psycopg2
from psycopg2 import extensions, extras

from watcher.config import nesting
from watcher.errors import DatabaseError, DatabaseUnavailable, OtherDatabase
from watcher.store.queries import queries

Connection = extensions.connection  # for the annotations of those who do not know psycopg2

OLDEST_SERVER = 130000  # PostgreSQL 13: pg_current_xact_id and xid8

ANSWER_S = 60.0  # without a byte of it, in a green process; who is in a hurry has a timeout of its own
IDLE_S = 30.0  # amid a transaction, after which the server ends the connection of a green process

_RETRY_FIRST_S = 0.25
_RETRY_LAST_S = 5.0
_SAY_FIRST_S = 10.0
_SAY_LAST_S = 300.0

# A peer that is cut off is noticed in about 20 s rather than in hours; whatever the DSN says wins.
_DEFAULTS: Mapping[str, Any] = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 20_000,
    "client_encoding": "UTF8",
}


def connect(
    dsn: str, *, name: str, timeout_s: float = 10.0, autocommit: bool = False, database: str = ""
) -> extensions.connection:
    """Open a connection; `name` is what `pg_stat_activity` shows, `database` the `identity` that it must have, if any.

    Raises:
        DatabaseUnavailable: no answer now; trying again may help.
        OtherDatabase: as `require_identity`.
        DatabaseError: refused (password, database, version); trying again helps only after a change.
    """
    parameters = parsed(dsn)
    try:
        connection = _open({**_DEFAULTS, "application_name": name, **parameters}, timeout_s)
    except psycopg2.Error as error:
        raise _refusal(str(error), parameters) from error
    try:
        require_version(connection.server_version, place(dsn))
        if database:
            with transaction(connection) as cursor:
                require_identity(cursor, database)
    except BaseException:
        connection.close()
        raise
    extras.register_default_jsonb(connection, loads=_decoded)
    connection.autocommit = autocommit
    return connection


def identity(connection: extensions.connection) -> str:
    """Tell which database it is, whatever its address."""
    with transaction(connection) as cursor:
        return _identity(cursor)


def require_identity(cursor: extensions.cursor, database: str) -> None:
    """Refuse a database that has not this `identity`, if one is given; at the end of a transaction, for all of it.

    Raises:
        OtherDatabase: it has another.
        DatabaseUnavailable: it has none yet.
    """
    if database and _identity(cursor) != database:
        raise OtherDatabase(f"{place(cursor.connection.dsn)} is another one than before")


def _identity(cursor: extensions.cursor) -> str:
    cursor.execute(queries("schema")["identity"])
    if row := cursor.fetchone():
        return row[0]
    where = place(cursor.connection.dsn)
    raise DatabaseUnavailable(f"{where}: watcher_database has no row; is a backup being restored there?")


def _decoded(text: str) -> Any:
    """Give the value of a jsonb, or its text where it is none that we could work with.

    Any client may write one; an exception here would take with it all the rows that come after.
    """
    if nesting.is_too_deep(text):
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:  # an integer of thousands of digits
        return text


def close(connection: extensions.connection) -> None:
    """Close a connection, in whatever state it is."""
    with contextlib.suppress(psycopg2.Error):
        connection.close()


def wait(dsn: str, say: Callable[[str], None], give_up: Callable[[], bool]) -> bool:
    """Wait until the server answers; False when `give_up` said so first.

    `say` gets one line when the wait begins, then the same at growing intervals.

    Raises:
        DatabaseError: it answers and refuses; waiting would not help.
    """
    began = due = time.monotonic()
    pause_s, silence_s = _RETRY_FIRST_S, _SAY_FIRST_S
    while not give_up():
        try:
            connect(dsn, name="watcher wait", timeout_s=5.0).close()
            return True
        except DatabaseUnavailable as error:
            now = time.monotonic()
            if now >= due:
                say(f"{error}; waiting for it" + (f" since {now - began:.0f} s" if due > began else ""))
                due = now + silence_s
                silence_s = min(silence_s * 2, _SAY_LAST_S)
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, _RETRY_LAST_S)
    return False


@contextlib.contextmanager
def transaction(connection: extensions.connection) -> Iterator[extensions.cursor]:
    """Give the cursor of one transaction: committed at the end, rolled back by any exception; errors are `meaning`s."""
    # pylint: disable-next=contextmanager-generator-missing-cleanup  # both deal with every exception
    with translated(connection), raw_transaction(connection) as cursor:
        yield cursor


@contextlib.contextmanager
def raw_transaction(connection: extensions.connection) -> Iterator[extensions.cursor]:
    """Do what `transaction` does, with psycopg2's own errors."""
    # Not `with connection`: its rollback on a closed connection would replace a gevent.Timeout by an InterfaceError.
    cursor = connection.cursor()
    try:
        if connection.autocommit:
            connection.cursor().execute("BEGIN")  # on a cursor of its own: the answers are read after the end, too
        yield cursor
        if connection.autocommit:
            connection.cursor().execute("COMMIT")
        else:
            connection.commit()
    except BaseException:
        _roll_back(connection, cursor)
        raise


def _roll_back(connection: extensions.connection, cursor: extensions.cursor) -> None:
    try:
        if connection.closed:
            return
        if connection.autocommit:
            cursor.execute("ROLLBACK")
        else:
            connection.rollback()
    except psycopg2.Error:
        connection.close()


@contextlib.contextmanager
def translated(connection: extensions.connection) -> Iterator[None]:
    """Raise `meaning(error)` in place of psycopg2's errors."""
    try:
        yield
    except psycopg2.Error as error:
        raise meaning(error, connection.dsn) from error


def place(dsn: str) -> str:
    """Name the database of a DSN for people: `the database at db:5432/watcher`; no user, no password."""
    return _place(parsed(dsn))


def _place(parameters: Mapping[str, str]) -> str:
    host = parameters.get("host") or parameters.get("hostaddr") or ""
    name = parameters.get("dbname") or parameters.get("user") or parameters.get("service") or ""
    if not host or host.startswith("/"):
        return f"the database {name} at the socket in {host}" if host else f"the database {name} at the local socket"
    if ":" in host:
        host = f"[{host}]"
    return f"the database at {host}:{parameters.get('port', '5432')}/{name}"


def require_version(server_version: int, where: str) -> None:
    """Refuse a server that is older than `OLDEST_SERVER`, given as libpq does: 150004 is 15.4."""
    if server_version < OLDEST_SERVER:
        found = f"{server_version // 10000}.{server_version % 10000}"
        raise DatabaseError(f"{where} is PostgreSQL {found}; watcher needs {OLDEST_SERVER // 10000} or newer")


# What the server or libpq says when it lets nobody in: (pattern, message, trying again may help). `user` is quoted.
_REFUSALS: tuple[tuple[str, str, bool], ...] = (
    ("password authentication failed", "refused the password for user {user}; check [database] dsn", False),
    ("no password supplied", "wants a password for user {user}; give one in [database] dsn", False),
    ("role .* does not exist", "knows no user {user}; create it, or check [database] dsn", False),
    ("database .* does not exist", "does not exist; create it (createdb), or check [database] dsn", False),
    ("(no|rejects connection.*) pg_hba.conf entry|pg_hba.conf rejects|(peer|ident) authentication failed",
     "does not let user {user} in from here; allow it in its pg_hba.conf, or check [database] dsn", False),
    ("certificate verify failed",
     "has a certificate that sslrootcert does not vouch for ({text}); give its authority's certificate there, or see"
     " who answers", False),
    ("does not match host name", "has a certificate of another name ({text}); see who answers, or put its name into"
     " [database] dsn", False),
    ("root certificate file .* does not exist",
     "cannot be verified: the file of sslrootcert is not there ({text})", False),
    ("server does not support SSL", "offers no TLS, which sslmode demands; set ssl = on there", False),
    ("^invalid ", "cannot be asked for so: {text}; check [database] dsn", False),
    ("too many clients|connection slots", "has no connection to spare; raise its max_connections", True),
    ("starting up|shutting down|recovery mode|not yet accepting", "is starting up or shutting down", True),
    ("connection refused|no such file|is the server running", "does not answer; is PostgreSQL running there?", True),
    ("translate host name|name or service not known|name resolution", "has a host name that cannot be resolved", True),
    ("timeout expired|timed out", "did not answer in time", True),
)  # fmt: skip


def _refusal(text: str, parameters: Mapping[str, str]) -> DatabaseError:
    where, user = _place(parameters), f'"{parameters.get("user", "")}"'
    for pattern, message, later in _REFUSALS:
        if re.search(pattern, text, re.IGNORECASE):
            kind = DatabaseUnavailable if later else DatabaseError
            return kind(f"{where} {message.format(user=user, text=_line(text))}")
    return DatabaseUnavailable(f"{where} cannot be reached: {_line(text)}")


# Classes of SQLSTATE after which the same may succeed: connection, rollback, resources, intervention of an operator;
# besides lock not available, and a read-only transaction, which is what a demoted primary answers.
_LATER_CLASSES = frozenset({"08", "40", "53", "57"})
_LATER_CODES = frozenset({"25006", "55006", "55P03"})
NOT_ALLOWED = "42501"
_REMEDIES: Mapping[str, str] = {
    NOT_ALLOWED: "its owner must grant that, or run `watcher db migrate`",
    "42P01": "run `watcher db migrate`",
    "42703": "run `watcher db migrate`",
    "42P07": "give watcher a database of its own",
    "53100": "make room on its disk",
}


def meaning(error: psycopg2.Error, dsn: str) -> DatabaseError:
    """Give the error of ours that one of psycopg2 stands for, with place and remedy."""
    where, code, text = place(dsn), error.pgcode, _line(error.diag.message_primary or str(error))
    if code is None and isinstance(error, (psycopg2.OperationalError, psycopg2.InterfaceError)):
        return DatabaseUnavailable(f"the connection to {where} broke: {text}")
    later = code is not None and (code[:2] in _LATER_CLASSES or code in _LATER_CODES)
    remedy = _REMEDIES.get(code or "")
    return (DatabaseUnavailable if later else DatabaseError)(f"{where}: {text}" + (f"; {remedy}" if remedy else ""))


def _line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0].strip() if lines else "no reason given"


def parsed(dsn: str) -> dict[str, str]:
    """Give the parameters of a DSN by name.

    Raises:
        DatabaseError: it is none.
    """
    try:
        parameters = extensions.parse_dsn(dsn)
    except psycopg2.Error as error:
        # The text of the error may quote the DSN, password and all: only the name of an unknown key is told.
        key = re.search(r'invalid (?:connection option|URI query parameter): ?"(\w+)"|option "(\w+)"', str(error))
        what = f' ("{key[1] or key[2]}" is no parameter of a connection)' if key else ""
    else:
        if not _split_wrongly(parameters):
            return parameters
        what = " (in a URL, write / @ % of a password as %2F %40 %25)"
    raise DatabaseError(f"[database] dsn is not a valid connection string{what}; see the PostgreSQL manual, 34.1.1")


def _split_wrongly(parameters: Mapping[str, str]) -> bool:
    """Tell whether parts of a password came to lie elsewhere, where they would be shown."""
    host, name, port = (parameters.get(key, "") for key in ("host", "dbname", "port"))
    return not re.fullmatch(r"[\d,]*", port) or "@" in name or ("@" in host and not host.startswith(("/", "@")))


def _open(parameters: dict[str, Any], timeout_s: float) -> extensions.connection:
    if extensions.get_wait_callback() is None:
        return psycopg2.connect(**{**parameters, "connect_timeout": math.ceil(timeout_s)})
    from psycogreen.gevent import gevent_wait_callback

    if extensions.get_wait_callback() is gevent_wait_callback:
        extensions.set_wait_callback(_wait)
    hosts = _hosts(parameters)
    share_s = timeout_s / len(hosts)
    return _first(hosts, share_s, lambda host: _first(found := _resolved(host), share_s / len(found), _connected))


def _first(choices: Sequence[dict[str, Any]], timeout_s: float, attempt: Callable[[dict[str, Any]], Any]) -> Any:
    """Give the first connection that comes about: to libpq one that does not answer is all there is to wait for."""
    import gevent

    said = []
    for choice in choices:
        try:
            # psycogreen's wait takes no notice of connect_timeout.
            with gevent.Timeout(timeout_s, psycopg2.OperationalError("timeout expired")):
                return attempt(choice)
        except psycopg2.OperationalError as error:
            said.append(str(error).strip())
    raise psycopg2.OperationalError("\n".join(dict.fromkeys(said)))


def _connected(parameters: dict[str, Any]) -> extensions.connection:
    """Connect, and have the server end a transaction that nobody goes on with.

    Where the network went away amid one, the server would keep its locks and rows, which the same rows wait for when
    they are stored again, until TCP gives up: two hours.
    """
    connection = psycopg2.connect(**parameters)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(queries("schema")["limit_idle"], {"limit": f"{IDLE_S:g}s"})
    return connection


def _wait(connection: extensions.connection) -> None:
    """Wait as psycogreen does, but not for ever: the server's process may hang while its machine lives."""
    from psycogreen.gevent import gevent_wait_callback

    try:
        gevent_wait_callback(connection, timeout=ANSWER_S)
    except TimeoutError:
        raise psycopg2.OperationalError(f"no answer within {ANSWER_S:g} s") from None


def _hosts(parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the parameters for each host of a DSN that names several, in the order in which to try them."""
    parts = {key: str(parameters[key]).split(",") for key in ("host", "hostaddr", "port") if parameters.get(key)}
    count = max(map(len, parts.values()), default=1)
    if count == 1:
        return [parameters]
    hosts = [parameters | {key: of[number % len(of)] for key, of in parts.items()} for number in range(count)]
    if parameters.get("load_balance_hosts") == "random":
        random.shuffle(hosts)
    if parameters.get("target_session_attrs") == "prefer-standby":
        return [host | {"target_session_attrs": attributes} for attributes in ("standby", "any") for host in hosts]
    return hosts


def _resolved(parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the parameters for each address of the host: libpq would hold the hub for as long as DNS takes."""
    host = parameters.get("host") or ""
    if not host or parameters.get("hostaddr") or host.startswith(("/", "@")):
        return [parameters]
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise psycopg2.OperationalError("could not translate host name") from error
    return [parameters | {"hostaddr": address} for address in dict.fromkeys(str(entry[4][0]) for entry in found)]
