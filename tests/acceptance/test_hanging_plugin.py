"""A plugin that never comes back ends with its own check, in the commands that check once too."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

PLUGIN = """
from watcher import hookimpl

@hookimpl
def watcher_options():
    return {"spins": bool}

@hookimpl
def watcher_steps(endpoint):
    def spin(response):
        while True:
            pass
    return spin if "spins" in endpoint.options else None
"""


@pytest.fixture(name="site")
def fixture_site(tmp_path: Path) -> Iterator[str]:
    """Run Python's own web server and give its address."""

    class Quiet(SimpleHTTPRequestHandler):
        """Serves an empty directory, and logs nothing."""

        def __init__(self, *given: object) -> None:
            super().__init__(*given, directory=str(tmp_path))

        def log_message(self, *_given: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(name="installed")
def fixture_installed(tmp_path: Path) -> dict[str, str]:
    """Give the environment in which the plugin is found as an installed one is."""
    directory = tmp_path / "installed"
    info = directory / "spinning-1.dist-info"
    info.mkdir(parents=True)
    (directory / "spinning.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: spinning\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[watcher]\nspinning = spinning\n")
    return os.environ | {"PYTHONPATH": str(directory), "WATCHER_DATA_DIR": str(tmp_path / "data")}


@pytest.mark.parametrize("command", ["check", "once"])
def test_it_is_ended_and_told(site: str, installed: dict[str, str], tmp_path: Path, command: str) -> None:
    if command == "check":
        arguments = ["check", site, "--option", "spins=true"]
    else:
        file = tmp_path / "sites.toml"
        file.write_text(f'[[endpoints]]\nurl = "{site}"\nspins = true\n[[endpoints]]\nname = "other"\nurl = "{site}"\n')
        arguments = ["--config", str(file), "--once"]
    done = subprocess.run(
        [sys.executable, "-m", "watcher", *arguments],
        env=installed, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "plugin spinning: computed for more than 3 s" in done.stdout
    if command == "once":
        assert "1 up, 1 missed" in done.stdout
