"""Other clients on the same work: `python bench/arms.py ARM URL CA CHECKS WIDTH` prints the CPU µs of a check.

Each does what a monitor would with it: a fresh connection, the page read, its status looked at and a word looked for.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable


def main() -> None:
    """Run one arm."""
    arm, url, ca_file, checks, width = sys.argv[1:]
    wide = int(width)
    run = ARMS[arm](url, ca_file, wide)
    run(wide * 2)  # warm
    before = resource.getrusage(resource.RUSAGE_SELF)
    done = run(int(checks))
    after = resource.getrusage(resource.RUSAGE_SELF)
    spent_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{spent_s / done * 1e6:.1f}")


def requests_get(url: str, ca_file: str, width: int) -> Callable[[int], int]:
    """`requests.get` in a gevent pool, everything monkey-patched."""
    from gevent import monkey

    monkey.patch_all()
    import requests
    from gevent.pool import Pool

    def check(number: int) -> bool:
        response = requests.get(f"{url}?{number}", verify=ca_file or True, timeout=10)
        return response.status_code == 200 and "needle" in response.text

    def run(checks: int) -> int:
        good = sum(Pool(width).imap_unordered(check, range(checks)))
        assert good == checks, f"{checks - good} of {checks} failed"
        return checks

    return run


def aiohttp_get(url: str, ca_file: str, width: int) -> Callable[[int], int]:
    """An `aiohttp` session whose connections are closed after each request."""
    import asyncio
    import ssl

    import aiohttp

    context = ssl.create_default_context(cafile=ca_file) if ca_file else True

    async def worker(session: aiohttp.ClientSession, numbers: list[int]) -> int:
        good = 0
        while numbers:
            async with session.get(f"{url}?{numbers.pop()}", ssl=context) as response:
                good += response.status == 200 and "needle" in await response.text()
        return good

    async def run_all(checks: int) -> int:
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            numbers = list(range(checks))
            good = sum(await asyncio.gather(*[worker(session, numbers) for _ in range(width)]))
        assert good == checks, f"{checks - good} of {checks} failed"
        return checks

    return lambda checks: asyncio.run(run_all(checks))


ARMS = {"requests": requests_get, "aiohttp": aiohttp_get}

if __name__ == "__main__":
    main()
