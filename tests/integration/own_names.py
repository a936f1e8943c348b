"""Checks in a network and with an /etc of their own: what the system's files say of names, and what has no route.

    unshare --map-root-user --mount --net python own_names.py DIRECTORY

Prints a JSON object: what each check said, by its name. Nothing outside of the two namespaces is touched.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import gevent
from name_servers import Dnsmasq
from probing import probing

from watcher.plugins.protocols import connection, dns, tcp
from watcher.transport import Anchor

TTL_MIN_S = 1.0
RECORDS = {
    "db.corp.test": ["127.0.0.1"],
    "web.office.test": ["127.0.0.1"],
    "both.test": ["127.0.0.1", "2001:db8::1"],
}


def main(directory: Path) -> None:
    """Run all checks."""
    etc = {name: directory / name for name in ("resolv.conf", "hosts", "nsswitch.conf")}
    for path in etc.values():
        path.write_text("")
        if Path("/etc", path.name).exists():
            subprocess.run(["mount", "--bind", path, f"/etc/{path.name}"], check=True)
    etc["nsswitch.conf"].write_text("hosts: files dns\n")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    server = Dnsmasq(directory, port=53)
    try:
        server.has(RECORDS)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            print(json.dumps(Checks(etc, listener.getsockname()[1]).all()))
    finally:
        server.end()


class Checks:
    """What is checked, in its order: each change of a file comes after checks that knew the one before."""

    def __init__(self, etc: dict[str, Path], port: int) -> None:
        self._etc = etc
        self._port = port
        self._check = probing(tcp, dns, connection)

    def all(self) -> dict[str, Any]:
        """Give what each said."""
        dead = "127.0.0.9"
        self._etc["resolv.conf"].write_text(f"nameserver {dead}\n")
        said = {"dead resolver": self._says("db.corp.test")}
        self._etc["resolv.conf"].write_text(f"search corp.test office.test\nnameserver {dead}\nnameserver 127.0.0.1\n")
        self._etc["hosts"].write_text("127.0.0.1 named.example\n")
        gevent.sleep(TTL_MIN_S)
        said["resolver after a dead one"] = self._says("db.corp.test")
        said["first search domain"] = self._says("db")
        said["second search domain"] = self._says("web")
        said["search domain, resolver of the option"] = self._says("db", resolver="127.0.0.1")
        said["no such name"] = self._says("none")
        said["named in hosts"] = self._says("named.example")
        self._etc["hosts"].write_text("127.0.0.2 named.example\n")
        gevent.sleep(TTL_MIN_S)
        said["changed in hosts"] = self._says("named.example")
        for version in (None, "4 first", "6 first", 6):
            said[f"reached, {version}"] = self._says("both.test", **({"ip_version": version} if version else {}))
        said["datagram, 6 first"] = _short(self._check("dns://both.test/db.corp.test", ip_version="6 first"))
        with socket.create_server(("127.0.0.1", 0)) as gone:
            self._port = gone.getsockname()[1]
        for version in ("4 first", "6 first"):
            said[f"refused, {version}"] = self._says("both.test", ip_version=version)
        return said

    def _says(self, host: str, **options: Any) -> list[Any]:
        return _short(self._check(f"tcp://{host}:{self._port}", **options))


def _short(result: Any) -> list[Any]:
    return [result.status.value, result.reason and result.reason.value, result.address]


if __name__ == "__main__":
    held = Anchor()
    main(Path(sys.argv[1]))
    held.close()
