"""What the server knows, as text: parameters, kinds of bad answers, traps."""

from __future__ import annotations

import dataclasses

from watcher.testserver.bad import KINDS
from watcher.testserver.behaviour import Behaviour
from watcher.testserver.kind import Kind
from watcher.testserver.trap import TRAPS, Trap


def parameters() -> list[tuple[str, str]]:
    """Give the parameters of a query with what each does."""
    return [(field.name, field.metadata["about"]) for field in dataclasses.fields(Behaviour)]


def failures() -> list[tuple[str, str, str]]:
    """Give name, what a monitor should say, and what it is, of each kind and trap."""
    entries: list[Kind | Trap] = [*KINDS.values(), *TRAPS.values()]
    return [(entry.name, entry.expected, entry.about) for entry in entries]


def everything() -> str:
    """Write the lists for a terminal."""
    lines = ["Parameters of any URL's query", ""]
    lines += [f"  {name:<12}{about}" for name, about in parameters()]
    for title, entries in (("Bad answers, at /bad/KIND", KINDS), ("Traps, each on a port of its own (--traps)", TRAPS)):
        width = max(map(len, entries)) + 2
        lines += ["", f"{title}: what a monitor should say, and what it is", ""]
        lines += [f"  {entry.name:<{width}}{entry.expected:<22}{entry.about}" for entry in entries.values()]
    return "\n".join(lines)
