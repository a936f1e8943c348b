"""dns:// against dnsmasq, and against servers that answer as a test says, their messages written by hand (RFC 1035)."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from probing import probing
from scripted import scripted, server_tls
from third_party import third_party

from watcher import Reason, Status
from watcher.plugins.protocols import connection, dns

check = probing(dns, connection)
pytestmark = pytest.mark.usefixtures("anchor")

MANY = [f"192.0.2.{number}" for number in range(1, 201)]  # 200 × 16 bytes: more than a UDP answer may hold
Answer = Callable[[bytes], bytes | list[bytes]]  # all that is sent for a query


@pytest.fixture(scope="module")
def dnsmasq(eventually) -> Iterator[int]:
    """Run dnsmasq with a zone of its own on 127.0.0.1 and ::1; give its port."""
    zone = [
        "--local=/test/",
        "--host-record=www.test,192.0.2.1,2001:db8::1",
        "--host-record=pair.test,192.0.2.1",
        "--host-record=pair.test,192.0.2.2",
        "--cname=alias.test,www.test",
        "--mx-host=test,mail.test,10",
        "--mx-host=test,backup.test,20",
        "--txt-record=test,v=spf1 -all",
        "--txt-record=long.test,one,two",
        "--ptr-record=1.2.0.192.in-addr.arpa,www.test",
        "--ptr-record=1.0/25.2.0.192.in-addr.arpa,classless.test",
        *(f"--host-record=many.test,{address}" for address in MANY),
    ]
    options = ["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--no-hosts", "--no-resolv"]
    where = ["--port={port}", "--listen-address=127.0.0.1,::1", "--bind-interfaces"]
    with third_party(eventually, "dnsmasq-base", "dnsmasq", *options, *where, *zone) as port:
        yield port


@contextlib.contextmanager
def name_server(*answers: Answer) -> Iterator[int]:
    """Answer one query after the other by UDP as each function says; give the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.settimeout(5)

        def serve() -> None:
            for answer in answers:
                query, sender = bound.recvfrom(4096)
                said = answer(query)
                for data in said if isinstance(said, list) else [said]:
                    bound.sendto(data, sender)

        thread = threading.Thread(target=serve)
        thread.start()
        yield bound.getsockname()[1]
        thread.join()


def message(query: bytes, flags: int = 0x8180, counts: tuple[int, ...] = (1, 1, 0, 0), records: bytes = b"") -> bytes:
    """Write an answer to a query: its identifier, flags, counts, its question (that of the query), records."""
    question = query[12 : query.index(b"\0", 12) + 5]
    return query[:2] + struct.pack("!H4H", flags, *counts) + question * counts[0] + records


ADDRESS = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + bytes([192, 0, 2, 1])  # A 192.0.2.1 of the name asked for


def right(query: bytes) -> bytes:
    """Answer 192.0.2.1."""
    return message(query, records=ADDRESS)


def forged(query: bytes) -> bytes:
    """Answer with another identifier, as somebody would who cannot see the query."""
    return bytes([query[0] ^ 1]) + right(query)[1:]


# what is asked, of a real server


@pytest.mark.parametrize(
    ("question", "answers"),
    [
        ("www.test", "192.0.2.1"),
        ("www.test.", "192.0.2.1"),
        ("WWW.Test?type=a", "192.0.2.1"),
        ("www.test?type=AAAA", "2001:db8::1"),
        ("www.test?TYPE=AAAA;CLASS=IN", "2001:db8::1"),
        ("www.test?type=AAAA&class=in", "2001:db8::1"),
        ("alias.test", "192.0.2.1"),
        ("alias.test?type=CNAME", "www.test"),
        ("alias.test?type=CNAME", "www.test."),
        ("test?type=MX", ["10 mail.test", "20 backup.test."]),
        ("test?type=TXT", "v=spf1 -all"),
        ("long.test?type=TXT", "onetwo"),
        ("1.2.0.192.in-addr.arpa?type=PTR", "www.test"),
        ("1.0%2F25.2.0.192.in-addr.arpa?type=PTR", "classless.test"),
        ("1.0/25.2.0.192.in-addr.arpa?type=PTR", "classless.test"),
        ("pair.test", ["192.0.2.2", "192.0.2.1"]),
        ("pair.test", {"regex": r"^192\.0\.2\."}),
        ("pair.test", {"regex": r"^10\.", "absent": True}),
        ("version.bind?type=TXT;class=CH", {"contains": "dnsmasq"}),
        ("test?type=A", {"absent": True}),
    ],
)
def test_the_url_asks_and_the_answers_are_compared(dnsmasq: int, question: str, answers: Any) -> None:
    result = check(f"dns://127.0.0.1:{dnsmasq}/{question}", dns={"answers": answers})
    assert (result.status, result.reason, result.detail) == (Status.UP, None, None)
    assert (result.connect_us, result.address, result.dns_us) == (None, "127.0.0.1", None)
    assert result.latency_us == result.ttfb_us


