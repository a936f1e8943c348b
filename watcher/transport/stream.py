"""One TCP connection driven by one greenlet: a raw non-blocking socket on gevent's hub, each arrival on the kernel's
clock.

Owns the socket, its io watcher and the waits. It never sleeps past the deadline it is given, and looks once more into
the socket when the deadline wakes it: what had arrived by then counts, however late we looked.
"""

from __future__ import annotations

import errno
import socket
from _socket import socket as RawSocket  # the class that gevent does not wrap
from time import monotonic_ns, time_ns
from typing import Any

import gevent
from greenlet import getcurrent

from watcher.errors import ProbeError
from watcher.models import Reason
from watcher.transport import failures
from watcher.transport.clock import ANCILLARY_BYTES, KERNEL, LINUX, SO_TIMESTAMPNS, arrival_ns, handshake_us, source

STREAM_TYPE = socket.SOCK_STREAM | getattr(socket, "SOCK_NONBLOCK", 0)
RECEIVE_BYTES = 65_536
READ, WRITE = 1, 2

# A kept connection that rests: routers and firewalls on the way (NAT) forget it after a minute or more of silence, and
# drop what comes later. tcp(7); two probes without an answer end it before a check finds it dead.
REST_PROBE_S, REST_AGAIN_S, REST_PROBES = 30, 5, 2

AT_REST = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, REST_PROBE_S),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, REST_AGAIN_S),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, REST_PROBES),
) if LINUX else ()  # fmt: skip

_READY, _TIME_UP = object(), object()

SocketAddress = tuple[Any, ...]


class Deadline:
    """Wakes its greenlet at the deadline of a check; every wait of the check goes through it.

    Waits cost no object: the io watcher switches straight into the greenlet that made this deadline. What waits
    otherwise meanwhile is not disturbed, but the next wait ends at once.
    """

    __slots__ = ("_hub", "_loop", "_parked", "_switch", "_timer", "_waits", "at_ns", "passed")

    def __init__(self, at_ns: int) -> None:
        self.at_ns = at_ns  # time.monotonic_ns
        self.passed = False
        self._parked = self._waits = False
        self._hub = gevent.get_hub()
        self._loop = self._hub.loop
        self._switch = getcurrent().switch
        self._timer = self._loop.timer(max(0.0, (at_ns - monotonic_ns()) / 1e9))
        # update: the loop's own idea of now is as old as the computing since its last round
        self._timer.start(self._pass, update=True)

    def watch(self, descriptor: int, events: int) -> Any:
        """Give an io watcher for `wait`."""
        return self._loop.io(descriptor, events)

    def wait(self, watcher: Any) -> bool:
        """Let other greenlets run until the watcher fires (True) or the deadline has come (False)."""
        if self.passed:
            return False
        self._waits = True
        try:
            watcher.start(self._switch, _READY)
            return self._hub.switch() is _READY
        finally:
            self._waits = False
            watcher.stop()

    def wait_for(self, watcher: Any, patience_s: float) -> bool:
        """Do as `wait`, but for so many seconds at most."""
        timer = self._loop.timer(patience_s)
        timer.start(self._end_wait, update=True)
        try:
            return self.wait(watcher)
        finally:
            timer.close()

    def park(self) -> bool:
        """Let other greenlets run until `wake` is called (True) or the deadline has come (False)."""
        if not self.passed:
            self._parked = True
            try:
                self._hub.switch()
            finally:
                self._parked = False
        return not self.passed

    def looked_ns(self) -> int:
        """Give when the loop last looked for what had arrived, in ns since the epoch: what it found came before."""
        return int(self._loop.now() * 1e9)

    def wake(self) -> None:
        """End a `park`, from any other greenlet or callback; nothing when it has ended by itself meanwhile."""
        self._loop.run_callback(self._wake)

    def _wake(self) -> None:
        if self._parked:
            self._parked = False
            self._switch(_READY)

    def _pass(self) -> None:
        self.passed = True
        self._end_wait()

    def _end_wait(self) -> None:
        if self._waits or self._parked:
            self._switch(_TIME_UP)

    def close(self) -> None:
        """Stop the timer."""
        self._timer.close()


def have_stamps(sock: RawSocket) -> None:
    """Have the kernel stamp what arrives, where it can; other than on Linux the socket is made non-blocking here."""
    if not LINUX:
        sock.setblocking(False)
    elif source() is KERNEL:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)


def connect(sock: RawSocket, address: SocketAddress) -> int:
    """Begin to connect and give the errno.

    Raises:
        ProbeError: reason `config`, for an address in a zone that is no interface here.
    """
    try:
        return sock.connect_ex(address)
    except OSError as error:
        raise ProbeError(Reason.CONFIG, f"{address[0]}: {error.strerror}") from None


