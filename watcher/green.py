"""The only monkey-patch: makes this process cooperative. A worker calls `patch()` before any other import."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from gevent.hub import Hub

# Searching 40 pages of 180 KB (24 ms of CPU each) with 1, 2, 4, 10 threads took 1.4, 1.0, 1.0, 2.1 s: they contend for
# the GIL. On one core the hub came late by 2.5, 2.5, 11, 68 ms (99th percentile).
OFFLOAD_THREADS = 2
HELD_THREADS_MAX = 16  # beyond them, calls that never come back do hold up the others

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

    return _threads(gevent.get_hub()).run(_Job(function, args, kwargs))


@lru_cache(maxsize=8)
def _threads(hub: Hub) -> _Threads:
    """Give the threads of a hub: not those it has of its own, where name lookups would wait behind computations."""
    return _Threads(hub)


class _Threads:
    """A pool of threads that gets another thread for each one which is held by a job that nobody waits for any more."""

    def __init__(self, hub: Hub) -> None:
        from gevent.threadpool import ThreadPool

        self._pool = ThreadPool(OFFLOAD_THREADS, hub=hub)
        self._held: list[_Job] = []

    def run(self, job: _Job) -> Any:
        """Run a job and give its value; an exception thrown into the waiting greenlet leaves the thread to the job."""
        if self._held:
            self._make_room()
        try:
            value, error = self._pool.apply(job)
        except BaseException:
            job.left = True
            if job.runs and len(self._held) < HELD_THREADS_MAX:
                self._held.append(job)
                self._make_room()
            raise
        if error is not None:
            raise error
        return value

    def _make_room(self) -> None:
        self._held = [job for job in self._held if job.runs]
        self._pool.maxsize = OFFLOAD_THREADS + len(self._held)


class _Job:
    """One call; it carries an exception over as a value: of one that leaves a thread gevent prints."""

    __slots__ = ("_call", "left", "runs")

    def __init__(self, function: Callable[..., Any], args: Any, kwargs: Any) -> None:
        self._call = function, args, kwargs
        self.runs = False
        self.left = False  # nobody waits for it: it need not begin

    def __call__(self) -> tuple[Any, BaseException | None]:
        function, args, kwargs = self._call
        self.runs = True  # before the look at `left`: who leaves looks at this after, so that one of the two sees
        try:
            return (None if self.left else function(*args, **kwargs)), None
        except BaseException as error:  # pylint: disable=broad-exception-caught  # raised again by `offload`
            return None, error
        finally:
            self.runs = False
