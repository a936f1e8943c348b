"""The kernel's clock: when bytes arrived and how long the TCP handshake took, whenever we got round to looking.

Linux: SO_TIMESTAMPNS (socket(7)) stamps each arrival, TCP_INFO (tcp(7)) knows the handshake's round trip. Elsewhere,
and in a sandbox whose kernel gives no stamps, the wall clock stands in and `source` says so; it is stored in
`agents.clock`.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import sys
from _socket import socket as RawSocket  # the class that gevent does not wrap
from functools import lru_cache
from time import time_ns

LINUX = sys.platform == "linux"
KERNEL, WALL = "kernel", "wall"

SO_TIMESTAMPNS = 35  # asm-generic/socket.h; the socket module does not name it
ANCILLARY_BYTES = socket.CMSG_SPACE(16)
_SIOCGSTAMPNS = 0x8907  # asm-generic/sockios.h: of the last datagram that was read
_TRIAL_S = 1.0

_timespec = struct.Struct("@qq").unpack
_TCP_ESTABLISHED, _TCP_CLOSE_WAIT = 1, 8
_TCP_INFO_BYTES = 104
_tcp_info = struct.Struct("@B67xI28xI").unpack  # tcpi_state, tcpi_rtt, tcpi_total_retrans


@lru_cache(maxsize=1)
def source() -> str:
    """Give what times arrivals here, `kernel` or `wall`; by trial, since some sandboxes say Linux and stamp nothing."""
    if not LINUX:
        return WALL
    with contextlib.suppress(OSError), contextlib.closing(RawSocket(socket.AF_INET, socket.SOCK_DGRAM)) as trial:
        trial.settimeout(_TRIAL_S)
        trial.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        trial.bind(("127.0.0.1", 0))
        trial.sendto(b"?", trial.getsockname())
        if any(kind == SO_TIMESTAMPNS for _level, kind, _data in trial.recvmsg(1, ANCILLARY_BYTES)[1]):
            return KERNEL
    return WALL


def last_arrival_ns(descriptor: int) -> int:
    """Give the arrival of the datagram that somebody else read last from a socket, in ns since the epoch.

    It is now where the kernel does not tell: the first call asks it to, and a stream has no such stamp.
    """
    with contextlib.suppress(OSError):
        seconds, nanoseconds = _timespec(fcntl.ioctl(descriptor, _SIOCGSTAMPNS, bytes(16)))
        return min(time_ns(), seconds * 1_000_000_000 + nanoseconds)
    return time_ns()


def arrival_ns(ancillary: list[tuple[int, int, bytes]]) -> int:
    """Give the arrival of the last byte that a `recvmsg` returned, in ns since the epoch; now, without a stamp."""
    for _level, kind, data in ancillary:
        if kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = _timespec(data)
            return seconds * 1_000_000_000 + nanoseconds
    return time_ns()


def handshake_us(sock: socket.socket, since_ns: int) -> int:
    """Give the time that connecting a stream socket took, in µs; negative when it is not connected.

    The handshake's own round trip as TCP measured it; the time since `since_ns` when a SYN had to be repeated (TCP
    then knows no round trip that covers the wait) or where the kernel does not tell.
    """
    if LINUX:
        state, rtt_us, repeats = _tcp_info(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES))
        if state not in (_TCP_ESTABLISHED, _TCP_CLOSE_WAIT):
            return -1
        if rtt_us and not repeats:
            return rtt_us
    elif sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        return -1
    return max(0, time_ns() - since_ns) // 1000


class Anchor:
    """A socket that keeps the kernel's receive stamps switched on while this process lives.

    The kernel switches stamping on with the first socket that asks and off with the last, by patching its own code; a
    monitor that opens and closes sockets all day would make it do so all day, and lose the first stamps each time.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        if LINUX:
            with contextlib.suppress(OSError):  # then there are none to keep
                self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)

    def close(self) -> None:
        """Let go."""
        self._socket.close()
