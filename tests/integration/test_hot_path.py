"""The way of a check asks no plugin anything: pluggy is for load time."""

from __future__ import annotations

import sys
from collections import Counter
from types import FrameType

import gevent
from scripted import answers, page, scripted

from watcher import Failure, Status, config, hookimpl, registry
from watcher.plan import Plan, compile_plan
from watcher.probe import probe

CHECKS = 20


class Asked:
    """A plugin that implements every hook of a plan and counts how often each is asked."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    @hookimpl
    def watcher_prepare(self) -> None:
        """Count."""
        self.counts["prepare"] += 1

    @hookimpl
    def watcher_prober(self) -> None:
        """Count."""
        self.counts["prober"] += 1

    @hookimpl
    def watcher_steps(self):
        """Count, and give a step that counts too."""
        self.counts["steps"] += 1
        return self.examine

    def examine(self, _response) -> Failure | None:
        """Count."""
        self.counts["checks"] += 1


def test_a_check_makes_no_pluggy_call_and_asks_no_hook() -> None:
    asked, plugins = Asked(), registry.plugin_manager()
    plugins.register(asked)
    called: Counter[str] = Counter()

    def profile(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            called[frame.f_globals.get("__name__", "").partition(".")[0]] += 1

    def check(plan: Plan) -> None:
        sys.setprofile(profile)
        try:
            statuses.extend(probe(plan).status for _ in range(CHECKS))
        finally:
            sys.setprofile(None)

    statuses: list[Status] = []
    with scripted(answers(page(b"found"))) as port:
        url = f"http://127.0.0.1:{port}/"
        row = {"name": "x", "url": url, "options": {"regex": "found", "headers": {"X-A": "b"}}}
        gevent.spawn(check, compile_plan(config.endpoint(row, registry.option_types(plugins)), plugins)).join()
    assert statuses == [Status.UP] * CHECKS
    assert asked.counts == {"prepare": 1, "prober": 1, "steps": 1, "checks": CHECKS}
    assert called["watcher"] > CHECKS  # the profile saw what there was to see
    assert "pluggy" not in called
