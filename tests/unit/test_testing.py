"""`watcher.testing`: what plugin authors test with, tried as they would use it."""

from __future__ import annotations

import gzip
import http.client
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import requests

from watcher import Failure, Options, Reason, Result, Status, Step, hookimpl, testing
from watcher.testing import Client, ConfigError, Server, check, endpoint, exchange, judge, page, response, result


ROOT = Path(__file__).parents[2]


def plugin(**hooks: Callable[..., Any]) -> ModuleType:
    """Make a module with these hooks."""
    made = ModuleType("watcher_made")
    vars(made).update({f"watcher_{name}": hookimpl(function) for name, function in hooks.items()})
    return made


def examine_words(endpoint: Any) -> Callable[[requests.Response], Failure | None]:
    """Count words."""
    least = endpoint.options.get("min_words", 0)
    return lambda seen: None if len(seen.content.split()) >= least else Failure(f"fewer than {least} words")


WORDS = plugin(options=lambda: {"min_words": int}, steps=examine_words)


# check and judge


def test_a_check_is_a_real_one_with_watchers_own_plugins_too() -> None:
    with Server(page(b"one two three")) as server:
        good = check(server.url, WORDS, min_words=3, headers={"X-Probe": "yes"})
    assert (good.status, good.http_status, good.body_bytes, good.address) == (Status.UP, 200, 13, "127.0.0.1")
    assert good.connect_us is not None and good.latency_us == good.connect_us + good.ttfb_us + good.transfer_us
    assert server.received[0].startswith(b"GET / HTTP/1.1\r\n") and b"X-Probe: yes\r\n" in server.received[0]


def test_a_check_says_what_a_step_found_and_what_watchers_own_steps_did() -> None:
    with Server(page(b"one two")) as server:
        few = check(server.url, WORDS, min_words=3)
    assert (few.status, few.reason, few.detail) == (Status.DOWN, Reason.ASSERTION, "fewer than 3 words")
    with Server(page(status=503)) as server:
        assert check(server.url).reason is Reason.STATUS
    with Server(page(b"one two")) as server:
        assert check(server.url, regex="three").reason is Reason.REGEX


