"""The spool: files that are whole come back in order, files that are not are set aside."""

from __future__ import annotations

import re
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from watcher.errors import EnvironmentProblem
from watcher.spool import Batch, Damaged, Spool

Damage = Callable[[bytes], bytes]


def batch(number: int) -> Batch:
    """Give a batch that can be told from others."""
    return Batch(number, 3, [("{1,2,3}", '{"a","b",NULL}')])


def test_batches_come_back_in_order_and_only_until_deleted(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    assert all(spool.write(batch(number)) for number in range(12))
    assert spool.rows() == 36
    read = [spool.read(name) for name in spool.files()]
    assert read == [batch(number) for number in range(12)]
    spool.delete(spool.files()[0])
    assert spool.read(spool.files()[0]) == batch(1)


def test_another_run_finds_them_in_the_same_order(tmp_path: Path) -> None:
    first = Spool(tmp_path)
    for number in range(12):
        first.write(batch(number))
    again = Spool(tmp_path)
    assert [again.read(name).agent_id for name in again.files()] == list(range(12))
    assert again.rows() == 36


def test_a_file_of_the_first_version_is_read(tmp_path: Path) -> None:
    body = msgspec.msgpack.encode(batch(7))
    (tmp_path / f"{1:020d}-1-1-3.rows").write_bytes(zlib.crc32(body).to_bytes(4, "big") + body)
    spool = Spool(tmp_path)
    assert [spool.read(name) for name in spool.files()] == [batch(7)]


def cuts(draw: some.DrawFn) -> Damage:
    """Lose the end."""
    share = draw(some.floats(0, 0.999))
    return lambda data: data[: int(len(data) * share)]


def flips(draw: some.DrawFn) -> Damage:
    """Turn over a bit, wherever it is: in the mark, the version, the checksum, the content."""
    share, bit = draw(some.floats(0, 0.999)), draw(some.integers(0, 7))

    def flip(data: bytes) -> bytes:
        place = int(len(data) * share)
        return data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]

    return flip


def garbage(draw: some.DrawFn) -> Damage:
    """Have something else."""
    other = draw(some.binary(max_size=100))
    return lambda data: other


def newer(_: some.DrawFn) -> Damage:
    """Be of a version that nobody knows yet, and whole."""
    return lambda data: data[:7] + b"\x63" + zlib.crc32(data[12:], 0x63).to_bytes(4, "big") + data[12:]


def other_content(draw: some.DrawFn) -> Damage:
    """Be whole, and hold something else than a batch."""
    body = msgspec.msgpack.encode(draw(some.one_of(some.integers(0, 9), some.text(), some.lists(some.integers(0, 9)))))
    return lambda data: data[:8] + zlib.crc32(body, 2).to_bytes(4, "big") + body


@some.composite
def damages(draw: some.DrawFn) -> list[Damage | None]:
    """Give what befalls each of some files; None is nothing."""
    kinds = [None, cuts, flips, garbage, newer, other_content]
    chosen = draw(some.lists(some.sampled_from(kinds), min_size=1, max_size=8))
    return [kind and kind(draw) for kind in chosen]


