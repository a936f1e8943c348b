"""Name servers that a test changes while they run: dnsmasq with a hosts file of its own, and one that is scripted."""

from __future__ import annotations

import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.exception
import dns.resolver
import pytest
from free_port import free_port
from third_party import SYSTEM

PATIENCE_S = 20.0
SERVFAIL, NXDOMAIN, REFUSED = 2, 3, 5  # RFC 1035, 4.1.1
A = 1


class Dnsmasq:
    """A dnsmasq at 127.0.0.1 that answers for `.test` from a hosts file, with a time to live of `ttl` seconds.

    A `port` of 53 is for a network of its own.
    """

    def __init__(self, directory: Path, ttl: int = 0, port: int = 0) -> None:
        program = shutil.which("dnsmasq") or shutil.which("dnsmasq", path=SYSTEM)
        if program is None:
            pytest.skip("dnsmasq is not installed (apt-get install dnsmasq-base)")
        self.port = port or free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._hosts = directory / f"hosts-{self.port}"
        self._hosts.write_text("")
        self._marks = 0
        command = [
            program, "--no-daemon", "--conf-file=/dev/null", "--pid-file=", "--no-hosts", "--no-resolv",
            "--listen-address=127.0.0.1", "--bind-interfaces", f"--port={self.port}", f"--addn-hosts={self._hosts}",
            "--local=/test/", f"--local-ttl={ttl}",
        ]  # fmt: skip
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # pylint: disable=consider-using-with

    def has(self, records: dict[str, list[str]]) -> None:
        """Have it know these names with these addresses, and no others."""
        self._marks += 1
        mark = f"mark-{self._marks}.test"
        lines = [f"{address} {name}" for name, addresses in records.items() for address in addresses]
        self._hosts.write_text("\n".join([*lines, f"192.0.2.99 {mark}", ""]))
        asking = dns.resolver.Resolver(configure=False)
        asking.nameservers, asking.port = ["127.0.0.1"], self.port
        until = time.monotonic() + PATIENCE_S
        while True:
            assert self._process.poll() is None, f"dnsmasq ended with {self._process.returncode}"
            assert time.monotonic() < until, "dnsmasq does not answer"
            try:
                asking.resolve(mark, "A", lifetime=0.2)
                return
            except dns.resolver.NXDOMAIN:
                self._process.send_signal(signal.SIGHUP)  # it runs, and would die of one before that
            except dns.exception.DNSException:
                continue

    def end(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()


class Scripted:
    """A name server whose answers a test writes: `says` has a name's addresses, or a response code; None for silence.

    A failure has a SOA whose negative time to live is an hour (RFC 2308). `asked` are the names and types it was asked.
    """

    def __init__(self, bound: socket.socket) -> None:
        self._bound = bound
        self.address = ":".join(map(str, bound.getsockname()))
        self.says: dict[str, int | list[str] | None] = {}
        self.ttl_s = 0
        self.asked: list[tuple[str, int]] = []

    def serve(self) -> None:
        """Answer until the socket is closed."""
        while True:
            try:
                query, sender = self._bound.recvfrom(4096)
            except OSError:
                return
            if not query:
                return
            answer = self._answer(query)
            if answer:
                self._bound.sendto(answer, sender)

    def _answer(self, query: bytes) -> bytes:
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode())
            at += query[at] + 1
        name, kind, question = ".".join(labels), struct.unpack("!H", query[at + 1 : at + 3])[0], query[12 : at + 5]
        self.asked.append((name, kind))
        said = self.says.get(name, NXDOMAIN)
        if said is None:
            return b""
        addresses = said if isinstance(said, list) and kind == A else []
        records = b"".join(
            b"\xc0\x0c" + struct.pack("!HHIH", A, 1, self.ttl_s, 4) + socket.inet_aton(address) for address in addresses
        )
        code = said if isinstance(said, int) else 0
        soa = b"" if addresses else b"\0" + struct.pack("!HHIH2x5I", 6, 1, 3600, 22, *[3600] * 5)
        counts = struct.pack("!4H", 1, len(addresses), int(bool(soa)), 0)
        return query[:2] + struct.pack("!H", 0x8180 | code) + counts + question + records + soa


@contextmanager
def scripted_server() -> Iterator[Scripted]:
    """Run one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        server = Scripted(bound)
        thread = threading.Thread(target=server.serve)
        thread.start()
        try:
            yield server
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"", bound.getsockname())
            thread.join()


Start = Callable[..., Dnsmasq]


@contextmanager
def dnsmasqs(directory: Path) -> Iterator[Start]:
    """Give what starts them; they end with the block."""
    started: list[Dnsmasq] = []

    def start(records: dict[str, list[str]], ttl: int = 0) -> Dnsmasq:
        started.append(Dnsmasq(directory, ttl))
        started[-1].has(records)
        return started[-1]

    try:
        yield start
    finally:
        for server in started:
            server.end()
