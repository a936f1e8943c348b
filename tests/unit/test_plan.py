"""Plans: plugins are asked once, and nothing that they do at load time ends a worker."""

from __future__ import annotations

import pytest
from plugged import manager

from watcher import Endpoint, Failure, Step, hookimpl
from watcher.errors import ProbeError
from watcher.models import Reason
from watcher.plan import compile_plan
from watcher.transport.exchange import Exchange


class Recorder:
    """A plugin that probes `test:` URLs and counts how often it is asked."""

    def __init__(self, steps: object = None, error: BaseException | None = None) -> None:
        self.asked: list[str] = []
        self.steps = steps
        self.error = error

    @hookimpl
    def watcher_prepare(self, request) -> None:
        """Note the call."""
        self.asked.append("prepare")
        request.headers["X"] = "1"

    @hookimpl
    def watcher_prober(self, endpoint, request):
        """Give a prober that does nothing."""
        self.asked.append("prober")
        assert request.headers["X"] == "1"
        return (lambda exchange: None) if endpoint.url.startswith("test:") else None

    @hookimpl
    def watcher_steps(self):
        """Give the steps under test."""
        self.asked.append("steps")
        if self.error:
            raise self.error
        return self.steps


def complaint(plan) -> ProbeError:
    """Give what the prober of an unusable endpoint raises."""
    with pytest.raises(ProbeError) as caught:
        plan.prober(Exchange(1.0))
    return caught.value


def test_each_hook_is_asked_once_in_the_order_of_a_check() -> None:
    plugin = Recorder()
    compile_plan(Endpoint(name="x", url="test://x"), manager(plugin))
    assert plugin.asked == ["prepare", "prober", "steps"]


def test_steps_come_as_functions_objects_and_lists() -> None:
    class Both(Step):
        """Uses both moments."""

        def before(self, request) -> None:
            """Do nothing."""

        def examine(self, response) -> Failure | None:
            """Find nothing."""

    class Before(Step):
        """Uses one."""

        def before(self, request) -> None:
            """Do nothing."""

    def function(_response) -> None:
        """Find nothing."""

    both, before = Both(), Before()
    plan = compile_plan(Endpoint(name="x", url="test://x"), manager(Recorder([both, [before, function]])))
    assert len(plan.before) == 2
    assert [judge for judge, _account in plan.examine] == [both.examine, function]


@pytest.mark.parametrize(
    ("plugin", "url", "words"),
    [
        (Recorder(), "gopher://x", "no plugin probes gopher: URLs"),
        (Recorder(error=KeyError("boom")), "test://x", "KeyError: 'boom'"),
        (Recorder(error=SystemExit("boom")), "test://x", "SystemExit: boom"),
        (Recorder(steps="text"), "test://x", "a step must be"),
    ],
)
def test_an_endpoint_that_cannot_be_compiled_says_so_at_each_check(plugin, url: str, words: str) -> None:
    error = complaint(compile_plan(Endpoint(name="x", url=url), manager(plugin)))
    assert error.reason is Reason.CONFIG
    assert words in error.detail


def test_of_an_exception_with_several_lines_the_first_is_told() -> None:
    plugin = Recorder(error=ValueError("\n  the key\tis wrong\x1b[2J\nand a traceback\n  of its own"))
    plan = compile_plan(Endpoint(name="x", url="test://x"), manager(plugin))
    assert complaint(plan).detail.endswith(": the key\\tis wrong\\x1b[2J")
