"""SIGHUP: a file that an endpoint names is read anew, though the configuration reads as before."""

from __future__ import annotations

import signal
from base64 import b64encode
from contextlib import closing
from pathlib import Path

import psycopg2
from agent_process import AGENT, EVERY_5_S, AgentProcess, Eventually, Write

FILE = f"""{AGENT}{EVERY_5_S}
[[endpoints]]
name = "shop"
url = "{{site}}/headers"
basic_auth = {{{{ username = "probe", password_file = "password" }}}}
contains = "{b64encode(b'probe:new').decode()}"
"""
WITHIN_S = 60


def test_a_password_that_was_replaced_is_sent_after_a_reload(
    write: Write, database: str, site: str, tmp_path: Path, eventually: Eventually
) -> None:
    def last() -> str:
        with closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT status FROM endpoint_status")
            ((status,),) = cursor.fetchall()
        return str(status)

    password = tmp_path / "password"
    password.write_text("old\n", encoding="utf-8")
    path = write(FILE.format(dsn=database, site=site))
    with AgentProcess(path) as agent:
        agent.wait_for("down   shop")
        password.write_text("new\n", encoding="utf-8")
        agent.process.send_signal(signal.SIGHUP)
        agent.wait_for(f"{path.name}: 1 unchanged")
        eventually(lambda: last() == "up", WITHIN_S)

        password.unlink()
        agent.process.send_signal(signal.SIGHUP)
        agent.wait_for("not reloaded, 1 mistake")
        assert agent.said("basic_auth.password_file: cannot read")
        assert agent.end() == 0, agent.everything()
