"""What runs in network namespaces: the agent that checks, the site, and a relay that delays: `python FILE agent`."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from namespaces import NEAR, SITE, Row
from scripted import request, reset

PHASES = ("dns", "connect", "tls", "ttfb", "transfer")


def agent() -> None:
    """Check what each line of the input names; print the rows."""
    # pylint: disable=import-outside-toplevel  # only the agent needs them
    import gevent

    from watcher.probe import probe
    from watcher.registry import option_types, plugin_manager
    from watcher.transport import Anchor

    anchor = Anchor()
    plugins = plugin_manager()
    types = option_types(plugins)
    for line in sys.stdin:
        plans = _plans(*json.loads(line), plugins, types)
        probes = [gevent.spawn(probe, plan) for plan in plans]
        print(json.dumps([_row(each.get()) for each in probes]), flush=True)
        for plan in plans:
            plan.close()
    anchor.close()


def again(rest_s: str) -> None:
    """Check what the first line of the input names, by one plan, for that line and each other; print the row of each.

    Args:
        rest_s: how long a kept connection may rest before the kernel asks whether it lives, and how long it waits then.
    """
    from watcher.probe import probe
    from watcher.registry import option_types, plugin_manager
    from watcher.transport import Anchor, stream

    options = socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL
    stream.AT_REST = tuple(
        (level, option, int(rest_s) if option in options else value) for level, option, value in stream.AT_REST
    )
    anchor = Anchor()
    plugins = plugin_manager()
    plan = _plans(*json.loads(sys.stdin.readline()), plugins, option_types(plugins))[0]
    while True:
        print(json.dumps(_row(probe(plan))), flush=True)
        if not sys.stdin.readline():
            break
    plan.close()
    anchor.close()


def _plans(urls: list[str], timeout_s: float, options: dict[str, Any], plugins: Any, types: Any) -> list[Any]:
    from watcher import config
    from watcher.plan import compile_plan

    plans = []
    for url in urls:
        own = {key: value for key, value in options.items() if key != "tls" or url.startswith(("https", "tls"))}
        row = {"name": url, "url": url, "interval_s": 60.0, "timeout_s": timeout_s, "options": own}
        plans.append(compile_plan(config.endpoint(row, types), plugins))
    return plans


def _row(result: Any) -> Row:
    named = ("latency_us", "lag_us", "address", "detail", "body_bytes", *(f"{phase}_us" for phase in PHASES))
    return {
        "url": result.endpoint.url,
        "status": result.status.value,
        "reason": result.reason.value if result.reason else None,
        **{name: getattr(result, name) for name in named},
    }


def site(pem: str) -> None:
    """Serve pages on 80 and 443, and answers to questions for names on 53, until the input ends."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)

    def say(connection: socket.socket) -> None:
        asked = request(connection).split(b" ")
        pieces = PAGES.get(asked[1] if len(asked) > 1 else b"", PAGES[b"/"])
        while asked[1:2] == [b"/kept"]:
            connection.sendall(pieces[0])
            asked = request(connection).split(b" ")
        for number, piece in enumerate(pieces):
            if number:
                time.sleep(0.1)
            connection.sendall(piece)
        if asked[1:2] == [b"/reset"]:
            time.sleep(0.1)
            reset(connection)

    def say_securely(connection: socket.socket) -> None:
        with tls.wrap_socket(connection, server_side=True) as secured:
            say(secured)

    for port, script in ((80, say), (443, say_securely)):
        listener = socket.create_server(("::", port), family=socket.AF_INET6, backlog=100, dualstack_ipv6=True)
        threading.Thread(target=_accept, args=(listener, script), daemon=True).start()
    threading.Thread(target=_name_server, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n"
PAGES = {
    b"/": (_HEAD % 4 + b"\r\npage",),
    b"/parts": (_HEAD % 22, b"X-Late: x\r\n\r\nfirst half ", b"second half"),
    b"/kept": (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage",),
    b"/reset": (_HEAD % 22 + b"\r\nfirst half",),
    b"/large": (_HEAD % 200_000 + b"\r\n", b"large" * 40_000),
    b"/tail": (_HEAD % 5 + b"\r\n", b"small"),
}


def _accept(listener: socket.socket, script: Callable[[socket.socket], None]) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_serve, args=(connection, script), daemon=True).start()


def _serve(connection: socket.socket, script: Callable[[socket.socket], None]) -> None:
    with contextlib.suppress(OSError), connection:
        script(connection)


def _name_server() -> None:
    """Answer every question with the site's own address."""
    with socket.create_server((SITE, 0)) as _, socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind((SITE, 53))
        while True:
            question, client = server.recvfrom(512)
            server.sendto(named(question, SITE), client)


def named(question: bytes, address: str) -> bytes:
    """Answer a question for a name with an address for a second, where it was for an A record (RFC 1035, 4.1)."""
    name_end = question.index(b"\0", 12) + 5
    kind = question[name_end - 4 : name_end - 2]
    answer = b"\xc0\x0c\0\1\0\1" + struct.pack(">IH", 1, 4) + socket.inet_aton(address)
    count = kind == b"\0\1"
    head = question[:2] + b"\x81\x80\0\1" + struct.pack(">HHH", count, 0, 0)
    return head + question[12:name_end] + answer * count


def relay(delay: str, *ports: str) -> None:
    """Take connections on ports, and pass them on to ports of the site, each byte so many seconds later, both ways."""

    def pass_on(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                time.sleep(float(delay))  # nobody sends more before it has an answer
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def serve(connection: socket.socket, port: int) -> None:
        with connection, socket.create_connection((SITE, port)) as onward:
            back = threading.Thread(target=pass_on, args=(onward, connection), daemon=True)
            back.start()
            pass_on(connection, onward)
            back.join()

    for pair in ports:
        port, onward = map(int, pair.split(":"))
        listener = socket.create_server((NEAR, port))
        accept = threading.Thread(
            target=_accept, args=(listener, lambda connection, to=onward: serve(connection, to)), daemon=True
        )
        accept.start()
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    {"agent": agent, "again": again, "site": site, "relay": relay}[sys.argv[1]](*sys.argv[2:])
