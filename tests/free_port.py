"""A port for a server that takes one and does not say which."""

from __future__ import annotations

import socket
from contextlib import suppress


def free_port() -> int:
    """Give a port that is free for TCP and UDP: an answer of a name server that is too long for UDP comes by TCP."""
    while True:
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            with suppress(OSError):
                udp.bind(tcp.getsockname())
                return tcp.getsockname()[1]
