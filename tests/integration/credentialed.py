"""Endpoints with credentials, probed as a worker does, and WSGI sites in threads that they are shown to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pluggy
from http_site import served
from werkzeug.serving import WSGIRequestHandler, make_server

from watcher.config import endpoint
from watcher.models import Result
from watcher.plan import Plan, compile_plan
from watcher.probe import probe
from watcher.registry import option_types

TRANSPORTS = ("measured", "requests")
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], list[bytes]]


def plan(plugins: pluggy.PluginManager, url: str, timeout_s: float = 5.0, **raw: Any) -> Plan:
    """Compile an endpoint whose options are written as in a file."""
    row = {"name": url, "url": url, "interval_s": 60.0, "timeout_s": timeout_s, "options": raw}
    return compile_plan(endpoint(row, option_types(plugins)), plugins)


def probed(plugins: pluggy.PluginManager, url: str, **raw: Any) -> Result:
    """Probe an endpoint once."""
    with closing(plan(plugins, url, **raw)) as made:
        return probe(made)


class Quiet(WSGIRequestHandler):
    """Logs nothing."""

    def log(self, *_: Any) -> None:  # pylint: disable=arguments-differ
        """Say nothing."""


@contextmanager
def serving(app: Wsgi) -> Iterator[str]:
    """Serve an application; give its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    with served(server):
        yield f"http://127.0.0.1:{server.server_port}"