def test_without_wishes_any_record_will_do(dnsmasq: int) -> None:
    assert check(f"dns://127.0.0.1:{dnsmasq}/www.test").status is Status.UP
    none = check(f"dns://127.0.0.1:{dnsmasq}/pair.test?type=AAAA")
    assert (none.status, none.reason, none.detail) == (Status.DOWN, Reason.ASSERTION, "no AAAA of pair.test.")


@pytest.mark.parametrize(
    ("question", "wanted", "detail"),
    [
        ("www.test", {"answers": "192.0.2.9"}, 'A of www.test. is "192.0.2.1", wanted "192.0.2.9"'),
        (
            "pair.test",
            {"answers": "192.0.2.1", "only": True},
            'A of pair.test. is "192.0.2.1", "192.0.2.2", wanted only "192.0.2.1"',
        ),
        (
            "pair.test",
            {"answers": {"regex": "2$", "absent": True}},
            'A of pair.test. is "192.0.2.1", "192.0.2.2", wanted not matching /2$/',
        ),
        ("www.test", {"answers": {"absent": True}}, 'A of www.test. is "192.0.2.1", wanted none'),
        ("none.test", {}, "NXDOMAIN for A of none.test., wanted NOERROR"),
        ("none.test", {"rcode": "SERVFAIL"}, "NXDOMAIN for A of none.test., wanted SERVFAIL"),
        ("www.test", {"rcode": "NXDOMAIN"}, "NOERROR for A of www.test., wanted NXDOMAIN"),
        ("www.test", {"authenticated": True}, "the answer is not authenticated by DNSSEC (flag AD)"),
    ],
)
def test_another_answer_is_shown(dnsmasq: int, question: str, wanted: dict[str, Any], detail: str) -> None:
    result = check(f"dns://127.0.0.1:{dnsmasq}/{question}", dns=wanted)
    reason = Reason.STATUS if " for A of " in detail else Reason.ASSERTION
    assert (result.status, result.reason, result.detail) == (Status.DOWN, reason, detail)


def test_many_records_are_shown_in_part(dnsmasq: int) -> None:
    result = check(f"dns://127.0.0.1:{dnsmasq}/many.test", dns={"answers": "198.51.100.1"})
    assert result.detail.endswith(' and 196 more, wanted "198.51.100.1"')


@pytest.mark.parametrize(
    "wanted",
    [
        {"answers": ["192.0.2.1", "192.0.2.2"], "only": True},
        {"answers": {"regex": r"^192\.0\.2\.[12]$"}, "only": True},
        {"authoritative": True},
        {"recursion": False},
    ],
)
def test_wishes_that_come_true(dnsmasq: int, wanted: dict[str, Any]) -> None:
    assert check(f"dns://127.0.0.1:{dnsmasq}/pair.test", dns=wanted).status is Status.UP


def test_a_failure_that_is_wanted_is_up(dnsmasq: int) -> None:
    assert check(f"dns://127.0.0.1:{dnsmasq}/none.test", dns={"rcode": "NXDOMAIN"}).status is Status.UP
    assert check(f"dns://127.0.0.1:{dnsmasq}/example.com", dns={"rcode": "REFUSED"}).status is Status.UP
    refused = check(f"dns://127.0.0.1:{dnsmasq}/example.com")
    assert refused.detail.startswith("REFUSED for A of example.com., wanted NOERROR")


# how it is asked


def test_an_answer_that_was_cut_is_asked_for_by_tcp(dnsmasq: int) -> None:
    result = check(f"dns://localhost:{dnsmasq}/many.test", ip_version=4, dns={"answers": MANY, "only": True})
    assert (result.status, result.detail, result.address) == (Status.UP, None, "127.0.0.1")
    assert None not in (result.dns_us, result.connect_us, result.ttfb_us, result.transfer_us)
    assert result.body_bytes > 3200


