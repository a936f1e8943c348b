"""Commands that read a database, as a user types them."""

from __future__ import annotations

import subprocess
import sys


def over(dsn: str, *command: str, code: int = 0) -> str:
    """Run a command of watcher's over a database and give what it wrote, on standard error when it is to fail."""
    done = subprocess.run(
        [sys.executable, "-m", "watcher", *command],
        env={"PATH": "/usr/bin:/bin", "WATCHER_DATABASE_DSN": dsn, "HOME": "/nonexistent"},
        capture_output=True, encoding="utf-8", timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout
