"""nginx as the target of a measurement: pages over http and https, pinned to a core of its own."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import trustme

PAGE_BYTES = 1024


@dataclass(frozen=True)
class Target:
    """Where the page is, and the CA file for https."""

    http: str
    https: str
    ca_file: str


@contextlib.contextmanager
def nginx(core: int, pages: Mapping[str, str] | None = None) -> Iterator[Target]:
    """Run nginx with one process on a core; beside the 1 KB page it serves these, by their names.

    It has real-time priority where that is permitted: who shares its core takes nothing from it, as if the site were
    another machine.
    """
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        raise SystemExit("nginx is not installed: apt-get install nginx-light")
    with tempfile.TemporaryDirectory(prefix="watcher-bench-") as name:
        root = Path(name)
        root.chmod(0o755)
        ports = _free_ports(2)
        _write(root, ports)
        for page, text in (pages or {}).items():
            (root / page).write_text(text)
        command = [program, "-c", str(root / "nginx.conf"), "-e", str(root / "error.log")]
        with subprocess.Popen(["taskset", "-c", str(core), *real_time(), *command]) as process:
            _await(ports[0])
            try:
                yield Target(f"http://127.0.0.1:{ports[0]}/", f"https://127.0.0.1:{ports[1]}/", str(root / "ca.pem"))
            finally:
                process.terminate()


def real_time() -> tuple[str, ...]:
    """Give what runs a command with real-time priority, nothing where that is not permitted."""
    prefix = "chrt", "-f", "50"
    return () if subprocess.run([*prefix, "true"], check=False, stderr=subprocess.DEVNULL).returncode else prefix


def _write(root: Path, ports: list[int]) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(root / "ca.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(root / "server.pem"))
    (root / "index.html").write_text("x" * (PAGE_BYTES - 13) + " a needle too")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{kind}_temp_path {root}/{kind};" for kind in kinds)
    (root / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {root}/pid; error_log {root}/error.log crit;\n"
        "worker_rlimit_nofile 20000;\n"
        "events { worker_connections 16384; }\n"
        f"http {{ access_log off; {temporary} default_type text/html; server {{ root {root};\n"
        f"  listen 127.0.0.1:{ports[0]} backlog=8192; listen 127.0.0.1:{ports[1]} ssl backlog=8192;\n"
        f"  ssl_certificate {root}/server.pem; ssl_certificate_key {root}/server.pem;\n"
        "  ssl_session_cache off; ssl_session_tickets off; } }\n"
    )


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


def _await(port: int) -> None:
    for _ in range(500):
        with socket.socket() as trial:
            if not trial.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.01)
    raise SystemExit("nginx did not start")
