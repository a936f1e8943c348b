"""Every way in which a site can misbehave, as a user meets it: a row with its reason, within its deadline."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Container, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from watcher.commands import generate
from watcher.testserver.bad import KINDS
from watcher.testserver.invention import Mix, Weighted, invent
from watcher.testserver.process import ServerProcess
from watcher.testserver.trap import TRAPS

TIMEOUT_S = 8
GRACE_S = 2.0
Run = Callable[..., subprocess.CompletedProcess[str]]
Write = Callable[[str], Path]


@pytest.fixture(scope="module", name="server")
def fixture_server() -> Iterator[ServerProcess]:
    """Run one server for the module."""
    with ServerProcess(tls=True, traps=True) as running:
        yield running


def endpoints(server: ServerProcess) -> Iterator[tuple[str, str, bool]]:
    """Give name, URL and whether the body is looked at, of every kind in plain and over TLS, and of every trap."""
    for name in KINDS:
        yield f"http {name}", f"{server.url}/bad/{name}", False
        yield f"https {name}", f"{server.tls_url}/bad/{name}", True
    for name, url in server.traps.items():
        yield f"trap {name}", url, True


def configuration(server: ServerProcess, names: Container[str] | None = None) -> str:
    """Write a configuration with all of them, or with those named."""
    lines = ["[defaults]", f"timeout = {TIMEOUT_S}", f'tls = {{ ca = "{server.ca_file}" }}', ""]
    for name, url, looked_at in endpoints(server):
        if names is None or name in names:
            lines += ["[[endpoints]]", f'name = "{name}"', f'url = "{url}"']
            lines += ['regex = { pattern = "nowhere to be found", absent = true }'] * looked_at
    return "\n".join(lines)


def once(run: Run, path: Path) -> list[dict[str, Any]]:
    """Check everything in a file once."""
    done = run("--config", str(path), "--once", "--json")
    assert done.returncode == 1, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def wrong(row: Mapping[str, Any]) -> str | None:
    """Say what is wrong with a row, by the table of kinds."""
    group, _, name = row["endpoint"].partition(" ")
    verdicts = (TRAPS if group == "trap" else KINDS)[name].verdicts
    allowed = {("up", None) if verdict is None else ("down", verdict.value) for verdict in verdicts}
    allowed |= {("up", "body_cap")} & {("up", reason) for _, reason in allowed}
    given = row["status"], row["reason"]
    took_s = (row["latency_us"] or 0) / 1e6
    if given in allowed and took_s < TIMEOUT_S + GRACE_S:
        return None
    return f"{row['endpoint']}: {given} ({row['detail']}) after {took_s:.1f} s, wanted {sorted(map(str, allowed))}"


def test_each_misbehaving_site_is_a_row_with_its_reason(server: ServerProcess, run: Run, write: Write) -> None:
    """All of them at once: none holds up another, none is an exception.

    Where the machine is too busy for that the agent says so of its own check; these are checked again, alone.
    """
    rows = once(run, write(configuration(server)))
    assert len(rows) == 2 * len(KINDS) + len(TRAPS)
    overload = {row["endpoint"] for row in rows if (row["status"], row["reason"]) == ("missed", "overload")}
    assert len(overload) < len(rows) / 2
    rows = [row for row in rows if row["endpoint"] not in overload]
    rows += once(run, write(configuration(server, overload))) if overload else []
    assert [problem for problem in map(wrong, rows) if problem] == []


def test_generated_endpoints_are_what_their_names_say(server: ServerProcess, run: Run, tmp_path: Path) -> None:
    """`watcher generate` and the server agree with the probe about what is up and what is down."""
    mix = Mix(
        url=server.url, method=Weighted(("GET", "POST", "HEAD")), delay=Weighted(("0", "50ms")), regex=0.5, down=0.3
    )
    path = tmp_path / "endpoints.toml"
    with path.open("w", encoding="utf-8") as stream:
        stream.write("[defaults]\ntimeout = 4\n\n")
        generate.write(invent(mix, 120), "toml", stream)
    rows = once(run, path)
    assert len(rows) == 120
    assert [row for row in rows if row["status"] != row["labels"]["expect"]] == []
