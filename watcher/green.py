"""The only monkey-patch: makes this process cooperative. A worker calls `patch()` before any other import."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from gevent.hub import Hub
    from gevent.threadpool import ThreadPool

# Searching 40 pages of 180 KB (24 ms of CPU each) with 1, 2, 4, 10 threads took 1.4, 1.0, 1.0, 2.1 s: they contend for
# the GIL. On one core the hub came late by 2.5, 2.5, 11, 68 ms (99th percentile).
OFFLOAD_THREADS = 2

Params = ParamSpec("Params")
Value = TypeVar("Value")


def patch() -> None:
    """Make sockets, threads, subprocesses and psycopg2 cooperate with gevent's hub; once, before other imports."""
    from gevent import monkey

    monkey.patch_all()
    from psycogreen.gevent import patch_psycopg

    patch_psycopg()


def offload(function: Callable[Params, Value], *args: Params.args, **kwargs: Params.kwargs) -> Value:
    """Run `function` in a native thread; the calling greenlet waits, all others go on."""
    import gevent

    value, error = _threads(gevent.get_hub()).apply(_outcome, (function, args, kwargs))
    if error is not None:
        raise error
    return value


@lru_cache(maxsize=8)
def _threads(hub: Hub) -> ThreadPool:
    """Give the threads of a hub: not those it has of its own, where name lookups would wait behind computations."""
    from gevent.threadpool import ThreadPool

    return ThreadPool(OFFLOAD_THREADS, hub=hub)


def _outcome(function: Callable[..., Value], args: Any, kwargs: Any) -> tuple[Value | None, BaseException | None]:
    """Carry an exception over to the caller, who is the one to judge it; of one that leaves a thread gevent prints."""
    try:
        return function(*args, **kwargs), None
    except BaseException as error:  # pylint: disable=broad-exception-caught  # raised again by `offload`
        return None, error
