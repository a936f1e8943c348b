"""SMTP, IMAP and POP3 as far as their first words: what is said, and how an answer is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from watcher import ProbeError, Reason
from watcher.transport import Conversation

LINES_MAX = 200
SMTP_LINE = re.compile(r"[2-5]\d\d(?:[ -]|$)")
IMAP_LAST = re.compile(r"(?P<tag>\S+) (?P<word>OK|PREAUTH|NO|BAD|BYE)\b", re.IGNORECASE)
Answer = tuple[bool, list[str]]  # whether it says yes, and its lines


class Dialect(NamedTuple):
    """One of the three protocols: what is said, and how an answer is read (after "" it is the banner)."""

    read: Callable[[Conversation, str], Answer]
    hello: str
    starttls: str
    bye: str


def smtp_answer(conversation: Conversation, sent: str) -> Answer:
    """Read lines such as `250-SIZE` up to one such as `250 OK`."""
    said: list[str] = []
    for line in lines(conversation):
        if not SMTP_LINE.match(line):
            raise stranger("SMTP", line, sent)
        said.append(line)
        if line[3:4] != "-":
            break
    return said[-1].startswith("2"), said


def imap_answer(conversation: Conversation, sent: str) -> Answer:
    """Read untagged lines up to the tagged one; the banner is one untagged line."""
    tag = sent.partition(" ")[0] or "*"
    said: list[str] = []
    for line in lines(conversation):
        said.append(line)
        last = IMAP_LAST.match(line)
        if last and last["tag"] == tag:
            break
        if not sent or not line.startswith("* "):
            raise stranger("IMAP", line, sent)
    return last["word"].upper() in ("OK", "PREAUTH"), said


def pop3_answer(conversation: Conversation, sent: str) -> Answer:
    """Read one line, and after CAPA all up to a dot."""
    said: list[str] = []
    for line in lines(conversation):
        if not said and not line.startswith(("+OK", "-ERR")):
            raise stranger("POP3", line, sent)
        said.append(line)
        if sent != "CAPA" or line == "." or said[0].startswith("-ERR"):
            break
    return said[0].startswith("+OK"), said


def lines(conversation: Conversation) -> Iterator[str]:
    """Give the lines of an answer, as many as may be."""
    for _ in range(LINES_MAX):
        yield conversation.read_line().decode(errors="replace")
    raise ProbeError(Reason.PROTOCOL, f"an answer of more than {LINES_MAX} lines")


def stranger(name: str, line: str, sent: str) -> ProbeError:
    """Give the failure for a line that is not of the protocol."""
    return ProbeError(Reason.PROTOCOL, f"not {name}: {sent or 'the connection'} is answered by {line[:80]!r}")


SMTP = Dialect(smtp_answer, "EHLO", "STARTTLS", "QUIT")
IMAP = Dialect(imap_answer, "w1 CAPABILITY", "w2 STARTTLS", "w3 LOGOUT")
POP3 = Dialect(pop3_answer, "CAPA", "STLS", "QUIT")
