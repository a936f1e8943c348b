"""Conversations over the measured transport: what arrives, phase by phase, however the peer cuts it up."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gevent
import pytest
import trustme

from watcher import Endpoint, Reason
from watcher.errors import ProbeError
from watcher.transport import Conversation, Exchange, Tls, dial, target

PAUSE_S = 0.15
Act = Callable[[socket.socket], None]


@contextmanager
def peer(act: Act) -> Iterator[int]:
    """Serve one connection in a thread: `act` says what the peer does; give the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _address = listener.accept()
            with connection:
                act(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def talk(port: int, say: Callable, timeout_s: float = 5.0, options: Tls = Tls(), **how: bool) -> tuple:
    """Have one conversation in a greenlet; give what it gave, or its error, and the exchange."""
    exchange = Exchange(timeout_s)
    endpoint = Endpoint(name="x", url=f"test://127.0.0.1:{port}/", options={"tls": options})

    def run() -> object:
        try:
            with dial(exchange, target(endpoint, 0, **how)) as conversation:
                return say(conversation)
        except ProbeError as error:
            return error

    greenlet = gevent.spawn(run)
    greenlet.join()
    return greenlet.value, exchange


def test_lines_blocks_and_marks_come_whole_however_they_are_cut() -> None:
    def act(connection: socket.socket) -> None:
        for piece in (b"220 rea", b"dy\r\n", b"12345", b"678rest{en", b"d}tail\n"):
            connection.sendall(piece)
            time.sleep(0.01)
        assert connection.recv(10) == b"thanks"

    def say(conversation: Conversation) -> list[bytes]:
        parts = [conversation.read_line(), conversation.read_exactly(8), conversation.read_until(b"{end}")]
        parts.append(conversation.read_line())
        conversation.send(b"thanks")
        return parts

    with peer(act) as port:
        value, exchange = talk(port, say)
    assert value == [b"220 ready", b"12345678", b"rest{end}", b"tail"]
    assert exchange.address == "127.0.0.1"
    assert exchange.connect_us >= 0


@pytest.mark.parametrize("pieces", [(b"x" * 20 + b"\n",), (b"x" * 15, b"x" * 5 + b"\n")])
def test_a_line_beyond_the_limit_is_refused_though_it_came_whole(pieces: tuple[bytes, ...]) -> None:
    def act(connection: socket.socket) -> None:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.01)
        connection.recv(1)

    for limit, words in ((20, b"x" * 20), (19, "more than 19 bytes without '\\n'")):
        with peer(act) as port:
            value, _ = talk(port, lambda conversation, limit=limit: conversation.read_line(limit))
        assert (value.detail if isinstance(value, ProbeError) else value) == words


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_greeting_that_comes_with_the_end_of_the_handshake_is_heard(
    version: ssl.TLSVersion, authority: trustme.CA, tmp_path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    context.maximum_version = version

    def act(connection: socket.socket) -> None:
        came, goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(came, goes, server_side=True)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                connection.sendall(goes.read())
                came.write(connection.recv(65_536))
        tls.write(b"220 ready\r\n")
        connection.sendall(goes.read())  # one segment, with the Finished of TLS 1.2
        connection.recv(1)

    with peer(act) as port:
        value, exchange = talk(port, Conversation.read_line, options=Tls(ca=tmp_path / "ca.pem"), tls=True)
    assert value == b"220 ready"
    assert exchange.ttfb_us is not None and exchange.tls_us > 0


def test_a_deadline_that_comes_in_another_wait_disturbs_that_not_and_ends_the_next() -> None:
    def say(conversation: Conversation) -> None:
        gevent.sleep(0.2)
        conversation.receive()

    with peer(lambda connection: connection.recv(1)) as port, gevent.Timeout(10):
        error, exchange = talk(port, say, timeout_s=0.1)
    assert (error.reason, error.detail) == (Reason.TIMEOUT, "timeout in ttfb")
    assert exchange.ttfb_us >= 0


def test_each_wait_is_in_its_phase() -> None:
    def act(connection: socket.socket) -> None:
        time.sleep(PAUSE_S)
        connection.sendall(b"hello\n")
        assert connection.recv(10) == b"again\n"
        time.sleep(2 * PAUSE_S)
        connection.sendall(b"once more\n")

    def say(conversation: Conversation) -> None:
        conversation.read_line()
        time.sleep(PAUSE_S)  # ours: neither phase holds it
        conversation.send(b"again\n")
        conversation.read_line()

    with peer(act) as port:
        _value, exchange = talk(port, say)
    assert exchange.ttfb_us >= PAUSE_S * 1e6
    assert exchange.transfer_us >= 2 * PAUSE_S * 1e6
    waited_us = time.time_ns() // 1000 - exchange.started_ns // 1000
    assert exchange.latency_us <= waited_us - PAUSE_S * 1e6


@pytest.mark.parametrize(
    ("sent", "say", "reason", "words"),
    [
        (b"", Conversation.read_line, Reason.CLOSED, "closed"),
        (b"half", Conversation.read_line, Reason.CLOSED, "closed after 4 bytes"),
        (b"abc", lambda conversation: conversation.read_exactly(4), Reason.CLOSED, "closed after 3 bytes"),
        (b"x" * 100, lambda conversation: conversation.read_line(50), Reason.PROTOCOL, "more than 50 bytes"),
    ],
)
def test_an_answer_that_is_not_whole_says_why(sent: bytes, say: Callable, reason: Reason, words: str) -> None:
    with peer(lambda connection: connection.sendall(sent)) as port:
        error, _exchange = talk(port, say)
    assert (error.reason, words in error.detail) == (reason, True), error.detail


def test_a_peer_that_says_nothing_ends_at_the_deadline_in_the_phase_that_waited() -> None:
    done = threading.Event()
    with peer(lambda connection: done.wait(10) and None) as port:
        error, exchange = talk(port, Conversation.read_line, timeout_s=0.2)
        done.set()
    assert (error.reason, error.detail) == (Reason.TIMEOUT, "timeout in ttfb")
    assert 150_000 <= exchange.ttfb_us <= 200_000


def test_a_verdict_of_the_prober_adds_nothing_to_the_phases() -> None:
    def say(conversation: Conversation) -> None:
        conversation.read_line()
        time.sleep(PAUSE_S)
        raise ProbeError(Reason.ASSERTION, "not what was wanted")

    with peer(lambda connection: connection.sendall(b"hello\n")) as port:
        error, exchange = talk(port, say)
    assert error.reason is Reason.ASSERTION
    assert exchange.latency_us < PAUSE_S * 1e6


@pytest.fixture(scope="module", name="authority")
def fixture_authority() -> trustme.CA:
    """Give a certificate authority."""
    return trustme.CA()


@pytest.mark.parametrize("starttls", [False, True])
def test_tls_at_once_or_when_it_is_asked_for(authority: trustme.CA, tmp_path, starttls: bool) -> None:
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)

    def act(connection: socket.socket) -> None:
        if starttls:
            assert connection.recv(10) == b"STARTTLS\n"
            connection.sendall(b"go ahead\n")
        with server.wrap_socket(connection, server_side=True) as secure:
            assert secure.recv(10) == b"ping\n"
            secure.sendall(b"pong\n")

    def say(conversation: Conversation) -> bytes:
        if starttls:
            conversation.send(b"STARTTLS\n")
            assert conversation.read_line() == b"go ahead"
            conversation.start_tls()
        conversation.send(b"ping\n")
        return conversation.read_line()

    with peer(act) as port:
        value, exchange = talk(port, say, options=Tls(ca=ca), tls=not starttls, starttls=starttls)
    assert value == b"pong"
    assert exchange.tls_us > 0
    assert exchange.peer.version == "TLSv1.3"


def test_plain_bytes_after_the_answer_to_starttls_are_refused() -> None:
    def say(conversation: Conversation) -> None:
        conversation.read_line()
        conversation.start_tls()

    with peer(lambda connection: connection.sendall(b"go ahead\ninjected\n")) as port:
        error, _exchange = talk(port, say, starttls=True)
    assert error.reason is Reason.PROTOCOL
