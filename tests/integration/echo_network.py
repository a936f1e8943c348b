"""A network of its own with hosts that answer pings each in its way; then runs a command in it.

    unshare --map-root-user --net python echo_network.py "0 0" ping -c 1 10.77.0.2

The first argument is for net.ipv4.ping_group_range; `new` leaves it as in every new network: no group may ping. The
hosts are those of `HOSTS`, and fd77::2; they live in this process, behind a TUN device (which carries IP packets).
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

DELAY_S = 0.2
PROMPT, SLOW, DEAF_ONCE, SHORT, DEAD, CUT_OFF = range(2, 8)  # the last bytes of the addresses
HOSTS = {"prompt": PROMPT, "slow": SLOW, "deaf once": DEAF_ONCE, "short": SHORT, "dead": DEAD, "cut off": CUT_OFF}
SHORT_BYTES = 64  # how much data the host that answers in short sends back
TUNSETIFF, IFF_TUN_NO_PI = 0x400454CA, 0x1001  # linux/if_tun.h


def main(group_range: str, *command: str) -> int:
    """Make the network, run the command in it, and give its exit code."""
    if group_range != "new":
        Path("/proc/sys/net/ipv4/ping_group_range").write_text(group_range, encoding="ascii")
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", b"echo", IFF_TUN_NO_PI))
    for line in (
        "link set lo up",
        "addr add 10.77.0.1/24 dev echo",
        "addr add fd77::1/64 dev echo nodad",
        "link set echo up",
        "route add unreachable 10.78.0.0/24",
    ):
        subprocess.run(["ip", *line.split()], check=True)
    threading.Thread(target=serve, args=(tun,), daemon=True).start()
    return subprocess.run(command, check=False).returncode


def serve(tun: int) -> None:
    """Be all the hosts."""
    deaf: set[bytes] = set()
    while True:
        packet = os.read(tun, 65536)
        if packet[0] >> 4 == 6 and packet[40] == 128:
            os.write(tun, packet[:8] + packet[24:40] + packet[8:24] + answered(packet[40:], 129))
        elif packet[0] >> 4 == 4 and packet[20] == 8:
            host = packet[19]
            if host == DEAD or host == DEAF_ONCE and packet[16:20] not in deaf:
                deaf.add(packet[16:20])
                continue
            if host == SLOW:
                time.sleep(DELAY_S)
            os.write(tun, reply(packet, host))


def reply(packet: bytes, host: int) -> bytes:
    """Write what a host answers to an IPv4 packet with an echo request."""
    if host == CUT_OFF:  # a router says: host unreachable
        return written(packet, b"\x03\x01" + bytes(6) + packet[:28])
    if host == SHORT:
        return written(packet, b"\0\0" + bytes(2) + packet[24 : 28 + SHORT_BYTES])
    return packet[:12] + packet[16:20] + packet[12:16] + answered(packet[20:], 0)


def answered(message: bytes, kind: int) -> bytes:
    """Make a reply of a request: its kind is another, so its checksum is (RFC 1624)."""
    total = (~int.from_bytes(message[2:4]) & 0xFFFF) + (~(message[0] << 8) & 0xFFFF) + (kind << 8)
    return bytes([kind, 0]) + folded(total) + message[4:]


def written(packet: bytes, message: bytes) -> bytes:
    """Write an IPv4 packet that answers another one, both its checksums included."""
    message = message[:2] + folded(sum(struct.unpack(f"!{len(message) // 2}H", message))) + message[4:]
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(message), 0, 0, 64, socket.IPPROTO_ICMP, 0)
    head += packet[16:20] + packet[12:16]
    return head[:10] + folded(sum(struct.unpack("!10H", head))) + head[12:] + message


def folded(total: int) -> bytes:
    """Give the checksum that a sum of words stands for (RFC 1071)."""
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
