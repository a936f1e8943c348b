"""redis:// and rediss:// against real servers, with redis-cli as the judge, and against peers that misbehave."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
from probing import accepts, free_ports, probing
from scripted import scripted, silent

from watcher import Reason, Status
from watcher.plugins.protocols import connection, redis

pytestmark = pytest.mark.usefixtures("anchor")
check = probing(connection, redis)
Start = Callable[..., object]


@pytest.fixture(scope="module", name="start")
def fixture_start(tmp_path_factory: pytest.TempPathFactory, eventually: Callable) -> Start:
    """Give `start(*lines)`: a server that keeps nothing on disk, with these lines in its configuration; its port."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("redis-server is not installed")

    @contextmanager
    def start(*lines: str) -> Iterator[int]:
        home = tmp_path_factory.mktemp("redis")
        port = free_ports("redis")["redis"]
        given = [line.replace("PORT", str(port)) for line in lines]
        base = ["bind 127.0.0.1", 'save ""', f"dir {home}", f"logfile {home}/log", f"port {port}"]
        (home / "redis.conf").write_text("\n".join([*base, *given]))
        with subprocess.Popen([program, str(home / "redis.conf")]) as server:
            try:
                eventually(lambda: accepts(port))
                yield port
            finally:
                server.terminate()

    return start


@pytest.fixture(scope="module", name="plain")
def fixture_plain(start: Start) -> Iterator[int]:
    """Run a server that lets everybody in."""
    with start() as port:
        yield port


@pytest.fixture(scope="module", name="locked")
def fixture_locked(start: Start) -> Iterator[int]:
    """Run a server with a password, and a user with another."""
    with start("user default on >hunter2 ~* &* +@all", "user probe on >letmein +ping") as port:
        yield port


def redis_cli(port: int, *words: str, password: str = "") -> str:
    """Ask Redis' own client."""
    command = ["redis-cli", "-h", "127.0.0.1", "-p", str(port), *words]
    environment = {**os.environ, "REDISCLI_AUTH": password} if password else None
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=20, env=environment
    ).stdout.strip()


def test_a_server_that_answers_ping_is_up(plain: int) -> None:
    result = check(f"redis://127.0.0.1:{plain}")
    assert (result.status, result.reason, result.detail) == (Status.UP, None, None)
    assert result.latency_us == result.connect_us + result.ttfb_us
    assert redis_cli(plain, "ping") == "PONG"


@pytest.mark.parametrize("option", [{"password": "hunter2"}, {"username": "probe", "password": "letmein"}])
def test_a_server_with_a_password_is_up_for_who_has_it(locked: int, option: dict) -> None:
    result = check(f"redis://127.0.0.1:{locked}", redis=option)
    assert (result.status, result.detail) == (Status.UP, None)


