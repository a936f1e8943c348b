"""The measured transport: what a plugin that brings a protocol may import.

`Exchange` is the sheet a prober fills, `target` says where an endpoint's URL leads, and `dial` connects there on the
kernel's clock. What `dial` is made of (`Deadline`, `Stream`, `Resolver`, `Engine`) is here too; `MeasuredAdapter` is
the whole as a `requests` adapter.
"""

from watcher.transport.adapter import MeasuredAdapter
from watcher.transport.clock import Anchor
from watcher.transport.connection import resolve
from watcher.transport.conversation import Conversation, dial
from watcher.transport.datagram import Datagram, ask
from watcher.transport.dns import Resolver
from watcher.transport.exchange import Exchange, Prober
from watcher.transport.options import Tls, forget_files, route, target
from watcher.transport.prober import MeasuredProber, SessionProber
from watcher.transport.response import Response
from watcher.transport.stream import Deadline, Stream
from watcher.transport.target import Route, Target, name_server
from watcher.transport.tls import Engine, Trust

__all__ = [
    "Anchor",
    "Conversation",
    "Datagram",
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
    "Target",
    "Tls",
    "Trust",
    "ask",
    "dial",
    "forget_files",
    "name_server",
    "resolve",
    "route",
    "target",
]
