"""The option `regex`: what patterns mean, what a verdict says, and that none of them stops the agent."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import thread_time
from typing import Any

import plugged
import pytest

from watcher import Failure, Reason, Step
from watcher.plugins.assertions import regex
from watcher.plugins.protocols import http

PLUGINS = plugged.manager(regex)

# as it stands in the design
LONG_PATTERN = (
    r"(?=^.*you.*welcome)(?!.*forbidden).*\b(?:[a-zA-Z]{3,6}\s?){2,4}\b(?<=\b[a-zA-Z]+\b)\s\d{1,3}(?<!100|200)"
    r"\s(?:at|on)\s[0-9]{2}:[0-9]{2}(?=\s(?:AM|PM)$)"
)
HOSTILE = r"(([a-z])+.)+[A-Z]([a-z])+$"
HIT = "<p>Hello, you are most welcome: meet the team room 42 at 10:30 AM"
FILLER = "<p>the quick brown fox jumps over the lazy dog on 12 days; you may come, all are welcome</p>"


def step_of(written: Any) -> Step:
    """Give the step for an option as it is written."""
    (step,) = PLUGINS.hook.watcher_steps(endpoint=plugged.endpoint(PLUGINS, regex=written))
    return step


def judge(written: Any, body: str | bytes, **of_response: Any) -> tuple[Failure | None, bool | None]:
    """Give the verdict on a body, and what goes into the column `regex_found`."""
    answer = plugged.response(body.encode() if isinstance(body, str) else body, **of_response)
    return step_of(written).examine(answer), getattr(answer, "regex_found", None)


def found(written: Any, body: str | bytes, **of_response: Any) -> bool | None:
    """Tell whether the body has what the pattern asks for."""
    return judge(written, body, **of_response)[1]


def page(*lines: str, end: str = "\n", around: int = 1500) -> str:
    """Give a long page with these lines in its middle."""
    return end.join([FILLER] * around + list(lines) + [FILLER] * around) + end


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_pattern_of_the_design_finds_its_line_in_a_long_page(end: str) -> None:
    assert found(LONG_PATTERN, page(HIT, end=end)) is True


@pytest.mark.parametrize(
    "line",
    [
        HIT + ", forbidden",
        HIT.replace("you", "they"),
        HIT.replace("42", "100"),
        HIT.replace("42", "200"),
        HIT.replace("42", "4242"),
        HIT.replace(" AM", ""),
        HIT + " sharp",
        HIT.replace("10:30", "10:3"),
        HIT.replace("meet the team room", "in M"),
        HIT.replace("welcome: ", "welcome:\n"),
    ],
)
def test_the_pattern_of_the_design_finds_no_line_that_lacks_a_part(line: str) -> None:
    assert found(LONG_PATTERN, page(line)) is False


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_are_what_anchors_and_dots_mean_unless_it_is_asked_otherwise(end: str) -> None:
    text = end.join(["first", "second", "third"])
    assert found("^second$", text) is True
    assert found("^second.third", text) is False
    assert found({"pattern": "second.third", "dotall": True}, text) is True
    assert found({"pattern": "^second$", "multiline": False}, text) is False
    assert found({"pattern": r"^first(?s:.*)third$", "multiline": False}, text) is True
    assert found(r"first\nsecond", text) is True
    assert found(r"\Afirst", text) is True


def test_case_counts_unless_it_is_asked_otherwise() -> None:
    assert found("example domain", "<h1>Example Domain</h1>") is False
    assert found({"pattern": "example domain", "ignore_case": True}, "<h1>Example Domain</h1>") is True
    assert found({"pattern": "ÉTÉ", "ignore_case": True}, "un été") is True


def test_what_the_module_re_refuses_works() -> None:
    assert found(r"(?<=price:\s*)\d+", "price:    42") is True


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("Привет".encode(), "text/html"),
        ("Привет".encode(), ""),
        ("Привет".encode("windows-1251"), "text/html; charset=windows-1251"),
        ("Привет".encode("koi8-u"), 'text/html;Charset="KOI8-U"'),
        ("Привет".encode("utf-16"), "text/html; charset=UTF-16"),
        (b"\xff\xfe " + "Привет".encode(), "text/html; charset=utf-8"),
        ("Привет".encode(), "text/html; charset=no-such-charset"),
        ("Привет".encode(), "text/html; charset=zlib"),
        ("Привет".encode(), "text/html; charset=punycode"),
        ("Привет".encode(), "text/html; charset=idna"),
        ("Привет".encode(), "text/html; charset=unicode_escape"),
        ("\ufeffПривет".encode(), "text/html; charset=iso-8859-1"),
    ],
)
@pytest.mark.parametrize("pattern", ["Привет", r"\bП\w{5}\b"])
def test_text_is_decoded_by_the_declared_charset_else_utf_8(body: bytes, content_type: str, pattern: str) -> None:
    assert found(pattern, body, content_type=content_type) is True


def test_a_byte_order_mark_is_not_the_first_character() -> None:
    assert found(r"^Status", "\ufeffStatus: ok") is True


@pytest.mark.parametrize(
    ("written", "body", "detail", "column"),
    [
        ("ok", "all ok", None, True),
        ("ok", "all bad", 'pattern not found: "ok"', False),
        ("\\d\n$", "", 'pattern not found: "\\d\\n$"', False),
        ("ok", "", 'pattern not found: "ok"', False),
        ({"pattern": "bad", "absent": True}, "all ok", None, False),
        ({"pattern": "b.d", "absent": True}, "one\ntwo bad", 'pattern found in line 2, must be absent: "b.d"', True),
        (["one", "two"], "one two", None, True),
        (["one", "two"], "one", 'pattern not found: "two"', False),
        ([{"pattern": "bad", "absent": True}, "ok"], "ok", None, True),
        ([{"pattern": "bad", "absent": True}, "ok"], "bad", 'pattern not found: "ok"', False),
        ([{"pattern": "bad", "absent": True}, "ok"], "ok bad", 'pattern found in line 1, must be absent: "bad"', True),
        (
            [{"pattern": "bad", "absent": True}, {"pattern": "worse", "absent": True}],
            "worse",
            'pattern found in line 1, must be absent: "worse"',
            True,
        ),
    ],
)
def test_the_verdict_and_the_column(written: Any, body: str, detail: str | None, column: bool) -> None:
    assert judge(written, body) == (detail and Failure(detail, Reason.REGEX), column)


def test_a_body_that_was_cut_is_said_to_be_cut() -> None:
    answer = plugged.response(b"x" * 1000)
    answer.truncated = True
    failure = step_of("ok").examine(answer)
    assert failure == Failure('pattern not found in the first 1000 bytes (max_body): "ok"', Reason.REGEX)


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("a(b", 'regex: bad pattern "a(b": missing ) at position 3'),
        (["ok", "[z-a]"], 'regex: bad pattern "[z-a]": bad character range at position 4'),
        ({"pattern": "*"}, 'regex: bad pattern "*": nothing to repeat at position 0'),
        ("(" * 5000 + ")" * 5000, "regex: bad pattern"),
        ("", "regex: an empty pattern is found everywhere"),
        ([], "regex: an empty list checks nothing"),
        ({"pattern": "a", "timeout": 0}, "timeout 0 s is not between 1ms and 10s"),
        ({"pattern": "a", "timeout": "11s"}, "timeout 11 s is not between 1ms and 10s"),
        ({"pattern": "a", "timeout": "soon"}, "regex.timeout: expected a duration"),
        ({"patern": "a"}, 'regex.patern: unknown key; did you mean "pattern"?'),
        ({"pattern": "a", "absent": "yes"}, "regex.absent: expected true or false"),
        (5, "regex: expected a string"),
    ],
)
def test_a_wrong_value_is_found_when_the_configuration_is_read(written: Any, complaint: str) -> None:
    _, mistakes = plugged.convert(PLUGINS, {"regex": written})
    assert [mistake for mistake in mistakes if complaint in mistake]


@pytest.mark.parametrize(
    ("url", "options", "complaint"),
    [
        ("tcp://site.test:22", {}, '"regex" judges an HTTP response, and tcp:// has none; take it out'),
        ("https://site.test/", {"method": "head"}, '"regex" judges the body, and the answer to HEAD has none'),
    ],
)
def test_where_there_is_nothing_to_search_it_is_refused(url: str, options: dict[str, Any], complaint: str) -> None:
    plugins = plugged.manager(regex, http)
    with pytest.raises(ValueError, match=complaint):
        plugins.hook.watcher_steps(endpoint=plugged.endpoint(plugins, url, regex="ok", **options))


def test_5000_endpoints_with_the_same_pattern_share_one_compiled_pattern() -> None:
    endpoints = (plugged.endpoint(PLUGINS, f"http://{number}.test/", regex=LONG_PATTERN) for number in range(5000))
    assert len({id(endpoint.options["regex"][0].compiled()) for endpoint in endpoints}) == 1


class Offloaded:
    """Counts what goes to the thread pool, and lets it go there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, self._offload = 0, regex.offload
        monkeypatch.setattr(regex, "offload", self)

    def __call__(self, function: Callable, *args: Any) -> Any:
        self.count += 1
        return self._offload(function, *args)


