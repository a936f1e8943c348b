"""What tables for people are written on: a terminal, or a file or pipe, whose lines are not cut."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from rich.console import Console

PIPE_COLUMNS = 1000


def paper(written: TextIO | None = None, **options: Any) -> Console:
    """Give a console that writes what standard output can show; there, or to `written`."""
    is_terminal = sys.stdout.isatty()  # rich's word for it is another where FORCE_COLOR is set
    width = None if is_terminal else PIPE_COLUMNS
    return Console(file=written, force_terminal=is_terminal or None, width=width, highlight=False, **options)
