"""One accepted connection: reads requests, sends answers, ends as the answer says; plain and TLS alike."""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator

from watcher.testserver.answer import Answer, End, Step
from watcher.testserver.loop import Loop
from watcher.testserver.site import Site

_BLOCKED = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_READ_BYTES = 65_536
_INBOX_LIMIT_BYTES = 20 * 1024 * 1024
_PIECES_A_TURN = 16  # of an answer without end, before the others have theirs
_IN, _OUT = select.EPOLLIN, select.EPOLLOUT
_TIMESPEC = struct.Struct("=qq")
_LINGER_NONE = struct.pack("ii", 1, 0)
SO_TIMESTAMPNS = 35  # not among the names of Python's socket module


class Connection:
    """One connection; `answer` is the one under way."""

    __slots__ = (
        "answer", "fd", "inbox", "interest", "loop", "outbox", "receive", "send", "site", "sock", "steps", "turn",
    )  # fmt: skip

    def __init__(self, loop: Loop, site: Site, sock: socket.socket) -> None:
        self.loop, self.site, self.sock = loop, site, sock
        self.fd = sock.fileno()
        self.receive, self.send = sock.recvmsg, sock.send
        self.inbox = b""
        self.outbox: memoryview | None = None
        self.answer: Answer | None = None
        self.steps: Iterator[Step] | None = None
        self.turn = 0
        self.interest = 0

    def start(self) -> None:
        """Take what has arrived already; whoever is answered and closed at once never troubles epoll."""
        if self.fd >= 0:
            self._read()
        if self.inbox:
            self._serve([])
        if self.fd >= 0 and not self.interest:
            self._want(_IN)

    def ready(self, events: int) -> None:
        """Go on with what the descriptor is ready for."""
        if events & _OUT and self.interest & _OUT:
            self._flush()
        if events & ~_OUT and self.fd >= 0:
            self._read()
        if self.inbox:
            self._serve([])

    def _read(self) -> None:
        """Read what arrived; a peer that left ends everything."""
        try:
            data, ancillary, _, _ = self.receive(_READ_BYTES, 64)
        except _BLOCKED:
            return
        except OSError:
            self.drop()
            return
        if not data or len(self.inbox) > _INBOX_LIMIT_BYTES:
            self.drop()
        elif self.answer is not None or self.inbox:
            self.inbox += data
            self._serve(ancillary)
        elif (answer := self.site.memo.get(data)) is not None:
            self.begin(answer, ancillary)
        else:
            self.inbox = data
            self._serve(ancillary)

    def _serve(self, ancillary: list) -> None:
        """Answer the requests in the inbox, one after the other, as far as they are whole."""
        while self.inbox and self.answer is None and self.fd >= 0:
            found = self.site.answer(self.inbox)
            if found is None:
                return
            answer, self.inbox = found
            self.begin(answer, ancillary)

    def begin(self, answer: Answer, ancillary: list) -> None:
        """Start an answer: at once, or `delay_s` after the kernel received the request's last bytes."""
        self.answer = answer
        if answer.delay_s:
            self._later(time.monotonic() - _age_s(ancillary) + answer.delay_s, self._answer)
        else:
            self._answer()

    def _later(self, due_s: float, go_on: Callable[[], None]) -> None:
        """Go on at a moment, unless the answer ended by then."""
        turn = self.turn

        def ring() -> None:
            if self.turn == turn:
                go_on()
                self._serve([])

        self.loop.call_at(due_s, ring)

    def _answer(self) -> None:
        """Send the answer under way."""
        answer = self.answer
        if answer.steps is not None:
            self.steps = answer.steps()
            self._advance()
        elif self._push(answer.wire):
            self._finish()

    def _advance(self) -> None:
        """Take steps until one has to wait."""
        pieces = 0
        for step in self.steps:
            if isinstance(step, bytes):
                pieces += 1
                if not self._push(step):
                    return
                if pieces == _PIECES_A_TURN:
                    self._want(_IN | _OUT)
                    return
            elif isinstance(step, End):
                self._end(step)
                return
            else:
                self._later(time.monotonic() + step, self._advance)
                return
        self._finish()

    def _push(self, data: bytes | memoryview) -> bool:
        """Send; False when some of it has to wait, or when the peer left."""
        try:
            sent = self.send(data) if data else 0
        except _BLOCKED:
            sent = 0
        except OSError:
            self.drop()
            return False
        if sent < len(data):
            self.outbox = memoryview(data)[sent:]
            self._want(_IN | _OUT)
            return False
        return True

    def _flush(self) -> None:
        """Send what had to wait, then go on."""
        data, self.outbox = self.outbox, None
        if data is not None and not self._push(data):
            return
        self._want(_IN)
        if self.steps is not None:
            self._advance()
        else:
            self._finish()

    def _want(self, interest: int) -> None:
        """Be woken for these events from now on."""
        if not self.interest:
            self.loop.watch(self.fd, self, interest)
        elif interest != self.interest:
            self.loop.change(self.fd, interest)
        self.interest = interest

    def _finish(self) -> None:
        """End an answer that was sent whole: close, or be free for the next request."""
        close, self.answer, self.steps = self.answer.close, None, None
        self.turn += 1
        if close:
            self._end(End.CLOSE)

    def _end(self, end: End) -> None:
        """End the connection, or keep it in silence."""
        if end is End.HOLD:
            return
        if end is End.RESET:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        self.drop()

    def drop(self) -> None:
        """Give everything up; timers that still ring find another turn."""
        self.turn += 1
        self.loop.forget(self.fd)
        self.fd = -1
        self.sock.close()


class SecureConnection(Connection):
    """A connection that begins with a TLS handshake.

    The kernel's arrival time is not to be had through TLS: a delay counts from when the request was read.
    """

    __slots__ = ("shaken",)

    def __init__(self, loop: Loop, site: Site, sock: ssl.SSLSocket) -> None:
        super().__init__(loop, site, sock)
        self.shaken = False
        self.receive = self._receive

    def _receive(self, limit: int, _: int) -> tuple[bytes, list, int, None]:
        """Read like `socket.recvmsg`, after the handshake."""
        if not self.shaken:
            self.sock.do_handshake()
            self.shaken = True
        return self.sock.recv(limit), [], 0, None

    def _end(self, end: End) -> None:
        """Tell the peer that the answer is whole before the connection is closed."""
        if end is End.CLOSE:
            try:
                self.sock.unwrap()
            except OSError:  # the peer's own farewell has not come yet, and is not waited for
                pass
        super()._end(end)


def _age_s(ancillary: list) -> float:
    """Give the time that passed since the kernel received what was just read; 0 where it did not say."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack_from(data)
            return min(max(0.0, (time.time_ns() - seconds * 1_000_000_000 - nanoseconds) / 1e9), 60.0)
    return 0.0
