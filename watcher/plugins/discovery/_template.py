"""What the user wrote for all endpoints of a discovery, put together with what was found of each into its table.

In what the user wrote `${NAME}` is a reference, which the table keeps; in what was found it is nothing but characters.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from watcher import Discovery, Failure

FIELD = re.compile(r"(?<!\$)\{(\w+)\}")
REFERENCE = re.compile(r"\$\$\{|(\$\{)")  # "$${" stands for the characters
OWN_KEYS = ("name", "url")
NAME_MOST = 480  # characters: a name has room for 500
NAME_KEPT = 440


def discoveries(
    settings: Any, name: str, made: Callable[[Any, Mapping[str, Any]], Callable[[], Iterable[dict[str, Any] | Failure]]]
) -> list[Discovery] | None:
    """Look at each table `[[plugins.NAME]]` on its own, at its interval.

    Args:
        made: gives what finds endpoints for a table, converted and as it was written.
    """
    parts = settings.plugins.get(name)
    if not parts:
        return None
    written = settings.plugin_tables[name]
    return [Discovery(made(part, raw), part.interval) for part, raw in zip(parts, written, strict=True)]


class Template:
    """`name` and `url` with fields such as `{host}` in them, and the table `endpoint` with all other keys.

    Args:
        written: a part of the settings as it was written, with its references.
        name: the template of the name where none is written; it may use the field `{url}` too.
        url: that of the URL.
    """

    def __init__(self, written: Mapping[str, Any], name: str, url: str) -> None:
        self._name = Text(written.get("name", name))
        self._url = Text(written.get("url", url))
        self._endpoint = written.get("endpoint", {})

    def table(
        self, fields: Mapping[str, str], labels: Mapping[str, str] | None = None, url: str | None = None
    ) -> dict[str, Any]:
        """Give the table of one endpoint.

        Args:
            fields: what was found of it.
            labels: those of its own, which go before the ones of the template.
            url: its URL, where it is known as it is.

        Raises:
            ValueError: a field is asked for that it does not have.
        """
        place = self._url.filled(fields) if url is None else escaped(url)
        shown = place.replace("$${", "${")  # in a name a reference stays what it is: its value may be secret
        own: dict[str, Any] = {"name": shortened(self._name.filled({**fields, "url": shown})), "url": place}
        if labels or "labels" in self._endpoint:
            found = {key: escaped(value) for key, value in (labels or {}).items()}
            own["labels"] = {**self._endpoint.get("labels", {}), **found}
        return {**self._endpoint, **own}


class Text:
    """A text with fields in it."""

    def __init__(self, template: str) -> None:
        self._template = template
        self._literals, self._names = (parts := FIELD.split(template))[::2], parts[1::2]
        self._references = _references(template)

    def filled(self, fields: Mapping[str, str]) -> str:
        """Put fields in their places, escaped: what was found must not refer to the agent's environment.

        Raises:
            ValueError: a field is not there, or what comes of it would refer to something.
        """
        text = self._literals[0]
        for name, literal in zip(self._names, self._literals[1:]):
            if name not in fields:
                raise ValueError(f'has no "{name}", which "{self._template}" asks for')
            text += escaped(fields[name]) + literal
        if "$" in text and _references(text) != self._references:  # a "$" and a "{" that came together
            raise ValueError(f'cannot be put into "{self._template}": a reference would come of it')
        return text


def escaped(text: str) -> str:
    """Give a text of which no reference is replaced."""
    return text.replace("${", "$${")


def _references(text: str) -> int:
    return sum(bool(found) for found in REFERENCE.findall(text))


def shortened(name: str) -> str:
    """Give a name that fits and is still nobody else's."""
    if len(name) <= NAME_MOST:
        return name
    return f"{name[:NAME_KEPT]}… {hashlib.sha256(name.encode()).hexdigest()[:16]}"


def check_endpoint(table: Mapping[str, Any]) -> None:
    """Refuse keys in `endpoint` that have templates of their own.

    Raises:
        ValueError: there is one.
    """
    for key in OWN_KEYS:
        if key in table:
            raise ValueError(f"{key} does not belong into endpoint; each endpoint has its own, see the key {key}")


def check_fields(key: str, template: str, known: Collection[str]) -> None:
    """Refuse fields that there never are.

    Raises:
        ValueError: with those that there are.
    """
    for name in FIELD.findall(template):
        if name not in known:
            raise ValueError(f"{key} asks for {{{name}}}; there are {', '.join(f'{{{one}}}' for one in known)}")
