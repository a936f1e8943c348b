"""What libpq takes from the environment (its manual, 34.15), and how it is kept from the embedded server's connections.

Standard library only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

# Of the parameters of a DSN: by names of their own, and by the same names.
_NAMES = {
    "dbname": "PGDATABASE",
    "application_name": "PGAPPNAME",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "client_encoding": "PGCLIENTENCODING",
}
_SAME = (
    "host", "hostaddr", "port", "user", "password", "passfile", "options", "service", "sslmode", "sslcompression",
    "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslcrldir", "sslsni", "ssl_min_protocol_version",
    "ssl_max_protocol_version", "min_protocol_version", "max_protocol_version", "requirepeer", "requiressl",
    "channel_binding", "gssencmode", "krbsrvname", "gsslib", "target_session_attrs", "require_auth", "sslcertmode",
    "load_balance_hosts", "gssdelegation", "sslnegotiation",
)  # fmt: skip
_OF_SESSIONS = ("PGTZ", "PGDATESTYLE", "PGGEQO")  # of no parameter; a value that is none ends a connection


def variables() -> Mapping[str, str]:
    """Give the variable of each parameter of a DSN that has one."""
    return {**{name: f"PG{name.replace('_', '').upper()}" for name in _SAME}, **_NAMES}


def hide() -> None:
    """Let libpq in this process find nothing there: it is about other servers, and the embedded one's DSN says all.

    A PGHOSTADDR or PGSERVICE would lead its connections astray. `os.environ` keeps what it has, since endpoints may
    refer to it; so does a process that is started with it.
    """
    for name in (*variables().values(), *_OF_SESSIONS):
        os.unsetenv(name)
