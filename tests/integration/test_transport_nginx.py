"""The measured transport against nginx, a server that we did not write."""

from __future__ import annotations

from collections.abc import Iterator

import gevent
import pytest
from nginx_server import nginx_server
from scripted import regex_option, verdict

from watcher.models import Endpoint, Reason, Status
from watcher.plan import compile_plan
from watcher.probe import probe


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory, eventually) -> Iterator[str]:
    """Run nginx over a directory; give its URL."""
    server = """
        location = /moved { return 302 /index.html; }
        location = /teapot { return 418 'short and stout'; }
    """
    root = tmp_path_factory.mktemp("nginx")
    with nginx_server(eventually, root, "gzip on; gzip_types *; default_type text/html;", server) as url:
        yield url


def test_nginx_is_understood(check, nginx: str) -> None:
    compressed = check(f"{nginx}/", regex=regex_option("needle in a page $"))
    assert (compressed.status, compressed.regex_found) == (Status.UP, True)
    assert compressed.body_bytes < 5000
    assert verdict(check(f"{nginx}/moved")) == (Status.UP, None, 200)
    assert verdict(check(f"{nginx}/teapot")) == (Status.DOWN, Reason.STATUS, 418)
    assert verdict(check(f"{nginx}/", method="HEAD")) == (Status.UP, None, 200)
    assert verdict(check(f"{nginx}/", keep_alive=True)) == (Status.UP, None, 200)


def test_hundreds_of_probes_at_once_all_come_back(plugins, nginx: str) -> None:
    plans = [compile_plan(Endpoint(name=str(n), url=f"{nginx}/?{n}"), plugins) for n in range(300)]
    results = gevent.joinall([gevent.spawn(probe, plan) for plan in plans])
    assert {job.value.status for job in results} == {Status.UP}
