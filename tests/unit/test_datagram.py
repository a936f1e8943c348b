"""Datagrams on the kernel's clock: against plain sockets of this process, each of which does as its test says."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import gevent
import pytest

from watcher.errors import ProbeError
from watcher.models import Reason
from watcher.transport import Anchor, Datagram, Deadline, Exchange, Resolver, Route, ask
from watcher.transport.target import target_at

Serve = Callable[[socket.socket], None]


@pytest.fixture(scope="module", autouse=True)
def anchor() -> Iterator[None]:
    """Keep the kernel's stamps switched on."""
    held = Anchor()
    yield
    held.close()


@contextlib.contextmanager
def peer(serve: Serve, host: str = "127.0.0.1") -> Iterator[tuple[str, int]]:
    """Run a function over a bound UDP socket in a thread; give the address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as bound:
        bound.bind((host, 0))
        bound.settimeout(5)
        thread = threading.Thread(target=serve, args=(bound,))
        thread.start()
        yield bound.getsockname()[:2]
        thread.join()


@contextlib.contextmanager
def connected(address: tuple[str, int], timeout_s: float = 5.0) -> Iterator[Datagram]:
    """Give a datagram socket that is connected to an address."""
    deadline = Deadline(time.monotonic_ns() + int(timeout_s * 1e9))
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    datagram = Datagram(family, address, deadline)
    try:
        yield datagram
    finally:
        datagram.close()
        deadline.close()


def unused(host: str = "127.0.0.1") -> tuple[str, int]:
    """Give an address where nobody listens."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as bound:
        bound.bind((host, 0))
        return bound.getsockname()[:2]


def echo(bound: socket.socket) -> None:
    """Send one datagram back."""
    data, sender = bound.recvfrom(65536)
    bound.sendto(data, sender)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 200])
def test_a_datagram_goes_out_and_comes_back_as_it_was(host: str, data: bytes) -> None:
    with peer(echo, host) as address, connected(address) as datagram:
        datagram.send(data)
        assert datagram.receive() == data
        assert datagram.sent_ns <= datagram.arrived_ns <= time.time_ns()


def test_datagrams_are_not_joined() -> None:
    def twice(bound: socket.socket) -> None:
        _, sender = bound.recvfrom(100)
        bound.sendto(b"one", sender)
        bound.sendto(b"two", sender)

    with peer(twice) as address, connected(address) as datagram:
        datagram.send(b"?")
        assert [datagram.receive(), datagram.receive()] == [b"one", b"two"]


def test_the_arrival_is_the_kernels_however_late_we_look() -> None:
    with peer(echo) as address, connected(address) as datagram:
        hog = gevent.spawn_later(0, time.sleep, 0.3)  # holds the hub while the answer arrives
        datagram.send(b"?")
        datagram.receive()
        assert time.time_ns() - datagram.arrived_ns > 150_000_000
        hog.join()


def test_other_greenlets_run_meanwhile() -> None:
    ran: list[int] = []

    def slow(bound: socket.socket) -> None:
        _, sender = bound.recvfrom(100)
        time.sleep(0.1)
        bound.sendto(b"!", sender)

    with peer(slow) as address, connected(address) as datagram:
        datagram.send(b"?")
        gevent.spawn_later(0.01, ran.append, 1)
        assert (datagram.receive(), ran) == (b"!", [1])


def test_no_answer_is_a_timeout_at_the_deadline() -> None:
    with peer(lambda bound: bound.recvfrom(100)) as address, connected(address, 0.2) as datagram:
        began = time.monotonic()
        datagram.send(b"?")
        with pytest.raises(ProbeError) as caught:
            datagram.receive()
        assert caught.value.reason is Reason.TIMEOUT
        assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize(("after_s", "counts"), [(0.05, True), (0.35, False)])
