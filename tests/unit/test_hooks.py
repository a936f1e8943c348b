"""Each hook exercised by its example in docs/plugins.md."""

from __future__ import annotations

import hashlib
import hmac
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace

import click
import plugged
import pluggy
import plugin_docs
import pytest
import requests
from click.testing import CliRunner

from watcher import Endpoint, Failure, Incident, ProbeError, Reason, Result, Status
from watcher.plan import compile_plan
from watcher.plugins.protocols import http
from watcher.probe import probe
from watcher.transport import Exchange

SITE = Endpoint(name="site", url="https://site.test/")


def example(hook: str) -> tuple[ModuleType, pluggy.PluginManager]:
    """Give the example of a hook, and a plugin manager with it."""
    module = plugin_docs.example(f"`{hook}(")
    return module, plugged.manager(module)


def test_hook_options() -> None:
    _, plugins = example("watcher_options")
    assert len(plugins.hook.watcher_options()) == 1
    assert plugged.convert(plugins, {"language": "de"}) == ({"language": "de"}, [])
    assert plugged.convert(plugins, {"language": "it"})[1]
    assert "language" in plugged.convert(plugins, {"lnguage": "de"})[1][0]


def test_option_types_of_the_documentation() -> None:
    plugins = plugged.manager(plugin_docs.example("Options"))
    options, mistakes = plugged.convert(
        plugins, {"login": {"user": "probe", "token": "hunter2", "pause": "500ms"}, "battery": 20}
    )
    assert not mistakes and options["battery"] == 20
    assert (options["login"].user, options["login"].token, options["login"].pause) == ("probe", "hunter2", 0.5)
    assert "hunter2" not in repr(options)
    _, mistakes = plugged.convert(plugins, {"login": {"user": "a", "token": "b", "pause": "2m"}, "battery": 101})
    assert mistakes == ["login: a pause of 120 s is longer than a minute", "battery: 101 is not between 0 and 100"]


def test_hook_prepare() -> None:
    _, plugins = example("watcher_prepare")
    request = requests.Request("GET", "https://site.test/")
    plugins.hook.watcher_prepare(endpoint=plugged.endpoint(plugins, language="de"), request=request)
    assert request.prepare().headers["Accept-Language"] == "de"
    assert "Accept-Language" not in plugged.prepared(plugins).headers


def test_hook_steps() -> None:
    module, plugins = example("watcher_steps")
    assert not plugins.hook.watcher_steps(endpoint=plugged.endpoint(plugins))
    plugins.register(http)  # a plan needs someone who probes its URL
    plan = compile_plan(plugged.endpoint(plugins, signing_key="key"), plugins)
    vars(module)["time"] = SimpleNamespace(time=lambda: 1_800_000_000.0)
    request = requests.Request("GET", "https://site.test/").prepare()
    for before in plan.before:
        before(request)
    assert request.headers["X-Time"] == "1800000000"
    assert request.headers["X-Signature"] == hmac.new(b"key", b"1800000000", hashlib.sha256).hexdigest()
    ((examine, _),) = plan.examine
    answer = plugged.response()
    answer.headers["X-Time"] = "1799999990"
    assert examine(answer) is None
    answer.headers["X-Time"] = "1799999900"
    assert examine(answer).reason is Reason.ASSERTION


