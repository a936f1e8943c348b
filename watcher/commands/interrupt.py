"""Ctrl-C in a green process: raised where the command waits, not in gevent's hub, which would print it."""

from __future__ import annotations

import signal

import gevent
from gevent import getcurrent


def raise_here() -> None:
    """Have SIGINT raise KeyboardInterrupt in the greenlet that calls this."""
    gevent.signal_handler(signal.SIGINT, getcurrent().throw, KeyboardInterrupt)
