"""One credential an endpoint, and only where there is a request that it can go with."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import plugged
import pytest

from watcher import Reason, Status, registry
from watcher.plan import Unusable, compile_plan
from watcher.plugins.credentials._sole import WRITERS
from watcher.plugins.request._scope import WITHOUT_REQUEST
from watcher.probe import probe

PLUGINS = registry.own_plugins()
LOGIN = {"username": "probe", "password": "x"}
CREDENTIALS: dict[str, Any] = {
    "basic_auth": LOGIN,
    "digest_auth": LOGIN,
    "bearer": "token",
    "oauth2": {"token_url": "https://login.test/token", "client_id": "probe", "client_secret": "x"},
    "aws_sigv4": {"service": "s3", "region": "r", "access_key": "k", "secret_key": "s"},
}
REQUEST: dict[str, Any] = {
    "auth": {"factory": "requests.auth:HTTPProxyAuth", "secrets": ["probe", "x"]},
    "body": {"text": "x"},
    "cookies": {"a": "b"},
    "headers": {"X-A": "b"},
    "method": "HEAD",
    "query": {"a": "b"},
}
# what is needed beside the scheme, where it is
URLS = {"tcp": "tcp://127.0.0.1:9", "dns": "dns://127.0.0.1/example.com"}


def refusal(url: str, **options: Any) -> str | None:
    """Give why an endpoint with these options is not checked; None when it is."""
    plan = compile_plan(plugged.endpoint(PLUGINS, url, **options), PLUGINS)
    if not isinstance(plan.prober, Unusable):
        plan.close()
        return None
    result = probe(plan)
    assert (result.status, result.reason) == (Status.MISSED, Reason.CONFIG)
    return result.detail


def test_every_credential_is_known_here() -> None:
    assert set(CREDENTIALS) == set(WRITERS)


@pytest.mark.parametrize("pair", list(combinations(WRITERS, 2)), ids=" ".join)
def test_two_that_write_the_same_field_are_an_error(pair: tuple[str, str]) -> None:
    said = refusal("https://site.test/", **{key: CREDENTIALS[key] for key in pair})
    assert said is not None and said.endswith("both write the header field Authorization; keep one of them")
    assert all(f'"{key}"' in said for key in pair)


@pytest.mark.parametrize("key", CREDENTIALS)
def test_one_goes_with_a_client_certificate_and_somebody_elses(key: str) -> None:
    one = {key: CREDENTIALS[key]}
    assert refusal("https://site.test/", **one) is None
    assert refusal("https://site.test/", **one, auth=REQUEST["auth"]) is None  # it writes Proxy-Authorization


@pytest.mark.parametrize("url", ["tcp://site.test:25", "dns://127.0.0.1/example.com", "redis://site.test"])
@pytest.mark.parametrize("key", [*CREDENTIALS, *REQUEST])
def test_what_no_request_carries_is_an_error(key: str, url: str) -> None:
    scheme = url.partition(":")[0]
    said = refusal(url, **{key: (CREDENTIALS | REQUEST)[key]})
    assert said is not None and said.endswith(f'"{key}" is for HTTP requests, and {scheme}:// sends none; take it out')


@pytest.mark.parametrize("key", ["headers", "basic_auth", "query"])
@pytest.mark.parametrize("url", ["ws://site.test/", "http://site.test/"])
def test_what_sends_a_request_takes_it(url: str, key: str) -> None:
    assert refusal(url, **{key: (CREDENTIALS | REQUEST)[key]}) is None


@pytest.mark.parametrize("key", ["user_agent", "follow_redirects", "max_body", "template"])
def test_what_belongs_into_the_defaults_of_a_mixed_file_is_none(key: str) -> None:
    values = {"user_agent": "probe/1", "follow_redirects": False, "max_body": 10, "template": False}
    assert refusal("tcp://site.test:25", **{key: values[key]}) is None


@pytest.mark.parametrize("scheme", sorted(WITHOUT_REQUEST))
def test_the_schemes_without_a_request_are_probed_here(scheme: str) -> None:
    assert refusal(URLS.get(scheme, f"{scheme}://127.0.0.1")) is None
