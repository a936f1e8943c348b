"""Names to addresses: c-ares on gevent's loop, with each record's own time to live.

c-ares honours /etc/hosts, /etc/nsswitch.conf and /etc/resolv.conf (search domains, several servers). One query a name
at a time, however many probes wait for it. A failure is kept for FAILED_S: so long may a repaired name stay down.
"""

from __future__ import annotations

import os
import socket
from time import monotonic, time_ns
from typing import Any, NamedTuple

import gevent
import pycares

from watcher.errors import ProbeError
from watcher.models import Reason
from watcher.transport.clock import last_arrival_ns
from watcher.transport.stream import READ, WRITE, Deadline

QUERY_TIMEOUT_S = 2.0
QUERY_TRIES = 3
TTL_MIN_S = 1  # no endpoint is checked more often; endpoints of one host share an answer
TTL_MAX_S = 86_400
CACHE_MAX_NAMES = 200_000
FAILED_S = 1.0
FAILED_MAX_NAMES = 20_000

Address = tuple[int, str]  # family, address as text

_OPT_QUERY_CACHE = 1 << 21  # ARES_OPT_QUERY_CACHE of ares.h

# Beside those of the socket module: any address, but those of one family are tried first.
FIRST_4, FIRST_6 = -socket.AF_INET, -socket.AF_INET6

_NO_ANSWER = {
    pycares.errno.ARES_ENOTFOUND: "name not found",
    pycares.errno.ARES_ENODATA: "name has no address",
    pycares.errno.ARES_ETIMEOUT: "no answer from the resolver",
    pycares.errno.ARES_ECONNREFUSED: "no resolver can be asked",
    pycares.errno.ARES_ESERVFAIL: "the resolver failed (SERVFAIL)",
    pycares.errno.ARES_EREFUSED: "the resolver refused the query (REFUSED)",
}

# Nobody could be asked: c-ares says ECONNREFUSED when it gets no socket or no way to a server, too.
_OUR_FAULT = {
    pycares.errno.ARES_ECONNREFUSED: Reason.AGENT_NETWORK,
    pycares.errno.ARES_ENOMEM: Reason.OVERLOAD,
    pycares.errno.ARES_EFILE: Reason.OVERLOAD,
}


class Answer(NamedTuple):
    """The addresses of a name in the order to try them, and when the last packet that told of them arrived."""

    addresses: tuple[Address, ...]
    arrived_ns: int


class Resolver:
    """Resolves names for all probes of a worker through one set of servers.

    Args:
        servers: addresses of resolvers, `ip` or `ip:port`; empty for the system's.
    """

    def __init__(self, servers: tuple[str, ...] = ()) -> None:
        self._servers = servers
        self._cache: dict[tuple[str, int], tuple[float, tuple[Address, ...]]] = {}
        self._failed: dict[tuple[str, int], tuple[float, int]] = {}
        self._queries: dict[tuple[str, int], _Query] = {}
        self._channel: _Channel | None = None

    def cached(self, host: str, family: int) -> tuple[Address, ...] | None:
        """Give the addresses of a name that are still valid, in the order to try them; None when a query is needed."""
        entry = self._cache.get((host, family))
        return entry[1] if entry is not None and entry[0] > monotonic() else None

    def resolve(self, host: str, family: int, deadline: Deadline) -> tuple[Address, ...]:
        """Do as `ask`, and give the addresses alone."""
        return self.ask(host, family, deadline).addresses

    def ask(self, host: str, family: int, deadline: Deadline) -> Answer:
        """Ask for the addresses of a name, in the order to try them (RFC 6724).

        Args:
            family: `socket.AF_INET`, `AF_INET6` or `AF_UNSPEC`; `FIRST_4` or `FIRST_6`.

        Raises:
            ProbeError: reason `dns`, or `timeout` at the deadline.
        """
        key = host, family
        failed = self._failed.get(key)
        if failed is not None and failed[0] > monotonic():
            raise _failure(host, failed[1])
        query = self._queries.get(key)
        if query is None:
            query = self._queries[key] = _Query()
            try:
                self._ask(key, query)
            except BaseException:
                del self._queries[key]
                raise
        if not query.done:
            query.waiting.append(deadline)
            try:
                while not query.done:
                    if not deadline.park() and not query.done:
                        raise ProbeError(Reason.TIMEOUT, f"timeout in dns ({host})")
            finally:
                query.waiting.remove(deadline)
        if query.addresses:
            return Answer(query.addresses, query.arrived_ns)
        raise _failure(host, query.error)

    def _ask(self, key: tuple[str, int], query: _Query) -> None:
        host, family = key

        def answered(result: Any, error: int | None) -> None:
            query.arrived_ns = channel.arrived_ns()
            if error is None:
                nodes = [node for node in result.nodes if node.family in (socket.AF_INET, socket.AF_INET6)]
                if family < 0:
                    nodes.sort(key=lambda node: node.family != -family)
                query.addresses = tuple(dict.fromkeys((node.family, _text(node.addr[0])) for node in nodes))
                query.error = 0 if nodes else pycares.errno.ARES_ENODATA
                self._keep(key, query.addresses, min((node.ttl for node in nodes), default=0))
            else:
                query.error = error
            if query.error:
                self._keep_failure(key, query.error)
            query.done = True
            self._queries.pop(key, None)
            for deadline in query.waiting:
                deadline.wake()

        if self._channel is None or self._channel.outdated():
            self._channel = _Channel(self._servers)
        channel = self._channel
        channel.ask(host, max(family, socket.AF_UNSPEC), answered)

    def _keep(self, key: tuple[str, int], addresses: tuple[Address, ...], ttl_s: int) -> None:
        if len(self._cache) >= CACHE_MAX_NAMES:
            now = monotonic()
            self._cache = {name: entry for name, entry in self._cache.items() if entry[0] > now}
        if addresses and len(self._cache) < CACHE_MAX_NAMES:
            self._cache[key] = monotonic() + max(TTL_MIN_S, min(ttl_s, TTL_MAX_S)), addresses

    def _keep_failure(self, key: tuple[str, int], error: int) -> None:
        if error in _OUR_FAULT:
            return
        if len(self._failed) >= FAILED_MAX_NAMES:
            self._failed.clear()
        self._failed[key] = monotonic() + FAILED_S, error


