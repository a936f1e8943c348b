"""What a real Prometheus makes of the output `prometheus_remote_write`."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from watcher import Endpoint, Reason, Result, Status
from watcher.config import Agent, Database, Settings
from watcher.plugins.outputs import prometheus_remote_write as remote_write

SITE = Endpoint(name="front page", url="https://shop.test/", labels={"team": "web"})


@pytest.fixture(name="prometheus")
def fixture_prometheus(tmp_path: Path, eventually: Callable[..., Any]) -> Iterator[str]:
    """Run Prometheus with its receiver for remote write; give its URL."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("the program prometheus is not installed (apt-get install prometheus)")
    with socket.create_server(("127.0.0.1", 0)) as free:
        place = f"127.0.0.1:{free.getsockname()[1]}"
    (tmp_path / "prometheus.yml").write_text("global: {scrape_interval: 1m}\n")
    command = [
        program, "--web.enable-remote-write-receiver", f"--web.listen-address={place}",
        f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data",
    ]  # fmt: skip
    with open(tmp_path / "log", "wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            eventually(lambda: "ready to receive" in (tmp_path / "log").read_text(), 20)
            yield f"http://{place}"
        finally:
            process.terminate()
            process.wait(20)


def ask(prometheus: str, query: str) -> dict[str, float]:
    """Give the value of each series, by its labels without those that are the same for all."""
    where = f"{prometheus}/api/v1/query?" + urllib.parse.urlencode({"query": query})
    with urllib.request.urlopen(where, timeout=10) as answer:
        found = json.load(answer)["data"]["result"]
    return {
        ",".join(f"{key}={value}" for key, value in sorted(one["metric"].items()) if key not in COMMON): float(
            one["value"][1]
        )
        for one in found
    }


COMMON = {"__name__", "job", "instance", "location", "endpoint", "team"}


def test_prometheus_takes_and_answers(prometheus: str) -> None:
    receiver = remote_write.Prometheus(url=f"{prometheus}/api/v1/write", buckets=True, phases=True)
    agent = Agent(data_dir=Path(), location="eu")
    settings = Settings(database=Database(), agent=agent, plugins={"prometheus_remote_write": receiver})
    output = remote_write.watcher_output(settings)
    assert output is not None
    with closing(output):
        output([Result(SITE, 0, Status.UP, None, 200, 200_000, ttfb_us=200_000)] * 3)
        output.flush()
        output([Result(SITE, 0, Status.DOWN, Reason.TIMEOUT, latency_us=10_000_000)])
    one = '{job="watcher",location="eu",endpoint="front page",team="web"}'
    assert ask(prometheus, f"watcher_check_up{one}") == {"": 0}
    assert ask(prometheus, f"watcher_checks_total{one}") == {"status=up": 3, "reason=timeout,status=down": 1}
    assert ask(prometheus, "watcher_check_duration_seconds_sum") == {"": 10.6}
    assert ask(prometheus, "histogram_quantile(0.5, watcher_check_duration_seconds_bucket)") == {"": pytest.approx(0.2)}
    assert ask(prometheus, "watcher_check_phase_duration_seconds_count") == {"phase=ttfb": 3}
    assert ask(prometheus, "count_over_time(watcher_check_up[1m])") == {"": 2}
