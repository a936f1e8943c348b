"""Assertions on what real servers answer: httpbin, nginx and the test server, over both transports."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpbin
import pytest
from credentialed import TRANSPORTS, plan, probed, serving
from green_process import run_green
from nginx_server import nginx_server

from watcher.models import Reason, Status
from watcher.probe import probe

# the file that `curl https://httpbin.org/robots.txt` gives
ROBOTS = b"User-agent: *\nDisallow: /deny\n"

pytestmark = pytest.mark.usefixtures("anchor")


@pytest.fixture(scope="module", name="bin_url")
def fixture_bin_url() -> Iterator[str]:
    """Run httpbin."""
    with serving(httpbin.app) as url:
        yield url


@pytest.fixture(scope="module", name="test_url")
def fixture_test_url() -> Iterator[str]:
    """Run the test server."""
    command = [sys.executable, "-m", "watcher", "testserver", "--port", "0", "--while-stdin"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        yield server.stdout.readline().split()[-1]
        server.stdin.close()
        server.wait(10)


@pytest.fixture(scope="module", name="nginx_url")
def fixture_nginx_url(tmp_path_factory: pytest.TempPathFactory, eventually) -> Iterator[str]:
    """Run nginx over a directory that tests write into."""
    root = tmp_path_factory.mktemp("nginx")
    http = "gzip on; gzip_types *; default_type text/html;"
    server = """
        add_header X-Cache HIT; add_header X-Cache edge;
        location = /moved { return 302 /again; }
        location = /again { return 301 /?token=hunter2; }
        location = /broken { return 503 'maintenance'; }
    """
    with nginx_server(eventually, root, http, server) as url:
        yield url


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("path", "options", "detail"),
    [
        ("/json", {"json": ["slideshow.author == 'Yours Truly'", "length(slideshow.slides) == `2`"]}, None),
        ("/json", {"json": "slideshow.author == 'Me'"}, 'json: slideshow.author is "Yours Truly", wanted "Me"'),
        ("/json", {"json": {"path": "slideshow.slides[].title", "equals": ["Wake up to WonderWidgets!", "Overview"]}},
         None),
        ("/gzip", {"json": "gzipped"}, None),
        ("/html", {"json": "gzipped"}, "json: the page is not JSON: JSON is malformed: invalid character (byte 0)"),
        ("/html", {"contains": ["Herman Melville", {"text": "herman", "ignore_case": True}]}, None),
        ("/html", {"contains": {"text": "MELVILLE", "absent": True, "ignore_case": True}},
         'contains "MELVILLE", must be absent'),
        ("/robots.txt", {"body_size": {"min": 30, "max": 30}}, None),
        ("/robots.txt", {"body_size": 31}, "body has 30 bytes, wanted at least 31"),
        ("/robots.txt", {"body_hash": hashlib.sha256(ROBOTS).hexdigest()}, None),
        ("/html", {"body_hash": hashlib.sha256(ROBOTS).hexdigest()}, "body has SHA-256 3f324f9914742e62…, wanted"),
        ("/html", {"response_headers": {"Content-Type": "text/html", "Server": {"absent": True}}},
         'header Server is "Werkzeug/'),
        ("/response-headers?X-Build=42", {"response_headers": {"x-build": {"regex": r"^\d+$"}}}, None),
        ("/redirect/2", {"final_url": {"regex": "/get$"}, "redirects": 2}, None),
        ("/redirect/2", {"redirects": {"max": 1}}, "2 redirects, wanted at most 1"),
        ("/redirect-to?url=/html", {"final_url": {"contains": "/get"}}, 'final URL is "http://127.0.0.1:'),
    ],
)  # fmt: skip
def test_httpbin_is_judged(
    plugins, bin_url: str, transport: str, path: str, options: dict[str, Any], detail: str | None
) -> None:
    result = probed(plugins, bin_url + path, transport=transport, **options)
    assert result.status is (Status.DOWN if detail else Status.UP), result
    assert (result.detail or "").startswith(detail or "") and bool(result.detail) is bool(detail)


def test_the_verdict_of_the_status_comes_first(plugins, nginx_url: str) -> None:
    result = probed(plugins, f"{nginx_url}/broken", json="ok", contains="fine", latency=0.000001)
    assert (result.status, result.reason) == (Status.DOWN, Reason.STATUS)


def test_nginx_redirects_and_fields_that_occur_twice(plugins, nginx_url: str) -> None:
    good = probed(plugins, f"{nginx_url}/moved", redirects=2, response_headers={"X-Cache": "HIT, edge"})
    assert good.status is Status.UP, good
    bad = probed(plugins, f"{nginx_url}/moved", final_url=f"{nginx_url}/")
    assert bad.detail == f'final URL is "{nginx_url}/?…", wanted "{nginx_url}/"'
    assert bad.reason is Reason.REDIRECT


def test_a_compressed_page_counts_decompressed(plugins, nginx_url: str) -> None:
    size = len("needle in a page ") * 5000
    result = probed(plugins, f"{nginx_url}/", body_size={"min": size, "max": size}, contains="needle in a page")
    assert result.status is Status.UP
    assert result.body_bytes < size


def test_a_page_that_changes_is_told_once(plugins, nginx_url: str, tmp_path_factory) -> None:
    root = next(path for path in tmp_path_factory.getbasetemp().glob("nginx*") if (path / "nginx.conf").exists())
    with closing(plan(plugins, f"{nginx_url}/news.html", body_hash="unchanged")) as watched:
        told = []
        for text in ("monday", "monday", "tuesday", "tuesday"):
            (root / "news.html").write_text(text)
            told.append(probe(watched).status)
    assert told == [Status.UP, Status.UP, Status.DEGRADED, Status.UP]


def test_latency_is_judged_on_the_kernels_clock(plugins, test_url: str) -> None:
    slow = f"{test_url}/?delay=150ms"
    degraded = probed(plugins, slow, latency={"degraded": "100ms", "down": "10s"})
    assert (degraded.status, degraded.reason) == (Status.DEGRADED, Reason.LATENCY)
    down = probed(plugins, slow, latency=["10s", {"down": "100ms", "phase": "ttfb"}])
    assert (down.status, down.reason) == (Status.DOWN, Reason.LATENCY)
    assert down.detail.startswith("ttfb 1") and down.detail.endswith("wanted at most 100 ms")
    assert probed(plugins, slow, latency="10s").status is Status.UP
    dripping = probed(plugins, f"{test_url}/?drip=200ms&size=2k", latency={"down": "100ms", "phase": "transfer"})
    assert (dripping.status, dripping.reason) == (Status.DOWN, Reason.LATENCY)


def test_latency_is_judged_with_a_protocol_that_has_no_response(plugins) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        assert probed(plugins, url, latency={"down": "5s", "phase": "connect"}).status is Status.UP
        assert probed(plugins, url, latency=0.0000001).status is Status.DEGRADED
        silent = probed(plugins, url, latency={"down": "5s", "phase": "ttfb"})
    assert (silent.status, silent.reason) == (Status.MISSED, Reason.CONFIG)


OF_A_RESPONSE = {
    "regex": "ok", "status": 200, "contains": "ok", "json": "ok", "response_headers": {"A": "b"}, "body_size": 1,
    "body_hash": "unchanged", "final_url": "http://a/", "redirects": 1,
}  # fmt: skip
OF_A_BODY = ("regex", "contains", "json", "body_size", "body_hash")


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:1", "tls://127.0.0.1:1", "ws://127.0.0.1:1", "icmp://127.0.0.1"])
@pytest.mark.parametrize("key", OF_A_RESPONSE)
def test_an_option_that_judges_a_response_is_refused_where_there_is_none(plugins, key: str, url: str) -> None:
    result = probed(plugins, url, **{key: OF_A_RESPONSE[key]})
    assert (result.status, result.reason) == (Status.MISSED, Reason.CONFIG)
    assert f'"{key}" judges an HTTP response, and {url.partition(":")[0]}:// has none' in (result.detail or "")


@pytest.mark.parametrize("key", OF_A_BODY)
def test_an_option_that_judges_a_body_is_refused_with_head(plugins, key: str) -> None:
    result = probed(plugins, "http://127.0.0.1:1/", method="HEAD", **{key: OF_A_RESPONSE[key]})
    assert (result.status, result.reason) == (Status.MISSED, Reason.CONFIG)
    assert f'"{key}" judges the body' in (result.detail or "")


def test_validate_tells_it_before_anything_runs(tmp_path: Path) -> None:
    file = tmp_path / "w.toml"
    file.write_text('[[endpoints]]\nname = "shell"\nurl = "tcp://127.0.0.1:22"\njson = "ok"\n')
    command = [sys.executable, "-m", "watcher", "validate", "--config", str(file)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 2
    assert '"json" judges an HTTP response, and tcp:// has none; take it out' in said.stderr


def test_in_a_worker_large_pages_are_judged_in_threads_while_others_go_on(tmp_path: Path) -> None:
    page = {"items": [{"id": number, "name": f"n{number}"} for number in range(20_000)], "padding": "é" * 1000}
    body = json.dumps(page).encode()
    (tmp_path / "page.json").write_bytes(body)
    printed = run_green(
        """
        import json, sys
        import gevent
        from watcher.plan import compile_plan
        from watcher.probe import probe
        from watcher.registry import own_plugins
        from watcher.testing import Server, endpoint, page
        body = open(sys.argv[1], "rb").read()
        options = {"json": "items[?name=='n19999'].id | [0] == `19999`", "body_hash": sys.argv[2],
                   "contains": {"text": "N19999", "ignore_case": True}}
        with Server(page(body)) as server:
            plan = compile_plan(endpoint(server.url, **options), own_plugins())
            done, turns = gevent.spawn(probe, plan), 0
            while not done.ready():
                gevent.sleep(0.001)
                turns += 1
            result = done.get()
        print(json.dumps([result.status.value, result.detail, turns]))
        """,
        str(tmp_path / "page.json"),
        hashlib.sha256(body).hexdigest(),
    )
    status, detail, turns = json.loads(printed)
    assert (status, detail) == ("up", None)
    assert turns > 5
