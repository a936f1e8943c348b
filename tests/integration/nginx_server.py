"""A real nginx over a directory that a test writes into."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from free_port import free_port
from third_party import SYSTEM, listens

KINDS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@contextmanager
def nginx_server(eventually: Callable, root: Path, http: str, server: str) -> Iterator[str]:
    """Run it while the block runs, and give its URL.

    Args:
        root: its directory; index.html is made in it.
        http: directives for all servers.
        server: directives of the server.
    """
    program = shutil.which("nginx") or shutil.which("nginx", path=SYSTEM)
    if program is None:
        pytest.skip("nginx is not installed (apt-get install nginx-light)")
    port = free_port()
    (root / "index.html").write_text("needle in a page " * 5000)
    temporary = " ".join(f"{kind}_temp_path {root}/{kind};" for kind in KINDS)
    (root / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid {root}/pid; error_log {root}/error.log; user root;\n"
        "events { worker_connections 512; }\n"
        f"http {{ access_log off; {temporary} {http} server {{ listen 127.0.0.1:{port}; root {root};\n{server} }} }}\n"
    )
    with subprocess.Popen([program, "-c", str(root / "nginx.conf"), "-e", str(root / "error.log")]) as process:
        try:
            eventually(lambda: listens(port))
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
