"""smtp, smtps, imap, imaps, pop3 and pop3s endpoints: the banner, a greeting, STARTTLS where asked for, a good-bye.

No login takes place and no mail is sent. `ttfb` is the wait for the banner, `transfer` that for all other answers.
RFC 5321 (SMTP), 9051 (IMAP), 1939 and 2449 (POP3), 2595 and 3207 (STARTTLS), 8314 (the ports).
"""

from __future__ import annotations

import contextlib
import re
import socket

from watcher import Endpoint, Match, Options, ProbeError, Reason, hookimpl
from watcher.plugins.protocols._dialects import IMAP, POP3, SMTP, Answer, Dialect
from watcher.plugins.protocols._urls import parts_of, refuse_elsewhere
from watcher.transport import Conversation, Exchange, Prober, Target, dial, target

SCHEMES = {
    "smtp": (SMTP, 25), "smtps": (SMTP, 465), "imap": (IMAP, 143), "imaps": (IMAP, 993), "pop3": (POP3, 110),
    "pop3s": (POP3, 995),
}  # fmt: skip
# a domain or an address literal (RFC 5321, 4.1.3)
NAME = re.compile(r"[0-9A-Za-z_-]+(\.[0-9A-Za-z_-]+)*|\[[0-9A-Fa-f:.IPv]+\]")


class Mail(Options):
    """`mail = { starttls = true }`: whether a connection that begins plain must go over to TLS.

    With `starttls` a server that does not offer it is down: never does a check go on in plain. `banner` is a wish about
    the server's first words, e.g. `{ contains = "ESMTP" }`; `hello` is the name that SMTP servers are greeted by.
    """

    starttls: bool = False
    banner: Match | None = None
    hello: str = ""

    def __post_init__(self) -> None:
        if self.hello and not NAME.fullmatch(self.hello):
            raise ValueError(f"hello {self.hello!r} is neither a domain such as probe.example.com nor [192.0.2.1]")


@hookimpl
def watcher_options() -> dict[str, type]:
    """Add the key `mail`."""
    return {"mail": Mail}


@hookimpl
def watcher_prober(endpoint: Endpoint) -> Prober | None:
    """Probe smtp, imap and pop3, plain or over TLS."""
    parts = parts_of(endpoint, SCHEMES, "no login takes place")
    if parts is None:
        return None
    scheme = parts.scheme
    wish: Mail = endpoint.options.get("mail", Mail())
    secure = scheme.endswith("s")
    if secure and wish.starttls:
        raise ValueError(f"{scheme} is TLS from the first byte: leave out mail.starttls, or write {scheme[:-1]}://")
    dialect, port = SCHEMES[scheme]
    if dialect is SMTP:
        dialect = SMTP._replace(hello=f"EHLO {wish.hello or socket.gethostname()}")
    return MailProber(dialect, target(endpoint, port, tls=secure, starttls=wish.starttls), wish)


@hookimpl
def watcher_steps(endpoint: Endpoint) -> None:
    """Say where the option can mean nothing."""
    refuse_elsewhere("mail", endpoint, SCHEMES)


class MailProber:
    """Probes one endpoint."""

    __slots__ = ("_dialect", "_target", "_wish")

    def __init__(self, dialect: Dialect, place: Target, wish: Mail) -> None:
        self._dialect = dialect
        self._target = place
        self._wish = wish

    def __call__(self, exchange: Exchange) -> None:
        dialect = self._dialect
        with dial(exchange, self._target) as conversation:
            ok, said = dialect.read(conversation, "")
            if not ok:
                raise ProbeError(Reason.STATUS, f"the banner is {said[-1][:200]!r}")
            banner = "\n".join(said)
            if self._wish.banner is not None and not self._wish.banner.holds(banner):
                raise ProbeError(Reason.ASSERTION, f"the banner is {banner[:80]!r}, wanted {self._wish.banner}")
            offers = self._greet(conversation)
            if self._wish.starttls:
                self._go_over(conversation, offers)
                self._greet(conversation)
            with contextlib.suppress(ProbeError):
                conversation.send(f"{dialect.bye}\r\n".encode())  # the answer is not waited for

    def _greet(self, conversation: Conversation) -> list[str]:
        ok, said = ask(conversation, self._dialect, self._dialect.hello)
        if not ok and self._dialect is not POP3:  # RFC 1939 knows no CAPA, but an answer it is
            raise ProbeError(Reason.STATUS, f"{self._dialect.hello} is answered by {said[-1][:200]!r}")
        return said if ok else []

    def _go_over(self, conversation: Conversation, offers: list[str]) -> None:
        dialect = self._dialect
        word = dialect.starttls.rpartition(" ")[2]
        if offers and not any(word in line.upper().replace("-", " ").split() for line in offers):
            raise ProbeError(Reason.TLS, f"the server does not offer {word}")
        ok, said = ask(conversation, dialect, dialect.starttls)
        if not ok:
            raise ProbeError(Reason.TLS, f"{word} is answered by {said[-1][:200]!r}")
        conversation.start_tls()


def ask(conversation: Conversation, dialect: Dialect, command: str) -> Answer:
    """Send a command and read its answer."""
    conversation.send(f"{command}\r\n".encode())
    return dialect.read(conversation, command)