@pytest.fixture(name="listener")
def fixture_listener() -> Iterator[socket.socket]:
    """Give a socket that accepts connections."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_hook_prober(listener: socket.socket) -> None:
    _, plugins = example("watcher_prober")
    plugins.register(http)  # one of several that might have it
    port = listener.getsockname()[1]
    endpoint = Endpoint(name="port", url=f"tcp://127.0.0.1:{port}", timeout_s=5)
    request = requests.Request("GET", endpoint.url)
    exchange = Exchange(endpoint.timeout_s)
    plugins.hook.watcher_prober(endpoint=endpoint, request=request)(exchange)
    assert 0 < exchange.connect_us < 5_000_000
    result = probe(compile_plan(endpoint, plugins))
    assert (result.status, result.reason, result.latency_us) == (Status.UP, None, result.connect_us)
    listener.close()
    result = probe(compile_plan(endpoint, plugins))
    assert (result.status, result.reason, result.detail) == (Status.DOWN, Reason.CONNECT, "Connection refused")
    with pytest.raises(ProbeError, match="refused"):
        plugins.hook.watcher_prober(endpoint=endpoint, request=request)(Exchange(endpoint.timeout_s))


def test_hook_endpoints(tmp_path: Path) -> None:
    plugins = plugged.manager()
    plugins.register(example("watcher_endpoints")[0], "shops")
    (tmp_path / "hosts.txt").write_text("a.test\nb.test\n")
    own = {"shops": {"files": ["hosts.txt", "none.txt"], "interval": "30s"}}
    found, mistakes = plugged.settings(plugins, own, tmp_path)
    assert not mistakes
    ((discovery,),) = plugins.hook.watcher_endpoints(settings=found)
    assert discovery.every_s == 30
    *tables, failure = discovery.find()
    assert [(table["name"], table["url"]) for table in tables] == [
        ("shop a.test", "https://a.test/"),
        ("shop b.test", "https://b.test/"),
    ]
    assert failure == Failure(f"{tmp_path}/none.txt: No such file or directory")
    assert not plugins.hook.watcher_endpoints(settings=plugged.settings(plugins, {}, tmp_path)[0])


def test_hook_settings(tmp_path: Path) -> None:
    plugins = plugged.manager()
    plugins.register(example("watcher_settings")[0], "shops")
    assert len(plugins.hook.watcher_settings()) == 1
    (tmp_path / "shops.txt").write_text("a.test\nb.test\n")
    found, mistakes = plugged.settings(plugins, {"shops": {"file": "shops.txt", "path": "/cart"}}, tmp_path)
    assert not mistakes
    (tables,) = plugins.hook.watcher_endpoints(settings=found)
    assert [table["url"] for table in tables] == ["https://a.test/cart", "https://b.test/cart"]
    assert plugged.settings(plugins, {"shops": {"pth": "/"}}, tmp_path)[1] == [
        'plugins.shops.pth: unknown key; did you mean "path"?', 'plugins.shops: "file" is missing; add "file"'
    ]  # fmt: skip
    found, _ = plugged.settings(plugins, {}, tmp_path)
    assert plugins.hook.watcher_endpoints(settings=found) == [[]]


def test_hook_output(listener: socket.socket, tmp_path: Path) -> None:
    module, _ = example("watcher_output")
    plugins = plugged.manager()
    plugins.register(module, "graphite")
    host, port = listener.getsockname()
    assert plugins.hook.watcher_output(settings=plugged.settings(plugins, {}, tmp_path)[0]) == []
    found, mistakes = plugged.settings(plugins, {"graphite": {"host": host, "port": port}}, tmp_path)
    (send,) = plugins.hook.watcher_output(settings=found)
    assert not mistakes
    up = Result(SITE, 1_800_000_000_999_999, Status.UP, latency_us=1500)
    send([Result(SITE, 0, Status.MISSED, Reason.OVERLOAD), up])
    connection, _ = listener.accept()
    with connection, connection.makefile() as received:
        assert received.read() == "watcher.site.latency_ms 1.5 1800000000\n"


def test_hook_results() -> None:
    module, plugins = example("watcher_results")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as statsd:
        statsd.bind(("127.0.0.1", 0))
        statsd.settimeout(10)
        module.STATSD = statsd.getsockname()
        up = Result(SITE, 0, Status.UP, latency_us=1500)
        plugins.hook.watcher_results(results=[Result(SITE, 0, Status.MISSED, Reason.OVERLOAD), up])
        assert statsd.recv(1000) == b"watcher.latency:1.5|ms|#endpoint:site,status:up"


def test_hook_incident() -> None:
    module, plugins = example("watcher_incident")
    received: list[bytes] = []

    class Chat(BaseHTTPRequestHandler):
        """Keeps what is posted."""

        def do_POST(self) -> None:  # pylint: disable=invalid-name  # the name that http.server asks for
            """Answer a post."""
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # pylint: disable=redefined-builtin  # as above
            """Log nothing."""

    with HTTPServer(("127.0.0.1", 0), Chat) as chat:
        module.CHAT = f"http://127.0.0.1:{chat.server_port}/"
        thread = threading.Thread(target=chat.handle_request)
        thread.start()
        down = Result(SITE, 0, Status.DOWN, Reason.CONNECT, detail="Connection refused")
        plugins.hook.watcher_incident(incident=Incident(SITE, Status.DOWN, Result(SITE, 0, Status.UP)))
        plugins.hook.watcher_incident(incident=Incident(SITE, Status.UP, down))
        thread.join(10)
    assert received == [b'{"text": "site is down: Connection refused"}']


def test_hook_commands() -> None:
    _, plugins = example("watcher_commands")
    group = click.Group()
    plugins.hook.watcher_commands(cli=group)
    done = CliRunner().invoke(group, ["words", "one two three"])
    assert (done.exit_code, done.output) == (0, "3\n")
