"""Datagrams to one peer (UDP, ICMP echo) driven by one greenlet: a raw non-blocking socket on gevent's hub, each
arrival on the kernel's clock.

Owns the socket, its watchers and the waits, all of them through the deadline of the check. As a stream does, it looks
once more into the socket when the deadline wakes it: what had arrived by then counts, however late we looked.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from _socket import socket as RawSocket  # the class that gevent does not wrap
from collections.abc import Callable
from time import monotonic_ns, time_ns
from typing import TYPE_CHECKING, TypeVar

import gevent

from watcher.errors import ProbeError
from watcher.models import Reason
from watcher.transport import failures
from watcher.transport.clock import ANCILLARY_BYTES, LINUX, arrival_ns
from watcher.transport.connection import NEXT, account_for_unfinished, ended_ns, resolve
from watcher.transport.conversation import OPEN
from watcher.transport.stream import READ, Deadline, SocketAddress, connect, have_stamps

if TYPE_CHECKING:
    from watcher.transport.exchange import Exchange
    from watcher.transport.target import Target

Answer = TypeVar("Answer")

NON_BLOCKING = getattr(socket, "SOCK_NONBLOCK", 0)
DATAGRAM_BYTES = 65_536
TRIES = 3
AGAIN_S = 1.0  # as long as TCP waits before it repeats its first segment (RFC 6298, 2.1)

# linux/in.h and linux/in6.h: let ICMP tell of unreachable hosts too, not of closed ports alone (ip(7))
_RECEIVE_ERRORS = {socket.AF_INET: (socket.IPPROTO_IP, 11), socket.AF_INET6: (socket.IPPROTO_IPV6, 25)}
_ERROR_QUEUE = 0x2000  # MSG_ERRQUEUE

_NO_SUCH_SOCKET = (errno.EACCES, errno.EPERM, errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT)

# the errnos that the kernel makes of ICMP errors (net/ipv4/icmp.c, net/ipv6/icmp.c)
_NOT_DELIVERED = {
    errno.ECONNREFUSED: "port unreachable (nobody listens there)",
    errno.EHOSTUNREACH: "host unreachable",
    errno.ENETUNREACH: "network unreachable",
    errno.EHOSTDOWN: "host unknown",
    errno.ENOPROTOOPT: "protocol unreachable",
    errno.EACCES: "forbidden on the way there",
}


class Datagram:
    """A datagram socket connected to one peer; `receive` lets other greenlets run while it waits.

    `sent_ns` is when the last `send` began, `arrived_ns` when the datagram that was received last had arrived; ns since
    the epoch.

    Args:
        address: host and port; no name, that would block.
        kind: `SOCK_DGRAM`, or `SOCK_RAW`.
        proto: the protocol where the kind does not say it, e.g. `IPPROTO_ICMP`.

    Raises:
        ProbeError: one of the agent's own shortages.
        PermissionError: this process may not have such a socket, or the kernel knows none.
    """

    __slots__ = ("_deadline", "_io", "_paused", "_socket", "arrived_ns", "sent_ns")

    def __init__(
        self,
        family: int,
        address: SocketAddress,
        deadline: Deadline,
        kind: int = socket.SOCK_DGRAM,
        proto: int = 0,
    ) -> None:
        self._deadline = deadline
        self._io = None
        self._paused = False
        self.sent_ns = self.arrived_ns = 0
        try:
            self._socket = RawSocket(family, kind | NON_BLOCKING, proto)
        except OSError as error:
            if error.errno in _NO_SUCH_SOCKET:
                raise PermissionError(error.errno, error.strerror) from None
            raise failures.connecting(error.errno or errno.EMFILE) from None
        try:
            self._connect(family, address)
        except BaseException:
            self.close()
            raise

    def _connect(self, family: int, address: SocketAddress) -> None:
        have_stamps(self._socket)
        if LINUX:
            self._socket.setsockopt(*_RECEIVE_ERRORS[family], 1)
        code = connect(self._socket, address)
        if code:
            raise failures.connecting(code)
        self._io = self._deadline.watch(self._socket.fileno(), READ)

    def send(self, data: bytes) -> None:
        """Send one datagram.

        Raises:
            ProbeError: reason `connect` when ICMP said of an earlier one that it cannot be delivered, `config` when it
                is too large to be sent at all, or one of the agent's own shortages.
        """
        self.sent_ns = time_ns()
        try:
            self._socket.send(data)
        except BlockingIOError:
            raise failures.connecting(errno.ENOBUFS) from None
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                raise ProbeError(Reason.CONFIG, f"a datagram of {len(data)} bytes is too large to be sent") from None
            if error.errno in (errno.ECONNREFUSED, errno.EHOSTUNREACH):
                raise _not_delivered(error.errno) from None
            raise failures.connecting(error.errno or 0) from None

    def receive(self) -> bytes:
        """Give the next datagram, and when it arrived in `arrived_ns`.

        Raises:
            ProbeError: reason `connect` when ICMP says that what was sent cannot be delivered; `timeout`.
        """
        while True:
            data = self.receive_within(None)
            if data is not None:
                return data

    def receive_within(self, pause_s: float | None) -> bytes | None:
        """Do as `receive`, but give None after a pause without a datagram.

        None comes at once when a router says that what was sent is too large for it: the kernel knows now and will send
        it in parts.
        """
        pause = None if pause_s is None else gevent.get_hub().loop.timer(pause_s)
        self._paused = False
        try:
            self._io.start(self._deadline.wake)
            if pause is not None:
                pause.start(self._end_pause, update=True)
            return self._next()
        finally:
            self._io.stop()
            if pause is not None:
                pause.close()

    def _end_pause(self) -> None:
        self._paused = True
        self._deadline.wake()

    def _next(self) -> bytes | None:
        while True:
            in_time = self._deadline.park()
            try:
                data, ancillary, _flags, _address = self._socket.recvmsg(DATAGRAM_BYTES, ANCILLARY_BYTES)
            except BlockingIOError:
                if not in_time:
                    raise _timeout() from None
                if self._paused:
                    return None
                continue
            except OSError as error:
                if error.errno == errno.EMSGSIZE:
                    self._forget_errors()
                    return None
                raise _not_delivered(error.errno or 0) from None
            self.arrived_ns = arrival_ns(ancillary)
            if not in_time and self._came_late():
                raise _timeout()
            return data

    def _forget_errors(self) -> None:
        """Empty the queue of errors, which would wake us again and again."""
        with contextlib.suppress(BlockingIOError):
            while LINUX:
                self._socket.recvmsg(0, 0, _ERROR_QUEUE)

    def _came_late(self) -> bool:
        return self.arrived_ns - time_ns() + monotonic_ns() > self._deadline.at_ns

    def close(self) -> None:
        """Close the socket and its watcher."""
        if self._io is not None:
            self._io.close()
        self._socket.close()


def ask(
    exchange: Exchange,
    target: Target,
    question: Callable[[int], bytes],
    accept: Callable[[bytes], Answer | None],
    tries: int = TRIES,
    open_to: Callable[[int, SocketAddress, Deadline], Datagram] = Datagram,
) -> Answer:
    """Ask a target by datagrams and give its answer; fills `dns_us`, `address` and `ttfb_us`.

    As networks lose datagrams, the question is sent again after each second without an answer; `ttfb_us` is all that
    time, as `connect_us` is where TCP had to repeat itself. An address that cannot be reached is followed by the next.

    Args:
        question: gives the datagram to send to an address of this family.
        accept: gives what is made of a datagram that came, None for one that is no answer to the question.
        tries: how often to send it at most.
        open_to: makes the socket.

    Raises:
        ProbeError: reason `dns`, `connect`, `timeout`, or one of the agent's own shortages.
    """
    deadline = Deadline(exchange.deadline_ns)
    try:
        addresses = resolve(exchange, target, deadline)
        exchange.phase = OPEN
        for left in range(len(addresses) - 1, -1, -1):
            family, exchange.address = addresses[-1 - left]
            try:
                with contextlib.closing(open_to(family, (exchange.address, target.port), deadline)) as datagram:
                    return _ask(exchange, datagram, question(family), accept, tries)
            except ProbeError as error:
                if not left or error.reason not in NEXT:
                    raise
        raise AssertionError("no address to ask")
    except ProbeError as error:
        if exchange.phase == "dns":
            account_for_unfinished(exchange, None)
        elif exchange.phase == "ttfb" and (error.reason is Reason.TIMEOUT or exchange.ttfb_us is None):
            exchange.ttfb_us = max(0, ended_ns(exchange) - exchange.since_ns) // 1000
        raise
    finally:
        deadline.close()


def _ask(
    exchange: Exchange, datagram: Datagram, question: bytes, accept: Callable[[bytes], Answer | None], tries: int
) -> Answer:
    for left in range(tries - 1, -1, -1):
        datagram.send(question)
        if exchange.phase != "ttfb":
            exchange.phase, exchange.since_ns = "ttfb", datagram.sent_ns
        while True:
            data = datagram.receive_within(AGAIN_S) if left else datagram.receive()
            if data is None:
                break
            exchange.ttfb_us = max(0, datagram.arrived_ns - exchange.since_ns) // 1000
            answer = accept(data)
            if answer is not None:
                if left < tries - 1:
                    exchange.note(f"asked {tries - left} times until an answer came")
                return answer
    raise AssertionError("the last try waits for an answer or the deadline")


def _timeout() -> ProbeError:
    return ProbeError(Reason.TIMEOUT, "timeout in ttfb")


def _not_delivered(code: int) -> ProbeError:
    if code in _NOT_DELIVERED:
        return ProbeError(Reason.CONNECT, _NOT_DELIVERED[code])
    return failures.connecting(code)
