"""What the author of a plugin needs for its tests: real checks against a real server, and the values that hooks get.

    import watcher_wordcount

    from watcher import Status
    from watcher.testing import Server, check, page

    def test_too_few_words():
        with Server(page(b"one two")) as server:
            assert check(server.url, watcher_wordcount, min_words=3).status is Status.DOWN

It works in any process, with any test runner, monkey-patched or not. Neither watcher's database nor an installation of
the plugin is needed, and of other plugins only watcher's own are there.
"""

from watcher.errors import ConfigError
from watcher.testing.checks import check, endpoint, judge, settings
from watcher.testing.server import Client, Server
from watcher.testing.values import exchange, page, response, result

__all__ = [
    "Client",
    "ConfigError",
    "Server",
    "check",
    "endpoint",
    "exchange",
    "judge",
    "page",
    "response",
    "result",
    "settings",
]
