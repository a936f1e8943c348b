"""Whose clock each phase is on, on every kind of socket: what the agent was late by is lag, or said not to be known."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator

import gevent
import pytest
import trustme
from green_process import run_green
from network_programs import named
from probing import probing
from scripted import answers, page, request, scripted, server_tls, silent

from watcher.models import Result, Status
from watcher.plugins.protocols import connection, dns, http, tcp
from watcher.transport import clock

PAGE = page(b"hello")
ANSWER_S, HELD_S = 0.05, 0.6  # the answer arrives amid a time in which the hub does not run

check = probing(http, tcp, dns, connection)
pytestmark = pytest.mark.usefixtures("anchor")


def slowly(connection_: socket.socket) -> None:
    """Answer a request some time after it came."""
    if request(connection_):
        time.sleep(ANSWER_S)
        connection_.sendall(PAGE)


@contextlib.contextmanager
def name_server() -> Iterator[str]:
    """Answer questions for names some time after they came: the address is 127.0.0.1."""
    with socket.socket(type=socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    question, client = bound.recvfrom(512)
                    if not question:
                        return
                    time.sleep(ANSWER_S)
                    bound.sendto(named(question, "127.0.0.1"), client)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{bound.getsockname()[1]}"
        with socket.socket(type=socket.SOCK_DGRAM) as last:
            last.sendto(b"", bound.getsockname())
        thread.join()


def while_held(url: str, **options: object) -> Result:
    """Check while the hub is held up, from shortly after the question was sent."""
    hog = gevent.spawn_later(ANSWER_S / 3, time.sleep, HELD_S)
    result = check(url, **options)
    hog.join()
    return result


def judge(result: Result) -> None:
    """Judge that what we were late by is in the lag, and in no phase."""
    assert result.status is Status.UP, result.detail
    assert result.lag_us > HELD_S * 0.7e6
    assert ANSWER_S * 0.9e6 < result.latency_us < HELD_S * 0.7e6


def test_a_plain_answer() -> None:
    with scripted(slowly) as port:
        judge(while_held(f"http://127.0.0.1:{port}/"))


def test_an_answer_over_tls(authority: trustme.CA, ca_file: str) -> None:
    with scripted(slowly, server_tls(authority.issue_cert("127.0.0.1"))) as port:
        judge(while_held(f"https://127.0.0.1:{port}/", tls={"ca": ca_file}))


def test_a_conversation_over_tcp() -> None:
    with scripted(slowly) as port:
        said = {"send": "GET / HTTP/1.0\r\n\r\n", "expect": {"contains": "200"}}
        judge(while_held(f"tcp://127.0.0.1:{port}", tcp=said))


def test_a_datagram() -> None:
    with name_server() as address:
        judge(while_held(f"dns://{address}/www.test"))


def test_the_answer_of_a_resolver() -> None:
    with scripted(answers(PAGE)) as port, name_server() as address:
        result = while_held(f"http://www.test:{port}/", resolver=address, ip_version=4)
    judge(result)
    assert result.dns_us > ANSWER_S * 0.9e6


def test_by_the_wall_clock_the_lag_is_not_known_and_the_row_says_so() -> None:
    with scripted(answers(PAGE)) as port:
        assert check(f"http://127.0.0.1:{port}/", transport="requests").lag_us is None
        assert check(f"http://127.0.0.1:{port}/").lag_us is not None


def test_a_timeout_by_the_wall_clock_that_we_saw_late_is_not_the_sites() -> None:
    with scripted(silent) as port:
        said = run_green(TIMED_OUT, f"http://127.0.0.1:{port}/")
    in_time, late = json.loads(said)
    assert late[:2] == ["missed", "overload"]
    assert "the agent itself took" in late[2]
    assert in_time[:2] == ["down", "timeout"]


TIMED_OUT = """
import json, sys, time
import gevent
from watcher.models import Endpoint
from watcher.plan import compile_plan
from watcher.probe import probe
from watcher.registry import plugin_manager

def compute(until):
    while time.monotonic() < until:
        pass

def said(held):
    if held:  # from the middle of the check until long after its deadline
        gevent.spawn_later(0.4, compute, time.monotonic() + 1.8)
    result = gevent.spawn(probe, plan).get()
    return [result.status.value, result.reason.value, result.detail]

endpoint = Endpoint(name="x", url=sys.argv[1], timeout_s=1.0, options={"transport": "requests"})
plan = compile_plan(endpoint, plugin_manager())
print(json.dumps([said(held=False), said(held=True)]))
"""


def test_here_the_kernel_stamps_arrivals() -> None:
    assert clock.source() == "kernel"


def test_where_the_kernel_stamps_nothing_the_agent_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a sandbox that knows no such option."""
    monkeypatch.setattr(clock, "SO_TIMESTAMPNS", 9999)
    clock.source.cache_clear()
    try:
        assert clock.source() == "wall"
        with scripted(answers(PAGE)) as port:
            result = check(f"http://127.0.0.1:{port}/")
    finally:
        monkeypatch.undo()
        clock.source.cache_clear()
    assert (result.status, result.lag_us) == (Status.UP, None)
