"""Code that must run in a green process, run in one of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap


def run_green(code: str, *arguments: str) -> str:
    """Run code in a process that was made green first, with `sys.argv[1:]`, and give what it printed."""
    whole = "from watcher import green\ngreen.patch()\n" + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", whole, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
