"""The option `min_words = 100` for watcher: a page with fewer words is down."""

from watcher import Failure, hookimpl


@hookimpl
def watcher_options():
    return {"min_words": int}


@hookimpl
def watcher_steps(endpoint):
    least = endpoint.options.get("min_words")

    def examine(response):
        words = len(response.content.split())
        return None if words >= least else Failure(f"{words} words, wanted {least}")

    return None if least is None else examine
