"""What the workers' lines add up to."""

from __future__ import annotations

from typing import Any

from watcher.screen.fleet import CHANGES, FAILURES, Fleet


def line(worker: int = 0, pid: int = 1, at_s: float = 0.0, **more: Any) -> dict[str, Any]:
    """Make a status line."""
    return {"worker": worker, "pid": pid, "at_us": int(at_s * 1e6), **more}


def change(name: str, status: str = "down") -> dict[str, Any]:
    """Make a change of status."""
    return {"name": name, "before": "up", "status": status, "at_us": 0}


def test_gauges_and_totals_are_summed_and_the_worst_percentile_counts() -> None:
    fleet = Fleet()
    fleet.hear(line(0, endpoints=3, up=2, down=1, stored=10, lag_p99_us=300), 0.0)
    fleet.hear(line(1, pid=2, endpoints=4, up=4, stored=5, lag_p99_us=900), 0.0)
    totals = fleet.totals(0.0)
    assert (totals.endpoints, totals.up, totals.down, totals.stored, totals.lag_p99_us) == (7, 6, 1, 15, 900)
    assert totals.workers == 2


def test_the_rate_comes_from_two_lines_and_their_own_times() -> None:
    fleet = Fleet()
    fleet.hear(line(at_s=10.0, checks=1000, cpu_s=5.0), 0.0)
    assert fleet.totals(0.0).checks_per_s == 0
    fleet.hear(line(at_s=12.0, checks=1600, cpu_s=6.0), 2.0)
    assert fleet.totals(2.0).checks_per_s == 300
    assert fleet.totals(2.0).cpu == 0.5


def test_a_silent_worker_has_no_rate() -> None:
    fleet = Fleet()
    fleet.hear(line(at_s=0.0, checks=0), 0.0)
    fleet.hear(line(at_s=1.0, checks=10), 1.0)
    assert fleet.totals(2.0).checks_per_s == 10
    assert (fleet.totals(60.0).checks_per_s, fleet.totals(60.0).workers) == (0, 0)


def test_totals_outlive_a_worker_and_gauges_do_not() -> None:
    fleet = Fleet()
    fleet.hear(line(pid=1, stored=100, missed=2, up=5, buffered=7), 0.0)
    assert fleet.forget(0)["buffered"] == 7
    assert (fleet.totals(0.0).stored, fleet.totals(0.0).up) == (100, 0)
    fleet.hear(line(pid=2, stored=3, up=5), 1.0)
    assert (fleet.totals(1.0).stored, fleet.totals(1.0).missed, fleet.totals(1.0).up) == (103, 2, 5)


def test_what_a_worker_left_in_the_spool_is_counted_once_by_the_next_one() -> None:
    fleet = Fleet()
    fleet.hear(line(pid=1, spooled=35), 0.0)
    fleet.hear(line(pid=2, recovered=35, spooled=35), 1.0)
    assert fleet.totals(1.0).spooled == 35


def test_the_endpoints_of_a_worker_that_died_are_unknown_until_the_next_one_speaks() -> None:
    fleet = Fleet()
    fleet.hear(line(0, endpoints=5, up=5), 0.0)
    fleet.hear(line(1, pid=2, endpoints=4, up=3, down=1), 0.0)
    fleet.forget(0)
    fleet.forget(0)
    totals = fleet.totals(0.0)
    assert (totals.endpoints, totals.up, totals.down, totals.unknown) == (9, 3, 1, 5)
    fleet.hear(line(0, pid=3, endpoints=5, up=4, unknown=1), 1.0)
    assert (fleet.totals(1.0).endpoints, fleet.totals(1.0).unknown) == (9, 1)


def test_a_line_that_follows_at_once_keeps_the_rate() -> None:
    fleet = Fleet()
    for at_s, checks in ((0.0, 0), (1.0, 50), (1.01, 60)):
        fleet.hear(line(at_s=at_s, checks=checks), at_s)
    assert fleet.totals(1.01).checks_per_s == 50


def test_another_process_with_the_same_index_counts_from_its_own_start() -> None:
    fleet = Fleet()
    fleet.hear(line(pid=1, at_s=1.0, checks=1000), 0.0)
    fleet.hear(line(pid=2, at_s=2.0, checks=1), 1.0)
    assert fleet.totals(1.0).checks == 1001
    assert fleet.totals(1.0).checks_per_s == 0


def test_nothing_is_known_of_a_worker_that_was_never_heard() -> None:
    fleet = Fleet()
    assert fleet.forget(5) == {}
    assert fleet.totals(0.0).database == ""


