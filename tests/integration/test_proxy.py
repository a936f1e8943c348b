"""http and https endpoints through real proxies: HTTP ones and SOCKS ones, with a user and without."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import proxies
import pytest
from green_process import run_green
from probing import probing
from proxies import LOGIN, PAGE, UP, free_port, proxy_py, running, says
from scripted import page, request, scripted, server_tls, silent, verdict

from watcher import Endpoint, Reason, Status
from watcher.plan import compile_plan
from watcher.plugins.assertions import status
from watcher.plugins.protocols import connection, http
from watcher.plugins.request import cookies, headers, proxy, query
from watcher.probe import inspect
from watcher.transport import Tls

check = probing(connection, http, status, cookies, headers, proxy, query)


@pytest.fixture(scope="module", name="any_proxy")
def fixture_any_proxy(eventually: proxies.Eventually) -> Iterator[str]:
    """Run a proxy that speaks all of the protocols, with anybody; give its host and port."""
    with proxies.any_proxy(eventually) as place:
        yield place


# sites through proxies


@pytest.mark.parametrize("scheme", ["http", "socks4", "socks4a", "socks5", "socks5h"])
def test_a_site_is_up_through_each_kind_of_proxy(any_proxy: str, scheme: str) -> None:
    with scripted(says()) as port:
        result = check(f"http://127.0.0.1:{port}/", proxy=f"{scheme}://{any_proxy}")
    assert verdict(result) == UP
    assert (result.body_bytes, result.address) == (5, None)  # the address would be the proxy's


@pytest.mark.parametrize("scheme", ["http", "socks4", "socks4a", "socks5", "socks5h"])
def test_a_site_over_tls_is_up_through_each_and_its_certificate_is_known(
    any_proxy: str, scheme: str, authority: Any, ca_file: str, plugins: Any
) -> None:
    certificate = authority.issue_cert("127.0.0.1")
    with scripted(says(), server_tls(certificate)) as port:
        url = f"https://127.0.0.1:{port}/"
        assert verdict(check(url, proxy=f"{scheme}://{any_proxy}", tls={"ca": ca_file})) == UP
        untrusted = check(url, proxy=f"{scheme}://{any_proxy}")
        options = {"proxy": f"{scheme}://{any_proxy}", "tls": http_tls(ca_file)}
        _, exchange = inspect(compile_plan(Endpoint(name="x", url=url, options=options), plugins))
    assert (untrusted.status, untrusted.reason) == (Status.DOWN, Reason.CERTIFICATE)
    assert untrusted.detail == f"unable to get local issuer certificate, through the proxy {any_proxy}"
    wanted = certificate.cert_chain_pems[0].bytes().decode()
    assert exchange.peer.certificate_der == ssl.PEM_cert_to_DER_cert(wanted)
    assert (exchange.peer.version, exchange.peer.cipher) == ("TLSv1.3", "TLS_AES_256_GCM_SHA384")


@pytest.mark.parametrize("scheme", ["http", "socks5h", "socks4a"])
def test_the_proxy_resolves_the_name_of_the_site(scheme: str) -> None:
    asked: list[bytes] = []

    def resolves(of: socket.socket) -> None:
        if scheme == "socks5h":
            of.recv(3)
            of.sendall(b"\x05\x00")
        if scheme == "http":
            asked.append(request(of))
        else:
            asked.append(of.recv(512))
            of.sendall(b"\x05\x00\x00\x01" + bytes(6) if scheme == "socks5h" else b"\x00\x5a" + bytes(6))
            request(of)
        of.sendall(PAGE)

    with scripted(resolves) as port:
        assert verdict(check("http://site.test:81/x", proxy=f"{scheme}://127.0.0.1:{port}")) == UP
    wanted = {
        "http": b"GET http://site.test:81/x HTTP/1.1\r\n",  # RFC 9112, 3.2.2
        "socks5h": b"\x05\x01\x00\x03\x09site.test\x00\x51",  # RFC 1928, 4 and 5
        "socks4a": b"\x04\x01\x00\x51\x00\x00\x00\x01\x00site.test\x00",
    }
    assert asked[0].startswith(wanted[scheme])


def test_a_plain_session_without_a_proxy_knows_peer_and_address(authority: Any, ca_file: str, plugins: Any) -> None:
    with scripted(says(), server_tls(authority.issue_cert("localhost"))) as port:
        options = {"transport": "requests", "tls": http_tls(ca_file), "headers": {"Connection": "keep-alive"}}
        for given in (options, options | {"headers": {"Connection": "close"}}):
            endpoint = Endpoint(name="x", url=f"https://localhost:{port}/", options=given)
            result, exchange = inspect(compile_plan(endpoint, plugins))
            assert verdict(result) == UP
            assert exchange.peer.version == "TLSv1.3" and exchange.peer.certificate_der
            assert result.address in ("127.0.0.1", "::1")


def test_a_plain_session_loads_the_public_certificates_once(
    authority: Any, plugins: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []
    load = ssl.SSLContext.load_verify_locations

    def note(context: ssl.SSLContext, *arguments: Any, **options: Any) -> None:
        loaded.append(arguments)
        load(context, *arguments, **options)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", note)
    with scripted(says(), server_tls(authority.issue_cert("localhost"))) as port:
        endpoint = Endpoint(name="x", url=f"https://localhost:{port}/", options={"transport": "requests"})
        plan = compile_plan(endpoint, plugins)
        assert [inspect(plan)[0].reason for _ in range(3)] == [Reason.CERTIFICATE] * 3
    assert len(loaded) <= 1


def http_tls(ca_file: str) -> Tls:
    """Give the option `tls` as it is converted."""
    return Tls(ca=Path(ca_file))


def test_a_proxy_may_be_talked_to_over_tls(
    eventually: proxies.Eventually, tmp_path: Path, authority: Any, ca_file: str, plugins: Any
) -> None:
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    port, both = free_port(), str(tmp_path / "both.pem")
    with running(eventually, port, *proxy_py(port), "--cert-file", both, "--key-file", both) as place, scripted(
        says(), server_tls(certificate)
    ) as secure, scripted(says()) as plain:
        for url, has_peer in ((f"https://127.0.0.1:{secure}/", True), (f"http://127.0.0.1:{plain}/", False)):
            options = {"proxy": f"https://{place}", "tls": http_tls(ca_file)}
            result, exchange = inspect(compile_plan(Endpoint(name="x", url=url, options=options), plugins))
            assert verdict(result) == UP
            assert (exchange.peer is not None) is has_peer
            untrusted = check(url, proxy=f"https://{place}")
            assert verdict(untrusted) == (Status.MISSED, Reason.AGENT_NETWORK, None)
            wanted = f"the proxy {place} cannot be talked to over TLS: unable to get local issuer certificate"
            assert untrusted.detail == wanted


# users and passwords


@pytest.mark.parametrize("tls", [False, True])
def test_a_user_and_a_password_open_an_http_proxy(
    eventually: proxies.Eventually, authority: Any, ca_file: str, tls: bool
) -> None:
    seen: list[bytes] = []

    def site(of: socket.socket) -> None:
        seen.append(request(of))
        of.sendall(PAGE)

    site_tls = server_tls(authority.issue_cert("127.0.0.1")) if tls else None
    with proxies.http_proxy(eventually) as place, scripted(site, site_tls) as port:
        url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/"
        right = check(url, proxy=f"http://{LOGIN}@{place}", tls={"ca": ca_file})
        wrong = check(url, proxy=f"http://probe:guess@{place}", tls={"ca": ca_file})
        none = check(url, proxy=f"http://{place}", tls={"ca": ca_file})
    assert verdict(right) == UP
    said = f"the proxy {place} wants another user or password (407 Proxy Authentication Required)"
    for result in (wrong, none):
        assert verdict(result) == (Status.MISSED, Reason.CONFIG, None)
        assert result.detail == said
    assert len(seen) == 1
    assert b"proxy-authorization" not in seen[0].lower()  # it is nothing for the site


def test_a_user_and_a_password_open_a_socks_proxy(eventually: proxies.Eventually) -> None:
    with proxies.socks_proxy(eventually) as place, scripted(says()) as port:
        url = f"http://127.0.0.1:{port}/"
        right = check(url, proxy=f"socks5://{LOGIN}@{place}")
        wrong = check(url, proxy=f"socks5://probe:guess@{place}")
        none = check(url, proxy=f"socks5h://{place}")
    assert verdict(right) == UP
    for result in (wrong, none):
        assert verdict(result) == (Status.MISSED, Reason.CONFIG, None)
        assert result.detail == f"the proxy {place} wants another user or password"


# beside the proxy


def test_secrets_and_cookies_do_not_follow_a_redirect_to_another_host(any_proxy: str) -> None:
    seen: list[bytes] = []

    def site(of: socket.socket) -> None:
        seen.append(request(of))
        of.sendall(page(b"", f"Location: http://localhost:{port}/", status="302 Found") if len(seen) == 1 else PAGE)

    with scripted(site) as port:
        given: dict[str, Any] = {"headers": {"X-Api-Key": "hunter2"}, "cookies": {"session": "hunter2"}}
        result = check(f"http://127.0.0.1:{port}/", proxy=f"socks5h://{any_proxy}", **given)
    assert verdict(result) == UP
    assert [b"hunter2" in one for one in seen] == [True, False]


def test_the_environment_s_proxy_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:9")
    with scripted(says(page(b"", "Location: /", status="302 Found"))) as port:
        result = check(f"http://127.0.0.1:{port}/", transport="requests", max_redirects=2)
    assert (result.status, result.reason) == (Status.DOWN, Reason.REDIRECT)


def test_the_environment_cannot_lead_past_the_proxy(monkeypatch: pytest.MonkeyPatch, any_proxy: str) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with scripted(says()) as port:
        assert verdict(check(f"http://127.0.0.1:{port}/", proxy=f"http://{any_proxy}")) == UP
        gone = check(f"http://127.0.0.1:{port}/", proxy=f"http://127.0.0.1:{free_port()}")
    assert gone.reason is Reason.AGENT_NETWORK


def test_without_verification_nothing_is_warned_of(any_proxy: str, authority: Any) -> None:
    with scripted(says(), server_tls(authority.issue_cert("localhost"))) as port:
        result = check(f"https://localhost:{port}/", proxy=f"socks5://{any_proxy}", tls={"verify": False})
    assert verdict(result) == UP


def test_others_go_on_while_a_green_process_waits_for_proxies(any_proxy: str) -> None:
    code = """
        import sys, gevent
        from watcher.models import Endpoint
        from watcher.plan import compile_plan
        from watcher.probe import probe
        from watcher.registry import plugin_manager
        plugins = plugin_manager()
        plans = [
            compile_plan(Endpoint(name=scheme, url=sys.argv[2], timeout_s=1.0, options={"proxy": f"{scheme}://{sys.argv[1]}"}), plugins)
            for scheme in ("http", "socks5", "socks4")
        ]
        ticks = []
        def tick():
            while True:
                gevent.sleep(0.01)
                ticks.append(1)
        ticking = gevent.spawn(tick)
        for job in gevent.joinall([gevent.spawn(probe, plan) for plan in plans]):
            print(job.value.status.value, job.value.reason.value, job.value.detail)
        print(len(ticks) > 20)
    """
    with scripted(silent) as port:
        lines = run_green(code, any_proxy, f"http://127.0.0.1:{port}/").splitlines()
    assert lines == [f"down timeout timeout in ttfb, through the proxy {any_proxy}"] * 3 + ["True"]
