"""A third party's distribution: installed by pip beside watcher, used, uninstalled; nothing of watcher is changed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import venv
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/watcher-wordcount"
PAGE = b"<p>one two three four five</p>"


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
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(name="environment")
def fixture_environment(tmp_path: Path) -> Path:
    """Give a fresh virtual environment that has what watcher depends on: it sees the packages of this one.

    Its own packages come first on its path, so the watcher that runs is the one that pip installed into it.
    """
    environment = tmp_path / "environment"
    venv.create(environment)
    own = Path(sysconfig.get_path("purelib", vars={"base": str(environment), "platbase": str(environment)}))
    (own / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment


def run(*command: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, out of reach of the checkout."""
    words = [str(part) for part in command]
    return subprocess.run(words, cwd=tempfile.gettempdir(), capture_output=True, text=True, timeout=120, check=False)


def pip(environment: Path, *command: object) -> None:
    """Run this environment's pip on the other one, without a network."""
    done = run(sys.executable, "-m", "pip", "--python", environment / "bin/python", "--no-input", *command)
    assert done.returncode == 0, done.stdout + done.stderr


def install(environment: Path, source: Path, scratch: Path) -> None:
    """Install a distribution from a copy of its sources, so that the build leaves nothing beside them."""
    copy = shutil.copytree(
        source, scratch, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "tests", "bench")
    )
    pip(environment, "install", "--no-index", "--no-deps", "--no-build-isolation", "--ignore-installed", copy)


def test_a_plugin_is_installed_used_and_uninstalled(environment: Path, site: str, tmp_path: Path) -> None:
    watcher = environment / "bin/watcher"
    install(environment, ROOT, tmp_path / "watcher")
    where = run(environment / "bin/python", "-c", "import watcher; print(watcher.__file__)")
    assert where.stdout.startswith(str(environment))
    before = run(watcher, "check", site, "--option", "min_words=5")
    assert before.returncode == 2 and 'unknown option "min_words"' in before.stderr

    install(environment, EXAMPLE, tmp_path / "wordcount")
    its_own_tests = run(environment / "bin/python", "-m", "pytest", tmp_path / "wordcount")
    assert its_own_tests.returncode == 0, its_own_tests.stdout
    listed = run(watcher, "plugins").stdout
    assert [word for word in ("wordcount", "watcher-wordcount 1.0", "steps", "min_words") if word not in listed] == []
    enough = run(watcher, "check", site, "--option", "min_words=5")
    assert enough.returncode == 0, enough.stdout + enough.stderr
    too_few = run(watcher, "check", site, "--option", "min_words=6")
    assert too_few.returncode == 1 and "5 words, wanted 6" in too_few.stdout, too_few.stdout + too_few.stderr
    wrong = run(watcher, "check", site, "--option", "min_words=many")
    assert wrong.returncode == 2 and "min_words" in wrong.stderr
    misspelt = run(watcher, "check", site, "--option", "min_word=5")
    assert misspelt.returncode == 2 and 'did you mean "min_words"?' in misspelt.stderr
    without = run(watcher, "check", site, "--option", "min_words=5", "--no-plugin", "wordcount")
    assert without.returncode == 2 and "min_words" in without.stderr

    pip(environment, "uninstall", "--yes", "watcher-wordcount")
    after = run(watcher, "check", site, "--option", "min_words=5")
    assert after.returncode == 2 and 'unknown option "min_words"' in after.stderr
    assert run(watcher, "check", site).returncode == 0
