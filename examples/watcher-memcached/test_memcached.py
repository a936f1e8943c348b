"""What a server may answer; the lines are those of memcached's doc/protocol.txt."""

import os
import shutil
import socket
import subprocess
import time

import pytest
import watcher_memcached

from watcher import Reason, Status
from watcher.testing import ConfigError, Server, check, endpoint

VERSION = b"VERSION 1.6.18\r\n"


def checked(server, **options):
    return check(f"memcached://{server.address}", watcher_memcached, **options)


def test_a_server_that_tells_its_version_is_up():
    with Server(VERSION) as server:
        result = checked(server)
    assert (result.status, result.detail) == (Status.UP, "version 1.6.18")
    assert server.received == [b"version\r\n"]


def test_a_value_is_looked_at():
    with Server(VERSION, b"VALUE state 0 4\r\nopen\r\nEND\r\n") as server:
        assert checked(server, memcached={"key": "state", "value": "open"}).status is Status.UP
        wrong = checked(server, memcached={"key": "state", "value": {"regex": "^shut"}})
    assert (wrong.reason, wrong.detail) == (Reason.ASSERTION, "state is not matching /^shut/")
    assert server.received[0] == b"version\r\nget state\r\n"


@pytest.mark.parametrize(
    ("answers", "reason", "detail"),
    [
        ([VERSION, b"END\r\n"], Reason.ASSERTION, "state is not there"),
        ([b"SERVER_ERROR full\r\n"], Reason.PROTOCOL, "answered 'SERVER_ERROR full' in place of VERSION"),
        ([VERSION, b"VALUE state 0 9999999\r\n"], Reason.PROTOCOL, "a value of 9999999 bytes"),
        ([VERSION, b"VALUE state 0 4\r\nop"], Reason.CLOSED, "connection closed after 2 bytes of an answer"),
    ],
)
def test_what_a_server_may_do_wrong(answers, reason, detail):
    with Server(*answers) as server:
        result = checked(server, memcached={"key": "state"})
    assert (result.status, result.reason, result.detail) == (Status.DOWN, reason, detail)


@pytest.mark.parametrize("wrong", [{"key": "a b"}, {"key": "x" * 251}, {"value": "open"}, {"keys": "a"}])
def test_options_that_cannot_be(wrong):
    with pytest.raises(ConfigError):
        endpoint("memcached://cache.example.com", watcher_memcached, memcached=wrong)


@pytest.fixture
def memcached():
    """Run a real server and give its port."""
    program = shutil.which("memcached")
    if program is None:
        pytest.skip("there is no program memcached")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    account = ["-u", "nobody"] if os.geteuid() == 0 else []
    with subprocess.Popen([program, "-l", "127.0.0.1", "-p", str(port), "-U", "0", *account]) as server:
        until = time.monotonic() + 10
        while not listens(port):
            assert time.monotonic() < until and server.poll() is None
            time.sleep(0.01)
        yield port
        server.terminate()


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_real_server(memcached):
    url = f"memcached://127.0.0.1:{memcached}"
    wanted = {"key": "state", "value": "open", "version": {"regex": r"^\d+\."}}
    missing = check(url, watcher_memcached, memcached=wanted)
    with socket.create_connection(("127.0.0.1", memcached)) as client:
        client.sendall(b"set state 0 0 4\r\nopen\r\n")
        assert client.recv(100) == b"STORED\r\n"
    found = check(url, watcher_memcached, memcached=wanted)
    assert (missing.status, missing.detail) == (Status.DOWN, "state is not there")
    assert found.status is Status.UP and found.ttfb_us is not None
