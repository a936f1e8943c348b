"""`watcher check` and `watcher --once` against real sites."""

from __future__ import annotations

import json
import re
import ssl
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from agent_process import Run, Write
from conftest import serve

from watcher.testing import Server

SecureSite = Callable[..., str]


@pytest.fixture(name="ca")
def _ca(authority: trustme.CA, tmp_path: Path) -> str:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return json.dumps({"ca": str(tmp_path / "ca.pem")})


def rows(said: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """Give the JSON objects of the output."""
    return [json.loads(line) for line in said.stdout.splitlines()]


def test_a_check_shows_the_way_of_the_answer(run: Run, site: str) -> None:
    said = run("check", f"{site}/")
    assert said.returncode == 0, said.stderr
    lines = [line.split() for line in said.stdout.splitlines() if line.strip()]
    words = {line[0]: line for line in lines}
    assert words["address"][1] in ("127.0.0.1", "::1")
    assert words["answer"][1:] == ["HTTP", "200", "OK,", "body", "8", "B"]
    assert [line[0] for line in lines if "\N{FULL BLOCK}" in "".join(line)] == ["dns", "connect", "ttfb", "transfer"]
    assert lines[-1] == ["up"]


@pytest.mark.parametrize("environment", [{}, {"FORCE_COLOR": "1"}], ids=["plain", "in colours"])
def test_what_is_worth_knowing_of_a_check_that_is_up_is_said(run: Run, environment: dict[str, str]) -> None:
    why = "no pg_hba.conf entry for host 192.0.2.7, user monitoring, database shop, no encryption"
    refusal = b"SFATAL\0C28000\0M" + why.encode() + b"\0\0"  # PostgreSQL's protocol: ErrorResponse
    with Server(b"E" + (len(refusal) + 4).to_bytes(4, "big") + refusal) as server:
        said = run("check", f"postgres://{server.address}", **environment)
    assert said.returncode == 0, said.stdout
    last = re.sub(r"\x1b\[[\d;]*m", "", said.stdout).splitlines()[-1]
    assert last.split() == f"up it takes connections, not this one: {why} (28000)".split()


def test_the_phases_add_up_and_lag_stands_apart(run: Run, site: str) -> None:
    [row] = rows(run("check", f"{site}/", "--json"))
    phases = [row[f"{phase}_us"] or 0 for phase in ("dns", "connect", "tls", "ttfb", "transfer")]
    assert sum(phases) == row["latency_us"] and row["lag_us"] >= 0
    assert (row["status"], row["http_status"], row["body_bytes"], row["tls"]) == ("up", 200, 8, None)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["/status/503"], "status"),
        (["/", "--regex", "good ?bye"], "regex"),
        (["/never", "--timeout", "2"], "timeout"),
        (["/", "--option", 'status=["3xx"]'], "status"),
    ],
)
def test_what_is_not_as_wanted_is_down(run: Run, site: str, arguments: list[str], reason: str) -> None:
    said = run("check", site + arguments[0], *arguments[1:])
    assert said.returncode == 1
    verdict = said.stdout.splitlines()[-1]
    assert verdict.startswith(f"down  {reason}: ")


def test_options_are_those_of_an_endpoint(run: Run, site: str) -> None:
    said = run("check", f"{site}/headers", "--header", "X-Probe: one: two", "--regex", "X-Probe: one: two", "--json")
    assert rows(said)[0]["regex_found"] is True
    assert run("check", f"{site}/status/304", "--option", "status=304").returncode == 0
    wrong = run("check", site, "--option", "metod=POST", "--timeout", "soon")
    assert wrong.returncode == 2
    assert '"method"' in wrong.stderr and "timeout" in wrong.stderr and "2 mistakes" in wrong.stderr


def test_redirects_are_shown_hop_by_hop(run: Run, site: str) -> None:
    said = run("check", f"{site}/redirect")
    assert f"redirected to  {site}/" in said.stdout and "redirects " in said.stdout
    [row] = rows(run("check", f"{site}/redirect", "--json"))
    assert row["hops"] == [f"{site}/redirect", f"{site}/"]
    assert 0 < row["hops_us"] < row["latency_us"]


def test_a_name_that_nobody_knows(run: Run) -> None:
    said = run("check", "http://nobody.invalid/", "--timeout", "5")
    assert said.returncode == 1 and said.stdout.splitlines()[-1].startswith("down  ")


def test_the_certificate_is_shown(run: Run, secure_site: SecureSite, ca: str) -> None:
    said = run("check", f"{secure_site(organization_name='Test Site')}/", "--option", f"tls={ca}")
    assert said.returncode == 0, said.stdout + said.stderr
    assert "Test Site, issued by Test Authority" in said.stdout
    assert "TLSv1.3, TLS_" in said.stdout and "days left" in said.stdout
    assert any(line.startswith("tls ") and "\N{FULL BLOCK}" in line for line in said.stdout.splitlines())


def test_a_certificate_that_is_not_trusted_is_shown_all_the_same(run: Run, secure_site: SecureSite, ca: str) -> None:
    expired = secure_site(not_before=datetime(2020, 1, 1, tzinfo=UTC), not_after=datetime(2021, 1, 1, tzinfo=UTC))
    said = run("check", f"{expired}/", "--option", f"tls={ca}")
    assert said.returncode == 1
    assert "2021-01-01, expired" in said.stdout and "days ago" in said.stdout
    assert said.stdout.splitlines()[-1].startswith("down  certificate: ")
    assert run("check", f"{expired}/", "--option", 'tls={"verify": false}').returncode == 0