@pytest.fixture(name="offloaded")
def fixture_offloaded(monkeypatch: pytest.MonkeyPatch) -> Offloaded:
    """Give the count of searches in threads."""
    return Offloaded(monkeypatch)


def test_a_plain_text_needs_no_thread_whatever_the_size(offloaded: Offloaded) -> None:
    assert found("all are welcome", page()) is True
    assert offloaded.count == 0


def test_a_pattern_runs_inline_once_it_proved_fast(offloaded: Offloaded) -> None:
    step = step_of(r"o\w\b")
    for _ in range(100):
        assert step.examine(plugged.response(b"all ok")) is None
    # a run may look slow because the machine was busy, and is then proved again
    assert regex.QUICK_RUNS <= offloaded.count < 50


def test_a_long_text_goes_to_a_thread_even_then(offloaded: Offloaded) -> None:
    step = step_of(r"o\w\b")
    for _ in range(100):
        step.examine(plugged.response(b"all ok"))
    before = offloaded.count
    assert step.examine(plugged.response(b"x" * regex.INLINE_CHARS + b" ok")) is None
    assert offloaded.count == before + 1


def test_a_pattern_that_turns_slow_inline_goes_back_to_the_thread(offloaded: Offloaded) -> None:
    step = step_of({"pattern": HOSTILE, "timeout": "50ms"})
    while offloaded.count < 1000:  # until a run took place inline
        before = offloaded.count
        assert step.examine(plugged.response(b"Ab")).reason is Reason.REGEX
        if offloaded.count == before:
            break
    assert before < 1000
    answer = plugged.response(b"a" * 4000)
    assert step.examine(answer).reason is Reason.REGEX_TIMEOUT
    assert offloaded.count == before + 1


