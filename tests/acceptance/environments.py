"""Fresh virtual environments, into which pip installs watcher and what third parties wrote."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEFT_OUT = (".*", "build", "*.egg-info", "__pycache__", "tests", "bench")


class Environment:
    """A virtual environment with watcher; it sees the packages of this one, so that it has what watcher depends on.

    Its own packages come first on its path, so the watcher that runs is the one that pip installed into it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.bin = directory / "bin"
        venv.create(directory)
        own = Path(sysconfig.get_path("purelib", vars={"base": str(directory), "platbase": str(directory)}))
        (own / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
        self.install(ROOT)

    def run(self, *command: object, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a program of it to its end, out of reach of the checkout."""
        program, *words = (str(part) for part in command)
        return subprocess.run(
            [self.bin / program, *words],
            cwd=self.directory, capture_output=True, text=True, timeout=120, check=False, env=os.environ | variables,
        )  # fmt: skip

    def watcher(self, *command: object, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run its watcher."""
        return self.run("watcher", *command, **variables)

    def install(self, source: Path) -> Path:
        """Install a distribution from a copy of its sources, so that the build leaves nothing beside them."""
        copy = self.directory / f"source-{source.name}"
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns(*LEFT_OUT))
        self.pip("install", "--no-index", "--no-deps", "--no-build-isolation", "--ignore-installed", copy)
        return copy

    def install_editable(self, *sources: Path) -> None:
        """Install distributions as who writes them does."""
        editable = [word for source in sources for word in ("--editable", source)]
        self.pip("install", "--no-index", "--no-deps", "--no-build-isolation", *editable)

    def uninstall(self, distribution: str) -> None:
        """Uninstall a distribution."""
        self.pip("uninstall", "--yes", distribution)

    def pip(self, *command: object) -> None:
        """Run this environment's pip on the other one, without a network."""
        words = [str(part) for part in command]
        pip = [sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "--no-input"]
        done = subprocess.run(
            [*pip, *words], cwd=self.directory, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def put(directory: Path, name: str, source: str) -> dict[str, str]:
    """Put a distribution `watcher-NAME` 1.0 with one module into a directory; give the variables that find it."""
    (directory / f"watcher_{name}.py").write_text(source, encoding="utf-8")
    about = directory / f"watcher_{name}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: watcher-{name}\nVersion: 1.0\n", encoding="utf-8")
    (about / "entry_points.txt").write_text(f"[watcher]\n{name} = watcher_{name}\n", encoding="utf-8")
    return {"PYTHONPATH": str(directory)}
