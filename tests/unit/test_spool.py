"""The spool: files that are whole come back in order, files that are not are set aside."""

from __future__ import annotations

from pathlib import Path

import pytest

from watcher.errors import EnvironmentProblem
from watcher.spool import Batch, Spool


def batch(number: int) -> Batch:
    """Give a batch that can be told from others."""
    return Batch(number, 3, [("{1,2,3}", '{"a","b",NULL}')])


def test_batches_come_back_in_order_and_only_until_deleted(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    assert all(spool.write(batch(number)) for number in range(12))
    assert spool.rows() == 36
    read = [spool.read(path) for path in spool.files()]
    assert read == [batch(number) for number in range(12)]
    spool.delete(spool.files()[0])
    assert spool.read(spool.files()[0]) == batch(1)


def test_another_run_finds_them(tmp_path: Path) -> None:
    Spool(tmp_path).write(batch(1))
    again = Spool(tmp_path)
    assert [again.read(path) for path in again.files()] == [batch(1)]


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-3], lambda data: data[:9] + b"\0" + data[10:], lambda data: data[:0]]
)
def test_a_damaged_file_is_set_aside(tmp_path: Path, damage) -> None:
    spool = Spool(tmp_path)
    spool.write(batch(1))
    spool.write(batch(2))
    path = spool.files()[0]
    path.write_bytes(damage(path.read_bytes()))
    assert [spool.read(path) for path in spool.files()] == [None, batch(2)]
    assert [path.suffix for path in sorted(tmp_path.iterdir())] == [".bad", ".rows"]


def test_what_a_crash_left_half_written_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "1-1-1-3.tmp").write_bytes(b"half")
    assert not Spool(tmp_path).files()


def test_the_spool_of_a_worker_that_is_no_more_is_taken_over(tmp_path: Path) -> None:
    Spool(tmp_path / "3").write(batch(1))
    own = Spool(tmp_path / "1")
    own.write(batch(2))
    own.adopt(tmp_path / "3")
    assert [own.read(path) for path in own.files()] == [batch(1), batch(2)]
    assert not (tmp_path / "3").exists()


def test_a_full_spool_refuses(tmp_path: Path) -> None:
    spool = Spool(tmp_path, max_bytes=150)
    written = [spool.write(batch(number)) for number in range(10)]
    assert written[0] and not written[-1]
    assert len(spool.files()) == sum(written)


def test_a_directory_that_cannot_be_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem, match="set agent.data_dir"):
        Spool(tmp_path / "file" / "spool")