class Stream:
    """A connected TCP socket; `send` and `receive` let other greenlets run while they wait.

    `arrived_ns` is when the last bytes that `receive` returned had arrived, `sent_ns` when the last `send` began; ns
    since the epoch. `connect_us` is what the handshake took.

    Args:
        patience_s: how long to wait for the handshake; 0: until the deadline.
    """

    __slots__ = (
        "_deadline", "_eager", "_io", "_rested", "_socket", "arrived_ns", "began_ns", "connect_us", "phase", "sent_ns",
    )  # fmt: skip

    def __init__(self, family: int, address: SocketAddress, deadline: Deadline, patience_s: float = 0) -> None:
        self._deadline = deadline
        self._eager = self._rested = False
        self._io = None
        self.phase = "connect"
        self.sent_ns = self.arrived_ns = 0
        try:
            self._socket = RawSocket(family, STREAM_TYPE)
        except OSError as error:
            raise failures.connecting(error.errno or errno.EMFILE) from None
        try:
            self.connect_us = self._connect(address, patience_s)
        except BaseException:
            self.close()
            raise

    def _connect(self, address: SocketAddress, patience_s: float) -> int:
        sock = self._socket
        have_stamps(sock)
        self._io = self._deadline.watch(sock.fileno(), WRITE)
        self.began_ns = time_ns()
        code = connect(sock, address)
        if code not in (0, errno.EINPROGRESS):
            raise failures.connecting(code)
        if code == 0:
            ready = True
        elif patience_s:
            ready = self._deadline.wait_for(self._io, patience_s)
        else:
            ready = self._deadline.wait(self._io)
        took_us = handshake_us(sock, self.began_ns)
        if took_us < 0:
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code or ready:
                raise failures.answered(code or errno.ECONNREFUSED)
            raise ProbeError(Reason.TIMEOUT, "timeout in connect")
        self._io.events = READ
        return took_us

    def idle(self) -> bool:
        """Say whether the connection is open and nothing lies in it, as it must be to serve another check."""
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def renew(self, deadline: Deadline) -> None:
        """Serve another check (keep-alive), under its deadline."""
        self._deadline = deadline
        self._io = deadline.watch(self._socket.fileno(), READ)

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        self._eager = False
        self.sent_ns = time_ns()
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise failures.connected(error.errno or 0, self.phase) from None
        if sent < len(data):
            self._send_rest(memoryview(data)[sent:])

    def _send_rest(self, rest: memoryview) -> None:
        writable = self._deadline.watch(self._socket.fileno(), WRITE)
        try:
            while rest:
                if not self._deadline.wait(writable):
                    raise self._timeout()
                try:
                    rest = rest[self._socket.send(rest) :]
                except BlockingIOError:
                    continue
                except OSError as error:
                    raise failures.connected(error.errno or 0, self.phase) from None
        finally:
            writable.close()

    def receive(self) -> bytes:
        """Give what arrives next, and when in `arrived_ns`; empty at the end of the connection.

        The end itself carries no stamp: `arrived_ns` is then when the loop saw it, if we had to wait for it. Every
        second read is tried without a wait: what has arrived is taken at once, and a fast sender still cannot hold the
        hub.
        """
        in_time = True
        while True:
            waits, self._eager = not self._eager, False
            if waits:
                in_time = self._deadline.wait(self._io)
            try:
                data, ancillary, _flags, _address = self._socket.recvmsg(RECEIVE_BYTES, ANCILLARY_BYTES)
            except BlockingIOError:
                if not in_time:
                    raise self._timeout() from None
                continue
            except OSError as error:
                raise failures.connected(error.errno or 0, self.phase) from None
            if data:
                self.arrived_ns = arrival_ns(ancillary)
                self._eager = waits
                if not in_time and self._came_late():
                    raise self._timeout()
            elif waits:
                self.arrived_ns = max(self.arrived_ns, self.sent_ns, self._deadline.looked_ns())
            return data

    def _came_late(self) -> bool:
        late_ns = self.arrived_ns - time_ns() + monotonic_ns() - self._deadline.at_ns
        return late_ns > 0

    def _timeout(self) -> ProbeError:
        return ProbeError(Reason.TIMEOUT, f"timeout in {self.phase}")

    def close(self) -> None:
        """Close the socket and its watcher."""
        if self._io is not None:
            self._io.close()
        self._socket.close()

    def rest(self, patience_s: float) -> None:
        """Wait for nothing any more, but keep the socket (keep-alive), and what is on the way awake to it.

        Args:
            patience_s: with nothing acknowledged for so long of what is sent then, the connection fails (`timeout`)
                before the deadline: something on the way may have forgotten it.
        """
        self._io.close()
        self._io = None
        if not self._rested:
            self._rested = True
            for level, option, value in AT_REST:
                self._socket.setsockopt(level, option, value)
            if LINUX:
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(patience_s * 1000))