def test_the_password_may_be_in_a_file(locked: int, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2\n")
    assert check(f"redis://127.0.0.1:{locked}", redis={"password_file": str(tmp_path / "password")}).detail is None


def test_without_the_password_it_is_down(locked: int) -> None:
    result = check(f"redis://127.0.0.1:{locked}")
    assert (result.status, result.reason) == (Status.DOWN, Reason.STATUS)
    assert result.detail == redis_cli(locked, "ping") + '; give redis = { password = "…" }'
    result = check(f"redis://127.0.0.1:{locked}", redis={"password": "letmeout"})
    assert (result.status, result.reason) == (Status.DOWN, Reason.STATUS)
    assert result.detail.startswith("WRONGPASS ")


def test_a_replica_that_has_lost_its_master_is_down(start: Start) -> None:
    unused = free_ports("master")["master"]
    with start(f"replicaof 127.0.0.1 {unused}", "replica-serve-stale-data no") as port:
        result = check(f"redis://127.0.0.1:{port}")
        assert (result.status, result.reason) == (Status.DOWN, Reason.STATUS)
        assert result.detail == redis_cli(port, "ping")
    assert result.detail.startswith("MASTERDOWN ")


def test_a_server_that_is_busy_is_down(start: Start, eventually: Callable) -> None:
    with start("busy-reply-threshold 10") as port:
        script = ["redis-cli", "-p", str(port), "eval", "while true do end", "0"]
        with subprocess.Popen(script, stdout=subprocess.DEVNULL):
            eventually(lambda: redis_cli(port, "ping").startswith("BUSY"))
            result = check(f"redis://127.0.0.1:{port}")
            redis_cli(port, "script", "kill")
    assert (result.status, result.reason) == (Status.DOWN, Reason.STATUS)
    assert result.detail.startswith("BUSY Redis is busy running a script")


def test_over_tls(start: Start, authority: trustme.CA, ca_file: str, tmp_path: Path) -> None:
    certificate = str(tmp_path / "server.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    files = (f"tls-cert-file {certificate}", f"tls-key-file {certificate}", f"tls-ca-cert-file {ca_file}")
    with start("port 0", "tls-port PORT", "tls-auth-clients no", *files) as port:
        result = check(f"rediss://127.0.0.1:{port}", tls={"ca": ca_file})
        assert (result.status, result.detail) == (Status.UP, None)
        assert result.tls_us > 0
        assert check(f"rediss://127.0.0.1:{port}").reason is Reason.CERTIFICATE


def says(answer: bytes) -> Callable[..., None]:
    """Make a script that answers once."""

    def script(peer) -> None:
        peer.recv(1000)
        peer.sendall(answer)
        peer.recv(1000)

    return script


@pytest.mark.parametrize(
    ("script", "reason", "words"),
    [
        (says(b"-LOADING Redis is loading the dataset in memory\r\n"), Reason.STATUS, "LOADING Redis is loading"),
        (says(b"-MASTERDOWN Link with MASTER is down\r\n"), Reason.STATUS, "MASTERDOWN"),
        (says(b"HTTP/1.1 400 Bad Request\r\n"), Reason.PROTOCOL, "not Redis: 'HTTP/1.1 400 Bad Request', wanted +OK"),
        (says(b"+OK\r\n$4\r\nPONG\r\n"), Reason.PROTOCOL, "not Redis: '$4', wanted +PONG"),
        (says(b"-ERR unknown command 'AUTH', with args beginning with: 'hunter2' \r\n"), Reason.STATUS, "with: '***'"),
        (says(b"?" * 10_000), Reason.PROTOCOL, "8192 bytes"),
        (lambda peer: peer.recv(1000) and None, Reason.CLOSED, "closed"),
        (silent, Reason.TIMEOUT, "timeout in ttfb"),
    ],
)
def test_each_way_to_fail_has_its_reason(script: Callable, reason: Reason, words: str) -> None:
    with scripted(script) as port:
        result = check(f"redis://127.0.0.1:{port}", timeout_s=0.5, redis={"password": "hunter2"})
    assert (result.status, result.reason) == (Status.DOWN, reason)
    assert words in result.detail and "hunter2" not in result.detail


def test_of_a_long_password_no_part_is_told() -> None:
    """Redis repeats 128 characters of each word of a command that it does not know."""
    password = "hunter2" * 30
    line = f"-ERR unknown command 'AUTH', with args beginning with: '{password[:128]}' \r\n"
    with scripted(says(line.encode())) as port:
        result = check(f"redis://127.0.0.1:{port}", redis={"password": password})
    assert result.detail == "ERR unknown command 'AUTH', with args beginning with: '***' "


def test_what_is_sent_is_an_array_of_bulk_strings(eventually: Callable) -> None:
    heard: list[bytes] = []

    def script(peer) -> None:
        heard.append(peer.recv(1000))
        peer.sendall(b"+OK\r\n+PONG\r\n")
        peer.recv(1)

    with scripted(script) as port:
        assert check(f"redis://127.0.0.1:{port}", redis={"username": "zoë", "password": "a b"}).detail is None
        eventually(lambda: heard == [b"*3\r\n$4\r\nAUTH\r\n$4\r\nzo\xc3\xab\r\n$3\r\na b\r\n*1\r\n$4\r\nPING\r\n"])


@pytest.mark.parametrize(
    ("url", "words"),
    [("redis://:hunter2@127.0.0.1", "REDIS_PASSWORD"), ("redis://127.0.0.1/0", "ends behind the port")],
)
def test_what_cannot_be_probed_says_so(url: str, words: str) -> None:
    result = check(url)
    assert (result.status, result.reason) == (Status.MISSED, Reason.CONFIG)
    assert words in result.detail and "hunter2" not in result.detail


@pytest.mark.parametrize("option", [{"username": "a"}, {"password": 1}, {"pass": "a"}])
def test_a_wrong_option_is_refused(option: dict) -> None:
    with pytest.raises(ValueError, match="redis"):
        check("redis://127.0.0.1", redis=option)
