"""smtp, imap and pop3 against Postfix and Dovecot, and against peers that misbehave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from mail_servers import dovecot, postfix
from probing import probing
from scripted import scripted, server_tls, silent

from watcher import Reason, Status
from watcher.plugins.assertions import certificate
from watcher.plugins.protocols import connection, mail

pytestmark = pytest.mark.usefixtures("anchor")
check = probing(connection, mail)
Script = Callable[..., None]


@pytest.fixture(scope="module", name="pem")
def fixture_pem(authority: trustme.CA, public_dir: Path) -> Path:
    """Give the certificate and key of the servers as a file."""
    path = public_dir / "mail.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(path))
    return path


def home(public_dir: Path, name: str) -> Path:
    """Make the directory of a server."""
    (public_dir / name).mkdir()
    return public_dir / name


@pytest.fixture(scope="module", name="smtp")
def fixture_smtp(public_dir: Path, pem: Path, eventually: Callable) -> Iterator[dict[str, int]]:
    """Run Postfix."""
    with postfix(home(public_dir, "postfix"), pem, eventually) as ports:
        yield ports


@pytest.fixture(scope="module", name="imap")
def fixture_imap(public_dir: Path, pem: Path, eventually: Callable) -> Iterator[dict[str, int]]:
    """Run Dovecot."""
    with dovecot(home(public_dir, "dovecot"), pem, eventually) as ports:
        yield ports


@pytest.fixture(name="ports")
def fixture_ports(smtp: dict[str, int], imap: dict[str, int]) -> dict[str, int]:
    """Give the ports of both."""
    return smtp | imap


@pytest.mark.parametrize("scheme", ["smtp", "imap", "pop3"])
def test_a_server_that_greets_is_up(ports: dict[str, int], scheme: str) -> None:
    result = check(f"{scheme}://127.0.0.1:{ports[scheme]}")
    assert (result.status, result.reason, result.detail) == (Status.UP, None, None)
    assert result.tls_us is None and result.address == "127.0.0.1"
    assert result.latency_us == result.connect_us + result.ttfb_us + result.transfer_us


@pytest.mark.parametrize("scheme", ["smtps", "imaps", "pop3s"])
def test_over_tls_from_the_first_byte(ports: dict[str, int], ca_file: str, scheme: str) -> None:
    url = f"{scheme}://127.0.0.1:{ports[scheme]}"
    result = check(url, tls={"ca": ca_file})
    assert (result.status, result.detail) == (Status.UP, None)
    assert result.tls_us > 0
    assert check(url).reason is Reason.CERTIFICATE


@pytest.mark.parametrize("scheme", ["smtp", "imap", "pop3"])
def test_over_tls_when_asked(ports: dict[str, int], ca_file: str, scheme: str) -> None:
    url = f"{scheme}://127.0.0.1:{ports[scheme]}"
    result = check(url, tls={"ca": ca_file}, mail={"starttls": True})
    assert (result.status, result.detail) == (Status.UP, None)
    assert result.tls_us > 0
    assert check(url, mail={"starttls": True}).reason is Reason.CERTIFICATE


def test_the_certificate_of_starttls_is_judged_as_any_other(imap: dict[str, int], ca_file: str) -> None:
    judging = probing(connection, mail, certificate)
    url, options = f"imap://127.0.0.1:{imap['imap']}", {"tls": {"ca": ca_file}, "mail": {"starttls": True}}
    assert judging(url, certificate=1, **options).status is Status.UP
    result = judging(url, certificate=1_000_000, **options)
    assert (result.status, result.reason) == (Status.DOWN, Reason.CERTIFICATE)


def test_a_server_without_starttls_is_down_where_it_is_asked_for(smtp: dict[str, int]) -> None:
    url = f"smtp://127.0.0.1:{smtp['plain']}"
    result = check(url, mail={"starttls": True})
    assert (result.status, result.reason) == (Status.DOWN, Reason.TLS)
    assert result.detail == "the server does not offer STARTTLS"
    assert check(url).status is Status.UP


def test_the_banner_is_as_wished_or_not(ports: dict[str, int]) -> None:
    url = f"imap://127.0.0.1:{ports['imap']}"
    assert check(url, mail={"banner": {"contains": "Shop mail ready."}}).status is Status.UP
    result = check(url, mail={"banner": {"contains": "Cyrus"}})
    assert (result.status, result.reason) == (Status.DOWN, Reason.ASSERTION)
    assert result.detail.endswith('wanted containing "Cyrus"')
    url = f"smtp://127.0.0.1:{ports['smtp']}"
    assert check(url, mail={"banner": "220 mx.shop.example ESMTP Postfix"}).status is Status.UP


@pytest.mark.parametrize(
    ("scheme", "log", "words"),
    [
        ("smtp", "postfix/log", "ehlo=1 quit=1 commands=2"),
        ("imap", "dovecot/log", "imap-login: Info: Disconnected: Aborted login by logging out"),
        ("pop3", "dovecot/log", "pop3-login: Info: Disconnected: Aborted login by logging out"),
    ],
)
def test_a_good_bye_is_said(
    ports: dict[str, int], public_dir: Path, eventually: Callable, scheme: str, log: str, words: str
) -> None:
    before = (public_dir / log).read_text().count(words)
    assert check(f"{scheme}://127.0.0.1:{ports[scheme]}").status is Status.UP
    eventually(lambda: (public_dir / log).read_text().count(words) > before)


@pytest.mark.parametrize(
    ("scheme", "server"), [("smtp", "imap"), ("smtp", "pop3"), ("imap", "smtp"), ("pop3", "smtp"), ("pop3", "imap")]
)
def test_a_server_of_another_protocol_is_down(ports: dict[str, int], scheme: str, server: str) -> None:
    result = check(f"{scheme}://127.0.0.1:{ports[server]}")
    assert (result.status, result.reason) == (Status.DOWN, Reason.PROTOCOL)
    assert result.detail.startswith(f"not {scheme.upper()}: the connection is answered by ")


def says(*answers: bytes, heard: list[bytes] | None = None) -> Script:
    """Make a script that says one thing, and another after each line that it hears."""

    def script(peer) -> None:
        with peer.makefile("rb") as lines:
            for number, answer in enumerate(answers):
                if number:
                    line = lines.readline()
                    if heard is not None:
                        heard.append(line)
                peer.sendall(answer)
            if heard is not None:
                heard.append(lines.readline())

    return script


@pytest.mark.parametrize(
    ("scheme", "script", "reason", "words"),
    [
        ("smtp", says(b"554 No SMTP service here\r\n"), Reason.STATUS, "the banner is '554 No SMTP service here'"),
        ("smtp", says(b"220-a\r\n220 b\r\n", b"502 What\r\n"), Reason.STATUS, "EHLO p.test is answered by '502 What'"),
        ("smtp", says(b"220-a\r\n" * 300), Reason.PROTOCOL, "more than 200 lines"),
        ("smtp", says(b"220 a\r\n", b"250-b\r\n"), Reason.CLOSED, "closed"),
        ("smtp", says(b"2200 a\r\n"), Reason.PROTOCOL, "not SMTP"),
        ("imap", says(b"* BYE Overloaded\r\n"), Reason.STATUS, "the banner is '* BYE Overloaded'"),
        ("imap", says(b"* OK\r\n", b"* x\r\nw1 BAD no\r\n"), Reason.STATUS, "CAPABILITY is answered by 'w1 BAD no'"),
        ("imap", says(b"* OK\r\n", b"w2 OK\r\n"), Reason.PROTOCOL, "not IMAP: w1 CAPABILITY is answered by 'w2 OK'"),
        ("pop3", says(b"-ERR [SYS/TEMP] try later\r\n"), Reason.STATUS, "try later"),
        ("pop3", says(b"+OK\r\n", b"+OK\r\nUSER\r\n"), Reason.CLOSED, "closed"),
        ("pop3", says(b""), Reason.CLOSED, "closed"),
        ("smtp", silent, Reason.TIMEOUT, "timeout in ttfb"),
    ],
)
def test_each_way_to_fail_has_its_reason(scheme: str, script: Script, reason: Reason, words: str) -> None:
    with scripted(script) as port:
        result = check(f"{scheme}://127.0.0.1:{port}", timeout_s=0.5, mail={"hello": "p.test"})
    assert (result.status, result.reason) == (Status.DOWN, reason)
    assert words in result.detail


@pytest.mark.parametrize(
    ("scheme", "script"),
    [
        ("smtp", says(b"220-one\r\n220 two\r\n", b"250-a\r\n250-SIZE\r\n250 STARTTLS\r\n")),
        ("imap", says(b"* PREAUTH hello\r\n", b"* CAPABILITY IMAP4rev2\r\nw1 OK done\r\n")),
        ("pop3", says(b"+OK POP3 server ready <1896.697170952@dbc.mtview.ca.us>\r\n", b"-ERR what is CAPA\r\n")),
        ("pop3", says(b"+OK ready\r\n", b"+OK\r\nUSER\r\nSTLS\r\n.\r\n")),
    ],
)
def test_older_and_wordier_servers_are_up(scheme: str, script: Script) -> None:
    with scripted(script) as port:
        assert check(f"{scheme}://127.0.0.1:{port}").detail is None


def test_the_server_is_greeted_by_the_name_of_the_option(eventually: Callable) -> None:
    heard: list[bytes] = []
    with scripted(says(b"220 a\r\n", b"250 b\r\n", heard=heard)) as port:
        check(f"smtp://127.0.0.1:{port}", mail={"hello": "[192.0.2.1]"})
        eventually(lambda: heard == [b"EHLO [192.0.2.1]\r\n", b"QUIT\r\n"])


OFFER = b"250-a\r\n250 STARTTLS\r\n"


@pytest.mark.parametrize(
    ("scheme", "script", "reason", "words"),
    [
        ("smtp", says(b"220 a\r\n", OFFER, b"454 not now\r\n"), Reason.TLS, "STARTTLS is answered by '454 not now'"),
        ("smtp", says(b"220 a\r\n", b"250 starttls.shop.example\r\n"), Reason.TLS, "does not offer STARTTLS"),
        ("smtp", says(b"220 a\r\n", OFFER, b"220 go\r\n250 injected\r\n"), Reason.PROTOCOL, "plain bytes"),
        ("pop3", says(b"+OK\r\n", b"-ERR a\r\n", b"-ERR b\r\n"), Reason.TLS, "STLS is answered by '-ERR b'"),
        ("imap", says(b"* OK\r\n", b"* CAPABILITY IMAP4rev1\r\nw1 OK\r\n"), Reason.TLS, "does not offer STARTTLS"),
    ],
)  # fmt: skip
def test_a_check_that_wants_tls_never_goes_on_in_plain(
    scheme: str, script: Script, reason: Reason, words: str
) -> None:
    with scripted(script) as port:
        result = check(f"{scheme}://127.0.0.1:{port}", mail={"starttls": True})
    assert (result.status, result.reason) == (Status.DOWN, reason)
    assert words in result.detail


def test_after_starttls_the_server_must_still_answer(authority: trustme.CA, ca_file: str) -> None:
    context = server_tls(authority.issue_cert("127.0.0.1"))

    def script(peer) -> None:
        peer.sendall(b"220 a\r\n")
        for answer in (OFFER, b"220 go\r\n"):
            peer.recv(100)
            peer.sendall(answer)
        with context.wrap_socket(peer, server_side=True) as secured:
            secured.recv(100)
            secured.sendall(b"421 out of memory\r\n")
            secured.recv(100)

    with scripted(script) as port:
        result = check(f"smtp://127.0.0.1:{port}", tls={"ca": ca_file}, mail={"starttls": True, "hello": "probe.test"})
    assert (result.status, result.reason) == (Status.DOWN, Reason.STATUS)
    assert result.detail == "EHLO probe.test is answered by '421 out of memory'"


@pytest.mark.parametrize(
    ("url", "option", "words"),
    [
        ("smtps://127.0.0.1", {"starttls": True}, "or write smtp://"),
        ("imap://user:hunter2@127.0.0.1", {}, "no login takes place"),
    ],
)
def test_what_cannot_be_probed_says_so(url: str, option: dict, words: str) -> None:
    result = check(url, mail=option)
    assert (result.status, result.reason) == (Status.MISSED, Reason.CONFIG)
    assert words in result.detail and "hunter2" not in result.detail


@pytest.mark.parametrize("option", [{"hello": "a b"}, {"hello": "a\n"}, {"starttls": "yes"}, {"greet": "a"}])
def test_a_wrong_option_is_refused(option: dict) -> None:
    with pytest.raises(ValueError, match="mail"):
        check("smtp://127.0.0.1", mail=option)
