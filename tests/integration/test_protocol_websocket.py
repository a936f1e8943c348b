"""ws:// and wss:// against the servers of two other libraries, and against peers that misbehave."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
import requests
import trustme
from probing import probing, serving
from scripted import request as read_request
from scripted import scripted, silent

from watcher import Reason, Status, Step, hookimpl
from watcher.plugins.credentials import basic_auth
from watcher.plugins.protocols import connection, http, websocket
from watcher.plugins.request import body, headers, query

pytestmark = pytest.mark.usefixtures("anchor")
PLUGINS = (connection, http, basic_auth, body, headers, query, websocket)
SERVER = str(Path(__file__).with_name("websocket_server.py"))
check = probing(*PLUGINS)


@pytest.fixture(scope="module", name="ports")
def fixture_ports(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Run the servers; give the ports of aiohttp, of aiohttp over TLS, of websockets."""
    certificate = tmp_path_factory.mktemp("websocket") / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    with serving(SERVER, str(certificate)) as ports:
        yield ports


@pytest.fixture(name="ws")
def fixture_ws(ports: list[str]) -> str:
    """Give the URL of aiohttp's server."""
    return f"ws://127.0.0.1:{ports[0]}"


def test_a_ping_is_answered_by_its_pong(ws: str) -> None:
    result = check(f"{ws}/echo")
    assert (result.status, result.reason, result.detail, result.http_status) == (Status.UP, None, None, 101)
    assert result.latency_us == result.connect_us + result.ttfb_us + result.transfer_us
    assert (result.address, result.tls_us) == ("127.0.0.1", None)


def test_the_server_of_another_library_is_up_too(ports: list[str]) -> None:
    url = f"WS://127.0.0.1:{ports[2]}"
    assert check(url).status is Status.UP
    assert check(url, websocket={"send": "größer", "expect": "größer"}).status is Status.UP


def test_over_tls(ports: list[str], ca_file: str) -> None:
    url = f"wss://127.0.0.1:{ports[1]}/echo"
    result = check(url, tls={"ca": ca_file}, websocket={"send": "a", "expect": "a"})
    assert result.status is Status.UP
    assert result.tls_us > 0
    assert check(url).reason is Reason.CERTIFICATE


def test_a_good_bye_is_said(ws: str, eventually: Callable) -> None:
    before = requests.get(f"{ws.replace('ws', 'http')}/ended", timeout=5).json()
    check(f"{ws}/echo")
    eventually(lambda: requests.get(f"{ws.replace('ws', 'http')}/ended", timeout=5).json() == [*before, 1000])


@pytest.mark.parametrize(
    ("path", "option"),
    [
        ("echo", {"send": "hello"}),
        ("echo", {"send": "", "expect": ""}),
        ("echo", {"send": "hello", "expect": "hello"}),
        ("echo", {"send": "x" * 70_000, "expect": {"regex": "^x+$"}}),
        ("greet", {"expect": "welcome"}),
        ("greet", {"send": "hello", "skip": 2, "expect": {"contains": "said hello"}}),
        ("greet", {"skip": 1}),
        ("pings", {"expect": "pong was are you there"}),
        ("echo", {"subprotocol": "mqtt"}),
    ],
)
def test_an_answer_as_wished_is_up(ws: str, path: str, option: dict) -> None:
    result = check(f"{ws}/{path}", websocket=option)
    assert (result.status, result.detail) == (Status.UP, None)


def test_the_bytes_of_the_answer_are_counted(ws: str) -> None:
    assert check(f"{ws}/echo", websocket={"send": "größer"}).body_bytes == len("größer".encode())


