"""The nouns that every part of watcher shares: endpoint, result, status, reason, failure, incident.

Frozen values without behaviour; importing this module loads neither gevent nor requests nor psycopg2.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import requests

    from watcher.transport.exchange import Exchange

PHASES = ("dns", "connect", "tls", "ttfb", "transfer")  # of a check, in their order; a result has `dns_us` and so on

INTERVAL_MIN_S = 5.0
INTERVAL_MAX_S = 300.0
PRIORITY_MOST = 100
DISCOVERY_MIN_S = 1.0


class Status(enum.Enum):
    """What a check says of its endpoint; the value is what PostgreSQL stores."""

    UP = "up"
    DEGRADED = "degraded"  # it answers, not as well as was asked for: slow, a certificate that ends soon; no outage
    DOWN = "down"
    MISSED = "missed"


class Reason(enum.Enum):
    """Why a result is what it is, for machines; the value is what PostgreSQL stores."""

    DNS = "dns"  # the name could not be resolved
    CONNECT = "connect"  # no connection: refused, unreachable
    TLS = "tls"  # the handshake failed
    CERTIFICATE = "certificate"  # the certificate is not trusted, or is not what was asked for
    TIMEOUT = "timeout"  # the deadline passed; the detail names the phase
    CLOSED = "closed"  # the peer reset or closed the connection before its answer was whole
    PROTOCOL = "protocol"  # the answer is not what its protocol allows
    REDIRECT = "redirect"  # too many redirects, or one that cannot be followed
    STATUS = "status"  # a status that was not asked for: of HTTP, or a refusal in another protocol's words
    REGEX = "regex"  # the pattern was not found, or was found and must not be
    REGEX_TIMEOUT = "regex_timeout"  # the pattern took longer than its budget
    BODY_CAP = "body_cap"  # only the first `max_body` bytes were read; says nothing against the site
    LATENCY = "latency"  # it took longer than was asked for
    ASSERTION = "assertion"  # a plugin's own check failed
    PLUGIN = "plugin"  # a plugin broke: our fault or its author's, not the site's
    CREDENTIALS = "credentials"  # those that the check was to show could not be had
    CONFIG = "config"  # the endpoint cannot be probed as it is configured
    OVERLOAD = "overload"  # the agent had no room to check in time
    SUSPENDED = "suspended"  # the agent or its machine did not run at that time
    AGENT_NETWORK = "agent_network"  # the agent's own network was down


# Reasons that say nothing of the site: the check did not take place, or nobody could judge it. Their status is
# `missed`.
NOT_THE_SITE = frozenset(
    {
        Reason.REGEX_TIMEOUT,
        Reason.PLUGIN,
        Reason.CREDENTIALS,
        Reason.CONFIG,
        Reason.OVERLOAD,
        Reason.SUSPENDED,
        Reason.AGENT_NETWORK,
    }
)


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One configured URL with its interval and options: a row of the table `endpoints`.

    `options` maps each option key to its validated value, of the type that its plugin declared.
    """

    name: str
    url: str
    id: int = 0
    interval_s: float = 60.0
    timeout_s: float = 10.0
    priority: int = 0
    enabled: bool = True
    labels: dict[str, str] = {}
    locations: tuple[str, ...] = ()
    options: dict[str, Any] = {}
    source: str = ""


class Result(msgspec.Struct, frozen=True, gc=False):
    """What one probe yields: a row of the table `metrics`.

    Times are integers in microseconds; `time_us` counts from the Unix epoch and is the check's true start. A phase
    that did not take place is None. `latency_us` is the sum of the phases of all hops: what a visitor waits.
    """

    endpoint: Endpoint
    time_us: int
    status: Status
    reason: Reason | None = None
    http_status: int | None = None
    latency_us: int | None = None
    dns_us: int | None = None
    connect_us: int | None = None
    tls_us: int | None = None
    ttfb_us: int | None = None
    transfer_us: int | None = None
    body_bytes: int | None = None
    regex_found: bool | None = None
    lag_us: int | None = None
    late_us: int | None = None
    address: str | None = None
    detail: str | None = None


class Failure(msgspec.Struct, frozen=True):
    """What a step answers when the response is not what the endpoint asked for.

    `detail` is one line for people (stored: no secrets); `reason` is for machines. `degraded` makes the status so,
    in place of `down`.
    """

    detail: str
    reason: Reason = Reason.ASSERTION
    degraded: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.detail, str) or not isinstance(self.reason, Reason):
            raise TypeError(f"a Failure has a text and a Reason, not {self.detail!r:.100} and {self.reason!r:.100}")


class Incident(msgspec.Struct, frozen=True):
    """A change of an endpoint's status: `result` is the check that showed it, `before` the status until then."""

    endpoint: Endpoint
    before: Status | None
    result: Result


class Discovery(msgspec.Struct, frozen=True):
    """Endpoints that are known elsewhere and are looked up again and again: what `watcher_endpoints` may give.

    `find` gives all that are there now, as tables like `[[endpoints]]`. What it no longer gives is removed. When it
    raises nothing changes, a ValueError has the words for the user. A `Failure` among the tables says that some could
    not be found out: the others join, and nothing is removed. It runs in a thread of its own, never twice at once;
    `every_s` seconds after it came back it is called again.
    """

    find: Callable[[], Iterable[dict[str, Any] | Failure]]
    every_s: float

    def __post_init__(self) -> None:
        if not self.every_s >= DISCOVERY_MIN_S:
            raise ValueError(f"a discovery every {self.every_s:g} s; {DISCOVERY_MIN_S:g} s is the least")


class Step:
    """A plugin's part in a plan; override what it needs. Made once per endpoint, called at each check."""

    __slots__ = ()

    def before(self, request: requests.PreparedRequest) -> None:
        """Change the request of this one check, e.g. give it a token that rotates."""

    def examine(self, response: requests.Response) -> Failure | None:
        """Judge the response: None when it is as wanted, else a `Failure`."""

    def assess(self, exchange: Exchange) -> Failure | None:
        """Judge the measurement, of any protocol, with a response or without: its phases, its address, its TLS peer."""


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base for the table-valued options of plugins; subclass it with annotated fields and defaults.

    Raise ValueError in `__post_init__` for what types cannot say; the user sees it with file, endpoint and key.
    """


class Secret(str):
    """A string that never shows itself: `repr` and the commands' output mask it, `str` methods and I/O do not.

    A field `x: Secret` of an option struct may be given as `x_file = "/path"` too.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


ExamineCallable = Callable[["requests.Response"], "Failure | None"]
Steps = Step | ExamineCallable | list["Step | ExamineCallable"] | None
OptionTypes = Mapping[str, Any]
