"""The measured transport: what a plugin that brings a protocol may import.

`Exchange` is the sheet a prober fills, `Deadline` and `Stream` are a TCP connection on the kernel's clock, `Resolver`
gives addresses, `Engine` is TLS; `MeasuredAdapter` is all of it as a `requests` adapter.
"""

from watcher.transport.adapter import MeasuredAdapter, Route
from watcher.transport.clock import Anchor
from watcher.transport.dns import Resolver
from watcher.transport.exchange import Exchange, Prober
from watcher.transport.prober import MeasuredProber, SessionProber
from watcher.transport.response import Response
from watcher.transport.stream import Deadline, Stream
from watcher.transport.tls import Engine, Trust

__all__ = [
    "Anchor",
    "Deadline",
    "Engine",
    "Exchange",
    "MeasuredAdapter",
    "MeasuredProber",
    "Prober",
    "Resolver",
    "Response",
    "Route",
    "SessionProber",
    "Stream",
    "Trust",
]
