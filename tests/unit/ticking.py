"""A process of its own, since patching is for good: how long a hostile pattern keeps another greenlet from its turn."""

from watcher import green

green.patch()

# pylint: disable=wrong-import-position,wrong-import-order,ungrouped-imports  # patch before all else
import json
import sys
from collections.abc import Callable
from time import perf_counter

import gevent
import plugged
import regex

from watcher.plugins.assertions import regex as plugin

HOSTILE = r"(([a-z])+.)+[A-Z]([a-z])+$"
TEXT = "a" * 4000
TIMEOUT_S = 0.5


def longest_pause_s(work: Callable[[], None]) -> float:
    """Give the longest time between two turns of a greenlet that wants one each millisecond, while the work is done."""
    turns = []

    def tick() -> None:
        while True:
            turns.append(perf_counter())
            gevent.sleep(0.001)

    ticker = gevent.spawn(tick)
    gevent.sleep(0.01)
    work()
    gevent.sleep(0.01)
    ticker.kill()
    return max(after - before for before, after in zip(turns, turns[1:]))


def search_here() -> None:
    """Search as a plugin would that knows of no thread."""
    try:
        regex.search(HOSTILE, TEXT, timeout=TIMEOUT_S)
    except TimeoutError:
        return
    sys.exit("the pattern is not hostile enough")


def main() -> None:
    """Print the reason that the step gives and both pauses."""
    plugins = plugged.manager(plugin)
    endpoint = plugged.endpoint(plugins, regex={"pattern": HOSTILE, "timeout": TIMEOUT_S})
    (step,) = plugins.hook.watcher_steps(endpoint=endpoint)
    verdicts = []
    # many times the same, or one slow turn of a busy machine would decide
    through_step_s = sorted(
        longest_pause_s(lambda: verdicts.append(step.examine(plugged.response(TEXT.encode())))) for _ in range(3)
    )
    report = {
        "reasons": [verdict.reason.value for verdict in verdicts],
        "here_s": longest_pause_s(search_here),
        "through_step_s": through_step_s[1],
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
