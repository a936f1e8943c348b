"""tcp:// against redis and scripted servers: what is sent and awaited, and each way to fail."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
from probing import probing
from scripted import Script, scripted, server_tls, silent
from third_party import third_party

from watcher import Reason, Status
from watcher.plugins.protocols import connection, tcp

check = probing(tcp, connection)
pytestmark = pytest.mark.usefixtures("anchor")


@pytest.fixture(scope="module")
def redis(eventually, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run a redis server with a password; give its port."""
    directory = str(tmp_path_factory.mktemp("redis"))
    options = ["--port", "{port}", "--bind", "127.0.0.1", "--save", "", "--requirepass", "sesame", "--dir", directory]
    with third_party(eventually, "redis-server", "redis-server", *options) as port:
        yield port


def says(*pieces: bytes) -> Script:
    """Say one piece at once, and each other after something was heard; then listen until the peer goes."""

    def script(caller: socket.socket) -> None:
        for piece in pieces:
            caller.sendall(piece)
            if not caller.recv(65536):
                return
        silent(caller)

    return script


def hears(heard: list[bytes], answer: bytes) -> Script:
    """Note what is heard first and answer."""

    def script(caller: socket.socket) -> None:
        heard.append(caller.recv(65536))
        caller.sendall(answer)
        silent(caller)

    return script


def test_a_port_that_accepts_is_up_and_one_that_refuses_is_not(redis: int) -> None:
    up = check(f"tcp://127.0.0.1:{redis}")
    assert (up.status, up.reason, up.address, up.ttfb_us) == (Status.UP, None, "127.0.0.1", None)
    assert up.connect_us == up.latency_us
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    assert check(f"tcp://127.0.0.1:{port}").reason is Reason.CONNECT


def test_redis_is_talked_to_turn_by_turn(redis: int) -> None:
    login = {"send": "AUTH sesame\r\n", "expect": "+OK"}
    ping = {"send": "PING\r\n", "expect": "+PONG"}
    result = check(f"tcp://localhost:{redis}/", tcp=[login, ping])
    assert (result.status, result.reason, result.body_bytes) == (Status.UP, None, len("+OK\r\n+PONG\r\n"))
    assert None not in (result.ttfb_us, result.transfer_us)


def test_an_answer_that_is_not_as_wanted_is_shown(redis: int) -> None:
    result = check(f"tcp://127.0.0.1:{redis}", 0.5, tcp={"send": "PING\r\n", "expect": "+PONG"})
    assert (result.status, result.reason) == (Status.DOWN, Reason.ASSERTION)
    assert result.detail == "answered '-NOAUTH Authentication required.', wanted \"+PONG\""


@pytest.mark.parametrize(
    "wish", ["220 ready", {"contains": "ready"}, {"regex": "^220 "}, {"equals": "220 READY", "ignore_case": True}]
)
def test_a_banner_is_awaited_before_anything_is_sent(wish: Any) -> None:
    with scripted(says(b"220 ready\r\n", b"221 bye\r\n")) as port:
        turns = [{"expect": wish}, {"send": "QUIT\r\n", "expect": {"regex": "^221"}}]
        assert check(f"tcp://127.0.0.1:{port}", tcp=turns).status is Status.UP


def test_an_answer_in_pieces_is_one_answer() -> None:
    def script(caller: socket.socket) -> None:
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in (b"220-first\r\n22", b"0 sec", b"ond\r\n"):
            caller.sendall(piece)
            caller.settimeout(0.05)
            try:
                caller.recv(1)
            except TimeoutError:
                continue
        silent(caller)

    with scripted(script) as port:
        result = check(f"tcp://127.0.0.1:{port}", tcp={"expect": {"regex": r"(?m)^220 second$"}})
    assert (result.status, result.body_bytes) == (Status.UP, 23)


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        (r"PING\r\n", b"PING\r\n"),  # as a literal string of TOML and the command line have it
        ("PING\r\n", b"PING\r\n"),
        (r"\x00\xff\\x\t\0", b"\x00\xff\\x\t\x00"),
        ("größer\n", "größer\n".encode()),
    ],
)
def test_escapes_stand_for_bytes(written: str, sent: bytes) -> None:
    heard: list[bytes] = []
    with scripted(hears(heard, b"\x00\xfe\x80 done")) as port:
        binary = {"send": written, "expect": {"regex": r"^\x00\xfe\x80"}}
        assert check(f"tcp://127.0.0.1:{port}", tcp=binary).status is Status.UP
    assert heard == [sent]


