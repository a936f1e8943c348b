"""A real name server with the records that a test wants: dnsmasq on a port of the loopback."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dns.exception
import dns.resolver
import pytest
from free_port import free_port

PATIENCE_S = 20.0


@contextmanager
def name_server(*options: str, port: int = 0) -> Iterator[int]:
    """Run dnsmasq with these options until the end, and give its port."""
    program = shutil.which("dnsmasq") or pytest.skip("dnsmasq is not installed")
    port = port or free_port()
    fixed = ["--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces", "--pid-file="]
    where = ["--listen-address=127.0.0.1", f"--port={port}", "--local=/ready.test/", "--txt-record=ready.test,yes"]
    running = subprocess.Popen(  # pylint: disable=consider-using-with  # ended below
        [program, *fixed, *where, *options], stderr=subprocess.DEVNULL
    )
    try:
        _wait(port, running)
        yield port
    finally:
        running.terminate()
        running.wait()


def _wait(port: int, running: subprocess.Popen[bytes]) -> None:
    asking = dns.resolver.Resolver(configure=False)
    asking.nameservers, asking.port = ["127.0.0.1"], port
    until = time.monotonic() + PATIENCE_S
    while running.poll() is None:
        try:
            asking.resolve("ready.test", "TXT", lifetime=0.1)
            return
        except dns.exception.DNSException:
            assert time.monotonic() < until, "dnsmasq does not answer"
    raise AssertionError(f"dnsmasq ended with {running.returncode}")