def test_tcp_alone_and_ipv6(dnsmasq: int) -> None:
    result = check(f"dns://[::1]:{dnsmasq}/www.test", dns={"transport": "tcp", "answers": "192.0.2.1"})
    assert (result.status, result.address) == (Status.UP, "::1")
    assert result.connect_us is not None
    assert check(f"dns://[::1]:{dnsmasq}/www.test", dns={"answers": "192.0.2.1"}).address == "::1"


def test_tls_carries_the_same_messages(dnsmasq: int, authority, ca_file: str) -> None:
    context = server_tls(authority.issue_cert("localhost"))
    context.set_alpn_protocols(["dot"])
    spoken: list[str | None] = []

    def relay(caller: socket.socket) -> None:
        spoken.append(caller.selected_alpn_protocol())
        with socket.create_connection(("127.0.0.1", dnsmasq), 5) as server:
            server.sendall(caller.recv(4096))
            caller.sendall(server.recv(4096))
            caller.recv(1)

    with scripted(relay, context) as port:
        url = f"dns://localhost:{port}/www.test"
        wanted = {"transport": "tls", "answers": "192.0.2.1"}
        result = check(url, dns=wanted, tls={"ca": ca_file})
        assert check(url, dns=wanted).reason is Reason.CERTIFICATE
    assert (result.status, result.detail, spoken[0]) == (Status.UP, None, "dot")
    assert result.tls_us > 0


def test_a_query_is_asked_again_when_it_or_its_answer_is_lost() -> None:
    with name_server(lambda query: [], right) as port:
        result = check(f"dns://127.0.0.1:{port}/www.test", dns={"answers": "192.0.2.1"})
    assert (result.status, result.detail) == (Status.UP, "asked 2 times until an answer came")
    assert result.ttfb_us >= 1_000_000


def test_the_queries_are_as_wanted() -> None:
    got: list[bytes] = []

    def note(query: bytes) -> bytes:
        got.append(query)
        return right(query)

    with name_server(note, note, note) as port:
        for wanted in ({}, {}, {"recursion": False, "authenticated": True}):
            check(f"dns://127.0.0.1:{port}/a.test", dns=wanted)
    question = b"\1a\4test\0\0\1\0\1"
    edns = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)  # RFC 6891, section 6.1.2
    assert [query[2:] for query in got[:2]] == [b"\1\0" + b"\0\1\0\0\0\0\0\1" + question + edns] * 2
    assert got[0][:2] != got[1][:2] or got[0][:2] != got[2][:2]  # all three alike: once in four thousand million
    assert got[2][2:4] == b"\0\x20"


def test_a_name_of_other_letters_is_asked_for_in_ascii() -> None:
    got: list[bytes] = []
    with name_server(lambda query: got.append(query) or right(query)) as port:
        assert check(f"dns://127.0.0.1:{port}/bücher.test").status is Status.UP
    assert b"\x0dxn--bcher-kva\4test\0" in got[0]  # RFC 5891


# what is no answer


def test_answers_that_were_not_asked_for_are_passed_over() -> None:
    with name_server(lambda query: [b"", query[:5], query, forged(query), right(query)]) as port:
        result = check(f"dns://127.0.0.1:{port}/www.test", dns={"answers": "192.0.2.1"})
    assert (result.status, result.detail) == (Status.UP, None)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda query: message(query, counts=(1, 9, 0, 0)), "malformed answer"),
        (lambda query: right(query) + b"junk", "malformed answer"),
        (lambda query: right(query)[:12] + b"\xc0\x0c" + right(query)[14:], "malformed answer"),  # points to itself
        (lambda query: message(query, counts=(0, 0, 0, 0)), "to another question"),
        (lambda query: right(query).replace(b"www", b"wwx"), "to another question"),
        (lambda query: right(query).replace(b"\0\1\0\1\xc0", b"\0\x1c\0\1\xc0"), "to another question"),
        (lambda query: message(query, flags=0xA180, records=ADDRESS), "to another question"),  # opcode NOTIFY
    ],
)
def test_what_is_not_right_as_a_message_is_a_protocol_failure(answer: Answer, words: str) -> None:
    with name_server(answer) as port:
        result = check(f"dns://127.0.0.1:{port}/www.test")
    assert (result.status, result.reason) == (Status.DOWN, Reason.PROTOCOL)
    assert words in str(result.detail)


