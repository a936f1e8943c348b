"""Servers of third parties, run by a test."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

SYSTEM = "/usr/sbin:/usr/bin"  # not all are on everybody's PATH


@contextmanager
def third_party(eventually: Callable, package: str, program: str, *arguments: str) -> Iterator[int]:
    """Run a server while the block runs, and give the port that it accepts connections at.

    Args:
        package: what to install where the program is missing; the test is then skipped.
        arguments: of the program; `{port}` in them stands for a free port.
    """
    found = shutil.which(program) or shutil.which(program, path=SYSTEM)
    if found is None:
        pytest.skip(f"{program} is not installed (apt-get install {package})")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [found, *(argument.replace("{port}", str(port)) for argument in arguments)]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **streams) as process:
        try:
            eventually(lambda: process.poll() is not None or listens(port))
            assert process.poll() is None, f"{program} ended at once with exit code {process.returncode}"
            yield port
        finally:
            process.terminate()


def listens(port: int) -> bool:
    """Tell whether somebody accepts connections there."""
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0
