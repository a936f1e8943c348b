"""Network namespaces: an agent, a router and a site in a row, each with a program of `network_programs.py` in it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import trustme

GATEWAY, NEAR, SITE, SITE6 = "10.9.1.1", "10.9.2.1", "10.9.2.2", "fd09:2::2"
NETWORKS = Path("/proc/sys/net")
PROGRAMS = str(Path(__file__).with_name("network_programs.py"))
TIMEOUT_S = 1.5
PROGRAMS_NEEDED = ("unshare", "nsenter", "ip", "iptables", "ip6tables")
Row = dict[str, Any]


@contextlib.contextmanager
def laid(certificates: Path) -> Iterator[Network]:
    """Lay the network; skip where that is not permitted."""
    missing = [name for name in PROGRAMS_NEEDED if not _found(name)]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs {', '.join(missing) or 'root'}")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(certificates / "ca.pem"))
    authority.issue_cert(SITE, SITE6, NEAR).private_key_and_cert_chain_pem.write_to_path(str(certificates / "site.pem"))
    with contextlib.ExitStack() as stack:
        try:
            network = Network(stack, certificates)
        except (OSError, AssertionError) as error:
            pytest.skip(f"no network namespaces here: {error}")
        yield network


def _found(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


class Namespace:
    """A network namespace that lives as long as a process in it, which ends with this one."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(  # pylint: disable=consider-using-with  # `close` ends it
            ["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        self.path = f"/proc/{self._holder.pid}/ns/net"
        until = time.monotonic() + 10
        while os.readlink(self.path) == os.readlink("/proc/self/ns/net"):
            assert self._holder.poll() is None and time.monotonic() < until, "unshare gives no namespace"
            time.sleep(0.01)
        self.run("ip link set lo up")
        self.run(f"cd {NETWORKS}/ipv6/conf/default; echo 0 > accept_dad; echo 0 > dad_transmits")

    def command(self, *words: str) -> list[str]:
        """Give a command that runs in it."""
        return ["nsenter", f"--net={self.path}", *words]

    def run(self, line: str) -> None:
        """Run one line of a shell in it."""
        done = subprocess.run(self.command("sh", "-ec", line), capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"{line}: {done.stderr.strip()}")

    def close(self) -> None:
        """Let it go."""
        self._holder.stdin.close()
        self._holder.wait(10)


class Network:
    """The three namespaces, with a site that serves, and an agent that checks."""

    def __init__(self, stack: contextlib.ExitStack, certificates: Path) -> None:
        self.agent, self.router, self.site = (Namespace() for _ in range(3))
        for namespace in (self.agent, self.router, self.site):
            stack.callback(namespace.close)
        self._ca_file = str(certificates / "ca.pem")
        self._lay()
        server = stack.enter_context(program(self.site, "site", str(certificates / "site.pem")))
        assert server.stdout.readline() == "ready\n"
        self._prober = stack.enter_context(program(self.agent, "agent"))

    def _lay(self) -> None:
        self.router.run("ip link add agent type veth peer name uplink; ip link add site type veth peer name uplink2")
        self.router.run(f"ip link set uplink netns {_pid(self.agent)}; ip link set uplink2 netns {_pid(self.site)}")
        self.site.run("ip link set uplink2 name uplink")
        for namespace, link, number, subnet in (
            (self.agent, "uplink", 2, 1), (self.router, "agent", 1, 1), (self.router, "site", 1, 2),
            (self.site, "uplink", 2, 2),
        ):  # fmt: skip
            namespace.run(f"ip addr add 10.9.{subnet}.{number}/24 dev {link}; ip link set {link} up")
            namespace.run(f"ip addr add fd09:{subnet}::{number}/64 dev {link} nodad")
        self.route()
        self.site.run(f"ip route add default via {NEAR}; ip -6 route add default via fd09:2::1")
        self.router.run(
            f"cd {NETWORKS}; echo 1 > ipv4/ip_forward; echo 1 > ipv6/conf/all/forwarding;"
            " echo 0 > ipv4/icmp_ratelimit; echo 0 > ipv6/icmp/ratelimit"
        )

    def route(self) -> None:
        """Give the agent its way to the site."""
        self.agent.run(f"ip route replace default via {GATEWAY}; ip -6 route replace default via fd09:1::1")

    def check(self, *urls: str, timeout_s: float = TIMEOUT_S, **options: object) -> list[Row]:
        """Check all URLs at once; those for which this machine was too slow, again."""
        rows: dict[str, Row] = {}
        for _ in range(4):
            asked = [url for url in urls if url not in rows or rows[url]["reason"] == "overload"]
            for row in self._ask(asked, timeout_s, options) if asked else []:
                rows[row["url"]] = row
        return [rows[url] for url in urls]

    def _ask(self, urls: Sequence[str], timeout_s: float, options: dict[str, object]) -> list[Row]:
        options = {"tls": {"ca": self._ca_file}} | options
        self._prober.stdin.write(json.dumps([urls, timeout_s, options]) + "\n")
        self._prober.stdin.flush()
        return json.loads(self._prober.stdout.readline())

    def verdicts(self, *urls: str, **options: Any) -> list[tuple[str, str | None, str | None]]:
        """Check, and give the status, the reason and the detail of each."""
        return [(row["status"], row["reason"], row["detail"]) for row in self.check(*urls, **options)]

    @contextlib.contextmanager
    def rule(self, rule: str, chain: str = "FORWARD", program: str = "iptables") -> Iterator[None]:
        """Have a rule on the router."""
        self.router.run(f"{program} -w -A {chain} {rule}")
        try:
            yield
        finally:
            self.router.run(f"{program} -w -D {chain} {rule}")


def _pid(namespace: Namespace) -> str:
    return namespace.path.split("/")[2]


@contextlib.contextmanager
def program(namespace: Namespace, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run this file in a namespace until the end."""
    command = namespace.command(sys.executable, PROGRAMS, *arguments)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.stdin.close()
            process.wait(10)
