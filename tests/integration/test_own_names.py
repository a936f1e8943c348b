"""/etc/resolv.conf, /etc/hosts and the routes of a machine, in namespaces where a test may write them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
NAMESPACES = ["unshare", "--map-root-user", "--mount", "--net"]


@pytest.fixture(scope="module", name="said")
def fixture_said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run the checks, once; skip where this process may not have namespaces of its own."""
    if not all(map(shutil.which, ("unshare", "ip", "mount"))):
        pytest.skip("unshare, ip or mount is not installed (apt-get install util-linux iproute2)")
    bind = ["mount", "--bind", "/etc/hosts", "/etc/hosts"]
    if subprocess.run([*NAMESPACES, *bind], capture_output=True, check=False).returncode:
        pytest.skip("no namespaces can be made here (needs CAP_SYS_ADMIN or user namespaces)")
    if not shutil.which("dnsmasq", path="/usr/sbin:/usr/bin"):
        pytest.skip("dnsmasq is not installed (apt-get install dnsmasq-base)")
    command = [*NAMESPACES, sys.executable, str(HERE / "own_names.py"), str(tmp_path_factory.mktemp("etc"))]
    own = os.environ | {"PYTHONPATH": str(HERE.parent)}
    done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_files_of_the_system_are_followed_when_they_change(said: dict[str, Any]) -> None:
    up = ["up", None, "127.0.0.1"]
    assert said["dead resolver"][0] != "up"
    assert said["resolver after a dead one"] == up
    assert said["named in hosts"] == up
    assert said["changed in hosts"] == ["down", "connect", "127.0.0.2"]


def test_search_domains_are_tried_in_turn(said: dict[str, Any]) -> None:
    assert said["first search domain"] == said["second search domain"] == ["up", None, "127.0.0.1"]
    assert said["search domain, resolver of the option"] == ["up", None, "127.0.0.1"]
    assert said["no such name"] == ["down", "dns", None]


def test_an_address_without_a_route_is_followed_by_the_next(said: dict[str, Any]) -> None:
    for version in ("None", "4 first", "6 first"):
        assert said[f"reached, {version}"] == ["up", None, "127.0.0.1"]
    assert said["reached, 6"] == ["missed", "agent_network", "2001:db8::1"]
    assert said["datagram, 6 first"] == ["up", None, "127.0.0.1"]


def test_a_refusal_says_more_than_that_there_is_no_route_to_another_address(said: dict[str, Any]) -> None:
    assert said["refused, 4 first"] == said["refused, 6 first"] == ["down", "connect", "127.0.0.1"]
