"""The option `bearer`: the header that it makes, a file that changes, and what it refuses."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import plugged
import pytest
import requests

from watcher import ProbeError, Reason
from watcher.config.options import OptionTypes
from watcher.plugins.credentials import bearer

PLUGINS = plugged.manager(bearer)


def sent(step: Any) -> str:
    """Give the header of one check."""
    request = requests.Request("GET", "http://site.test/").prepare()
    step.before(request)
    return request.headers["Authorization"]


def step_of(path: Path) -> Any:
    """Give the step of an endpoint whose token is in a file."""
    return PLUGINS.hook.watcher_steps(endpoint=plugged.endpoint(PLUGINS, bearer={"token_file": str(path)}))[0]


@pytest.mark.parametrize("written", ["mF_9.B5f-4.1JqM", {"token": "mF_9.B5f-4.1JqM"}])
def test_the_header_is_that_of_the_rfc(written: Any) -> None:
    request = plugged.prepared(PLUGINS, bearer=written)
    assert request.headers["Authorization"] == "Bearer mF_9.B5f-4.1JqM"  # RFC 6750, section 2.1
    assert PLUGINS.hook.watcher_steps(endpoint=plugged.endpoint(PLUGINS, bearer=written)) == []


def test_the_token_may_come_from_the_environment() -> None:
    types = OptionTypes({"bearer": (bearer.Bearer, "test")})
    options = types.convert({"bearer": "${TOKEN}"}, pytest.fail, {"TOKEN": "abc"})
    assert options["bearer"].token == "abc"


def test_an_endpoint_without_the_option_sends_no_credentials() -> None:
    assert "Authorization" not in plugged.prepared(PLUGINS).headers


def test_a_file_that_was_written_anew_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    step = step_of(path)
    assert [sent(step), sent(step)] == ["Bearer first"] * 2
    (tmp_path / "next").write_text("other\n")
    (tmp_path / "next").rename(path)
    assert sent(step) == "Bearer other"
    path.write_text("longer than before".replace(" ", "-"))
    assert sent(step) == "Bearer longer-than-before"


def test_a_renewal_as_kubernetes_does_it_is_noticed(tmp_path: Path) -> None:
    # a volume: token -> ..data/token, ..data -> ..2026_1; renewed by renaming another link over ..data
    for name, text in (("..2026_1", "first"), ("..2026_2", "other")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "token").write_text(text)
        os.utime(tmp_path / name / "token", ns=(0, 0))  # not by its time alone
    (tmp_path / "..data").symlink_to("..2026_1")
    (tmp_path / "token").symlink_to("..data/token")
    step = step_of(tmp_path / "token")
    assert sent(step) == "Bearer first"
    (tmp_path / "..tmp").symlink_to("..2026_2")
    (tmp_path / "..tmp").rename(tmp_path / "..data")
    assert sent(step) == "Bearer other"


def test_an_unchanged_file_is_not_read_again_and_equal_paths_share_it(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first")
    found = path.stat()
    step = step_of(path)
    assert sent(step) == "Bearer first"
    path.write_text("other")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert [sent(step), sent(step_of(path))] == ["Bearer first"] * 2


@pytest.mark.parametrize("content", [None, b"", b"\n", b"two words", b"caf\xc3\xa9", b"a\r\nInjected: b"])
def test_a_file_without_a_token_is_no_fault_of_the_site(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "token"
    step = step_of(path)  # it may come later
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ProbeError) as caught:
        sent(step)
    assert caught.value.reason is Reason.CREDENTIALS
    assert str(path) in caught.value.detail
    assert "Injected" not in caught.value.detail
    path.write_text("there")
    assert sent(step) == "Bearer there"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "token")
    with pytest.raises(ProbeError, match="is no regular file") as caught:
        sent(step_of(tmp_path / "token"))
    assert caught.value.reason is Reason.CREDENTIALS


def test_the_token_does_not_show() -> None:
    endpoint = plugged.endpoint(PLUGINS, bearer="hunter2")
    assert "hunter2" not in repr(endpoint)
    for raw in ({"bearer": "hunter2"}, {"bearer": {"token": "hunter2"}}):
        assert "hunter2" not in repr(OptionTypes({"bearer": (bearer.Bearer, "test")}).masked(raw))


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("", "bearer: the token is empty, or holds a blank"),
        ("hunter2 hunter2", "bearer: the token is empty, or holds a blank"),
        ("hunter2\n", "bearer: the token is empty, or holds a blank"),
        ({}, "bearer: give one of token and token_file"),
        ({"token": "a", "token_file": "b"}, "bearer: give one of token and token_file"),
        ({"tokn": "a"}, 'bearer.tokn: unknown key; did you mean "token"?'),
    ],
)
def test_a_wrong_value_is_found_when_the_configuration_is_read(written: Any, complaint: str) -> None:
    _, mistakes = plugged.convert(PLUGINS, {"bearer": written})
    assert [mistake for mistake in mistakes if complaint in mistake]
    assert "hunter2" not in repr(mistakes)
