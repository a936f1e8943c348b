"""grpc:// and grpcs:// against grpcio's server, and against peers that misbehave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import pytest
import trustme
from probing import probing, serving
from scripted import scripted, silent

from watcher import Reason, Status
from watcher.plugins.protocols import connection, grpc, http
from watcher.plugins.request import body, headers, query

pytestmark = pytest.mark.usefixtures("anchor")
check = probing(connection, http, body, headers, query, grpc)
SERVER = str(Path(__file__).with_name("grpc_server.py"))


@pytest.fixture(scope="module", name="ports")
def fixture_ports(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Run the servers; give the ports of the plain, the TLS, the bare and the locked one."""
    certificate = tmp_path_factory.mktemp("grpc") / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    with serving(SERVER, str(certificate)) as ports:
        yield ports


@pytest.mark.parametrize("option", [{}, {"service": ""}, {"service": "shop.Cart"}, {"service": "shop." + "x" * 300}])
def test_what_is_serving_is_up(ports: list[str], option: dict) -> None:
    result = check(f"grpc://127.0.0.1:{ports[0]}", grpc=option)
    assert (result.status, result.reason, result.detail, result.http_status) == (Status.UP, None, None, 200)
    assert result.latency_us == result.connect_us + result.ttfb_us + (result.transfer_us or 0)
    assert result.body_bytes == 7  # five of gRPC's frame, two of the message


@pytest.mark.parametrize(
    ("service", "detail"),
    [
        ("shop.Closed", "NOT_SERVING, wanted SERVING"),
        ("shop.Odd", "UNKNOWN, wanted SERVING"),
        ("shop.None", "NOT_FOUND: , wanted SERVING"),
    ],
)
def test_what_is_not_serving_is_down(ports: list[str], service: str, detail: str) -> None:
    result = check(f"grpc://127.0.0.1:{ports[0]}", grpc={"service": service})
    assert (result.status, result.reason, result.detail) == (Status.DOWN, Reason.STATUS, detail)


def test_a_server_without_the_health_service_is_down(ports: list[str]) -> None:
    result = check(f"grpc://127.0.0.1:{ports[2]}")
    assert (result.status, result.reason) == (Status.DOWN, Reason.STATUS)
    assert result.detail.startswith("UNIMPLEMENTED: ")


def test_over_tls(ports: list[str], ca_file: str) -> None:
    url = f"grpcs://127.0.0.1:{ports[1]}"
    result = check(url, tls={"ca": ca_file}, grpc={"service": "shop.Cart"})
    assert (result.status, result.detail) == (Status.UP, None)
    assert result.tls_us > 0
    assert check(url).reason is Reason.CERTIFICATE


def test_a_host_beyond_ascii_is_named_as_in_the_dns() -> None:
    heard: list[bytes] = []

    def script(peer) -> None:
        server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        server.initiate_connection()
        while not heard:
            for event in server.receive_data(peer.recv(65_536)):
                if isinstance(event, h2.events.RequestReceived):
                    heard.append(dict(event.headers)[b":authority"])

    with scripted(script) as port:
        check(f"grpc://straße.example:{port}", address="127.0.0.1")
        assert heard == [b"xn--strae-oqa.example:%d" % port]  # IDNA 2008 (RFC 5891): a name of its own, not strasse


def test_headers_go_along_as_metadata(ports: list[str]) -> None:
    url = f"grpc://127.0.0.1:{ports[3]}"
    assert check(url, headers={"Authorization": "Bearer let-me-in", "Host": "shop.example"}).detail is None
    result = check(url)
    assert (result.status, result.reason) == (Status.DOWN, Reason.STATUS)
    assert result.detail == "UNAUTHENTICATED: no token: größer, wanted SERVING"


# what protoc's own library makes of the two messages


def test_the_request_is_as_protocol_buffers_have_it() -> None:
    # pylint: disable-next=no-name-in-module  # protobuf makes it when the module is imported
    from grpc_health.v1.health_pb2 import HealthCheckRequest

    for name in ("", "shop.Cart", "größer", "x" * 127, "x" * 128, "x" * 20_000):
        assert grpc.health_check_request(name) == HealthCheckRequest(service=name).SerializeToString()


def test_the_response_is_read_as_protocol_buffers_have_it() -> None:
    # pylint: disable-next=no-name-in-module  # as above
    from grpc_health.v1.health_pb2 import HealthCheckResponse

    for name, number in HealthCheckResponse.ServingStatus.items():
        message = HealthCheckResponse(status=number).SerializeToString()
        assert grpc.health_of(grpc.framed(message)) == name


# peers that misbehave


def answers(*said: tuple[list[tuple[str, str]], bytes | None], reset: bool = False) -> Callable[..., None]:
    """Make a script that speaks HTTP/2: for the request headers, or data when they are given; the last ends it."""

    def script(peer) -> None:
        server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        server.initiate_connection()
        while not any(isinstance(event, h2.events.StreamEnded) for event in server.receive_data(peer.recv(65_536))):
            peer.sendall(server.data_to_send())
        if reset:
            server.reset_stream(1, 7)
        for fields, data in said:
            last = (fields, data) == said[-1]
            server.send_headers(1, fields, end_stream=last and data is None)
            for start in range(0, len(data or b"") or (data is not None), 16_000):
                server.send_data(1, data[start : start + 16_000], end_stream=last and start + 16_000 >= len(data))
        peer.sendall(server.data_to_send())
        peer.recv(65_536)

    return script


HEAD = [(":status", "200"), ("content-type", "application/grpc")]
OK = [("grpc-status", "0")]


