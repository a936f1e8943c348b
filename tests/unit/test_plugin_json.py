"""The option `json`: what a page says, asked by JMESPath, and that no page and no expression stops the agent."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import plugged
import pytest

from watcher import Failure, Reason
from watcher.plugins.assertions import json_path
from watcher.testing import response

PLUGINS = plugged.manager(json_path)
HEALTH = {
    "status": "failing", "load": 0.95, "count": 3, "ready": True, "note": None, "été": 1,
    "checks": [{"name": "db", "up": True}, {"name": "queue", "up": False}],
}  # fmt: skip


def judge(written: Any, page: Any, **of_response: Any) -> Failure | None:
    """Give the verdict on a page: bytes as they are, all else as JSON."""
    body = page if isinstance(page, bytes) else json.dumps(page).encode()
    return plugged.verdict(PLUGINS, plugged.endpoint(PLUGINS, json=written), response(body, **of_response))


def words(written: Any, page: Any = None) -> str | None:
    """Give the words of a verdict that is down."""
    found = judge(written, HEALTH if page is None else page)
    assert found is None or found == Failure(found.detail)
    return found and found.detail


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("status == 'failing'", None),
        ("ready", None),
        ("length(checks) == `2`", None),
        ("checks[?name=='queue'].up | [0] == `false`", None),
        ("checks[0].up && load < `1`", None),
        ("note == `null`", None),
        ('"été" == `1`', None),
        ("join(', ', checks[].name) == 'db, queue'", None),
        ("contains(checks[].name, 'db')", None),
        ("status == 'ok'", 'json: status is "failing", wanted "ok"'),
        ("load < `0.9`", "json: load is 0.95, wanted < 0.9"),
        ("length(checks) >= `3`", "json: length(checks) is 2, wanted >= 3"),
        ("count != `3`", "json: count is 3, wanted != 3"),
        ("nothing.here == 'x'", 'json: nothing.here is null, wanted "x"'),
        ("load == count", "json: load is 0.95, wanted 3"),
        ("checks[1].up", "json: checks[1].up is false, wanted true"),
        ("ready && load < `0.9`", "json: ready && load < `0.9` is false, wanted true"),
        ("status", 'json: status is "failing", wanted true'),
        ("count", "json: count is 3, wanted true"),
        ("note", "json: note is null, wanted true"),
        ("sum(checks)", "json: sum(checks): sum() cannot be had of dict"),
        ("status < `3`", "json: status < `3`: cannot be evaluated: '<' not supported"),
        ("[status, '" + "x" * 100 + "']",
         "json: [status, '" + "x" * 69 + '… is ["failing","' + "x" * 67 + "…, wanted true"),
    ],
)  # fmt: skip
def test_an_expression_must_be_true_and_a_comparison_says_what_it_found(expression: str, said: str | None) -> None:
    found = words(expression)
    assert found == said or (said and found and found.startswith(said))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"path": "status", "equals": "failing"}, None),
        ({"path": "count", "equals": 3.0}, None),
        ({"path": "ready", "equals": True}, None),
        ({"path": "ready", "equals": 1}, "json: ready is true, wanted 1"),
        ({"path": "count", "equals": "3"}, 'json: count is 3, wanted "3"'),
        ({"path": "checks[].name", "equals": ["db", "queue"]}, None),
        ({"path": "[count, load]", "equals": [3.0, 0.95]}, None),
        ({"path": "[count, load]", "equals": [3]}, "json: [count, load] is [3,0.95], wanted [3]"),
        ({"path": "[[ready]]", "equals": [[1]]}, "json: [[ready]] is [[true]], wanted [[1]]"),
        ({"path": "{a: ready}", "equals": {"a": 1}}, 'json: {a: ready} is {"a":true}, wanted {"a":1}'),
        ({"path": "{a: ready}", "equals": {"b": True}}, 'json: {a: ready} is {"a":true}, wanted {"b":true}'),
        ({"path": "checks[0]", "equals": {"up": True, "name": "db"}}, None),
        ({"path": "load", "min": 0.95, "max": 0.95}, None),
        ({"path": "load", "max": 0.9}, "json: load is 0.95, wanted at most 0.9"),
        ({"path": "count", "min": 4}, "json: count is 3, wanted at least 4"),
        ({"path": "ready", "min": 0}, "json: ready is true, wanted at least 0"),
        ({"path": "nothing", "min": 0}, "json: nothing is null, wanted at least 0"),
        ({"path": "status", "matches": {"regex": "^fail"}}, None),
        ({"path": "status", "matches": "ok"}, 'json: status is "failing", wanted "ok"'),
        ({"path": "load", "matches": {"regex": r"^0\.\d+$"}}, None),
        ({"path": "note", "matches": {"absent": True}}, None),
        ({"path": "status", "matches": {"contains": "fail", "absent": True}},
         'json: status is "failing", wanted not containing "fail"'),
        ({"path": "status", "exists": True}, None),
        ({"path": "note", "exists": True}, "json: note is null, wanted any value"),
        ({"path": "error", "exists": False}, None),
        ({"path": "status", "exists": False}, 'json: status is "failing", wanted none'),
        ({"path": "ready"}, None),
        (["ready", {"path": "count", "max": 2}], "json: count is 3, wanted at most 2"),
    ],
)  # fmt: skip
def test_a_table_says_what_the_value_must_be(written: Any, said: str | None) -> None:
    assert words(written) == said


def test_what_makes_it_down_goes_before_what_makes_it_degraded() -> None:
    slow = {"path": "load", "max": 0.9, "degraded": True}
    assert judge(slow, HEALTH) == Failure("json: load is 0.95, wanted at most 0.9", degraded=True)
    assert judge([slow, "status == 'ok'"], HEALTH) == Failure('json: status is "failing", wanted "ok"')


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (b'\xef\xbb\xbf{"status": "ok"}', None),
        (b' {"status":\r\n"ok"}\n', None),
        (b'{"status":"no","status":"ok"}', None),
        (b"", "json: the page is empty"),
        (b"<html>", "json: the page is not JSON: "),
        (b'{"status": "ok"', "json: the page is not JSON: "),
        (b'{"status": NaN}', "json: the page is not JSON: "),
        (b'{"status": "\xff"}', "json: the page is not JSON: "),
        (b"[" * 100_000 + b"]" * 100_000, "json: the page is nested too deeply"),
        (b'"ok"', 'json: status is null, wanted "ok"'),
        (b'{"status": "' + b"x" * 500 + b'"}', 'json: status is "' + "x" * 79 + '…", wanted "ok"'),
    ],
)
def test_a_page_that_is_no_json_is_down(page: bytes, said: str | None) -> None:
    found = words("status == 'ok'", page)
    assert found == said or (said and found and found.startswith(said))


@pytest.mark.parametrize("written", ["to_string(@) == 'x'", {"path": "@", "matches": "x"}, {"path": "@", "equals": []}])
def test_no_depth_of_a_page_is_too_much_for_what_is_asked_of_it(written: Any) -> None:
    for depth in range(880, 1000, 3):  # a little more than 1,000 can be read from here; the question needs depth itself
        found = judge(written, b"[" * depth + b"]" * depth)
        assert found.detail.startswith(("json: to_string(@) is ", "json: @ is ", "json: the page is nested too deeply"))


@pytest.mark.parametrize(
    ("page", "cut"), [(b'{"status": "ok"}', True), (b'"' + b"x" * json_path.PAGE_BYTES_MAX + b'"', False)]
)
def test_of_a_page_that_is_not_whole_nothing_is_said(page: bytes, cut: bool) -> None:
    found = judge("status == 'ok'", page, truncated=cut)
    assert found.reason is Reason.CONFIG and "is longer than the" in found.detail


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("", "bad JMESPath expression '': Invalid JMESPath expression: cannot be empty."),
        ("foo(", "Incomplete expression"),
        ("a b", "Unexpected token: b: Parse error at column 2"),
        ("count == 3", 'token "3" (NUMBER); write numbers as `3`'),
        ("status = 'ok'", "Unknown token '='; write == to compare"),
        ('status == "ok"', "\"ok\" names a field; write 'ok' for a text, @.\"ok\" for the field"),
        ("nofun(a)", "there is no function nofun(); JMESPath has abs, avg, "),
        ("length(a, b)", "length() is given 2 arguments, wants 1"),
        ("not_null()", "not_null() is given 0 arguments, wants at least 1"),
        ("a" * 1001, "an expression has 1000 characters at most, this one 1001"),
    ],
)
def test_a_wrong_expression_is_found_when_the_configuration_is_read(expression: str, complaint: str) -> None:
    _, mistakes = plugged.convert(PLUGINS, {"json": expression})
    assert len(mistakes) == 1
    mistake = mistakes[0]
    assert mistake.startswith("json: ") and complaint in mistake and "\n" not in mistake


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ([], "json: an empty list checks nothing"),
        ({}, 'json: "path" is missing; add "path"'),
        ({"path": "a", "min": 2, "max": 1}, "json: max 1 is less than min 2"),
        ({"path": "a", "exists": False, "equals": 1}, "json: exists = false leaves nothing that equals, min, max or"),
        ({"path": "a", "matches": {"regex": "("}}, 'json.matches: bad pattern "("'),
        ({"pth": "a"}, 'json.pth: unknown key; did you mean "path"?'),
        (["a", 5], "json[1]: expected a string or a table, got 5"),
    ],
)
def test_a_wrong_value_is_found_when_the_configuration_is_read(written: Any, complaint: str) -> None:
    _, mistakes = plugged.convert(PLUGINS, {"json": written})
    assert len(mistakes) == 1
    mistake = mistakes[0]
    assert mistake.startswith(complaint)


@pytest.mark.parametrize(
    "expression",
    [
        "|".join(["[@,@]"] * 20),  # each doubles what the one before gave
        "|".join(["[@,@][]"] * 20),
        "map(&[@,@][], map(&[@,@,@,@,@,@,@,@], [@,@,@,@,@]))",
        "to_string(to_string(to_string(@)))",  # each escapes what the one before wrote
        "join(separator, names)",  # a page of 1 MiB could be made one of 100 GiB
        "join('" + "x" * 100 + "', names)",
    ],
)
def test_what_could_grow_beyond_bounds_is_refused(expression: str) -> None:
    assert len(plugged.convert(PLUGINS, {"json": expression})[1]) == 1


def test_many_lists_side_by_side_are_no_growth() -> None:
    expression = " && ".join(f"a{number}.[x, y]" for number in range(30))
    assert not plugged.convert(PLUGINS, {"json": expression})[1]


class Offloaded:
    """Counts what goes to the thread pool, and lets it go there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, self._offload = 0, json_path.offload
        monkeypatch.setattr(json_path, "offload", self)

    def __call__(self, function: Callable[..., Any], *given: Any) -> Any:
        self.count += 1
        return self._offload(function, *given)


