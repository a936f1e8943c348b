"""The examples of docs/plugins.md, as plugins to run."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/plugins.md").read_text()
HEADING = re.compile(r"^(#{2,3}) (.+)$", re.MULTILINE)
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def sections() -> dict[str, str]:
    """Give the text beneath each heading."""
    found = list(HEADING.finditer(TEXT))
    ends = [heading.start() for heading in found[1:]] + [len(TEXT)]
    return {heading[2]: TEXT[heading.end() : end] for heading, end in zip(found, ends)}


def sources(title: str) -> list[str]:
    """Give the Python examples of a section, found by the beginning of its heading."""
    texts = [text for heading, text in sections().items() if heading.startswith(title)]
    return [source for text in texts for source in PYTHON.findall(text)]


def run(source: str) -> ModuleType:
    """Give an example as a module."""
    module = ModuleType("example")
    # pylint: disable-next=exec-used  # our own text
    exec(compile(source, "docs/plugins.md", "exec", dont_inherit=True), vars(module))
    return module


def example(title: str) -> ModuleType:
    """Give the only Python example of a section as a module."""
    (source,) = sources(title)
    return run(source)
