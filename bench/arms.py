"""Other clients on the same work: `python bench/arms.py ARM URL CA CHECKS RATE` prints the CPU µs of a check.

Each does what a monitor would with it: a fresh connection, the page read, its status looked at and a word looked for.
RATE is in checks a second, evenly spaced; 0 is as fast as 50 at a time can go.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator

WIDTH = 50


def dues(checks: int, rate: float) -> Iterator[float]:
    """Give how long to wait before each check, 0 when its time has come."""
    began = time.monotonic()
    for number in range(checks):
        yield max(0.0, began + number / rate - time.monotonic()) if rate else 0.0


def main() -> None:
    """Run one arm."""
    arm, url, ca_file, checks, rate = sys.argv[1:]
    run = ARMS[arm](url, ca_file, float(rate))
    run(WIDTH * 2)  # warm
    before = resource.getrusage(resource.RUSAGE_SELF)
    done = run(int(checks))
    after = resource.getrusage(resource.RUSAGE_SELF)
    spent_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{spent_s / done * 1e6:.1f}")


def requests_get(url: str, ca_file: str, rate: float) -> Callable[[int], int]:
    """`requests.get` in a gevent pool, everything monkey-patched."""
    from gevent import monkey

    monkey.patch_all()
    import gevent
    import requests
    from gevent.pool import Pool

    def check(number: int) -> bool:
        response = requests.get(f"{url}?{number}", verify=ca_file or True, timeout=10)
        return response.status_code == 200 and "needle" in response.text

    def run(checks: int) -> int:
        pool, jobs = Pool(WIDTH), []
        for number, wait_s in enumerate(dues(checks, rate)):
            if wait_s:
                gevent.sleep(wait_s)
            jobs.append(pool.spawn(check, number))
        good = sum(job.get() for job in jobs)
        assert good == checks, f"{checks - good} of {checks} failed"
        return checks

    return run


def aiohttp_get(url: str, ca_file: str, rate: float) -> Callable[[int], int]:
    """An `aiohttp` session whose connections are closed after each request."""
    import asyncio
    import ssl

    import aiohttp  # pylint: disable=import-error  # only who compares with it installs it

    context = ssl.create_default_context(cafile=ca_file) if ca_file else True

    async def check(session: aiohttp.ClientSession, gate: asyncio.Semaphore, number: int) -> bool:
        async with gate, session.get(f"{url}?{number}", ssl=context) as response:
            return response.status == 200 and "needle" in await response.text()

    async def run_all(checks: int) -> int:
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        timeout = aiohttp.ClientTimeout(total=10)
        gate = asyncio.Semaphore(WIDTH)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            jobs = []
            for number, wait_s in enumerate(dues(checks, rate)):
                if wait_s:
                    await asyncio.sleep(wait_s)
                jobs.append(asyncio.create_task(check(session, gate, number)))
            good = sum(await asyncio.gather(*jobs))
        assert good == checks, f"{checks - good} of {checks} failed"
        return checks

    return lambda checks: asyncio.run(run_all(checks))


ARMS = {"requests": requests_get, "aiohttp": aiohttp_get}

if __name__ == "__main__":
    main()
