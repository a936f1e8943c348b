"""`watcher.config.documents`: files, what they include, and what is wrong with them as files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from watcher.config import documents


def problems(directory: Path, name: str = "main.toml") -> list[str]:
    """Read a file and give its problems without the directory."""
    return [line.replace(f"{directory}/", "") for line in documents.read(directory / name).problems]


def write(directory: Path, **texts: str) -> None:
    """Write files `NAME.toml`."""
    for name, text in texts.items():
        (directory / f"{name}.toml").write_text(text)


def test_includes_by_pattern_in_order(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    write(tmp_path, main='include = ["more/*.toml", "none/*.toml", "one.toml"]')
    write(tmp_path, one="include = [ \"two.toml\" ]", two="")
    write(tmp_path / "more", b="", a="")
    found = documents.read(tmp_path / "main.toml")
    assert [str(document.path.relative_to(tmp_path)) for document in found] == [
        "main.toml", "more/a.toml", "more/b.toml", "one.toml", "two.toml",
    ]  # fmt: skip
    assert not found.problems
    assert found.documents[-1].parent is found.documents[-2]


def test_includes_a_file_whose_name_looks_like_a_pattern(tmp_path: Path) -> None:
    write(tmp_path, main='include = ["[a].toml"]')
    (tmp_path / "[a].toml").write_text("")
    assert len(documents.read(tmp_path / "main.toml").documents) == 2


def test_a_missing_include_is_reported_where_it_is_named(tmp_path: Path) -> None:
    write(tmp_path, main='include = ["none.toml"]')
    assert problems(tmp_path) == ["main.toml: include: none.toml: no such file; give the path of a TOML file"]


def test_reports_cycles(tmp_path: Path) -> None:
    back = f'include = ["../{tmp_path.name}/a.toml"]'
    write(tmp_path, main='include = ["a.toml"]', a='include = ["b.toml"]', b=back)
    (line,) = problems(tmp_path)
    assert line.startswith("b.toml: include: ") and "includes itself" in line
    write(tmp_path, main='include = ["*.toml"]')
    assert any("includes itself" in line for line in problems(tmp_path))


def test_reports_a_file_that_is_included_twice(tmp_path: Path) -> None:
    write(tmp_path, main='include = ["a.toml", "b.toml"]', a="", b='include = ["a.toml"]')
    (line,) = problems(tmp_path)
    assert line.startswith("b.toml: include: ") and "twice" in line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('include = "a.toml"', "main.toml: include: expected a list of strings, got"),
        ("include = [3]", "main.toml: include[0]: expected a string, got 3"),
        ('include = ["a\\u0000"]', "main.toml: include: contains the character U+0000"),
        ("[endpoint]", 'main.toml: endpoint: unknown key; did you mean "endpoints"?'),
        (
            "zzz = 1",
            "main.toml: zzz: unknown key; known are database, agent, accuracy, plugins, defaults, endpoints, include",
        ),
        ("[endpoints]", "main.toml: endpoints: expected a list of tables; write [[endpoints]]"),
        ("agent = 3", "main.toml: agent: expected a table, got 3; write [agent]"),
        ("[[agent]]", "main.toml: agent: expected a table, got a list; write [agent]"),
        ("a = 1\ninterval = 30s", "main.toml: line 2, column 14: not valid TOML: expected newline"),
        ("name = front", "main.toml: line 1, column 8: not valid TOML: invalid value; strings stand in quotes"),
        ("a = 1\na = 2", "main.toml: line 2, column 6: not valid TOML: cannot overwrite a value"),
        ("a = " + "[" * 100_000, "main.toml: "),
        ('a = "', "main.toml: line 1, column 6: not valid TOML"),
    ],
)
def test_reports_what_is_wrong_in_a_file(tmp_path: Path, text: str, said: str) -> None:
    write(tmp_path, main=text)
    found = problems(tmp_path)
    assert found and found[-1].startswith(said)


def test_an_included_file_has_no_settings(tmp_path: Path) -> None:
    write(tmp_path, main='include = ["a.toml"]', a="[agent]\n[database]\n[defaults]\n[[endpoints]]\n")
    assert problems(tmp_path) == [
        "a.toml: agent: belongs in the main file; move it there",
        "a.toml: database: belongs in the main file; move it there",
    ]


def test_one_clear_line_for_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes('a = 1\nb = "\xe9"'.encode("latin-1"))
    (tmp_path / "bom.toml").write_bytes(b"\xef\xbb\xbfinclude = []")
    (tmp_path / "dir.toml").mkdir()
    assert problems(tmp_path, "none.toml") == ["none.toml: no such file; give the path of a TOML file"]
    assert problems(tmp_path, "dir.toml") == ["dir.toml: is a directory; give the path of a TOML file in it"]
    assert problems(tmp_path, "latin.toml") == ["latin.toml: line 2: not UTF-8 text (byte 0xe9); save it as UTF-8"]
    assert problems(tmp_path, "latin.toml/x") == ["latin.toml/x: cannot be read: Not a directory"]
    assert not problems(tmp_path, "bom.toml")


def test_a_file_of_somebody_else(tmp_path: Path) -> None:
    write(tmp_path, main="")
    (tmp_path / "main.toml").chmod(0)
    with ordinary_user():
        line = "main.toml: cannot be read: permission denied; let this user read it (chmod, chown)"
        assert problems(tmp_path) == [line]


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Give up the rights of root for a while: it may read every file."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_finds_the_lines_of_endpoints(tmp_path: Path) -> None:
    write(tmp_path, main='\n[[endpoints]]\nurl = "a"\n\n  [[ "endpoints" ]] # two\n[[endpoints.x]]\n[[endpoints]]')
    main = documents.read(tmp_path / "main.toml").main
    assert [main.line(number) for number in (1, 2, 3)] == [2, 5, 7]


def test_gives_no_line_when_it_cannot_be_told(tmp_path: Path) -> None:
    write(tmp_path, main='[[endpoints]]\nurl = """\n[[endpoints]]\n"""')
    assert documents.read(tmp_path / "main.toml").main.line(1) is None
    write(tmp_path, main='endpoints = [{ url = "a" }]')
    assert documents.read(tmp_path / "main.toml").main.line(1) is None
