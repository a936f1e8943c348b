"""Steps that never come back: each ends with its own endpoint's check, and every other probe goes on."""

from __future__ import annotations

import json

import pytest
from green_process import run_green

# A plan whose step does what argv[1] says, beside one that only answers; watched as a worker watches.
PROGRAM = """
    import json, os, sys, time
    import gevent
    from gevent import monkey
    import watcher
    from watcher import Endpoint
    from watcher.ledger import Ledger, Watchman
    from watcher.plan import Plan
    from watcher.probe import probe

    def waits(response): gevent.sleep(3600)
    def swallows(response):
        try: gevent.sleep(3600)
        except Exception: pass
    def offloads(response): watcher.offload(sleep, 3600)
    def computes(response):
        while True: pass
    def exits(response): sys.exit("a plugin ends the process")
    def recurses(response): recurses(response)
    def yields(response):
        until = time.thread_time() + 0.6
        while time.thread_time() < until: gevent.sleep(0)
    def fine(response): ticks.append(time.monotonic())

    sleep, ticks, told = monkey.get_original("time", "sleep"), [], []

    def prober(exchange): exchange.response, exchange.http_status = object(), 200

    ledger = Ledger()
    watchman = Watchman(ledger, tick_s=0.05, wait_ticks=100 if sys.argv[1] == "yields" else 3, cpu_s=0.2)
    watchman.start()

    def plan(name, step):
        account = ledger.account(name)
        return Plan(Endpoint(name=name, url="test://x", timeout_s=1), prober, account, examine=((step, account),))

    def others():
        while True:
            probe(plan("others", fine))
            gevent.sleep(0.01)

    background = gevent.spawn(others)
    gevent.sleep(0.05)
    result = probe(plan("bad", globals()[sys.argv[1]]), 0, lambda *what: told.append(what[0]))
    again = probe(plan("good", fine))
    gevent.sleep(0.1)
    print(json.dumps({
        "status": result.status.value, "reason": result.reason and result.reason.value, "detail": result.detail, "told": told,
        "again": again.status.value, "account": ledger.told()["bad"], "alive": not background.dead,
    }))
    sys.stdout.flush()
    os._exit(0)  # a thread may still sleep
"""


@pytest.mark.parametrize(
    ("step", "words", "overruns"),
    [
        ("waits", "waited for more than", 1),
        ("swallows", "waited for more than", 1),
        ("offloads", "waited for more than", 1),
        ("computes", "computed for more than", 1),
        ("exits", "SystemExit: a plugin ends the process", 0),
        ("recurses", "RecursionError", 0),
    ],
)
def test_a_step_that_misbehaves_ends_with_its_own_check_alone(step: str, words: str, overruns: int) -> None:
    found = json.loads(run_green(PROGRAM, step).splitlines()[-1])
    assert (found["status"], found["reason"]) == ("missed", "plugin")
    assert words in found["detail"]
    assert found["detail"].startswith("plugin bad: ")
    assert found["again"] == "up"
    assert found["alive"]
    assert found["told"].count("bad") >= 1
    assert (found["account"]["errors"], found["account"]["overruns"]) == (1, overruns)


def test_a_step_that_computes_and_lets_others_run_is_not_ended() -> None:
    found = json.loads(run_green(PROGRAM, "yields").splitlines()[-1])
    assert (found["status"], found["account"]["overruns"]) == ("up", 0)


# A prober, or what changes the request before it, that does what argv[1] says.
PROBERS = """
    import json, os, sys, time
    import gevent, pluggy
    from watcher import Endpoint, Step, hookimpl, hookspecs
    from watcher.ledger import Ledger, Watchman
    from watcher.plan import compile_plan
    from watcher.probe import probe
    from watcher.plugins.protocols import http

    def waits(_): gevent.sleep(3600)
    def computes(_):
        while True: pass
    def exits(_): sys.exit("a plugin ends the process")

    what = globals()[sys.argv[2]]

    class Bad(Step):
        @hookimpl
        def watcher_prober(self, endpoint): return what if sys.argv[1] == "prober" else None
        @hookimpl
        def watcher_steps(self): return self
        def before(self, request): what(request)

    ledger = Ledger()
    Watchman(ledger, tick_s=0.05, wait_ticks=5, cpu_s=0.2).start()
    plugins = pluggy.PluginManager("watcher")
    plugins.add_hookspecs(hookspecs)
    plugins.register(http)
    plugins.register(Bad(), "Bad")
    plan = compile_plan(Endpoint(name="x", url="http://127.0.0.1:1/", timeout_s=0.05), plugins, ledger)
    told = []
    result = gevent.spawn(probe, plan, 0, lambda *what: told.append(what[0])).get()
    account = ledger.told()["Bad"]
    print(json.dumps([result.status.value, result.reason.value, result.detail, told, account["overruns"]]))
"""


@pytest.mark.parametrize("part", ["prober", "before"])
@pytest.mark.parametrize(
    ("act", "words", "overruns"),
    [
        ("waits", {"prober": "waited for more than 0.25 s", "before": "took all of the timeout"}, 1),
        ("computes", {}, 1),
        ("exits", {}, 0),
    ],
)
def test_so_does_a_prober_and_what_comes_before_it_in_the_name_of_its_plugin(
    part: str, act: str, words: dict[str, str], overruns: int
) -> None:
    status, reason, detail, told, ended = json.loads(run_green(PROBERS, part, act))
    assert (status, reason, told, ended) == ("missed", "plugin", ["Bad"], overruns)
    assert detail.startswith("plugin Bad: ")
    assert words.get(part, {"computes": "computed for more than", "exits": "SystemExit: a plugin"}.get(act)) in detail


def test_the_end_of_the_process_is_no_victim_of_the_alarm() -> None:
    run_green(
        """
        from watcher.ledger import Ledger, Watchman

        class Slow:
            def __init__(self): self.me = self
            def __del__(self, sum=sum, range=range):  # when Python has given up its handlers for signals
                print(sum(range(5_000_000)), flush=True)

        Watchman(Ledger(), tick_s=0.02).start()
        slow = Slow()
        """
    )
