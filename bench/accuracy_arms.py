"""Other clients over the exact server: `python bench/accuracy_arms.py ARM URL CA RATE SECONDS`, a JSON object of what
each would report: latencies in µs by its own clock, and how late it started. RATE 0 is as fast as it can go with
CROWD checks in flight.

`blackbox` runs Debian's prometheus-blackbox-exporter on this process's core and reads its probe_duration_seconds; who
asks it runs on the other core.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from checks import SERVER

WARM_S = 3.0
WIDTH = 2000  # checks in flight, as watcher's default
CROWD = 300
TIMEOUT_S = 5.0
PORT = 7803

Told = tuple[list[float], list[float], int, int]


def main() -> None:
    """Run one arm."""
    arm, url, ca_file, rate, seconds = sys.argv[1:]
    latencies, lates, missed, down = ARMS[arm](url, ca_file, float(rate), float(seconds))
    told = {"rate": len(latencies) / float(seconds), "latency_us": latencies, "late_us": lates}
    print(json.dumps(told | {"missed": missed, "down": down}))


def dues(start: float, rate: float, seconds: float) -> Iterator[tuple[float, float]]:
    """Give when each check is due, and how long to wait for it, until the time is up."""
    number = 0
    while (now := time.monotonic()) - start < WARM_S + seconds:
        due = start + number / rate if rate else now
        if due - start >= WARM_S + seconds:
            return
        yield due, max(0.0, due - now)
        number += 1


def aiohttp_arm(url: str, ca_file: str, rate: float, seconds: float) -> Told:
    """aiohttp on its event loop, a fresh connection a check."""
    import asyncio
    import ssl

    import aiohttp

    latencies: list[float] = []
    lates: list[float] = []
    counts = {"missed": 0, "down": 0}

    async def check(session: aiohttp.ClientSession, due: float, context: object, counted: bool) -> None:
        began = time.monotonic()
        try:
            async with session.get(url, ssl=context) as response:
                await response.read()
        except (aiohttp.ClientError, TimeoutError):
            counts["down"] += counted
            return
        if counted:
            latencies.append((time.monotonic() - began) * 1e6)
            lates.append((began - due) * 1e6)

    async def run() -> None:
        context = ssl.create_default_context(cafile=ca_file) if url.startswith("https") else True
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            tasks: set[asyncio.Task[None]] = set()
            start = time.monotonic()
            for due, wait_s in dues(start, rate, seconds):
                await asyncio.sleep(wait_s)
                while not rate and len(tasks) >= CROWD:
                    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                counted = due - start >= WARM_S
                if len(tasks) >= WIDTH:
                    counts["missed"] += counted
                    continue
                task = asyncio.create_task(check(session, due, context, counted))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.gather(*tasks)

    asyncio.run(run())
    return latencies, lates, counts["missed"], counts["down"]


def requests_arm(url: str, ca_file: str, rate: float, seconds: float) -> Told:
    """`requests.get` in a gevent pool, everything monkey-patched."""
    from gevent import monkey

    monkey.patch_all()
    import gevent
    import requests
    from gevent.pool import Pool

    latencies: list[float] = []
    lates: list[float] = []
    counts = {"missed": 0, "down": 0}

    def check(due: float, counted: bool) -> None:
        began = time.monotonic()
        try:
            requests.get(url, verify=ca_file, timeout=TIMEOUT_S)
        except requests.RequestException:
            counts["down"] += counted
            return
        if counted:
            latencies.append((time.monotonic() - began) * 1e6)
            lates.append((began - due) * 1e6)

    pool = Pool(WIDTH if rate else CROWD)
    start = time.monotonic()
    for due, wait_s in dues(start, rate, seconds):
        gevent.sleep(wait_s)
        counted = due - start >= WARM_S
        if rate and pool.full():
            counts["missed"] += counted
            continue
        pool.spawn(check, due, counted)  # waits for a place
    pool.join()
    return latencies, lates, counts["missed"], counts["down"]


def blackbox_arm(url: str, ca_file: str, rate: float, seconds: float) -> Told:
    """Debian's prometheus-blackbox-exporter: what its probe_duration_seconds says."""
    with tempfile.TemporaryDirectory(prefix="watcher-bench-") as name:
        module = Path(name) / "blackbox.yml"
        tls = f", tls_config: {{ca_file: {ca_file}}}"
        module.write_text(
            f"modules: {{m: {{prober: http, timeout: {TIMEOUT_S:g}s, http: {{preferred_ip_protocol: ip4{tls}}}}}}}\n"
        )
        command = ["prometheus-blackbox-exporter", f"--config.file={module}", f"--web.listen-address=127.0.0.1:{PORT}"]
        environment = os.environ | {"GOMAXPROCS": "1"}
        with subprocess.Popen([*command, "--log.level=error"], env=environment) as exporter:
            try:
                time.sleep(1.0)
                os.sched_setaffinity(0, {SERVER})  # who asks is not on the exporter's core
                return _ask_blackbox(f"http://127.0.0.1:{PORT}/probe?module=m&target={url}", rate, seconds)
            finally:
                exporter.terminate()


def _ask_blackbox(probe_url: str, rate: float, seconds: float) -> Told:
    import asyncio

    import aiohttp

    latencies: list[float] = []
    counts = {"missed": 0, "down": 0}
    duration = re.compile(r"^probe_duration_seconds (\S+)", re.M)

    async def ask(session: aiohttp.ClientSession, counted: bool) -> None:
        try:
            async with session.get(probe_url) as response:
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError):
            counts["missed"] += counted
            return
        if counted and "\nprobe_success 1" in text:
            latencies.append(float(duration.search(text)[1]) * 1e6)
        else:
            counts["down"] += counted

    async def run() -> None:
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=2 * TIMEOUT_S)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            tasks: set[asyncio.Task[None]] = set()
            start = time.monotonic()
            for due, wait_s in dues(start, rate, seconds):
                await asyncio.sleep(wait_s)
                while not rate and len(tasks) >= CROWD:
                    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                counted = due - start >= WARM_S
                if len(tasks) >= WIDTH:
                    counts["missed"] += counted
                    continue
                task = asyncio.create_task(ask(session, counted))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.gather(*tasks)

    asyncio.run(run())
    return latencies, [], counts["missed"], counts["down"]


ARMS: dict[str, Callable[[str, str, float, float], Told]] = {
    "aiohttp": aiohttp_arm,
    "requests": requests_arm,
    "blackbox": blackbox_arm,
}


if __name__ == "__main__":
    main()
