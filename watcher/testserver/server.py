"""The test server as processes: one a worker on a shared port, begun and ended together."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import os
import resource
import signal
import socket
import ssl
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from watcher.errors import EnvironmentProblem
from watcher.testserver.certificates import Certificates
from watcher.testserver.listener import bind, listen, spring
from watcher.testserver.loop import Loop
from watcher.testserver.site import Site
from watcher.testserver.trap import TRAPS, Moment, Trap


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line asks for; `while_stdin` ends the server with the standard input, i.e. with its parent."""

    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    tls: bool = False
    tls_port: int = 0
    certificate: Path | None = None
    key: Path | None = None
    ca_file: Path | None = None
    traps: bool = False
    seed: int = 0
    while_stdin: bool = False


class Ended(BaseException):
    """The server was asked to end; a base exception, so that nothing on its way takes it for a fault."""


class _Lifeline:
    """Ends the process when the other end of a pipe is closed: when whoever started it is gone, however it went."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def ready(self, events: int) -> None:
        """Read what nobody means; the end of it ends the process."""
        del events
        if not os.read(self._fd, 4096):
            raise Ended


def serve(options: Options, say: Callable[[str], None]) -> None:
    """Run the server until SIGTERM or SIGINT.

    Args:
        options: where and what to serve.
        say: takes the lines that tell where it listens, once every port is open.

    Raises:
        EnvironmentProblem: a port is taken; a certificate cannot be read or made.
    """
    if not sys.platform.startswith("linux"):
        raise EnvironmentProblem("the test server needs Linux: epoll and timerfd")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with contextlib.suppress(Ended), contextlib.ExitStack() as stack:
        _serve(options, say, stack)


def _serve(options: Options, say: Callable[[str], None], stack: contextlib.ExitStack) -> None:
    """Open every port, then serve in each process; the first one has the traps."""
    certificates = _certificates(options, stack)
    context = _context(options, certificates)
    plain = _open(options.host, options.port, options.workers)
    secure = _open(options.host, options.tls_port, options.workers) if context else []

    def work(index: int, lifeline: int | None) -> None:
        """Serve in one process; its sockets are its own, as the kernel gives connections to every one that is open."""
        for sock in (*plain[:index], *plain[index + 1 :], *secure[:index], *secure[index + 1 :]):
            sock.close()
        loop, site = Loop(), Site(options.seed)
        if lifeline is not None:
            loop.watch(lifeline, _Lifeline(lifeline))
        listen(loop, plain[index], site)
        if context:
            listen(loop, secure[index], site, context)
        if index == 0:
            traps = _traps(options, loop, site, certificates)
            say("\n".join(_lines(options, certificates, [*plain[:1], *secure[:1]], traps)))
        gc.freeze()
        loop.run()

    _fork(options, work)


def _fork(options: Options, work: Callable[[int, int | None], None]) -> None:
    """Run `work` in as many processes as there are workers, this one among them; all end with this one."""
    lifeline, held = os.pipe()
    children: list[int] = []
    try:
        for index in range(1, options.workers):
            pid = os.fork()
            if pid == 0:
                os.close(held)
                with contextlib.suppress(Ended):
                    work(index, lifeline)
                os._exit(0)  # pylint: disable=protected-access  # what is to be cleaned up is the parent's
            children.append(pid)
        work(0, 0 if options.while_stdin else None)
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _certificates(options: Options, stack: contextlib.ExitStack) -> Certificates | None:
    """Make throw-away certificates where TLS is asked for and none are given."""
    if not options.tls or options.certificate:
        return None
    temporary = tempfile.TemporaryDirectory(prefix="watcher-testserver-")  # pylint: disable=consider-using-with  # on a stack
    directory = Path(stack.enter_context(temporary))
    hosts = dict.fromkeys((options.host, "127.0.0.1", "::1", "localhost"))
    certificates = Certificates(directory, [host for host in hosts if host not in ("0.0.0.0", "::")])
    if options.ca_file:
        try:
            options.ca_file.write_bytes(certificates.ca_file.read_bytes())
        except OSError as error:
            raise EnvironmentProblem(f"cannot write the CA to {options.ca_file}: {error.strerror}") from None
    return certificates


def _context(options: Options, certificates: Certificates | None) -> ssl.SSLContext | None:
    """Make the TLS settings of the site; None when it is served in plain only."""
    if certificates is not None:
        return certificates.context()
    if options.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(options.certificate, options.key)
    except OSError as error:  # ssl.SSLError among them
        raise EnvironmentProblem(f"cannot use the certificate {options.certificate}: {error}") from None
    return context


def _open(host: str, port: int, count: int) -> list[socket.socket]:
    """Open as many listening sockets on one port as there are workers."""
    first = bind(host, port)  # alone at first, so that a port that somebody else has is an error
    if count == 1:
        return [first]
    taken = first.getsockname()[1]
    first.close()
    return [bind(host, taken, shared=True) for _ in range(count)]


def _traps(
    options: Options, loop: Loop, site: Site, certificates: Certificates | None
) -> list[tuple[Trap, socket.socket]]:
    """Set every trap on a port of its own; those of TLS only where certificates can be made."""
    traps = []
    for trap in TRAPS.values() if options.traps else ():
        if trap.https and certificates is None:
            continue
        sock = bind(options.host, 0)
        traps.append((trap, sock))
        if trap.moment is Moment.HANDSHAKE:
            listen(loop, sock, site, certificates.context(trap.name))
        else:
            spring(loop, sock, trap)
    return traps


def _lines(
    options: Options,
    certificates: Certificates | None,
    listening: list[socket.socket],
    traps: list[tuple[Trap, socket.socket]],
) -> list[str]:
    """Tell where the server listens, one URL a line."""
    host = f"[{options.host}]" if ":" in options.host else options.host
    lines = [
        f"listening on {scheme}://{host}:{sock.getsockname()[1]}" for scheme, sock in zip(("http", "https"), listening)
    ]
    if certificates:
        lines.append(f"trust {options.ca_file or certificates.ca_file}")
    for trap, sock in traps:
        lines.append(f"trap {trap.name} {'https' if trap.https else 'http'}://{host}:{sock.getsockname()[1]}/")
    return [*lines, "ready, Ctrl-C ends it"]


def _end(number: int, frame: object) -> None:
    """Turn a signal into the end of the server."""
    del number, frame
    raise Ended
