"""Third parties' distributions: installed by pip beside watcher, used, uninstalled; nothing of watcher is changed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from environments import ROOT, Environment
from http_site import http_site

WORDCOUNT = ROOT / "examples/watcher-wordcount"
MEMCACHED = ROOT / "examples/watcher-memcached"
PAGE = b"<p>one two three four five</p>"
PATIENCE_S = 60.0
FILE = """
[database]
dsn = "{dsn}"
[agent]
data_dir = "{data_dir}"
workers = 1
[[endpoints]]
name = "page"
url = "{site}"
interval = 5
min_words = 5
"""


class Site(BaseHTTPRequestHandler):
    """Answers every GET with the same five words."""

    def do_GET(self) -> None:  # pylint: disable=invalid-name  # the name that http.server asks for
        """Answer."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, format: str, *args: object) -> None:  # pylint: disable=redefined-builtin  # as above
        """Log nothing."""


@pytest.fixture(name="site")
def fixture_site() -> Iterator[str]:
    """Run the site and give its address."""
    with http_site(Site) as url:
        yield url


@pytest.fixture(name="memcached")
def fixture_memcached() -> Iterator[int]:
    """Run memcached and give its port."""
    program = shutil.which("memcached")
    if program is None:
        pytest.skip("there is no program memcached")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    account = ["-u", "nobody"] if os.geteuid() == 0 else []
    with subprocess.Popen([program, "-l", "127.0.0.1", "-p", str(port), "-U", "0", *account]) as server:
        until = time.monotonic() + PATIENCE_S
        while not _listens(port):
            assert server.poll() is None and time.monotonic() < until
            time.sleep(0.01)
        yield port
        server.terminate()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.fixture(scope="module", name="environment")
def fixture_environment(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Environment:
    """Give a fresh virtual environment with watcher."""
    return Environment(tmp_path_factory.mktemp("third-party") / "environment", wheel)


def run_agent(environment: Environment, path: Path) -> None:
    """Run the environment's agent until it has watched the endpoint."""
    command = [environment.bin / "watcher", "--log-level", "debug", "--config", path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as agent:
        killed = threading.Timer(PATIENCE_S, agent.kill)
        killed.start()
        said = []
        for line in agent.stdout:
            said.append(line)
            if " 1 up" in line:
                agent.terminate()
        killed.cancel()
    assert agent.returncode == 0, "".join(said)


def test_an_assertion_is_installed_used_and_uninstalled(
    environment: Environment, site: str, database: str, tmp_path: Path
) -> None:
    where = environment.run("python", "-c", "import watcher; print(watcher.__file__)")
    assert where.stdout.startswith(str(environment.directory))
    before = environment.watcher("check", site, "--option", "min_words=5")
    assert before.returncode == 2 and 'unknown option "min_words"' in before.stderr

    its_own_tests = environment.run("python", "-m", "pytest", environment.install(WORDCOUNT))
    assert its_own_tests.returncode == 0, its_own_tests.stdout
    listed = environment.watcher("plugins").stdout
    assert [word for word in ("wordcount", "watcher-wordcount 1.0", "steps", "min_words") if word not in listed] == []
    enough = environment.watcher("check", site, "--option", "min_words=5")
    assert enough.returncode == 0, enough.stdout + enough.stderr
    too_few = environment.watcher("check", site, "--option", "min_words=6")
    assert too_few.returncode == 1 and "5 words, wanted 6" in too_few.stdout, too_few.stdout + too_few.stderr
    wrong = environment.watcher("check", site, "--option", "min_words=many")
    assert wrong.returncode == 2 and "min_words" in wrong.stderr
    misspelt = environment.watcher("check", site, "--option", "min_word=5")
    assert misspelt.returncode == 2 and 'did you mean "min_words"?' in misspelt.stderr
    without = environment.watcher("check", site, "--option", "min_words=5", "--no-plugin", "wordcount")
    assert without.returncode == 2 and "min_words" in without.stderr
    path = tmp_path / "watcher.toml"
    path.write_text(FILE.format(dsn=database, data_dir=tmp_path / "data", site=site))
    run_agent(environment, path)

    environment.uninstall("watcher-wordcount")
    after = environment.watcher("validate", "--config", path)
    assert after.returncode == 2
    assert after.stderr.splitlines()[0] == (
        f'watcher: {path}: endpoint "page": min_words: option "min_words" was offered by watcher-wordcount 1.0, '
        "which is no longer installed: pip install watcher-wordcount, or remove it"
    )
    assert environment.watcher("check", site).returncode == 0


def test_a_protocol_is_installed_used_and_uninstalled(environment: Environment, memcached: int) -> None:
    url = f"memcached://127.0.0.1:{memcached}"
    before = environment.watcher("check", url)
    assert before.returncode == 1 and "no plugin probes memcached: URLs" in before.stdout

    its_own_tests = environment.run("python", "-m", "pytest", "-rs", environment.install(MEMCACHED))
    assert its_own_tests.returncode == 0 and "skipped" not in its_own_tests.stdout, its_own_tests.stdout
    found = environment.watcher("check", url, "--json")
    assert found.returncode == 0 and "version 1." in json.loads(found.stdout)["detail"], found.stdout + found.stderr
    wanted = 'memcached={"key": "state", "value": "open"}'
    empty = environment.watcher("check", url, "--option", wanted)
    assert empty.returncode == 1 and "state is not there" in empty.stdout
    with socket.create_connection(("127.0.0.1", memcached)) as client:
        client.sendall(b"set state 0 0 4\r\nopen\r\n")
        assert client.recv(100) == b"STORED\r\n"
    assert environment.watcher("check", url, "--option", wanted).returncode == 0
    reference = environment.watcher("plugins", "doc", "memcached", "--format", "markdown").stdout
    assert "watcher-memcached 1.0" in reference
    assert "| `key` | a string | `\"\"` | A key that must be there. |" in reference

    environment.uninstall("watcher-memcached")
    assert "no plugin probes memcached: URLs" in environment.watcher("check", url).stdout
