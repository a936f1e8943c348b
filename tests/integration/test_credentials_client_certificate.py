"""A client certificate, `tls = { cert, key }`, before a server that wants one, over both transports."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trustme
from credentialed import TRANSPORTS, plan, probed
from scripted import answers, page, request, scripted, server_tls, verdict

from watcher.models import Reason, Status
from watcher.probe import probe

PAGE = page(b"welcome")
UP = (Status.UP, None, 200)


@pytest.fixture(autouse=True)
def stamped(anchor: None) -> None:
    """Keep the kernel's stamps switched on."""
    del anchor  # held for the session


@pytest.fixture(name="identity")
def fixture_identity(authority: trustme.CA, ca_file: str, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Give the option `tls`, with a client certificate of an authority."""

    def option(issuer: trustme.CA = authority) -> dict[str, Any]:
        made = issuer.issue_cert("probe@watcher.test")
        made.cert_chain_pems[0].write_to_path(str(tmp_path / "client.pem"))
        made.private_key_pem.write_to_path(str(tmp_path / "client.key"))
        return {"ca": ca_file, "cert": str(tmp_path / "client.pem"), "key": str(tmp_path / "client.key")}

    return option


def asking(authority: trustme.CA, mode: ssl.VerifyMode = ssl.CERT_REQUIRED) -> ssl.SSLContext:
    """Make a server's context that asks for a client certificate of the authority."""
    made = server_tls(authority.issue_cert("localhost", "127.0.0.1"))
    made.verify_mode = mode
    authority.configure_trust(made)
    return made


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_certificate_opens_the_door(plugins, authority, identity, transport: str) -> None:
    with scripted(answers(PAGE), asking(authority)) as port:
        assert verdict(probed(plugins, f"https://localhost:{port}/", tls=identity(), transport=transport)) == UP


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_without_one_or_with_one_of_somebody_else_the_door_stays_shut(
    plugins, authority, ca_file: str, identity, transport: str
) -> None:
    with scripted(answers(PAGE), asking(authority)) as port:
        url = f"https://localhost:{port}/"
        none = probed(plugins, url, tls={"ca": ca_file}, transport=transport)
        other = probed(plugins, url, tls=identity(trustme.CA()), transport=transport)
    # TLS when the server's alert was read before the end of the connection overtook it
    for result in (none, other):
        assert (result.status, result.http_status) == (Status.DOWN, None)
        assert result.reason in (Reason.TLS, Reason.CLOSED, Reason.CONNECT)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_it_is_not_shown_to_another_host(plugins, authority, identity, transport: str) -> None:
    shown: list[Any] = []

    def note(connection: ssl.SSLSocket) -> None:
        shown.append(connection.getpeercert())
        request(connection)
        connection.sendall(PAGE)

    with scripted(note, asking(authority, ssl.CERT_OPTIONAL)) as elsewhere:

        def site(connection: socket.socket) -> None:
            shown.append(connection.getpeercert())
            request(connection)
            connection.sendall(page(b"", f"Location: https://localhost:{elsewhere}/", status="302 Found"))

        with scripted(site, asking(authority)) as here:
            with closing(plan(plugins, f"https://127.0.0.1:{here}/", tls=identity(), transport=transport)) as made:
                assert verdict(probe(made)) == UP
    assert [bool(certificate) for certificate in shown] == [True, False]