@given(damages())  # pylint: disable=no-value-for-parameter  # `composite` gives it
@settings(max_examples=80, deadline=None)
def test_what_is_damaged_is_set_aside_as_it_is_and_all_else_comes_back(befalls: list[Damage | None]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        first = Spool(place)
        for number in range(len(befalls)):
            first.write(batch(number))
        kept = {}
        for name, damage in zip(first.files(), befalls, strict=True):
            if damage:
                kept[name.replace(".rows", ".bad")] = damage((place / name).read_bytes())
                (place / name).write_bytes(damage((place / name).read_bytes()))
        spool, said, read = Spool(place), [], []
        for name in spool.files():
            try:
                read.append(spool.read(name).agent_id)
                spool.delete(name)
            except Damaged as error:
                said.append(str(error))
        assert read == [number for number, damage in enumerate(befalls) if not damage]
        assert {path.name: path.read_bytes() for path in place.iterdir()} == kept
        assert all(line.startswith(str(place)) and line.endswith("set aside as .bad") for line in said)
        assert (len(said), spool.files(), spool.rows()) == (len(kept), [], 0)


@pytest.mark.parametrize("name", ["garbage.rows", "1-1.rows", f"{1:020d}-1-1-4.rows", f"{1:020d}-1-1-٣.rows"])
def test_a_file_whose_name_is_none_of_ours_is_set_aside(tmp_path: Path, name: str) -> None:
    Spool(tmp_path).write(batch(1))
    (tmp_path / Spool(tmp_path).files()[0]).rename(tmp_path / name)
    spool = Spool(tmp_path)
    with pytest.raises(Damaged, match="name"):
        spool.read(name)
    assert [path.suffix for path in tmp_path.iterdir()] == [".bad"]


def test_what_cannot_be_read_is_set_aside(tmp_path: Path) -> None:
    name = f"{1:020d}-1-1-3.rows"
    (tmp_path / name).mkdir()  # reading it fails for root, too
    spool = Spool(tmp_path)
    spool.write(batch(2))
    with pytest.raises(Damaged, match="is a directory; set aside"):
        spool.read(name)
    assert [spool.read(name) for name in spool.files()] == [batch(2)]


def test_what_somebody_deleted_is_said_once(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    name = spool.write(batch(1))
    (tmp_path / name).unlink()
    with pytest.raises(Damaged, match="no such file"):
        spool.read(name)
    assert not spool.files()


def test_what_a_crash_left_half_written_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "1-1-1-3.tmp").write_bytes(b"half")
    assert not Spool(tmp_path).files()


def test_the_spool_of_a_worker_that_is_no_more_is_taken_over(tmp_path: Path) -> None:
    Spool(tmp_path / "3").write(batch(1))
    own = Spool(tmp_path / "1")
    own.write(batch(2))
    own.adopt(tmp_path / "3")
    assert [own.read(name) for name in own.files()] == [batch(1), batch(2)]
    assert not (tmp_path / "3").exists()


def files(directory: Path) -> list[str]:
    """Name what lies in the directories of a directory, from the time of a name on only its end."""
    return sorted(re.sub(r"\d{19,}[-\d]*", "TIME", str(path.relative_to(directory))) for path in directory.rglob("*.*"))


def test_what_is_for_another_database_is_set_aside_together_and_counted(tmp_path: Path) -> None:
    for index in (1, 3):
        Spool(tmp_path / f"{index}", database="former").write(batch(index))
    own = Spool(tmp_path / "1", database="now")
    own.adopt(tmp_path / "3")
    assert (own.files(), own.rows(), list(own.disowned.values())) == ([], 0, [3, 3])
    own.write(batch(4))
    again = Spool(tmp_path / "1", database="now")
    assert ([again.read(name) for name in again.files()], again.disowned) == ([batch(4)], {})
    asides = ["1-TIME.bad", "1-TIME.bad/TIME.rows", "3-TIME.bad", "3-TIME.bad/TIME.rows"]
    assert files(tmp_path) == sorted([*asides, "1/TIME.rows"])
    put_back = Spool(tmp_path / "1", database="former")
    put_back.adopt(next(tmp_path.glob("3-*.bad")))
    assert [put_back.read(name) for name in put_back.files()] == [batch(3)]


@pytest.mark.parametrize(("before", "now"), [("", "now"), ("former", ""), ("", ""), ("same", "same")])
def test_what_is_for_nobody_knows_which_database_is_for_that_which_is_there(
    tmp_path: Path, before: str, now: str
) -> None:
    for index in (1, 3):
        Spool(tmp_path / f"{index}", database=before).write(batch(index))
    own = Spool(tmp_path / "1", database=now)
    own.adopt(tmp_path / "3")
    assert sorted(own.read(name) for name in own.files()) == [batch(1), batch(3)]
    assert not own.disowned and not (tmp_path / "3").exists()


def test_an_empty_spool_goes_over_to_another_database_without_a_word(tmp_path: Path) -> None:
    Spool(tmp_path, database="former")
    own = Spool(tmp_path, database="now")
    own.write(batch(1))
    assert not own.disowned and Spool(tmp_path, database="now").files() == own.files()
    assert Spool(tmp_path, database="former").disowned


def test_a_disk_that_takes_no_name_of_the_database_takes_what_it_can(tmp_path: Path) -> None:
    (tmp_path / "database").mkdir()
    own = Spool(tmp_path, database="now")
    assert own.write(batch(1)) and Spool(tmp_path, database="other").files() == own.files()


def test_a_full_spool_refuses_says_why_and_takes_again_when_there_is_room(tmp_path: Path) -> None:
    spool = Spool(tmp_path, max_bytes=150)
    written = [spool.write(batch(number)) for number in range(10)]
    assert written[0] and not written[-1]
    assert spool.files() == [name for name in written if name]
    assert "is full" in spool.trouble
    spool.delete(spool.files()[0])
    assert spool.write(batch(11))


def test_a_disk_that_refuses_leaves_nothing_behind(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    (tmp_path / "spool").rmdir()
    assert spool.write(batch(1)) is None
    assert "no such file" in spool.trouble
    assert not spool.files()


def test_a_directory_that_cannot_be_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem, match="set agent.data_dir"):
        Spool(tmp_path / "file" / "spool")
