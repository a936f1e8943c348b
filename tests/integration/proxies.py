"""Real proxies as processes, and what is asked through them."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from free_port import free_port
from scripted import page, request

from watcher import Status

PAGE = page(b"hello")
LOGIN = "probe:p%40ss"  # p@ss
UP = (Status.UP, None, 200)
Eventually = Callable[..., Any]


@contextmanager
def running(eventually: Eventually, port: int, *command: str) -> Iterator[str]:
    """Run a proxy; give its host and port."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: process.poll() is not None or listens(port))
            assert process.poll() is None, command
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()


def listens(port: int) -> bool:
    """Say whether a port accepts connections."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def proxy_py(port: int) -> tuple[str, ...]:
    """Give the command that runs proxy.py, an HTTP proxy."""
    script = str(Path(sys.executable).with_name("proxy"))
    return script, "--hostname", "127.0.0.1", "--port", str(port), "--num-workers", "1", "--num-acceptors", "1"


@contextmanager
def http_proxy(eventually: Eventually) -> Iterator[str]:
    """Run proxy.py, which wants a user and a password."""
    port = free_port()
    with running(eventually, port, *proxy_py(port), "--basic-auth", "probe:p@ss") as place:
        yield place


@contextmanager
def any_proxy(eventually: Eventually) -> Iterator[str]:
    """Run pproxy, which speaks all of the protocols at one port, with anybody."""
    port = free_port()
    listener = f"http+socks4+socks5://127.0.0.1:{port}"
    with running(eventually, port, sys.executable, "-W", "ignore", "-m", "pproxy", "-l", listener) as place:
        yield place


@contextmanager
def socks_proxy(eventually: Eventually) -> Iterator[str]:
    """Run microsocks, which wants a user and a password."""
    port = free_port()
    options = ("-i", "127.0.0.1", "-p", str(port), "-u", "probe", "-P", "p@ss")
    with running(eventually, port, program("microsocks"), *options) as place:
        yield place


def program(name: str) -> str:
    """Give the path of a program, or skip the test."""
    found = shutil.which(name)
    return found or pytest.skip(f"{name} is not installed (apt-get install {name})")


def says(what: bytes = PAGE) -> Callable[[socket.socket], None]:
    """Make a site that answers each request alike."""

    def site(of: socket.socket) -> None:
        while request(of):
            of.sendall(what)

    return site