def test_the_same_plugin_may_be_tried_again_and_again_with_options_of_its_own() -> None:
    with Server(page(b"one two")) as server:
        found = [check(server.url, WORDS, min_words=least).status for least in (1, 2, 3)]
    assert found == [Status.UP, Status.UP, Status.DOWN]
    assert len(server.received) == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"min_words": "many"}, 'min_words: expected a whole number, got "many"'),
        ({"min_word": 3}, 'unknown option "min_word"; did you mean "min_words"?'),
        ({"timeout": "1h"}, "timeout"),
    ],
)
def test_wrong_options_are_what_a_user_would_read(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        check("http://127.0.0.1:1/", WORDS, **options)
    assert said in str(raised.value)


def test_core_keys_are_among_the_options() -> None:
    with Server(lambda client: client.receive()) as server:
        pass
    gone = check(server.url, timeout="2s")
    assert (gone.status, gone.reason) == (Status.DOWN, Reason.CONNECT)
    assert endpoint("https://site.test/", timeout="2s", labels={"team": "web"}).timeout_s == 2.0


def test_what_a_plugin_raises_is_in_the_result_and_its_traceback_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    def fail(_: requests.Response) -> None:
        raise LookupError("no such thing")

    with Server(page()) as server:
        broken = check(server.url, plugin(steps=lambda: fail))
    assert (broken.status, broken.reason) == (Status.MISSED, Reason.PLUGIN)
    assert "no such thing" in str(broken.detail)
    told = capfd.readouterr().err
    assert "plugin made failed at " in told and "Traceback" in told and "in fail" in told


def test_a_prober_of_a_scheme_of_its_own_is_checked() -> None:
    def probe(of: Any) -> None:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            of.note(connection.recv(100).decode())

    with Server(greeting=b"at your service") as server:
        seen = check(f"made://{server.address}/", plugin(prober=lambda: probe))
    assert (seen.status, seen.detail) == (Status.UP, "at your service")


def test_judge_asks_the_steps_of_the_given_plugins_alone() -> None:
    not_found = response("one two", status=404)
    assert judge(not_found, WORDS, min_words=2) is None
    assert judge(not_found, WORDS, min_words=3) == Failure("fewer than 3 words")


def test_judge_lets_steps_assess_a_measurement() -> None:
    class Slow(Step):
        """Complain of a slow answer."""

        def assess(self, exchange: Any) -> Failure | None:
            return Failure("slow", Reason.LATENCY, degraded=True) if exchange.latency_us > 1_000_000 else None

    slow = plugin(steps=lambda: Slow())  # pylint: disable=unnecessary-lambda  # pluggy takes functions alone
    assert judge(exchange(connect_us=300_000, ttfb_us=800_000), slow) == Failure("slow", Reason.LATENCY, True)
    assert judge(exchange(connect_us=300_000, ttfb_us=200_000), slow) is None
    assert judge(response(), slow) is None


def test_judge_says_the_worst() -> None:
    verdicts = [Failure("so so", degraded=True), Failure("bad"), Failure("worse")]
    steps = [lambda _, verdict=verdict: verdict for verdict in verdicts]
    assert judge(response(), plugin(steps=lambda: steps)) == Failure("bad")


def test_judge_says_why_an_endpoint_cannot_be_checked() -> None:
    def refuse() -> None:
        raise ValueError("there is no such combination")

    with pytest.raises(ValueError, match="there is no such combination"):
        judge(response(), plugin(steps=refuse))


def test_plugins_that_do_not_fit_are_told_of() -> None:
    with pytest.raises(Exception, match="implements no hook"):
        check("http://127.0.0.1:1/", ModuleType("watcher_empty"))
    with pytest.raises(Exception, match="unknown hook 'watcher_stepps'"):
        endpoint("https://site.test/", plugin(stepps=lambda: None))


# values


def test_a_response_is_one_as_steps_get_it() -> None:
    seen = response("<p>gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n</p>", status=404, headers={"X-A": "b"})
    assert isinstance(seen, requests.Response)
    assert (seen.status_code, seen.reason, seen.ok, seen.headers["x-a"]) == (404, "Not Found", False, "b")
    assert seen.text == "<p>gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n</p>"
    assert (seen.truncated, seen.url, seen.request.method) == (False, "https://site.test/", "GET")


def test_a_response_may_be_cut_and_coded_and_of_another_type() -> None:
    assert response(b"x", truncated=True).truncated
    coded = response(gzip.compress(b"hello"), headers={"Content-Encoding": "gzip", "content-type": "text/plain"})
    assert (coded.content, coded.headers["Content-Type"]) == (b"hello", "text/plain")
    assert response(b'{"a": 1}', headers={"Content-Type": "application/json"}).json() == {"a": 1}
    assert response(headers={"Set-Cookie": "a=b"}).cookies["a"] == "b"
    assert response(status=599).reason == ""


def test_a_page_is_what_an_http_client_understands() -> None:
    with Server(page("hello", status=201, headers={"X-A": "b"})) as server:
        client = http.client.HTTPConnection(server.address)
        client.request("GET", "/")
        answer = client.getresponse()
        assert (answer.status, answer.reason, answer.getheader("X-A"), answer.read()) == (201, "Created", "b", b"hello")
        client.close()


def test_a_result_is_one_as_outputs_get_it() -> None:
    made = result("https://shop.test/", Status.DOWN, labels={"team": "web"}, reason=Reason.STATUS, http_status=503)
    assert isinstance(made, Result)
    assert (made.endpoint.name, made.endpoint.labels) == ("https://shop.test/", {"team": "web"})
    assert made.status is Status.DOWN
    assert (made.reason, made.http_status, made.latency_us) == (Reason.STATUS, 503, None)


class Place(Options):
    """Where to write."""

    path: Path
    lines: int = 10


def test_settings_are_converted_as_a_configuration_is(tmp_path: Path) -> None:
    one = plugin(settings=lambda: Place)
    written = testing.settings(one, {"path": "out.log"}, path=tmp_path / "watcher.toml")
    assert written.plugins == {"made": Place(path=tmp_path / "out.log")}
    assert written.path == tmp_path / "watcher.toml"
    assert not testing.settings(one).plugins
    several = plugin(settings=lambda: list[Place])
    assert testing.settings(several, [{"path": "/a"}, {"path": "/b", "lines": 5}]).plugins["made"] == [
        Place(path=Path("/a")), Place(path=Path("/b"), lines=5),
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="lines"):
        testing.settings(one, {"path": "/a", "lines": "many"})


# the server


def ask(port: int, *messages: bytes) -> bytes:
    """Send each message and give all that comes back until the end."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        got = b""
        for message in messages:
            connection.sendall(message)
            got += connection.recv(65_536)
        connection.shutdown(socket.SHUT_WR)
        while piece := connection.recv(65_536):
            got += piece
        return got


def test_a_server_answers_one_message_after_the_other_and_keeps_what_it_got() -> None:
    with Server(b"one\n", b"two\n") as server:
        assert ask(server.port, b"first", b"second") == b"one\ntwo\n"
        assert ask(server.port, b"third") == b"one\n"
    assert server.received == [b"firstsecond", b"third"]


def test_a_server_may_speak_first() -> None:
    with Server(b"bye\n", greeting=b"hello\n") as server:
        assert ask(server.port, b"quit") == b"hello\nbye\n"


def test_a_server_does_what_a_function_does_with_a_client() -> None:
    def talk(client: Client) -> None:
        while line := client.read_line():
            client.send(line.upper() + b"\n")

    with Server(talk) as server:
        assert ask(server.port, b"a\r\nb\n") == b"A\nB\n"
        assert ask(server.port, b"c\nd\n") == b"C\nD\n"


def test_what_a_function_raises_is_raised_at_the_end() -> None:
    def talk(client: Client) -> None:
        assert client.read_line() == b"right", "what the plugin says is wrong"

    with pytest.raises(AssertionError, match="what the plugin says is wrong"):
        with Server(talk) as server:
            ask(server.port, b"wrong\n")


def test_a_server_ends_at_once_with_clients_that_neither_send_nor_go() -> None:
    with Server(b"never", tls=True) as server:
        held = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(2)]
        context = ssl.create_default_context(cafile=server.ca)
        secured = context.wrap_socket(held.pop(), server_hostname="localhost")
    assert secured.recv(1) == held[0].recv(1) == b""
    secured.close()
    held[0].close()


def test_a_server_speaks_tls_that_a_check_trusts_by_its_authority() -> None:
    with Server(page(b"safe"), tls=True) as server:
        trusted = check(server.url, tls={"ca": str(server.ca)})
        stranger = check(server.url)
    assert server.url.startswith("https://")
    assert (trusted.status, trusted.body_bytes) == (Status.UP, 4)
    assert (stranger.status, stranger.reason) == (Status.DOWN, Reason.CERTIFICATE)


# where it runs


def test_import_watcher_does_not_load_it() -> None:
    code = "import sys, watcher; print([name for name in sys.modules if name.startswith('watcher.testing')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


PROGRAM = """
import sys
from watcher.testing import Server, check, page
with Server(page(b"hello")) as server:
    print(check(server.url).status.value, "pytest" in sys.modules)
"""
ASYNC = """
import asyncio
from watcher.testing import Server, check, page
async def main():
    with Server(page(b"hello")) as server:
        print(check(server.url).status.value, (await asyncio.to_thread(check, server.url)).status.value)
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("program", "printed"),
    [
        (PROGRAM, "up False\n"),
        ("from gevent import monkey; monkey.patch_all()\n" + PROGRAM, "up False\n"),
        (ASYNC, "up up\n"),
    ],
    ids=["plain", "monkey-patched", "asyncio and a thread"],
)
def test_it_needs_no_test_runner_and_leaves_nothing_behind(program: str, printed: str) -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == (printed, "", 0)


PLUGINS = (ROOT / "docs/plugins.md").read_text(encoding="utf-8")
SECTION = PLUGINS.partition("\n## Testing a plugin\n")[2].partition("\n## ")[0]


def test_what_it_offers_is_documented() -> None:
    public = {name: getattr(testing, name) for name in testing.__all__}
    assert not [name for name, offered in public.items() if not (offered.__doc__ or "").strip()]
    assert not [name for name in public if f"`{name}" not in SECTION]


def test_the_examples_of_the_documentation_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    for example in ("wordcount", "memcached"):
        monkeypatch.syspath_prepend(ROOT / f"examples/watcher-{example}")
    sources = re.findall(r"^```py\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)
    assert len(sources) == 2
    for source in sources:
        names: dict[str, Any] = {}
        exec(compile(source, "docs/plugins.md", "exec", dont_inherit=True), names)  # pylint: disable=exec-used  # our text
        tests = [made for name, made in names.items() if name.startswith("test_")]
        assert tests
        for test in tests:
            test()
