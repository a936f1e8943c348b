"""`watcher.jsonfile`: written whole or not at all, read with a shape."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from watcher import jsonfile


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    jsonfile.write(path, {"a": {"b": 1}})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": {"b": 1}}
    assert jsonfile.read(path, dict[str, dict[str, int]]) == {"a": {"b": 1}}
    assert [entry.name for entry in tmp_path.iterdir()] == ["figures.json"]


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": "b"}', "\xff", '{"\xff": 1}'])
def test_what_is_of_no_use_is_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "figures.json"
    assert jsonfile.read(path, dict[str, int]) is None
    path.write_text(text, encoding="latin-1")
    assert jsonfile.read(path, dict[str, int]) is None
    assert jsonfile.read(path / "beneath", dict[str, int]) is None


def test_what_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        jsonfile.read(tmp_path, dict[str, int])


def test_a_reader_never_sees_a_part(tmp_path: Path) -> None:
    path, ended = tmp_path / "figures.json", threading.Event()
    jsonfile.write(path, {str(number): 0 for number in range(2000)})

    def write() -> None:
        for round_ in range(1, 60):
            jsonfile.write(path, {str(number): round_ for number in range(2000)})
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not ended.is_set():
        held = jsonfile.read(path, dict[str, int])
        assert held is not None and len(held) == 2000 and len(set(held.values())) == 1
        seen |= set(held.values())
    writer.join()
    assert len(seen) > 1


def test_what_cannot_be_written_leaves_the_old(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    jsonfile.write(path, {"a": 1})
    os.mkdir(tmp_path / "figures.json.tmp")
    with pytest.raises(OSError):
        jsonfile.write(path, {"a": 2})
    assert jsonfile.read(path, dict[str, int]) == {"a": 1}