@pytest.mark.parametrize(
    ("script", "reason", "words"),
    [
        (answers((HEAD, b"\0\0\0\0\2\x08\x02"), (OK, None)), Reason.STATUS, "NOT_SERVING"),
        (answers((HEAD, b"\0\0\0\0\0"), (OK, None)), Reason.STATUS, "UNKNOWN, wanted"),
        (answers((HEAD, b"\0\0\0\0\2\x08\x09"), (OK, None)), Reason.STATUS, "health status 9"),
        (answers((HEAD, b"\0\0\0\0\2\x10\x01"), (OK, None)), Reason.PROTOCOL, "no HealthCheckResponse"),
        (answers((HEAD, b"\1\0\0\0\2\x08\x01"), (OK, None)), Reason.PROTOCOL, "no HealthCheckResponse"),
        (answers((HEAD, b"\0\0\0\0\3\x08\x01"), (OK, None)), Reason.PROTOCOL, "no HealthCheckResponse"),
        (answers((HEAD, b""), (OK, None)), Reason.PROTOCOL, "no HealthCheckResponse"),
        (answers((HEAD, b"\0" * 20_000), (OK, None)), Reason.PROTOCOL, "longer than 16384 bytes"),
        (answers((HEAD, None)), Reason.PROTOCOL, "no grpc-status"),
        (answers(([*HEAD, ("grpc-status", "8"), ("grpc-message", "%C3%BC")], None)), Reason.STATUS, "EXHAUSTED: ü,"),
        (answers(([*HEAD, ("grpc-status", "99")], None)), Reason.STATUS, "status 99: , wanted"),
        (answers(([(":status", "503"), ("content-type", "text/html")], b"sorry")), Reason.STATUS, "HTTP status 503"),
        (answers(([(":status", "200"), ("content-type", "text/html")], b"hi")), Reason.PROTOCOL, "'text/html'"),
        (answers(reset=True), Reason.CLOSED, "REFUSED_STREAM"),
        (lambda peer: peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Reason.PROTOCOL, "begins with b'HTTP/1.1 400"),
        (lambda peer: peer.sendall(b"\0\0\0\4\0\0\0\0\0" + b"\0\0\1\6\0\0\0\0\0x"), Reason.PROTOCOL, "HTTP/2: "),
        (lambda peer: peer.recv(1000) and None, Reason.CLOSED, "closed"),
        (silent, Reason.TIMEOUT, "timeout in ttfb"),
    ],
)
def test_each_way_to_fail_has_its_reason(script: Callable, reason: Reason, words: str) -> None:
    with scripted(script) as port:
        result = check(f"grpc://127.0.0.1:{port}", timeout_s=0.5)
    assert (result.status, result.reason) == (Status.DOWN, reason)
    assert words in result.detail and "\n" not in result.detail


GOAWAY = b"\0\0\x08\x07\0\0\0\0\0" + (2**31 - 1).to_bytes(4) + b"\0\0\0\0"  # RFC 9113, 6.8: graceful, NO_ERROR
TOO_LATE = GOAWAY[:9] + (0).to_bytes(4) + GOAWAY[13:]  # the same, and the call was not taken


def leaving(*order: bytes | None) -> Callable[..., None]:
    """Make a script whose server sends these, with its settings before and a good answer in place of None."""

    def script(peer) -> None:
        server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        server.initiate_connection()
        while not any(isinstance(event, h2.events.StreamEnded) for event in server.receive_data(peer.recv(65_536))):
            peer.sendall(server.data_to_send())
        server.send_headers(1, HEAD)
        server.send_data(1, b"\0\0\0\0\2\x08\x01")
        server.send_headers(1, OK, end_stream=True)
        answer = server.data_to_send()
        for piece in order:
            peer.sendall(answer if piece is None else piece)
        peer.recv(65_536)

    return script


@pytest.mark.parametrize("order", [(None, GOAWAY), (GOAWAY, None), (GOAWAY[:3], GOAWAY[3:14], GOAWAY[14:], None)])
def test_a_server_that_goes_after_this_call_is_up(order: tuple) -> None:
    with scripted(leaving(b"\0\0\0\4\0\0\0\0\0", *order)) as port:
        result = check(f"grpc://127.0.0.1:{port}")
    assert (result.status, result.detail, result.body_bytes) == (Status.UP, None, 7)


def test_a_server_that_went_before_this_call_is_down() -> None:
    with scripted(leaving(b"\0\0\0\4\0\0\0\0\0", TOO_LATE)) as port:
        result = check(f"grpc://127.0.0.1:{port}")
    assert (result.status, result.reason) == (Status.DOWN, Reason.CLOSED)
    assert result.detail == "the server gave up the call: NO_ERROR"


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("grpc://user:hunter2@127.0.0.1", {}, "use basic_auth"),
        ("grpc://127.0.0.1/shop.Cart", {}, "grpc = { service ="),
        ("grpc://127.0.0.1", {"query": {"a": 1}}, "grpc = { service ="),
        ("grpc://127.0.0.1", {"body": {"text": "a"}}, "leave out body"),
    ],
)
def test_what_cannot_be_probed_says_so(url: str, options: dict, words: str) -> None:
    result = check(url, **options)
    assert (result.status, result.reason) == (Status.MISSED, Reason.CONFIG)
    assert words in result.detail and "hunter2" not in result.detail


@pytest.mark.parametrize("option", [{"service": 1}, {"servise": "a"}])
def test_a_wrong_option_is_refused(option: dict) -> None:
    with pytest.raises(ValueError, match="grpc"):
        check("grpc://127.0.0.1", grpc=option)
