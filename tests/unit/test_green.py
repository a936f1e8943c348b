"""`offload`: values and exceptions come back from the thread, and nothing is printed on the way."""

from __future__ import annotations

import threading

import gevent
import pytest

import watcher


def test_a_value_comes_back_from_another_thread() -> None:
    def where(first: int, *, second: int) -> tuple[int, int]:
        return threading.get_ident(), first + second

    ident, total = watcher.offload(where, 1, second=2)
    assert ident != threading.get_ident()
    assert total == 3


@pytest.mark.parametrize("kind", [ValueError, SystemExit])
def test_an_exception_comes_back_and_is_not_printed(kind: type[BaseException], capfd: pytest.CaptureFixture) -> None:
    def fail() -> None:
        raise kind("as expected")

    with pytest.raises(kind, match="as expected"):
        watcher.offload(fail)
    assert capfd.readouterr() == ("", "")


def test_a_call_that_never_comes_back_holds_up_no_other() -> None:
    end = threading.Event()
    for _ in range(3):  # more than there are threads
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
            watcher.offload(end.wait)
    try:
        assert watcher.offload(len, "others go on") == 12
    finally:
        end.set()
