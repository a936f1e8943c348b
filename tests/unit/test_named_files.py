"""The files that options name: what is another one now is found, whatever way it was changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from watcher import Endpoint, Options, Secret
from watcher.config import EndpointSpec, endpoint, named_files
from watcher.config.options import OptionTypes
from watcher.errors import ConfigError
from watcher.named_files import NamedFiles, Stamp, stamps


class Proof(Options):
    """A table that names files in both ways."""

    password: Secret | None = None
    papers: list[Path] = []


class Checked(Options):
    """A table that reads its file when it is converted, as `tls` does."""

    paper: Path

    def __post_init__(self) -> None:
        if self.paper.read_text(encoding="utf-8") != "right":
            raise ValueError(f"{self.paper} is not right")


TYPES = {"proof": (Proof, "test"), "checked": (Checked, "test"), "secret": (Secret, "test"), "text": (str, "test")}


def row(**options: object) -> dict[str, object]:
    """Give a row of the table `endpoints`."""
    return {"id": 1, "name": "x", "url": "https://example.com/", "options": options}


def test_every_file_that_options_name_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", "/run")
    monkeypatch.setenv("HOME", "/home/me")
    types = OptionTypes(TYPES)
    proof = {"password_file": "${PLACE}/password", "papers": ["/a.pem", "~/b.pem"]}
    found = named_files(row(proof=proof, secret_file="/secret", text="/no/file"), types)
    assert found == ("/run/password", "/a.pem", "/home/me/b.pem", "/secret")
    assert named_files(row(text="/no/file"), types) == ()
    assert named_files({"options": None}, types) == ()
    again = named_files(row(proof=proof, secret_file="/secret", text="/no/file"), types)
    assert again is found, "100,000 endpoints with the same files have one tuple"


def replaced(path: Path) -> None:
    """Put another file in its place, as one should."""
    beside = path.with_suffix(".new")
    beside.write_text("b", encoding="utf-8")
    os.replace(beside, path)


def written_with_the_old_time(path: Path) -> None:
    """Write as many bytes, and set the time back as `cp -p` does."""
    before = path.stat()
    path.write_text("b", encoding="utf-8")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [replaced, written_with_the_old_time, os.remove, lambda path: path.chmod(0o400)])
def test_a_change_is_found_once(tmp_path: Path, change: Callable[[Path], None]) -> None:
    path, other = tmp_path / "one", tmp_path / "other"
    path.write_text("a", encoding="utf-8")
    files = NamedFiles()
    files.note(1, (str(path), str(other)))
    files.note(2, (str(other),))
    files.note(3, ())
    assert files.changed({1, 2, 3}, stamps) == []
    change(path)
    assert files.changed({1, 2, 3}, stamps) == [1]
    assert files.changed({1, 2, 3}, stamps) == []
    other.write_text("a", encoding="utf-8")
    assert files.changed({1, 2, 3}, stamps) == [1, 2]


def test_a_link_that_leads_elsewhere_is_a_change(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "secret").write_text("same", encoding="utf-8")
    (tmp_path / "data").symlink_to("a")  # how Kubernetes renews a mounted secret
    files = NamedFiles()
    files.note(1, (str(tmp_path / "data" / "secret"),))
    (tmp_path / "beside").symlink_to("b")
    os.replace(tmp_path / "beside", tmp_path / "data")
    assert files.changed({1}, stamps) == [1]


def test_what_is_not_watched_any_more_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "one"
    files = NamedFiles()
    for number in (1, 2, 3):
        files.note(number, (str(path),))
    files.note(2, ())
    path.write_text("a", encoding="utf-8")
    assert files.changed({2, 3}, stamps) == [3]
    looked: list[set[str]] = []

    def look(paths: Iterable[str]) -> dict[str, Stamp]:
        looked.append(set(paths))
        return stamps(looked[-1])

    files.changed((), look)
    files.changed((), look)
    assert looked == [{str(path)}, set()]


def test_a_file_that_changed_is_judged_anew(tmp_path: Path) -> None:
    path = tmp_path / "paper"
    path.write_text("right", encoding="utf-8")
    types = OptionTypes(TYPES)
    spec = EndpointSpec(name="x", url="https://example.com/", options={"checked": {"paper": str(path)}})

    def read() -> Endpoint:
        return endpoint(spec, types)

    read()
    path.write_text("wrong", encoding="utf-8")
    read()  # equal options are one object: they are not converted again
    types.forget_files()
    with pytest.raises(ConfigError, match="is not right"):
        read()
