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
    def fine(response): ticks.append(time.monotonic())

    sleep, ticks, told = monkey.get_original("time", "sleep"), [], []

    def prober(exchange): exchange.response, exchange.http_status = object(), 200

    ledger = Ledger()
    watchman = Watchman(ledger, tick_s=0.05, wait_ticks=3, cpu_s=0.2)
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
        "status": result.status.value, "reason": result.reason.value, "detail": result.detail, "told": told,
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
