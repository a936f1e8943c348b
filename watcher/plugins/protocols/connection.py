"""How an endpoint's host is reached, whatever the protocol: `tls`, `address`, `addresses`, `ip_version`, `resolver`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from watcher import hookimpl
from watcher.transport.options import TYPES


@hookimpl
def watcher_options() -> Mapping[str, Any]:
    """Add the keys; each prober reads them by `watcher.transport.target` or `route`."""
    return TYPES