def _failure(host: str, error: int) -> ProbeError:
    text = _NO_ANSWER.get(error) or pycares.errno.strerror(error).lower()
    return ProbeError(_OUR_FAULT.get(error, Reason.DNS), f"{text}: {host}")


class _Query:
    """One query under way and those who wait for its answer."""

    __slots__ = ("addresses", "arrived_ns", "done", "error", "waiting")

    def __init__(self) -> None:
        self.arrived_ns = 0
        self.addresses: tuple[Address, ...] = ()
        self.done = False
        self.error = 0
        self.waiting: list[Deadline] = []


class _Channel:
    """A c-ares channel whose sockets and timer live on gevent's loop."""

    def __init__(self, servers: tuple[str, ...]) -> None:
        self._loop = gevent.get_hub().loop
        self._watchers: dict[int, Any] = {}
        self._pending = 0
        self._reading: int | None = None
        self._timer = self._loop.timer(0.0)
        self._configuration = _configuration()
        self._channel = pycares.Channel(
            timeout=QUERY_TIMEOUT_S, tries=QUERY_TRIES, sock_state_cb=self._socket_changed
        )
        _keep_no_answers(self._channel)
        if servers:
            self._channel.servers = servers
        self._follows_system = not servers

    def outdated(self) -> bool:
        """Tell whether the system's configuration changed. (c-ares reads it anew in a thread, later than the query.)"""
        return self._follows_system and self._configuration != _configuration()

    def arrived_ns(self) -> int:
        """Give when what is being read arrived, by the kernel's clock where it came as a datagram; else now."""
        return time_ns() if self._reading is None else last_arrival_ns(self._reading)

    def ask(self, host: str, family: int, answered: Any) -> None:
        """Send a query; `answered(result, error)` is called on the hub, or before this returns."""

        def arrived(result: Any, error: int | None) -> None:
            self._pending -= 1
            answered(result, error)

        self._pending += 1
        try:
            self._channel.getaddrinfo(host, None, family=family, type=socket.SOCK_STREAM, callback=arrived)
        except (UnicodeError, ValueError, pycares.AresError):
            arrived(None, pycares.errno.ARES_EBADNAME)
        self._await_timeout()

    def _socket_changed(self, descriptor: int, readable: bool, writable: bool) -> None:
        watcher = self._watchers.pop(descriptor, None)
        if watcher is not None:
            watcher.close()
        events = (READ if readable else 0) | (WRITE if writable else 0)
        if events:
            watcher = self._watchers[descriptor] = self._loop.io(descriptor, events)
            watcher.start(self._socket_ready, descriptor, readable, writable)
            last_arrival_ns(descriptor)  # from now on the kernel notes it

    def _socket_ready(self, descriptor: int, readable: bool, writable: bool) -> None:
        bad = pycares.ARES_SOCKET_BAD
        self._reading = descriptor
        try:
            self._channel.process_fd(descriptor if readable else bad, descriptor if writable else bad)
        finally:
            self._reading = None
        self._await_timeout()

    def _await_timeout(self) -> None:
        self._timer.close()
        if self._pending:
            self._timer = self._loop.timer(max(self._channel.timeout(), 0.001))
            self._timer.start(self._timed_out, update=True)

    def _timed_out(self) -> None:
        self._channel.process_fd(pycares.ARES_SOCKET_BAD, pycares.ARES_SOCKET_BAD)
        self._await_timeout()


def _keep_no_answers(channel: pycares.Channel) -> None:
    """Switch off the cache within c-ares, for which pycares has no option; the channel has no query yet.

    It keeps failures for as long as the zone's SOA says, up to an hour, in which a repaired name would stay down.
    """
    # pylint: disable=protected-access  # no public name leads there
    library, memory = pycares._lib, pycares._ffi
    options, mask, renewed = memory.new("struct ares_options *"), memory.new("int *"), memory.new("ares_channel *")
    code = library.ares_save_options(channel._channel[0], options, mask)
    if code == library.ARES_SUCCESS:
        options.qcache_max_ttl = 0
        code = library.ares_init_options(renewed, options, mask[0] | _OPT_QUERY_CACHE)
        library.ares_destroy_options(options)
    if code != library.ARES_SUCCESS:
        raise pycares.AresError(code, pycares.errno.strerror(code))
    library.ares_destroy(channel._channel[0])
    channel._channel = renewed


def _configuration() -> tuple[int, int] | None:
    """Identify the system's resolver configuration, to notice when a network manager rewrites it."""
    try:
        status = os.stat("/etc/resolv.conf")
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino


def _text(address: str | bytes) -> str:
    return address.decode() if isinstance(address, bytes) else address
