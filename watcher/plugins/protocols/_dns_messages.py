"""Questions and answers of the DNS as messages, and whether an answer is as the option `dns` wishes; no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from watcher import Match, ProbeError, Reason

if TYPE_CHECKING:
    from dns.message import QueryMessage
    from dns.rdata import Rdata
    from dns.rrset import RRset

    from watcher.plugins.protocols.dns import Dns

EDNS_BYTES = 1232  # what passes unfragmented nearly everywhere (DNS flag day 2020)
HEAD_BYTES = 12
QR, AA, TC, AD = 0x8000, 0x0400, 0x0200, 0x0020  # RFC 1035, section 4.1.1; RFC 4035, section 3.1.6
NO_RECORD = Match(absent=True)
SHOWN_RECORDS = 4


class Question(NamedTuple):
    """What is asked: as dnspython has it, as bytes without the identifier, and in words."""

    section: list[RRset]
    wire: bytes
    words: str


def question(url: str, wanted: Dns) -> Question:
    """Read the question from a URL (RFC 4501).

    Raises:
        ValueError: what the URL asks for cannot be asked.
    """
    import dns.exception
    import dns.flags
    import dns.message
    import dns.name
    import dns.rdataclass
    import dns.rdatatype

    parts = urlsplit(url)
    asked = {"type": "A", "class": "IN"}
    for element in filter(None, parts.query.replace("&", ";").split(";")):
        key, _, value = element.partition("=")
        if key.lower() not in asked:
            raise ValueError(f"{key!r} is none of type and class, which may follow the name as in ?type=MX;class=IN")
        asked[key.lower()] = value.upper()
    try:
        name = dns.name.from_text(unquote(parts.path[1:]), idna_codec=dns.name.IDNA_2008)
        rdtype, rdclass = dns.rdatatype.from_text(asked["type"]), dns.rdataclass.from_text(asked["class"])
    except (dns.exception.DNSException, ValueError) as error:
        raise ValueError(f"{url}: {str(error).rstrip('.').lower()}") from None
    if dns.rdatatype.is_metatype(rdtype):
        raise ValueError(f"{asked['type']} is no type of record: ask for one, such as A, AAAA, MX, TXT or SOA")
    query = dns.message.make_query(name, rdtype, rdclass, use_edns=0, payload=EDNS_BYTES)
    query.flags = dns.flags.RD * wanted.recursion | dns.flags.AD * wanted.authenticated  # RFC 6840, 5.7
    return Question(query.question, query.to_wire()[2:], f"{asked['type']} of {name}")


def reply(data: bytes, wire: bytes) -> bytes | None:
    """Give the message when it is an answer with the identifier of a query, else None."""
    return data if len(data) >= HEAD_BYTES and data[:2] == wire[:2] and flags(data) & QR else None


def flags(message: bytes) -> int:
    """Give the flags of a message."""
    return int.from_bytes(message[2:4])


def read(answer: bytes, asked: Question) -> QueryMessage:
    """Read an answer.

    Raises:
        ProbeError: it is malformed, or answers another question (reason `protocol`).
    """
    import dns.exception
    import dns.message

    try:
        message = dns.message.from_wire(answer)
    except dns.exception.DNSException as error:
        raise ProbeError(Reason.PROTOCOL, f"malformed answer: {str(error).rstrip('.').lower()}") from None
    refused = message.rcode() != 0 and not message.question  # servers that could not read it do not repeat it
    if not isinstance(message, dns.message.QueryMessage) or not (refused or message.question == asked.section):
        raise ProbeError(Reason.PROTOCOL, "the answer is to another question")
    return message


def judge(message: QueryMessage, asked: Question, wanted: Dns) -> str | None:
    """Say what of an answer is not as wanted.

    Raises:
        ProbeError: reason `status` for another response code, `protocol` for aliases without an end.
    """
    import dns.exception
    import dns.rcode

    rcode = dns.rcode.to_text(message.rcode())
    if rcode != wanted.rcode:
        said = "".join(f" ({error.to_text()})" for error in message.extended_errors())
        raise ProbeError(Reason.STATUS, f"{rcode} for {asked.words}, wanted {wanted.rcode}{said}")
    if wanted.authoritative and not message.flags & AA:
        return "the answer is not authoritative (flag AA)"
    if wanted.authenticated and not message.flags & AD:
        return "the answer is not authenticated by DNSSEC (flag AD)"
    if rcode != "NOERROR":
        return None
    try:
        records = message.resolve_chaining().answer
    except dns.exception.DNSException:
        raise ProbeError(Reason.PROTOCOL, "the answer's aliases (CNAME) do not end") from None
    return judge_records([forms(record) for record in records or ()], asked, wanted)


def judge_records(records: list[tuple[str, ...]], asked: Question, wanted: Dns) -> str | None:
    """Say what of the records, each in its forms, is not as wanted."""
    wishes = wanted.wishes()
    if not records:
        return None if NO_RECORD in wishes else f"no {asked.words}"
    shown = ", ".join(f'"{record[0]}"' for record in sorted(records)[:SHOWN_RECORDS])
    shown += f" and {len(records) - SHOWN_RECORDS} more" * (len(records) > SHOWN_RECORDS)
    for wish in wishes:
        if not wish.holds_among(form for record in records for form in record):
            return f"{asked.words} is {shown}, wanted {wish}"
    good = [wish for wish in wishes if not wish.absent]
    if wanted.only and not all(any(wish.holds(form) for wish in good for form in record) for record in records):
        return f"{asked.words} is {shown}, wanted only {', '.join(map(str, good))}"
    return None


def forms(record: Rdata) -> tuple[str, ...]:
    """Give a record as text: as `dig` prints it, and with names without their last dot; TXT as it is."""
    import dns.name
    from dns.rdtypes.txtbase import TXTBase

    if isinstance(record, TXTBase):
        return (b"".join(record.strings).decode("utf-8", "replace"),)
    return record.to_text(), record.to_text(dns.name.root, True)
