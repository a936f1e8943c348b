"""Is the test server fast enough not to be what is measured, and how exact are its delays?

    python bench/testserver.py [--seconds 4]

wrk on core 0 against one worker on core 1, and against Debian's nginx (one worker, no log, page in its file cache) in
the same place, with a page of 1 KB. CPU is that of the server's process, kernel's part included. Delays are judged on
the kernel's receive timestamps of a blocking client; as root, server and client run before all else for that. Needs
wrk, nginx, taskset.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from watcher.testserver.process import ServerProcess

CLIENT_CORE, SERVER_CORE = "0", "1"
PAGE_BYTES = 1024
CHECKS_A_WORKER = 8000
DELAY_MS = 50
SO_TIMESTAMPNS = 35

NGINX = """
daemon off; pid {directory}/pid; error_log {directory}/error.log; worker_processes 1;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000; open_file_cache max=10;
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ root {directory}/www; }} }}
}}
"""


def main() -> None:
    """Run everything and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=4, help="of each run")
    seconds = parser.parse_args().seconds
    for program in ("wrk", "taskset", "nginx"):
        if shutil.which(program) is None:
            sys.exit(f"{program} is not installed")
    print(f"load of the machine before: {os.getloadavg()[0]:.1f}\n")
    print("server       connection   requests/s   CPU µs a request   requests/s a core can serve")
    with nginx() as (url, pid):
        for close in (False, True):
            measure("nginx", url, pid, close, seconds)
    with ServerProcess(tls=True) as server:
        subprocess.run(["taskset", "-cp", SERVER_CORE, str(server.pid)], check=True, capture_output=True)
        page = f"/?size={PAGE_BYTES}"
        most = [measure("testserver", server.url + page, server.pid, close, seconds) for close in (False, True)]
        for close in (False, True):
            measure("... https", server.tls_url + page, server.pid, close, seconds)
        print(f"\nwith fresh connections {most[1] / CHECKS_A_WORKER:.1f} times what one worker of watcher can send")
        ahead_of_others(server.pid)
        print(f"\n{DELAY_MS} ms delay      above it: p50      p99      most (µs)")
        delays("quiet", server.url)
        with load(f"{server.url}{page}&delay={DELAY_MS}ms"):
            delays("10,000 of them a second", server.url)


@contextlib.contextmanager
def nginx() -> Iterator[tuple[str, int]]:
    """Run an nginx of our own on a free port; give its URL and its worker's process id."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        directory.chmod(0o755)
        (directory / "www").mkdir()
        (directory / "www" / "index.html").write_bytes(b"x" * PAGE_BYTES)
        port = free_port()
        (directory / "conf").write_text(NGINX.format(directory=directory, port=port), encoding="ascii")
        own = ["-c", str(directory / "conf"), "-e", str(directory / "error.log")]
        command = ["taskset", "-c", SERVER_CORE, "nginx", *own]
        process = stack.enter_context(subprocess.Popen(command))
        stack.callback(process.terminate)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while not children.read_text(encoding="ascii"):
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/", int(children.read_text(encoding="ascii").split()[0])


def free_port() -> int:
    """Give a port that is free now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wrk(url: str, close: bool, seconds: int, connections: int = 32) -> list[str]:
    """Give the command that asks for a page again and again."""
    header = ["-H", "Connection: close"] if close else []
    return ["taskset", "-c", CLIENT_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", *header, url]


def measure(name: str, url: str, pid: int, close: bool, seconds: int) -> float:
    """Measure one server; print a line and give how many requests a second one core of it can serve."""
    before = cpu_ns(pid)
    output = subprocess.run(wrk(url, close, seconds), check=True, capture_output=True, text=True).stdout
    spent_ns = cpu_ns(pid) - before
    count = int(re.search(r"(\d+) requests in", output)[1])
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1])
    a_request_us = spent_ns / count / 1000
    most = 1e6 / a_request_us
    kind = "fresh" if close else "kept"
    print(f"{name:<12} {kind:<10} {rate:>12,.0f} {a_request_us:>18.1f} {most:>18,.0f}")
    if failed := re.search(r"Non-2xx.*|Socket errors.*", output):
        print(f"  {failed[0]}")
    return most


def cpu_ns(pid: int) -> int:
    """Give the CPU time of a process, to the nanosecond."""
    return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0])


@contextlib.contextmanager
def load(url: str) -> Iterator[None]:
    """Keep 500 requests waiting for their delay at any time."""
    with subprocess.Popen(wrk(url, False, 600, 500), stdout=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def ahead_of_others(pid: int) -> None:
    """Let a process and this one run before all others, if we may: what else the machine does is not asked here."""
    for process, priority in ((pid, 2), (0, 1)):
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(process, os.SCHED_FIFO, os.sched_param(priority))
    os.sched_setaffinity(0, {int(CLIENT_CORE)})


def delays(name: str, url: str, count: int = 300) -> None:
    """Ask for a delayed answer again and again, and print how much later than asked it arrived."""
    parts = urlsplit(url)
    late_us = []
    with socket.create_connection((parts.hostname, parts.port)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        for _ in range(count):
            asked_ns = time.time_ns()
            sock.sendall(b"GET /?delay=%dms HTTP/1.1\r\n\r\n" % DELAY_MS)
            _, ancillary, _, _ = sock.recvmsg(65_536, 64)
            seconds, nanoseconds = struct.unpack("qq", ancillary[0][2])
            late_us.append((seconds * 1_000_000_000 + nanoseconds - asked_ns) / 1000 - DELAY_MS * 1000)
    late_us.sort()
    print(f"{name:<25} {late_us[count // 2]:>8.0f} {late_us[count * 99 // 100]:>8.0f} {late_us[-1]:>9.0f}")


if __name__ == "__main__":
    main()
