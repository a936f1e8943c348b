"""The test server as a command: how it begins, how it ends, what it says; and the documents in step with it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import trustme
from plain_client import PATIENT_S, get, refuses

from watcher.testserver import table
from watcher.testserver.bad import KINDS
from watcher.testserver.process import ServerProcess
from watcher.testserver.trap import TRAPS

DOCS = Path(__file__).parents[2] / "docs" / "testing-tools.md"


@pytest.fixture(scope="module", name="server")
def fixture_server() -> Iterator[ServerProcess]:
    """Run one server for the module."""
    with ServerProcess() as running:
        yield running


def run(*arguments: str) -> subprocess.Popen[str]:
    """Start `watcher testserver`."""
    command = [sys.executable, "-m", "watcher", "testserver", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", ["1", "3"])
def test_it_says_where_it_listens_and_ends_when_told(number: signal.Signals, workers: str, eventually: Any) -> None:
    """The first line has the URL; SIGTERM and SIGINT end every process of it."""
    with run("--port", "0", "--workers", workers) as process:
        url = process.stdout.readline().removeprefix("listening on ").strip()
        assert url.startswith("http://127.0.0.1:")
        assert [get(url)[0] for _ in range(20)] == [200] * 20
        process.send_signal(number)
        assert process.wait(PATIENT_S) == 0
        assert process.stderr.read() == ""
    eventually(lambda: refuses(url))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_taken_port_is_one_clear_line(server: ServerProcess, workers: str) -> None:
    """Exit code 2, as for all that the user can put right."""
    port = str(urlsplit(server.url).port)
    with run("--port", port, "--workers", workers) as process:
        _, error = process.communicate(timeout=PATIENT_S)
    assert process.returncode == 2
    assert error == (
        f"watcher: cannot listen on 127.0.0.1 port {port}: Address already in use; "
        "choose another with --port, or 0 for any\n"
    )


def test_a_certificate_of_ones_own_is_used(tmp_path: Path) -> None:
    """`trustme` makes it, `requests` trusts it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    leaf = authority.issue_cert("127.0.0.1")
    leaf.private_key_pem.write_to_path(tmp_path / "key.pem")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    own = ["--certificate", str(tmp_path / "cert.pem"), "--key", str(tmp_path / "key.pem")]
    with run("--port", "0", *own) as process:
        process.stdout.readline()
        url = process.stdout.readline().removeprefix("listening on ").strip()
        assert requests.get(url, verify=str(tmp_path / "ca.pem"), timeout=PATIENT_S).status_code == 200
        process.terminate()


def test_a_certificate_that_cannot_be_read_is_one_clear_line(tmp_path: Path) -> None:
    """The message names the file."""
    missing = str(tmp_path / "none.pem")
    with run("--port", "0", "--certificate", missing, "--key", missing) as process:
        _, error = process.communicate(timeout=PATIENT_S)
    assert (process.returncode, error.count("\n"), missing in error) == (2, 1, True)


def test_the_server_ends_with_whoever_started_it(eventually: Any) -> None:
    """A test run that is killed leaves no server behind."""
    script = (
        "import time; from watcher.testserver.process import ServerProcess\n"
        "server = ServerProcess(workers=2).start(); print(server.url, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline().strip()
        assert get(url)[0] == 200
        process.kill()
    eventually(lambda: refuses(url))


def test_the_documents_list_every_parameter_kind_and_trap() -> None:
    """Each row of the tables in the docs is as the code has it, and there is no other."""
    lines = DOCS.read_text(encoding="utf-8").splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| `")]
    documented = {(name.strip("`"), *cells) for name, *cells in rows}
    wanted = set(table.parameters()) | set(table.failures())
    assert documented == wanted


def test_the_command_lists_them_too() -> None:
    """`--kinds` starts no server."""
    with run("--kinds") as process:
        output, _ = process.communicate(timeout=PATIENT_S)
    assert process.returncode == 0
    assert all(f"  {name} " in output for name in (*KINDS, *TRAPS))