def test_the_first_trouble_of_the_database_is_told() -> None:
    fleet = Fleet()
    fleet.hear(line(0, database="ok"), 0.0)
    assert fleet.totals(0.0).database == "ok"
    fleet.hear(line(1, database="refused"), 0.0)
    assert fleet.totals(0.0).database == "refused"


def test_changes_are_taken_once_and_failures_stay_newest_first() -> None:
    fleet = Fleet()
    fleet.hear(line(changes=[change("a"), change("b", "up"), change("c")]), 0.0)
    assert [taken["name"] for taken in fleet.changes()[0]] == ["a", "b", "c"]
    assert fleet.changes() == ([], 0)
    assert [failure["name"] for failure in fleet.failures] == ["c", "a"]


def test_memory_is_bounded_and_what_had_no_room_is_counted() -> None:
    fleet = Fleet()
    fleet.hear(line(changes=[change(str(number)) for number in range(CHANGES + 5)]), 0.0)
    taken, lost = fleet.changes()
    assert (len(taken), lost, len(fleet.failures)) == (CHANGES, 5, FAILURES)


def test_those_that_are_down_come_first() -> None:
    fleet = Fleet()
    fleet.hear(line(0, latest=[{"name": "b", "status": "up"}, {"name": "z", "status": "down"}]), 0.0)
    fleet.hear(line(1, latest=[{"name": "a", "status": "up"}, {"name": "m", "status": "missed"}]), 0.0)
    assert [row["name"] for row in fleet.latest()] == ["z", "m", "a", "b"]


def test_a_line_that_lacks_everything_does_no_harm() -> None:
    fleet = Fleet()
    fleet.hear({"worker": 0}, 0.0)
    fleet.hear({"worker": 0, "lag_p99_us": None}, 1.0)
    assert fleet.totals(1.0).workers == 1


def figures(calls: int, spent_us: int, errors: int = 0, **more: int) -> dict[str, int]:
    """Make what a worker says of one plugin."""
    return {"calls": calls, "spent_us": spent_us, "errors": errors, **more}


def test_the_figures_of_plugins_are_summed_over_workers_those_too_that_ended() -> None:
    fleet = Fleet()
    fleet.hear(line(0, plugins={"regex": figures(10, 500), "http": figures(10, 0)}), 0.0)
    fleet.hear(line(1, pid=2, plugins={"regex": figures(5, 100, 1, held=2)}), 0.0)
    assert fleet.plugins() == {"regex": figures(15, 600, 1, held=2), "http": figures(10, 0)}
    fleet.hear(line(0, plugins={"regex": figures(11, 550), "http": figures(11, 0)}), 1.0)
    assert fleet.plugins()["regex"] == figures(16, 650, 1, held=2)
    fleet.forget(1)
    fleet.hear(line(1, pid=3, plugins={"regex": figures(1, 7)}), 2.0)
    assert fleet.plugins() == {"regex": figures(17, 657, 1, held=2), "http": figures(11, 0)}
    fleet.hear(line(1, pid=4), 3.0)
    assert fleet.plugins()["regex"] == figures(17, 657, 1, held=2)


def test_what_outputs_did_not_get_is_among_the_figures_of_their_plugins() -> None:
    fleet = Fleet()
    fleet.hear(line(0, plugins={"statsd": figures(0, 0, 2)}, outputs_dropped={"statsd": 40}), 0.0)
    fleet.hear(line(1, pid=2, outputs_dropped={"statsd": 2, "otlp": 1}), 0.0)
    fleet.forget(1)
    assert fleet.plugins() == {"statsd": figures(0, 0, 2, dropped=42), "otlp": {"dropped": 1}}


def test_what_is_told_of_plugins_is_nobody_elses_to_change() -> None:
    fleet = Fleet()
    fleet.hear(line(0, plugins={"regex": figures(1, 1)}), 0.0)
    fleet.forget(0)
    fleet.plugins()["regex"]["calls"] = 100
    assert fleet.plugins() == {"regex": figures(1, 1)}


def test_the_worst_worker_is_told_of_and_all_that_is_shed_is_summed() -> None:
    fleet = Fleet()
    fleet.hear(line(0, shed=7, shedding_permille=300, suspect=True, error_max_us=7200), 0.0)
    fleet.hear(line(1, pid=2, shed=5, shedding_permille=510, network_away=True, error_max_us=None), 0.0)
    totals = fleet.totals(0.0)
    assert (totals.shed, totals.shedding_permille, totals.suspect, totals.network_away) == (12, 510, 1, 1)
    assert totals.troubles() == [
        "saturated, shedding 51 %",
        "numbers are suspect: read 7.20 ms too long",
        "own network away",
    ]
    fleet.forget(0)
    assert fleet.totals(0.0).shed == 12
    assert not Fleet().totals(0.0).troubles()