def test_the_certificate_shown_is_that_of_the_address_and_name_that_were_probed(
    run: Run, authority: trustme.CA, ca: str
) -> None:
    context, other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", organization_name="By Default").configure_cert(context)
    expired = {"not_before": datetime(2020, 1, 1, tzinfo=UTC), "not_after": datetime(2021, 1, 1, tzinfo=UTC)}
    authority.issue_cert("other.test", organization_name="Asked For", **expired).configure_cert(other)
    asked: list[str | None] = []

    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        asked.append(name)
        connection.context = other if name == "other.test" else context

    context.sni_callback = choose
    for site in serve(context):
        port = site.rpartition(":")[2]
        tls = json.dumps({**json.loads(ca), "server_name": "other.test"})
        arguments = ["--option", f"tls={tls}", "--option", "address=127.0.0.1"]
        said = run("check", f"https://nowhere.test:{port}/", *arguments)
    assert said.stdout.splitlines()[-1].startswith("down  certificate: "), said.stdout + said.stderr
    assert "Asked For, issued by" in said.stdout and "None" not in said.stdout
    assert set(asked) == {"other.test"}


def test_a_check_may_take_longer_than_an_interval(run: Run, write: Write, site: str) -> None:
    assert run("check", f"{site}/", "--timeout", "90").returncode == 0
    path = str(write(f'[[endpoints]]\nname = "a"\nurl = "{site}/"\ninterval = 5\n'))
    assert run("check", "a", "--config", path, "--timeout", "90").returncode == 0


def test_a_name_that_is_the_url_hides_its_token(run: Run, write: Write, site: str) -> None:
    path = str(write(f'[[endpoints]]\nurl = "{site}/?token=hunter2"\n'))
    for arguments in (["check", f"{site}/?token=hunter2"], ["--once"]):
        for more in ([], ["--json"]):
            said = run(*arguments, *more, "--config", path)
            assert said.returncode == 0
            assert "token=***" in said.stdout and "hunter2" not in said.stdout + said.stderr


def test_without_a_scheme_https_is_meant(run: Run, secure_site: SecureSite, ca: str) -> None:
    assert run("check", secure_site().removeprefix("https://"), "--option", f"tls={ca}").returncode == 0


def test_an_endpoint_of_a_file_by_its_name(run: Run, write: Write, site: str) -> None:
    path = str(write(f'[[endpoints]]\nname = "front page"\nurl = "{site}/"\nregex = "welcome"\n'))
    said = run("check", "front page", "--config", path)
    assert said.returncode == 0 and "front page" in said.stdout and "found" in said.stdout
    assert run("check", "front page", "--config", path, "--regex", "nothing such").returncode == 1
    missed = run("check", "font page", "--config", path)
    assert missed.returncode == 2 and '"front page"' in missed.stderr


def test_secrets_are_not_shown(run: Run, write: Write, site: str) -> None:
    text = (
        f'[[endpoints]]\nname = "login"\nurl = "{site}/?key=${{SITE_KEY}}"\nheaders = {{ X-Key = "${{SITE_KEY}}" }}\n'
    )
    path = str(write(text))
    for arguments in (["check", "login"], ["check", "login", "--json"], ["--once"], ["--once", "--json"]):
        said = run(*arguments, "--config", path, SITE_KEY="hush-hush")
        assert said.returncode == 0, said.stderr
        assert "login" in said.stdout and "hush" not in said.stdout + said.stderr


FILE = """
[[endpoints]]
name = "fine"
url = "{site}/"

[[endpoints]]
name = "ill"
url = "{site}/status/500"

[[endpoints]]
name = "not now"
url = "{site}/"
enabled = false

[[endpoints]]
name = "elsewhere"
url = "{site}/"
locations = ["berlin"]
"""


def test_once_prints_a_table_in_the_order_of_the_file(run: Run, write: Write, site: str) -> None:
    said = run("--once", "--config", str(write(FILE.format(site=site))))
    assert said.returncode == 1
    lines = said.stdout.splitlines()
    assert lines[0].split() == "status endpoint http latency dns connect ttfb transfer reason".split()
    assert [line.split()[:2] for line in lines[1:3]] == [["up", "fine"], ["down", "ill"]]
    assert "status: 500" in lines[2]
    assert lines[3:] == ["2 endpoints: 1 up, 1 down"]


def test_once_for_machines_is_a_line_an_endpoint(run: Run, write: Write, site: str) -> None:
    found = {
        row["endpoint"]: row for row in rows(run("--once", "--json", "--config", str(write(FILE.format(site=site)))))
    }
    assert set(found) == {"fine", "ill"}
    assert (found["ill"]["status"], found["ill"]["reason"], found["ill"]["http_status"]) == (
        "down",
        "status",
        500,
    )


def test_once_is_content_when_all_is_up(run: Run, write: Write, site: str) -> None:
    assert run("--once", "--config", str(write(f'[[endpoints]]\nurl = "{site}/"\n'))).returncode == 0


def test_once_keeps_to_its_concurrency(run: Run, write: Write, site: str) -> None:
    pages = "".join(f'[[endpoints]]\nurl = "{site}/{number}"\n' for number in range(300))
    said = run("--once", "--json", "--config", str(write(f"[agent]\nconcurrency = 3\n{pages}")))
    assert said.returncode == 0 and len(rows(said)) == 300


def test_once_with_nothing_to_check(run: Run, write: Write) -> None:
    said = run("--once", "--config", str(write("")))
    assert said.returncode == 2 and "no endpoint" in said.stderr