@pytest.mark.parametrize(
    "wish",
    [
        '"path": "/tell?a=b%20c&d=%C3%BC"',
        '["X-Probe", "7"]',
        '["Host", "shop.example"]',
        '["Authorization", "Basic cHJvYmU6c2VjcmV0"]',
        '["Connection", "Upgrade"]',
        '["Upgrade", "websocket"]',
        {"contains": "h2c", "absent": True},
        {"regex": '"Host".*"Host"', "absent": True},
        {"contains": "Accept-Encoding", "absent": True},
    ],
)
def test_the_handshake_carries_what_plugins_prepared_but_for_its_own_fields(ws: str, wish: str | dict) -> None:
    fields = {"X-Probe": "7", "Host": "shop.example", "upgrade": "h2c"}
    login = {"username": "probe", "password": "secret"}
    expect = wish if isinstance(wish, dict) else {"contains": wish}
    options = {"headers": fields, "query": {"d": "ü"}, "basic_auth": login, "websocket": {"expect": expect}}
    result = check(f"{ws}/tell?a=b%20c", **options)
    assert (result.status, result.detail) == (Status.UP, None)


def test_the_handshake_carries_what_steps_change_at_each_check(ws: str) -> None:
    class Counter(Step):
        """Numbers the checks."""

        number = 0

        def before(self, request: requests.PreparedRequest) -> None:
            self.number += 1
            request.headers["X-Number"] = str(self.number)

    class Numbers:
        """The plugin with this step."""

        step = Counter()

        @hookimpl
        def watcher_steps(self) -> Step:
            """Give it."""
            return self.step

    numbered = probing(*PLUGINS, Numbers())
    for number in ("1", "2"):
        result = numbered(f"{ws}/tell", websocket={"expect": {"contains": f'["X-Number", "{number}"]'}})
        assert (result.status, result.detail) == (Status.UP, None)


def test_a_step_that_takes_all_of_the_timeout_is_not_the_fault_of_the_site(ws: str) -> None:
    class Slow(Step):
        """Waits for a token that does not come."""

        def before(self, request: requests.PreparedRequest) -> None:
            gevent.sleep(10)

    class Slowness:
        """The plugin with this step."""

        @staticmethod
        @hookimpl
        def watcher_steps() -> Step:
            """Give it."""
            return Slow()

    result = probing(*PLUGINS, Slowness())(f"{ws}/echo", timeout_s=0.1)
    assert (result.status, result.reason) == (Status.MISSED, Reason.PLUGIN)


@pytest.mark.parametrize(
    ("path", "option", "reason", "status", "words"),
    [
        ("echo", {"send": "a", "expect": "b"}, Reason.ASSERTION, 101, "the answer is 'a', wanted \"b\""),
        ("echo", {"subprotocol": "soap"}, Reason.ASSERTION, 101, "subprotocol soap"),
        ("deny", {}, Reason.STATUS, 403, "403 Forbidden in answer to the handshake, wanted 101"),
        ("move", {}, Reason.STATUS, 302, "302 Found"),
        ("missing", {}, Reason.STATUS, 404, "404 Not Found"),
        ("leave", {"expect": "a"}, Reason.CLOSED, 101, "1008 (policy violation) no token"),
        ("mute", {}, Reason.TIMEOUT, 101, "timeout in transfer"),
        ("mute", {"send": "a"}, Reason.TIMEOUT, 101, "timeout in transfer"),
    ],
)
def test_each_way_to_fail_has_its_reason(
    ws: str, path: str, option: dict, reason: Reason, status: int, words: str
) -> None:
    result = check(f"{ws}/{path}", timeout_s=0.5, websocket=option)
    assert (result.status, result.reason, result.http_status) == (Status.DOWN, reason, status)
    assert words in result.detail


