"""Postfix and Dovecot as Debian packs them, each with a configuration and ports of its own; both begin as root."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from probing import accepts, free_ports

DAEMONS = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"

MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {home}/queue
data_directory = {home}/data
maillog_file = {home}/log
maillog_file_prefixes = {home}
myhostname = mx.shop.example
inet_interfaces = 127.0.0.1
smtpd_peername_lookup = no
smtpd_tls_chain_files = {certificate}
smtpd_tls_security_level = may
alias_maps =
local_recipient_maps =
"""
MASTER_CF = """\
127.0.0.1:{smtp} inet n - n - - smtpd
127.0.0.1:{smtps} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
127.0.0.1:{plain} inet n - n - - smtpd -o smtpd_tls_security_level=none
tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
rewrite unix - - n - - trivial-rewrite
postlog unix-dgram n - n - 1 postlogd
"""
DOVECOT_CONF = """\
base_dir = {home}/run
state_dir = {home}/state
log_path = {home}/log
listen = 127.0.0.1
protocols = imap pop3
ssl_cert = <{certificate}
ssl_key = <{certificate}
login_greeting = Shop mail ready.
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = {pop3s}
  }}
}}
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid=dovecot gid=dovecot home={home}/mail
}}
"""


def program(name: str, *parts: str) -> str:
    """Give the path of a daemon, or skip the test where it, or a part of it, is not there, or we are not root."""
    path = shutil.which(name, path=DAEMONS)
    missing = [part for part in parts if not Path(part).exists()]
    if path is None or missing:
        pytest.skip(f"{' '.join(missing) or name} is not installed")
    if os.geteuid() != 0:
        pytest.skip(f"{name} begins as root")
    return path


@contextmanager
def postfix(home: Path, certificate: Path, eventually: Callable) -> Iterator[dict[str, int]]:
    """Run Postfix; give the ports of smtp, smtps, and `plain` without STARTTLS."""
    command = [program("postfix"), "-c", str(home / "conf")]
    ports = free_ports("smtp", "smtps", "plain")
    for name in ("conf", "queue", "data"):
        (home / name).mkdir()
    shutil.chown(home / "data", "postfix")
    (home / "conf/main.cf").write_text(MAIN_CF.format(home=home, certificate=certificate))
    (home / "conf/master.cf").write_text(MASTER_CF.format(**ports))
    subprocess.run([*command, "start"], check=True, capture_output=True, timeout=30)
    try:
        eventually(lambda: all(map(accepts, ports.values())))
        yield ports
    finally:
        subprocess.run([*command, "stop"], check=True, capture_output=True, timeout=30)


@contextmanager
def dovecot(home: Path, certificate: Path, eventually: Callable) -> Iterator[dict[str, int]]:
    """Run Dovecot; give the ports of imap, imaps, pop3 and pop3s."""
    command = program("dovecot", "/usr/lib/dovecot/imap-login", "/usr/lib/dovecot/pop3-login")
    ports = free_ports("imap", "imaps", "pop3", "pop3s")
    (home / "dovecot.conf").write_text(DOVECOT_CONF.format(home=home, certificate=certificate, **ports))
    with subprocess.Popen([command, "-F", "-c", str(home / "dovecot.conf")]) as server:
        try:
            eventually(lambda: all(map(accepts, ports.values())))
            yield ports
        finally:
            server.terminate()
