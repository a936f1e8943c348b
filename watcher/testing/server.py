"""A server that answers with the bytes it is told to: for what a plugin must make of any peer.

It has a thread of its own for each connection, so that it answers while a check waits in this one.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

HOST = "127.0.0.1"
READ_BYTES = 65_536
WAIT_S = 30.0  # for a client that neither sends nor goes


class Client:
    """One connection, as a server's function gets it; `received` is all that came until now."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.received = b""
        self._rest = b""

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        self.socket.sendall(data)

    def receive(self) -> bytes:
        """Give what comes next; empty when the client has ended."""
        if self._rest:
            data, self._rest = self._rest, b""
            return data
        data = self.socket.recv(READ_BYTES)
        self.received += data
        return data

    def read_until(self, mark: bytes) -> bytes:
        """Give all up to the mark, and the mark; what there is when the client ends before."""
        data = b""
        while mark not in data:
            piece = self.receive()
            if not piece:
                return data
            data += piece
        whole, found, self._rest = data.partition(mark)
        return whole + found

    def read_line(self) -> bytes:
        """Give one line without its end (CRLF or LF)."""
        return self.read_until(b"\n").removesuffix(b"\n").removesuffix(b"\r")

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Do the server's part of a TLS handshake now (STARTTLS)."""
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.socket.do_handshake()

    def end(self) -> None:
        """Say that nothing more will be sent."""
        if isinstance(self.socket, ssl.SSLSocket):
            self.socket = self.socket.unwrap()
        self.socket.shutdown(socket.SHUT_WR)


Talk = Callable[[Client], None]


class Server:
    """A context in which a server listens on a free port of 127.0.0.1.

        with Server(page(b"hello")) as server: …
        with Server(b"+PONG\\r\\n", greeting=b"hello\\r\\n") as server: …
        with Server(lambda client: client.send(client.read_line())) as server: …

    Args:
        answers: what each client gets: the first one when it has sent something, the second when it has sent something
            more; then the server ends the connection. Or one function, called with each `Client`; what it raises is
            raised at the end of the context.
        greeting: what each client gets before it has sent anything.
        tls: speak TLS, with a certificate for 127.0.0.1 and localhost that the authority in the file `ca` signed (made
            by the program `openssl`); or a context of your own.
    """

    def __init__(self, *answers: bytes | Talk, greeting: bytes = b"", tls: bool | ssl.SSLContext = False) -> None:
        self._answers = answers
        self._greeting = greeting
        self._tls = tls if isinstance(tls, ssl.SSLContext) else None
        self._makes_tls = tls is True
        self._stack = contextlib.ExitStack()
        self._clients: list[Client] = []
        self._threads: list[threading.Thread] = []
        self._errors: list[Exception] = []
        self.port = 0
        """Where it listens, once the context was entered."""
        self.ca: Path | None = None
        """With `tls=True`: the file of the authority, for the option `tls = { ca = … }`."""

    @property
    def address(self) -> str:
        """Host and port, for URLs of other schemes: `f"gopher://{server.address}/"`."""
        return f"{HOST}:{self.port}"

    @property
    def url(self) -> str:
        """The URL for http or https."""
        return f"http{'s' * (self._tls is not None)}://{self.address}/"

    @property
    def received(self) -> list[bytes]:
        """What each connection received until now, in the order in which they came."""
        return [bytes(client.received) for client in self._clients]

    def __enter__(self) -> Self:
        with self._stack:
            if self._makes_tls:
                self._make_tls(Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="watcher-"))))
            listener = self._stack.enter_context(socket.create_server((HOST, 0)))
            self.port = listener.getsockname()[1]
            self._stack.callback(self._end, listener)
            self._start(self._accept, listener)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stack.close()
        if self._errors and kind is None:
            raise self._errors[0]

    def _make_tls(self, directory: Path) -> None:
        from watcher.testserver.certificates import Certificates

        made = Certificates(directory, ("localhost", HOST))
        self._tls, self.ca = made.context(), made.ca_file

    def _end(self, listener: socket.socket) -> None:
        """Take no more clients, send away those that are here, and wait for their threads."""
        listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        for client in self._clients:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(client.socket, socket.SHUT_RDWR)  # beneath TLS, which its thread may be using
        for thread in self._threads:
            thread.join()

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.settimeout(WAIT_S)
            self._clients.append(Client(connection))
            self._start(self._serve, self._clients[-1])

    def _serve(self, client: Client) -> None:
        try:
            if self._tls:
                client.start_tls(self._tls)
            self._talk(client)
        except OSError:  # the client went away, or does not trust us
            pass
        except Exception as error:  # pylint: disable=broad-exception-caught  # raised again by __exit__
            self._errors.append(error)
        finally:
            client.socket.close()

    def _talk(self, client: Client) -> None:
        client.send(self._greeting)
        for answer in self._answers:
            if callable(answer):
                answer(client)
            elif client.receive():
                client.send(answer)
        client.end()
        while client.receive():
            pass