def test_at_the_deadline_it_looks_once_more_for_what_came_in_time(after_s: float, counts: bool) -> None:
    answered = threading.Event()

    def later(bound: socket.socket) -> None:
        _, sender = bound.recvfrom(100)
        time.sleep(after_s)
        bound.sendto(b"!", sender)
        answered.set()

    with peer(later) as address, connected(address, 0.2) as datagram:
        datagram.send(b"?")
        hog = gevent.spawn(answered.wait, 5)  # a native wait: holds the hub past the deadline
        hogging = gevent.spawn(time.sleep, 0.2)
        if counts:
            assert datagram.receive() == b"!"
        else:
            with pytest.raises(ProbeError, match="timeout"):
                datagram.receive()
        gevent.joinall([hog, hogging])


def test_a_pause_ends_without_a_datagram_and_the_next_wait_gets_it() -> None:
    asked_again = threading.Event()

    def second_time(bound: socket.socket) -> None:
        bound.recvfrom(100)
        data, sender = bound.recvfrom(100)
        asked_again.set()
        bound.sendto(data, sender)

    with peer(second_time) as address, connected(address) as datagram:
        datagram.send(b"1")
        assert datagram.receive_within(0.05) is None
        assert not asked_again.is_set()
        datagram.send(b"2")
        assert datagram.receive_within(4) == b"2"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_closed_port_is_told_by_icmp_and_is_a_connect_failure(host: str) -> None:
    with connected(unused(host)) as datagram:
        datagram.send(b"?")
        with pytest.raises(ProbeError) as caught:
            datagram.receive()
    assert caught.value.reason is Reason.CONNECT
    assert "port unreachable" in caught.value.detail


def test_a_closed_port_is_told_by_the_next_send_too() -> None:
    with connected(unused()) as datagram:
        datagram.send(b"?")
        with pytest.raises(ProbeError) as caught:
            datagram.send(b"?")
    assert caught.value.reason is Reason.CONNECT


def test_what_no_datagram_has_room_for_is_a_matter_of_configuration() -> None:
    with connected(unused()) as datagram, pytest.raises(ProbeError) as caught:
        datagram.send(bytes(70_000))
    assert caught.value.reason is Reason.CONFIG
    assert "70000 bytes" in caught.value.detail


def icmp_error(kind: int, code: int, rest: int, sender: tuple[str, int], receiver: tuple[str, int]) -> bytes:
    """Write an ICMP error about a UDP datagram (RFC 792), checksum included; for raw sockets."""
    inner_udp = struct.pack("!HHHH", sender[1], receiver[1], 9, 0)
    inner_ip = struct.pack("!BBHHHBBH", 0x45, 0, 29, 0, 0x4000, 64, 17, 0)
    inner_ip += socket.inet_aton(sender[0]) + socket.inet_aton(receiver[0])
    packet = struct.pack("!BBHI", kind, code, 0, rest) + inner_ip + inner_udp
    total = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return packet[:2] + struct.pack("!H", ~total & 0xFFFF) + packet[4:]


@pytest.fixture
def raw() -> Iterator[socket.socket]:
    """Give a socket to write ICMP errors with, as a router would."""
    try:
        made = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    except PermissionError:
        pytest.skip("writing ICMP errors needs CAP_NET_RAW")
    with made:
        yield made


def complains(raw: socket.socket, kind: int, code: int, rest: int = 0) -> Serve:
    """Answer a datagram by an ICMP error, and the next one by itself."""

    def serve(bound: socket.socket) -> None:
        _, sender = bound.recvfrom(65536)
        raw.sendto(icmp_error(kind, code, rest, sender, bound.getsockname()), (sender[0], 0))
        echo(bound)

    return serve


FAR = "127.77.3.1"  # the kernel remembers what routers say of an address


@pytest.mark.parametrize(
    ("kind", "code", "words"),
    [
        (3, 0, "network unreachable"),
        (3, 1, "host unreachable"),
        (3, 2, "protocol unreachable"),
        (3, 7, "host unknown"),
        (11, 0, "host unreachable"),
    ],
)
def test_a_router_that_knows_no_way_is_a_connect_failure(raw, kind: int, code: int, words: str) -> None:
    with peer(complains(raw, kind, code), FAR) as address, connected(address) as datagram:
        datagram.send(b"?")
        with pytest.raises(ProbeError) as caught:
            datagram.receive()
        assert (caught.value.reason, caught.value.detail) == (Reason.CONNECT, words)
        datagram.send(b"it goes on")
        assert datagram.receive() == b"it goes on"


