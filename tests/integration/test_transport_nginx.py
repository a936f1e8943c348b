"""The measured transport against nginx, a server that we did not write."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator

import gevent
import pytest
from scripted import regex_option, verdict

from watcher.models import Endpoint, Reason, Status
from watcher.plan import compile_plan
from watcher.probe import probe


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory, eventually) -> Iterator[str]:
    """Run nginx over a directory; give its URL."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed (apt-get install nginx-light)")
    root = tmp_path_factory.mktemp("nginx")
    (root / "index.html").write_text("needle in a page " * 5000)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{kind}_temp_path {root}/{kind};" for kind in kinds)
    (root / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid {root}/pid; error_log {root}/error.log; user root;\n"
        "events { worker_connections 512; }\n"
        f"http {{ access_log off; {temporary} gzip on; gzip_types *; default_type text/html; server {{\n"
        f"  listen 127.0.0.1:{port}; root {root};\n"
        "  location = /moved { return 302 /index.html; }\n"
        "  location = /teapot { return 418 'short and stout'; } } }\n"
    )
    with subprocess.Popen([program, "-c", str(root / "nginx.conf"), "-e", str(root / "error.log")]) as process:
        eventually(lambda: _listens(port))
        yield f"http://127.0.0.1:{port}"
        process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe_socket:
        return probe_socket.connect_ex(("127.0.0.1", port)) == 0


def test_nginx_is_understood(check, nginx: str) -> None:
    compressed = check(f"{nginx}/", regex=regex_option("needle in a page $"))
    assert (compressed.status, compressed.regex_found) == (Status.UP, True)
    assert compressed.body_bytes < 5000
    assert verdict(check(f"{nginx}/moved")) == (Status.UP, None, 200)
    assert verdict(check(f"{nginx}/teapot")) == (Status.DOWN, Reason.STATUS, 418)
    assert verdict(check(f"{nginx}/", method="HEAD")) == (Status.UP, None, 200)
    assert verdict(check(f"{nginx}/", keep_alive=True)) == (Status.UP, None, 200)


def test_hundreds_of_probes_at_once_all_come_back(plugins, nginx: str) -> None:
    plans = [compile_plan(Endpoint(name=str(n), url=f"{nginx}/?{n}"), plugins) for n in range(300)]
    results = gevent.joinall([gevent.spawn(probe, plan) for plan in plans])
    assert {job.value.status for job in results} == {Status.UP}
