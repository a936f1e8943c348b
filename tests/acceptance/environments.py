"""Fresh virtual environments, into which pip installs watcher and what third parties wrote."""

from __future__ import annotations

import fcntl
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

    Args:
        directory: where to make it.
        wheel: watcher as a distribution.
    """

    def __init__(self, directory: Path, wheel: Path) -> None:
        self.directory = directory
        self.bin = directory / "bin"
        venv.create(directory)
        own = Path(sysconfig.get_path("purelib", vars={"base": str(directory), "platbase": str(directory)}))
        (own / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
        self._install(wheel)

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
        self._install("--no-build-isolation", copy)
        return copy

    def _install(self, *words: object) -> None:
        self.pip("install", "--no-index", "--no-deps", "--no-compile", "--ignore-installed", *words)

    def install_editable(self, *sources: Path) -> None:
        """Install distributions as who writes them does."""
        editable = [word for source in sources for word in ("--editable", source)]
        self.pip("install", "--no-index", "--no-deps", "--no-build-isolation", *editable)

    def uninstall(self, distribution: str) -> None:
        """Uninstall a distribution."""
        self.pip("uninstall", "--yes", distribution)

    def pip(self, *command: object) -> None:
        """Run pip, which is one of the packages that it sees, without a network."""
        done = self.run("python", "-m", "pip", "--no-input", *command)
        assert done.returncode == 0, done.stdout + done.stderr


def built(directory: Path) -> Path:
    """Give watcher as a wheel, built in a directory once for all processes that ask."""
    directory.mkdir(exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (found := list(directory.glob("*.whl"))):
            copy = directory / "source"  # so that the build leaves nothing beside the sources
            shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*LEFT_OUT))
            pip = (sys.executable, "-m", "pip", "wheel", "--no-index", "--no-deps", "--no-build-isolation")
            made = subprocess.run([*pip, copy], cwd=directory, capture_output=True, text=True, timeout=120, check=False)
            assert made.returncode == 0, made.stdout + made.stderr
            found = list(directory.glob("*.whl"))
    return found[0]


def put(directory: Path, name: str, source: str) -> dict[str, str]:
    """Put a distribution `watcher-NAME` 1.0 with one module into a directory; give the variables that find it."""
    (directory / f"watcher_{name}.py").write_text(source, encoding="utf-8")
    about = directory / f"watcher_{name}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: watcher-{name}\nVersion: 1.0\n", encoding="utf-8")
    (about / "entry_points.txt").write_text(f"[watcher]\n{name} = watcher_{name}\n", encoding="utf-8")
    return {"PYTHONPATH": str(directory)}
