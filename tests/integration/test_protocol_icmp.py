"""icmp:// in a network of its own, by either kind of socket and by none; see `echo_network`."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import echo_network
import pytest
from probing import probing

from watcher import Reason, Status
from watcher.plugins.protocols import connection, icmp

HERE = Path(__file__).parent
NETWORK = ["unshare", "--map-root-user", "--net", sys.executable, str(HERE / "echo_network.py")]
WITHOUT_RIGHTS = ["setpriv", "--bounding-set=-all"]
PING_SOCKET = ["0 0", *WITHOUT_RIGHTS]  # the first is net.ipv4.ping_group_range: our group, or none
RAW_SOCKET = ["new"]
NEITHER = ["new", *WITHOUT_RIGHTS]
RUN = """
import json, sys
from probing import probing
from watcher.plugins.protocols import connection, icmp
from watcher.transport import Anchor

anchor = Anchor()
check = probing(icmp, connection)
for url, options in json.loads(sys.argv[1]):
    result = check(url, **options)
    names = ("detail", "address", "latency_us", "ttfb_us", "body_bytes")
    said = {name: getattr(result, name) for name in names}
    print(json.dumps(said | {"status": result.status.value, "reason": result.reason and result.reason.value}))
"""


@pytest.fixture(scope="module", autouse=True)
def network() -> None:
    """Skip where this process may not make a network of its own."""
    if not all(map(shutil.which, ("unshare", "setpriv", "ip"))):
        pytest.skip("unshare, setpriv or ip is not installed (apt-get install util-linux iproute2)")
    if subprocess.run([*NETWORK, "0 0", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network namespace with a TUN device can be made here (needs CAP_NET_ADMIN)")


def checks(rights: list[str], *wanted: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Check URLs with options in the network, in a process with these rights; give what the results say."""
    command = [*NETWORK, *rights, sys.executable, "-c", RUN, json.dumps(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=HERE)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def url(host: str) -> str:
    """Give the URL of a host of the network."""
    return f"icmp://10.77.0.{echo_network.HOSTS[host]}"


@pytest.mark.parametrize("rights", [PING_SOCKET, RAW_SOCKET], ids=["ping socket", "raw socket"])
def test_hosts_are_pinged_by_either_kind_of_socket(rights: list[str]) -> None:
    loopback, six, host, host_six, empty, odd, large, deaf = checks(
        rights,
        ("icmp://127.0.0.1", {}),
        ("icmp://[::1]", {}),
        (url("prompt"), {}),
        ("icmp://[fd77::2]", {}),
        (url("prompt"), {"icmp": {"size": 0}}),
        (url("prompt"), {"icmp": {"size": 9}}),
        ("icmp://127.0.0.1", {"icmp": {"size": 65507}}),
        (url("deaf once"), {}),
    )
    for result in (loopback, six, host, host_six, empty, odd, large):
        assert (result["status"], result["reason"], result["detail"]) == ("up", None, None)
        assert result["latency_us"] == result["ttfb_us"]
    assert [one["body_bytes"] for one in (host, empty, odd, large)] == [56, 0, 9, 65507]
    assert [one["address"] for one in (six, host_six)] == ["::1", "fd77::2"]
    assert (deaf["status"], deaf["detail"]) == ("up", "asked 2 times until an answer came")
    assert deaf["latency_us"] >= 1_000_000


@pytest.mark.parametrize("rights", [PING_SOCKET, RAW_SOCKET], ids=["ping socket", "raw socket"])
def test_each_way_to_fail_has_its_reason(rights: list[str]) -> None:
    short, dead, cut_off, unreachable, nowhere, deaf = checks(
        rights,
        (url("short"), {"icmp": {"size": 1000}}),
        (url("dead"), {"timeout_s": 0.3}),
        (url("cut off"), {}),
        ("icmp://10.78.0.1", {}),
        ("icmp://192.0.2.1", {}),
        (url("deaf once"), {"icmp": {"tries": 1}, "timeout_s": 1.3}),
    )
    assert (short["status"], short["reason"]) == ("down", "protocol")
    assert short["detail"] == "the reply holds 64 bytes that are not the 1000 sent"
    assert (dead["status"], dead["reason"]) == ("down", "timeout")
    assert 200_000 < dead["ttfb_us"] <= 300_000
    assert (cut_off["reason"], cut_off["detail"]) == ("connect", "host unreachable")
    assert (unreachable["status"], unreachable["reason"]) == ("down", "connect")
    assert (nowhere["status"], nowhere["reason"]) == ("missed", "agent_network")
    assert deaf["reason"] == "timeout"


def test_without_the_kernels_leave_the_reason_says_how_to_get_it() -> None:
    four, six = checks(NEITHER, ("icmp://127.0.0.1", {}), ("icmp://[::1]", {}))
    for result in (four, six):
        assert (result["status"], result["reason"], result["latency_us"]) == ("missed", "config", 0)
        assert 'sysctl net.ipv4.ping_group_range="0 2147483647"' in result["detail"]
        assert "CAP_NET_RAW" in result["detail"]


def test_the_round_trip_is_what_ping_says() -> None:
    if shutil.which("ping") is None:
        pytest.skip("ping is not installed (apt-get install iputils-ping)")
    slow = url("slow").removeprefix("icmp://")
    done = subprocess.run([*NETWORK, "0 0", "ping", "-c", "1", slow], capture_output=True, text=True, check=True)
    theirs_us = float(re.search(r"time=([\d.]+) ms", done.stdout)[1]) * 1000
    [ours] = checks(PING_SOCKET, (url("slow"), {}))
    assert theirs_us >= echo_network.DELAY_S * 1e6
    assert echo_network.DELAY_S * 1e6 <= ours["ttfb_us"] < 2 * theirs_us


def test_a_name_is_resolved() -> None:
    [result] = checks(PING_SOCKET, ("icmp://localhost", {"ip_version": 4}))
    assert (result["status"], result["address"]) == ("up", "127.0.0.1")


@pytest.mark.parametrize("packet", [bytes.fromhex("0800000012340001") + b"abc", b"\xff" * 8, b"\x01\x02"])
def test_a_checksum_makes_the_sum_of_all_words_zero(packet: bytes) -> None:
    blank = packet[:2] + b"\0\0" + packet[4:]
    whole = blank[:2] + icmp.checksum(blank) + blank[4:]
    assert echo_network.folded(sum(whole[::2]) * 256 + sum(whole[1::2])) == b"\0\0"


@pytest.mark.parametrize(("size", "tries"), [(-1, 3), (65_508, 3), (56, 0), (56, 11)])
def test_a_wrong_value_is_found_when_the_configuration_is_read(size: int, tries: int) -> None:
    with pytest.raises(ValueError, match="whole number from"):
        probing(icmp, connection)("icmp://127.0.0.1", icmp={"size": size, "tries": tries})


def test_a_port_makes_no_sense() -> None:
    result = probing(icmp, connection)("icmp://127.0.0.1:80")
    assert (result.status, result.reason) == (Status.MISSED, Reason.CONFIG)
    assert "leave the port out of the URL" in str(result.detail)