def accepting(frames: bytes) -> Callable:
    """Make a script that accepts the handshake and sends frames with it (RFC 6455, 1.3 and 5.2)."""

    def script(peer) -> None:
        fields = dict(line.split(": ", 1) for line in read_request(peer).decode().splitlines()[1:] if line)
        magic = fields["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(magic.encode()).digest()).decode()
        lines = ("HTTP/1.1 101 Yes", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept}")
        peer.sendall("\r\n".join([*lines, "\r\n"]).encode() + frames)

    return script


@pytest.mark.parametrize(
    ("script", "reason", "words"),
    [
        (lambda peer: peer.sendall(b"220 ESMTP\r\n"), Reason.PROTOCOL, "220 ESMTP"),
        (lambda peer: read_request(peer) and peer.close(), Reason.CLOSED, "before an answer"),
        (lambda peer: peer.sendall(b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
         Reason.PROTOCOL, "Sec-WebSocket-Accept"),
        (accepting(b""), Reason.CLOSED, "before an answer"),
        (accepting(b"\x81\x05Hel"), Reason.CLOSED, "before an answer"),
        (accepting(b"\x83\x05Hello"), Reason.PROTOCOL, "Opcode"),
        (lambda peer: accepting(b"\x89\x00" * 10_001)(peer) or silent(peer), Reason.PROTOCOL, "more than 10000 frames"),
        (accepting(b"\x81\x7f\x00\x00\x00\x00\x7f\x00\x00\x00"), Reason.PROTOCOL, "1048576"),
        (silent, Reason.TIMEOUT, "timeout in ttfb"),
    ],
)  # fmt: skip
def test_what_is_no_websocket_is_told_apart(script: Callable, reason: Reason, words: str) -> None:
    with scripted(script) as port:
        result = check(f"ws://127.0.0.1:{port}/", timeout_s=0.5, websocket={"expect": "Hello"})
    assert (result.status, result.reason) == (Status.DOWN, reason)
    assert words in result.detail


@pytest.mark.parametrize(
    "frames", [b"\x81\x05Hello", b"\x01\x03Hel\x80\x02lo", b"\x01\x03Hel\x89\x00\x80\x02lo"]
)
def test_the_messages_of_the_rfc_are_understood(frames: bytes) -> None:
    """The examples of RFC 6455, 5.7: one frame, two, and two with a ping between."""
    with scripted(accepting(frames)) as port:
        assert check(f"ws://127.0.0.1:{port}/", websocket={"expect": "Hello"}).status is Status.UP


GOOD_BYE = b"\x88\x02\x03\xe8"  # the server closes, code 1000


def test_a_server_that_closes_right_behind_its_answer_is_up() -> None:
    with scripted(accepting(b"\x81\x05Hello" + GOOD_BYE)) as port:
        result = check(f"ws://127.0.0.1:{port}/", websocket={"expect": "Hello"})
    assert (result.status, result.detail, result.body_bytes) == (Status.UP, None, 5)


@pytest.mark.parametrize("option", [{}, {"send": "a"}, {"skip": 1, "send": "a"}, {"skip": 1, "expect": "a"}])
def test_a_server_that_closed_can_be_told_nothing(option: dict) -> None:
    with scripted(accepting(b"\x81\x05Hello" + GOOD_BYE)) as port:
        result = check(f"ws://127.0.0.1:{port}/", websocket=option)
    assert (result.status, result.reason) == (Status.DOWN, Reason.CLOSED)
    assert result.detail == "the server closed the connection: 1000 (OK)"


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("ws://user:hunter2@127.0.0.1/", {}, "use basic_auth"),
        ("ws://127.0.0.1/#top", {}, "no fragment"),
        ("ws://127.0.0.1/", {"method": "POST"}, "leave out method and body"),
        ("ws://127.0.0.1/", {"body": {"text": "a"}}, "leave out method and body"),
    ],
)
def test_what_cannot_be_probed_says_so(url: str, options: dict, words: str) -> None:
    result = check(url, **options)
    assert (result.status, result.reason) == (Status.MISSED, Reason.CONFIG)
    assert words in result.detail and "hunter2" not in result.detail


@pytest.mark.parametrize(
    "option", [{"skip": -1}, {"subprotocol": "a b"}, {"subprotocol": "a\n"}, {"sent": "a"}, {"send": 1}]
)
def test_a_wrong_option_is_refused(option: dict) -> None:
    with pytest.raises(ValueError, match="websocket"):
        check("ws://127.0.0.1/", websocket=option)
