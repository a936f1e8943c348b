"""dns://RESOLVER[:PORT]/NAME?type=TYPE endpoints (RFC 4501): one question to one name server, and what it must answer.

    url = "dns://9.9.9.9/example.com"
    url = "dns://ns1.example.com/example.com?type=MX"

Types are those of `dig`; A when the URL names none, and `;class=CH` asks in another class than IN. Up is the answer
NOERROR with one record of the type at least; the option `dns` wishes for more. Another answer is reason `assertion`,
one that is no DNS message `protocol`, none at all `timeout`.
"""

from __future__ import annotations

import secrets
import socket
from typing import Annotated, Literal

from msgspec import Meta

from watcher import Endpoint, Match, Options, ProbeError, Reason, hookimpl
from watcher.plugins.protocols._dns_messages import TC, Question, flags, judge, question, read, reply
from watcher.plugins.protocols._urls import refuse_elsewhere
from watcher.transport import Exchange, Prober, Target, ask, dial, target

PORTS = {"udp": 53, "tcp": 53, "tls": 853}

Rcode = Literal["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "NOTAUTH"]


class Dns(Options):
    """`dns = { answers = ["192.0.2.1"], only = true }`: what must be answered, and how the question is put."""

    rcode: Rcode = "NOERROR"
    """The response code to want."""
    answers: Match | list[Match] | None = None
    """What must be found among the records, each; written as `dig +short` does, names with or without their last dot,
    TXT without quotes. `{ absent = true }` wants no record at all."""
    only: bool = False
    """There must be no other records than those of `answers`."""
    authoritative: bool = False
    """The answer must be authoritative (flag AA)."""
    authenticated: bool = False
    """The resolver must have found the answer right by DNSSEC (flag AD)."""
    recursion: bool = True
    """Ask the server to ask others (flag RD)."""
    transport: Literal["udp", "tcp", "tls"] = "udp"
    """How to ask; `tls` is port 853. An answer by UDP that was cut is asked for by TCP."""
    tries: Annotated[int, Meta(ge=1, le=10)] = 3
    """How often to ask by UDP at most, a second apart, until an answer comes."""

    def __post_init__(self) -> None:
        if self.answers is not None and not self.wishes():
            raise ValueError("an empty list of answers checks nothing; { absent = true } wants no record")
        if self.rcode != "NOERROR" and self.answers:
            raise ValueError(f"answers go with rcode NOERROR, not with {self.rcode}")
        if self.only and not any(not wish.absent for wish in self.wishes()):
            raise ValueError("only says that there may be no others than answers: give these")

    def wishes(self) -> list[Match]:
        """Give the wishes about the answers."""
        return self.answers if isinstance(self.answers, list) else list(filter(None, [self.answers]))


@hookimpl
def watcher_options() -> dict[str, type]:
    """Add the key `dns`."""
    return {"dns": Dns}


@hookimpl
def watcher_prober(endpoint: Endpoint) -> Prober | None:
    """Probe dns."""
    if not endpoint.url.lower().startswith("dns://"):
        return None
    wanted: Dns = endpoint.options.get("dns", Dns())
    secure = wanted.transport == "tls"
    where = target(endpoint, PORTS[wanted.transport], tls=secure, alpn=("dot",) if secure else ())
    return DnsProber(where, question(endpoint.url, wanted), wanted)


@hookimpl
def watcher_steps(endpoint: Endpoint) -> None:
    """Say where the option can mean nothing."""
    refuse_elsewhere("dns", endpoint, ["dns"])


class DnsProber:
    """Asks one question of one name server."""

    __slots__ = ("_question", "_target", "_wanted")

    def __init__(self, where: Target, asked: Question, wanted: Dns) -> None:
        self._target = where
        self._question = asked
        self._wanted = wanted

    def __call__(self, exchange: Exchange) -> None:
        wire = secrets.token_bytes(2) + self._question.wire
        answer = self._by_datagram(exchange, wire) if self._wanted.transport == "udp" else None
        answer = answer or by_stream(exchange, self._target, wire)
        exchange.body_bytes = len(answer)
        failure = judge(read(answer, self._question), self._question, self._wanted)
        if failure:
            raise ProbeError(Reason.ASSERTION, failure)

    def _by_datagram(self, exchange: Exchange, wire: bytes) -> bytes | None:
        """Ask by UDP; give None when the answer was cut, which means: ask by TCP (RFC 7766, section 5)."""
        answer = ask(exchange, self._target, lambda _family: wire, lambda data: reply(data, wire), self._wanted.tries)
        return None if flags(answer) & TC else answer


def by_stream(exchange: Exchange, where: Target, wire: bytes) -> bytes:
    """Ask by TCP or TLS (RFC 7766, section 8; RFC 7858), at the address that was asked before if there was one."""
    if exchange.address is not None:
        family = socket.AF_INET6 if ":" in exchange.address else socket.AF_INET
        where = where._replace(addresses=((family, exchange.address),))
    with dial(exchange, where) as conversation:
        conversation.send(len(wire).to_bytes(2) + wire)
        answer = conversation.read_exactly(int.from_bytes(conversation.read_exactly(2)))
    if reply(answer, wire) is None:
        raise ProbeError(Reason.PROTOCOL, "the answer is none to the question: another identifier, or no answer")
    return answer
