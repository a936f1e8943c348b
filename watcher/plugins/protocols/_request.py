"""The request of one check where its headers go over another protocol than HTTP/1.1."""

from __future__ import annotations

from time import monotonic_ns

import gevent
import requests

from watcher.ledger import Overrun
from watcher.transport import Exchange


def of_this_check(exchange: Exchange, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
    """Give the request as the steps of plugins change it for this check; their time is not the site's."""
    if not exchange.before:
        return prepared
    request = prepared.copy()
    left_s = max(0.001, (exchange.deadline_ns - monotonic_ns()) / 1e9)
    with gevent.Timeout(left_s, Overrun("`before` took all of the timeout")):
        for before in exchange.before:
            before(request)
    exchange.begin_anew()
    return request