def test_a_pattern_that_takes_too_long_is_a_verdict_of_its_own() -> None:
    written = {"pattern": HOSTILE, "timeout": "50ms"}
    failure, column = judge(written, "a" * 4000)
    assert failure == Failure(f'pattern gave no answer in 0.05 s: "{HOSTILE}"', Reason.REGEX_TIMEOUT)
    assert column is None


def test_another_greenlet_keeps_its_turns_while_a_hostile_pattern_runs() -> None:
    script = [sys.executable, Path(__file__).with_name("ticking.py")]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["reasons"] == ["regex_timeout"] * 3
    assert report["through_step_s"] < report["here_s"] / 5, report


def test_what_other_threads_compute_is_not_on_the_bill_of_the_pattern() -> None:
    search = regex.Pattern(pattern=LONG_PATTERN).compiled().search
    text = page(HIT, around=4000)
    began = thread_time()
    expected = search(text).start()
    own_s = thread_time() - began
    stop = threading.Event()

    def burn() -> None:
        while not stop.is_set():
            hashlib.pbkdf2_hmac("sha256", b"", b"", 100_000)  # without the GIL

    others = [threading.Thread(target=burn) for _ in range(4)]
    for other in others:
        other.start()
    try:
        with pytest.raises(TimeoutError):  # what `regex` makes of it
            search(text, timeout=2.5 * own_s, concurrent=True)
        place, _ = regex.search_in_thread(search, text, 2.5 * own_s)
    finally:
        stop.set()
        for other in others:
            other.join()
    assert place == expected