def test_an_answer_is_read_as_utf_8_where_it_is() -> None:
    with scripted(says("größer\n".encode())) as port:
        assert check(f"tcp://127.0.0.1:{port}", tcp={"expect": "größer"}).status is Status.UP


@pytest.mark.parametrize(
    ("script", "reason", "words"),
    [
        (silent, Reason.TIMEOUT, "timeout in ttfb"),
        (lambda caller: None, Reason.CLOSED, "without an answer"),
        (lambda caller: caller.sendall(b"554 no\r\n"), Reason.ASSERTION, "'554 no' and closed the connection"),
        (says(b"554 no\r\n"), Reason.ASSERTION, "answered '554 no', wanted matching /^220/"),
        (says(b"x" * 20_000), Reason.ASSERTION, "bytes that are not as wanted"),
        (says(b"2" * 300), Reason.ASSERTION, "answered '" + "2" * 80 + "',"),
    ],
)
def test_each_way_to_fail_has_its_reason(script: Script, reason: Reason, words: str) -> None:
    with scripted(script) as port:
        result = check(f"tcp://127.0.0.1:{port}", 0.4, tcp={"expect": {"regex": "^220"}})
    assert (result.status, result.reason) == (Status.DOWN, reason)
    assert words in str(result.detail)


def test_starttls_goes_on_over_tls(authority, ca_file: str) -> None:
    context = server_tls(authority.issue_cert("localhost"))
    heard: list[bytes] = []

    def script(caller: socket.socket) -> None:
        caller.sendall(b"220 ready\r\n")
        caller.recv(100)
        caller.sendall(b"220 go ahead\r\n")
        with context.wrap_socket(caller, server_side=True) as secure:
            heard.append(secure.recv(100))
            secure.sendall(b"250 secure\r\n")
            secure.recv(100)

    turns = [
        {"expect": {"regex": "^220"}},
        {"send": "STARTTLS\r\n", "expect": {"regex": "^220"}, "starttls": True},
        {"send": "EHLO x\r\n", "expect": {"contains": "secure"}},
    ]
    with scripted(script) as port:
        result = check(f"tcp://localhost:{port}", tcp=turns, tls={"ca": ca_file})
    assert (result.status, result.detail, heard) == (Status.UP, None, [b"EHLO x\r\n"])
    assert result.tls_us > 0
    with scripted(script) as port:
        assert check(f"tcp://localhost:{port}", tcp=turns).reason is Reason.CERTIFICATE


def test_a_connection_may_begin_with_tls(authority, ca_file: str) -> None:
    turns = [{"starttls": True}, {"expect": {"contains": "IMAP4"}}]
    context = server_tls(authority.issue_cert("localhost"))
    with scripted(says(b"* OK IMAP4rev1 ready\r\n"), context) as port:
        result = check(f"tcp://localhost:{port}", tcp=turns, tls={"ca": ca_file})
    assert (result.status, result.detail) == (Status.UP, None)
    assert result.tls_us > 0


def test_a_refused_client_certificate_is_noticed_when_the_server_is_talked_to(authority, ca_file: str) -> None:
    context = server_tls(authority.issue_cert("localhost"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(ca_file)
    turns = [{"starttls": True}, {"send": "hello", "expect": "hello"}]
    with scripted(lambda caller: caller.sendall(caller.recv(10)), context) as port:
        result = check(f"tcp://localhost:{port}", tcp=turns, tls={"ca": ca_file})
    assert (result.status, result.reason) == (Status.DOWN, Reason.TLS)
    assert "certificate required" in str(result.detail)


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ({}, "does nothing"),
        ([], "an empty list checks nothing"),
        ({"send": r"a\q"}, r"send has '\\q'"),
        ({"send": "a\\"}, "which is none of"),
        ({"send": r"\xf"}, "which is none of"),
        ({"expect": {"contains": "x", "absent": True}}, "of what must be absent more could always come"),
        ([{"starttls": True}, {"starttls": True}], "once in a connection"),
        ({"expct": "x"}, 'did you mean "expect"?'),
    ],
)
def test_a_wrong_value_is_found_when_the_configuration_is_read(written: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match="tcp") as caught:
        check("tcp://127.0.0.1:9", tcp=written)
    assert complaint in str(caught.value)


def test_a_url_without_a_port_cannot_be_probed() -> None:
    result = check("tcp://127.0.0.1")
    assert (result.status, result.reason) == (Status.MISSED, Reason.CONFIG)
    assert "tcp://example.com:25" in str(result.detail)
