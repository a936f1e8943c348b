"""What a plugin author imports; everything else in this package may change without notice.

Importing it loads neither gevent nor requests.
"""

from watcher.durations import Duration
from watcher.errors import ProbeError
from watcher.hookspecs import hookimpl
from watcher.match import Match
from watcher.models import Discovery, Endpoint, Failure, Incident, Options, Reason, Result, Secret, Status, Step

__version__ = "0.1.0"

__all__ = [
    "Discovery",
    "Duration",
    "Endpoint",
    "Failure",
    "Incident",
    "Match",
    "Options",
    "ProbeError",
    "Reason",
    "Result",
    "Secret",
    "Status",
    "Step",
    "__version__",
    "hookimpl",
    "offload",
]


def offload(function, *args, **kwargs):
    """Run a blocking or CPU-heavy function in the worker's thread pool and return its value.

    For steps: the greenlet waits, every other probe goes on. The function must release the GIL to be of use.
    """
    from watcher.green import offload as run  # pylint: disable=import-outside-toplevel  # gevent: only when used

    return run(function, *args, **kwargs)
