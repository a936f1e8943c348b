"""Plain clients of the test server, which follow nothing and forgive nothing."""

from __future__ import annotations

import http.client
import socket
from urllib.parse import urlsplit

PATIENT_S = 10.0
IMPATIENT_S = 0.5


def connect(url: str, timeout_s: float = PATIENT_S) -> socket.socket:
    """Open a plain connection to the server of a URL."""
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), timeout_s)


def get(url: str, timeout_s: float = PATIENT_S) -> tuple[int, bytes]:
    """Get a URL with http.client, which follows no redirect; give status and body."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
    try:
        connection.request("GET", url.partition(parts.netloc)[2])
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def refuses(url: str) -> bool:
    """Nobody listens there any more."""
    try:
        connect(url).close()
    except ConnectionRefusedError:
        return True
    return False
