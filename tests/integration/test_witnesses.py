"""Witnesses over real sockets: servers that answer, refuse, fail and say nothing."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from watcher import witnesses


@contextlib.contextmanager
def name_server(rcode: int | None) -> Iterator[int]:
    """Answer each query with a code, or not at all."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        stopped = threading.Event()

        def serve() -> None:
            while True:
                query, client = server.recvfrom(4096)
                if stopped.is_set():
                    return
                if rcode is not None:
                    server.sendto(b"\0\0 a stray one", client)
                    server.sendto(query[:2] + struct.pack(">H", 0x8180 | rcode) + query[4:], client)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            stopped.set()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"end", server.getsockname())
            thread.join()


def heard(*names: str) -> list[bool | None]:
    """Ask witnesses by their names."""
    return witnesses.ask(witnesses.summon(names), first_will_do=False)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witnesses, "ASK_S", 0.3)


def free_port() -> int:
    """Give a port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_a_connection_and_a_refusal_are_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        names = f"tcp://127.0.0.1:{server.getsockname()[1]}", f"tcp://127.0.0.1:{free_port()}"
        assert heard(*names) == [True, True]


def test_where_nothing_answers_there_is_none() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        with contextlib.ExitStack() as stack:  # a full queue drops what comes, as a black hole does
            for _ in range(4):
                client = stack.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex(address)
            assert heard(f"tcp://127.0.0.1:{address[1]}") == [False]


@pytest.mark.parametrize(("rcode", "answers"), [(0, True), (3, True), (2, False), (5, False), (None, False)])
def test_a_resolver_that_only_says_that_it_cannot_is_as_good_as_none(rcode: int | None, answers: bool) -> None:
    with name_server(rcode) as port:
        assert heard(f"dns://127.0.0.1:{port}") == [answers]


def test_a_query_is_one_that_a_name_server_understands() -> None:
    received: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        assert heard(f"dns://127.0.0.1:{server.getsockname()[1]}") == [False]
        received.append(server.recv(512))
    flags, questions, answers, authorities, additional = struct.unpack(">HHHHH", received[0][2:12])
    assert (flags, questions, answers, authorities, additional) == (0x0100, 1, 0, 0, 0)  # RFC 1035: RD, one question
    assert received[0][12:] == b"\0" + struct.pack(">HH", 2, 1)  # the root's NS, class IN


def test_the_systems_resolvers_are_read_anew_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "resolv.conf"
    monkeypatch.setattr(witnesses, "RESOLV_CONF", path)
    (resolver,) = witnesses.summon(["resolver"])
    assert witnesses.ask([resolver], first_will_do=False) == [False]
    with name_server(0) as port:
        monkeypatch.setattr(witnesses, "DNS_PORT", port)
        monkeypatch.setattr(witnesses._resolves, "__defaults__", (port, 0.3))  # pylint: disable=protected-access
        path.write_text("# by hand\nnameserver nonsense\nnameserver 127.0.0.1\noptions edns0\n")
        assert witnesses.ask([resolver], first_will_do=False) == [True]
    assert resolver.near()
    path.write_text("nameserver 192.0.2.1\nnameserver 127.0.0.1\n")
    assert not resolver.near()


def test_the_gateway_is_found_in_the_routes_of_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "route"
    monkeypatch.setattr(witnesses, "ROUTES", path)
    (gateway,) = witnesses.summon(["gateway"])
    assert witnesses.ask([gateway], first_will_do=False) == [False]
    header = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
    path.write_text(
        header
        + "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
        + "eth0\t00000000\t0100007F\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"  # 127.0.0.1
    )
    assert witnesses.ask([gateway], first_will_do=False) == [True]


def test_the_first_answer_will_do_but_one_of_this_machine() -> None:
    slow = witnesses.Witness("slow", lambda: witnesses.gevent.sleep(60) or True)
    quick = witnesses.Witness("quick", lambda: True)
    assert witnesses.ask([slow, quick], first_will_do=True) == [None, True]
    near = witnesses.Witness("near", lambda: True, near=lambda: True)
    assert witnesses.ask([slow, near], first_will_do=True) == [False, True]


def test_a_witness_without_a_way_is_silent() -> None:
    def no_way() -> bool:
        raise OSError(101, "Network is unreachable")

    assert witnesses.ask([witnesses.Witness("far", no_way)], first_will_do=False) == [False]