@pytest.fixture(name="offloaded")
def fixture_offloaded(monkeypatch: pytest.MonkeyPatch) -> Offloaded:
    """Give the count of questions in threads."""
    return Offloaded(monkeypatch)


def test_a_small_page_and_few_steps_need_no_thread(offloaded: Offloaded) -> None:
    assert judge(["ready", {"path": "load", "max": 1}], HEALTH) is None
    assert offloaded.count == 0


def test_a_large_page_or_many_steps_go_to_a_thread(offloaded: Offloaded) -> None:
    items = {"items": [{"id": number} for number in range(1000)]}
    assert judge("items[?id==`999`] | length(@) == `1`", items) is None
    assert offloaded.count == 1
    assert judge("length(items) == `1000`", items) is None
    assert offloaded.count == 1
    padded = items | {"padding": "x" * json_path.INLINE_BYTES}
    assert judge("length(items) == `1000`", padded) is None
    assert offloaded.count == 2


def test_a_reasonable_question_is_answered_of_the_largest_page() -> None:
    page = json.dumps({"items": [{"id": n, "name": f"n{n}", "tags": ["a", "b"]} for n in range(20_000)]}).encode()
    assert len(page) < json_path.PAGE_BYTES_MAX
    assert judge("items[?name=='n19999'].id | [0] == `19999`", page) is None


def test_a_hostile_page_or_expression_ends_and_says_nothing_of_the_site(offloaded: Offloaded) -> None:
    page = b"[" + b"[0]," * 250_000 + b"[0]]"
    found = judge("|".join(["@[*][*][]"] * 100), page)
    assert found.reason is Reason.CONFIG
    assert found.detail.endswith("takes more than 500000 steps on this page")
    assert offloaded.count == 1


def test_endpoints_that_ask_the_same_share_the_questions() -> None:
    first, second = (
        PLUGINS.hook.watcher_steps(endpoint=plugged.endpoint(PLUGINS, url, json="status == 'ok'"))[0]
        for url in ("http://a.test/", "http://b.test/")
    )
    assert first.questions[0].expression is second.questions[0].expression
    assert not PLUGINS.hook.watcher_steps(endpoint=plugged.endpoint(PLUGINS))
