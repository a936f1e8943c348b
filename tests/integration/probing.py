"""What the tests of protocols share: probing a URL with options as a configuration writes them, and servers."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import gevent
import pluggy

from watcher import Result, hookspecs
from watcher.config.options import OptionTypes
from watcher.models import Endpoint
from watcher.plan import compile_plan
from watcher.probe import probe


def probing(*modules: object) -> Callable[..., Result]:
    """Give `check(url, timeout_s=5.0, **options)`, which probes once with these plugins alone."""
    plugins = pluggy.PluginManager("watcher")
    plugins.add_hookspecs(hookspecs)
    for module in modules:
        plugins.register(module)
    keys = {key: wanted for found in plugins.hook.watcher_options() for key, wanted in found.items()}
    types = OptionTypes({key: (wanted, "test") for key, wanted in keys.items()})

    def check(url: str, timeout_s: float = 5.0, **raw: Any) -> Result:
        mistakes: list[str] = []
        options = types.convert(raw, lambda key, text: mistakes.append(f"{key}: {text}"), {})
        if mistakes:
            raise ValueError("; ".join(mistakes))
        endpoint = Endpoint(name=url, url=url, timeout_s=timeout_s, options=options)
        with closing(compile_plan(endpoint, plugins)) as plan:
            return gevent.spawn(probe, plan).get()

    return check


@contextmanager
def serving(*command: str) -> Iterator[list[str]]:
    """Run a Python program that serves until its stdin ends; give the words of the first line that it prints."""
    with subprocess.Popen(
        [sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            words = server.stdout.readline().split()
            assert words, f"{command[0]} does not serve"
            yield words
        finally:
            server.stdin.close()
            try:
                server.wait(10)
            finally:
                server.kill()


def free_ports(*names: str) -> dict[str, int]:
    """Give a port that nobody has, at this moment, for each name."""
    with ExitStack() as taken:
        sockets = {name: taken.enter_context(socket.create_server(("127.0.0.1", 0))) for name in names}
        return {name: held.getsockname()[1] for name, held in sockets.items()}


def accepts(port: int) -> bool:
    """Tell whether somebody listens."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
