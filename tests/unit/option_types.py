"""Option types for the tests of configuration: those of an imagined plugin, apart from any real one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from watcher import Options, Secret
from watcher.config.options import OptionTypes


class Login(Options):
    """A table with a secret."""

    user: str
    password: Secret


class Trust(Options):
    """A table with a file."""

    verify: bool = True
    ca: Path | None = None


def pattern(value: str) -> str:
    """Refuse what is no regular expression."""
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"bad pattern: {error}") from error
    return value


def option_types() -> OptionTypes:
    """Give fresh option types: without anything shared yet."""
    types: dict[str, Any] = {
        "login": Login,
        "trust": Trust,
        "pattern": Annotated[str, pattern],
        "codes": list[int | str],
        "fields": dict[str, Secret],
        "most": int,
        "token": Secret,
    }
    return OptionTypes({key: (wanted, "imagined") for key, wanted in types.items()}, absent=["asleep"])