def test_a_router_that_finds_a_datagram_too_large_makes_us_send_again(raw) -> None:
    with peer(complains(raw, 3, 4, 1300), FAR) as address, connected(address, 600) as datagram:
        datagram.send(bytes(1400))
        assert datagram.receive_within(600) is None
        datagram.send(bytes(1400))
        assert datagram.receive() == bytes(1400)


def test_a_socket_that_needs_a_right_is_refused_as_such() -> None:
    deadline = Deadline(time.monotonic_ns() + 10**9)
    with pytest.raises(PermissionError):
        Datagram(socket.AF_INET, ("127.0.0.1", 9), deadline, socket.SOCK_DGRAM, 254)  # a protocol that nobody has
    deadline.close()


# ask


def asked(host: str, port: int, exchange: Exchange, tries: int = 3) -> bytes:
    """Ask a host for an answer that begins with `!`."""
    place = target_at(Route(Resolver()), host, port, False)
    return ask(exchange, place, lambda family: b"?", lambda data: data if data[:1] == b"!" else None, tries)


def test_ask_passes_over_what_is_no_answer_and_times_the_one_that_is() -> None:
    waited: list[int] = []

    def noisy(bound: socket.socket) -> None:
        _, sender = bound.recvfrom(100)
        began_ns = time.time_ns()
        bound.sendto(b"noise", sender)
        time.sleep(0.1)
        waited.append(time.time_ns() - began_ns)
        bound.sendto(b"!answer", sender)

    exchange = Exchange(5)
    with peer(noisy) as address:
        assert asked(*address, exchange) == b"!answer"
    assert (exchange.address, exchange.detail) == ("127.0.0.1", None)
    assert exchange.ttfb_us * 1000 >= waited[0] - 1000


def test_ask_repeats_itself_and_says_so() -> None:
    def deaf_once(bound: socket.socket) -> None:
        bound.recvfrom(100)
        _, sender = bound.recvfrom(100)
        bound.sendto(b"!", sender)

    exchange = Exchange(10)
    with peer(deaf_once) as address:
        asked(*address, exchange)
    assert exchange.detail == "asked 2 times until an answer came"
    assert exchange.ttfb_us >= 1_000_000


def test_ask_goes_to_the_next_address_when_one_refuses() -> None:
    exchange = Exchange(5)
    place = target_at(Route(Resolver()), "127.0.0.1", 0, False)
    with peer(lambda bound: bound.sendto(b"!", bound.recvfrom(100)[1])) as (host, port):
        addresses = ((socket.AF_INET6, "::1"), (socket.AF_INET, host))
        place = place._replace(port=port, addresses=addresses)
        assert ask(exchange, place, lambda family: b"?", lambda data: data) == b"!"
    assert exchange.address == "127.0.0.1"


@pytest.mark.parametrize(("tries", "sent"), [(1, 1), (3, 2)])
def test_ask_counts_the_time_without_an_answer_as_the_sites(tries: int, sent: int) -> None:
    got: list[bytes] = []

    def deaf(bound: socket.socket) -> None:
        while (data := bound.recvfrom(100)[0]) != b"end":
            got.append(data)

    exchange = Exchange(1.5)
    with peer(deaf) as address:
        with pytest.raises(ProbeError) as caught:
            asked(*address, exchange, tries)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"end", address)
    assert (caught.value.reason, len(got)) == (Reason.TIMEOUT, sent)
    assert 1_300_000 < exchange.ttfb_us <= 1_500_000


def test_ask_says_which_name_is_unknown() -> None:
    exchange = Exchange(5)
    with pytest.raises(ProbeError) as caught:
        asked("no-such-name.invalid", 53, exchange)
    assert caught.value.reason is Reason.DNS
    assert exchange.dns_us is not None
    assert exchange.ttfb_us is None
