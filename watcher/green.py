"""The only monkey-patch: makes this process cooperative. A worker calls `patch()` before any other import."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

Params = ParamSpec("Params")
Value = TypeVar("Value")


def patch() -> None:
    """Make sockets, threads, subprocesses and psycopg2 cooperate with gevent's hub; once, before other imports."""
    from gevent import monkey

    monkey.patch_all()
    from psycogreen.gevent import patch_psycopg

    patch_psycopg()


def offload(function: Callable[Params, Value], *args: Params.args, **kwargs: Params.kwargs) -> Value:
    """Run `function` in the hub's native thread pool; the calling greenlet waits, all others go on."""
    import gevent

    return gevent.get_hub().threadpool.apply(function, args, kwargs)