def test_an_alias_of_itself_leads_nowhere() -> None:
    loop = b"\xc0\x0c" + struct.pack("!HHIH", 5, 1, 60, 2) + b"\xc0\x0c"
    with name_server(lambda query: message(query, records=loop)) as port:
        result = check(f"dns://127.0.0.1:{port}/www.test")
    assert (result.reason, result.detail) == (Reason.PROTOCOL, "the answer's aliases (CNAME) do not end")


def test_a_server_that_cannot_read_the_question_need_not_repeat_it() -> None:
    with name_server(lambda query: message(query, flags=0x8181, counts=(0, 0, 0, 0))) as port:
        assert check(f"dns://127.0.0.1:{port}/www.test").detail == "FORMERR for A of www.test., wanted NOERROR"


def test_an_extended_error_is_told() -> None:
    bogus = b"DNSKEY\xe2\x80\xa6 missing\n"
    option = struct.pack("!HHH", 15, 2 + len(bogus), 6) + bogus  # RFC 8914: DNSSEC Bogus
    edns = b"\0" + struct.pack("!HHIH", 41, 1232, 0, len(option)) + option
    with name_server(lambda query: message(query, 0x8182, (1, 0, 0, 1), edns)) as port:
        detail = check(f"dns://127.0.0.1:{port}/www.test").detail
    assert detail.startswith("SERVFAIL for A of www.test., wanted NOERROR (EDE 6 (DNSSEC Bogus): DNSKEY")
    assert detail.isprintable()


def test_nobody_there_and_no_answer() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    refused = check(f"dns://127.0.0.1:{port}/www.test")
    assert (refused.status, refused.reason) == (Status.DOWN, Reason.CONNECT)
    with name_server(lambda query: []) as port:
        silent = check(f"dns://127.0.0.1:{port}/www.test", 0.3)
    assert (silent.reason, silent.detail) == (Reason.TIMEOUT, "timeout in ttfb")
    assert 200_000 < silent.ttfb_us <= 300_000


def test_a_tcp_answer_must_be_one_too() -> None:
    def framed(answer: Answer) -> Callable[[socket.socket], None]:
        def script(caller: socket.socket) -> None:
            data = answer(caller.recv(4096)[2:])
            caller.sendall(len(data).to_bytes(2) + data)

        return script

    for answer, reason in (
        (right, None),
        (forged, Reason.PROTOCOL),
        (lambda query: b"", Reason.PROTOCOL),
        (lambda query: right(query)[:20], Reason.PROTOCOL),
    ):
        with scripted(framed(answer)) as port:
            assert check(f"dns://127.0.0.1:{port}/www.test", dns={"transport": "tcp"}).reason is reason
    with scripted(lambda caller: caller.sendall(b"\1\0" + caller.recv(100)[:20])) as port:
        assert check(f"dns://127.0.0.1:{port}/www.test", dns={"transport": "tcp"}).reason is Reason.CLOSED


# what cannot be asked


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("dns://127.0.0.1/www.test?type=AA", "dns://127.0.0.1/www.test?type=AA: "),
        ("dns://127.0.0.1/www.test?type=ANY", "ANY is no type of record"),
        ("dns://127.0.0.1/www.test?type=AXFR", "AXFR is no type of record"),
        ("dns://127.0.0.1/www.test?typ=A", "'typ' is none of type and class"),
        ("dns://127.0.0.1/www.test?type=A;class=XY", "class"),
        ("dns://127.0.0.1/www..test", "empty"),
        (f"dns://127.0.0.1/{'x' * 64}.test", "63"),
    ],
)
def test_a_url_that_asks_for_nothing_that_there_is(url: str, words: str) -> None:
    result = check(url)
    assert (result.status, result.reason) == (Status.MISSED, Reason.CONFIG)
    assert words in str(result.detail)


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ({"rcode": "NXDOMAIN", "answers": "192.0.2.1"}, "answers go with rcode NOERROR"),
        ({"answers": []}, "an empty list of answers checks nothing"),
        ({"only": True}, "give these"),
        ({"only": True, "answers": {"absent": True}}, "give these"),
        ({"rcode": "NXDOMAN"}, 'did you mean "NXDOMAIN"?'),
        ({"transport": "quic"}, "udp"),
        ({"tries": 0}, "from 1 to 10"),
        ({"answer": "192.0.2.1"}, 'did you mean "answers"?'),
    ],
)
def test_a_wrong_value_is_found_when_the_configuration_is_read(written: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match="dns") as caught:
        check("dns://127.0.0.1/www.test", dns=written)
    assert complaint in str(caught.value)
