"""A kernel timer as a file descriptor: wakes an epoll loop at a moment; epoll's own timeout is rounded up to 1 ms."""

from __future__ import annotations

import ctypes
import os

_CLOCK_MONOTONIC = 1
_TIMER_ABSTIME = 1
_NS = 1_000_000_000


class _TimerSpec(ctypes.Structure):
    """`struct itimerspec` of timerfd_settime(2)."""

    _fields_ = [(name, ctypes.c_long) for name in ("interval_s", "interval_ns", "value_s", "value_ns")]


class Alarm:
    """One timer on the clock of `time.monotonic`; `fd` becomes readable when it rings.

    To be registered edge-triggered: then nothing needs to be read, and setting it anew is all it takes.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)  # the standard library has timerfd from Python 3.13 on
        self.fd = self._libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    def ring_at(self, due_s: float) -> None:
        """Ring at a moment, in place of the one set before; a moment in the past rings at once."""
        spec = _TimerSpec(0, 0, *divmod(max(1, int(due_s * _NS)), _NS))
        self._libc.timerfd_settime(self.fd, _TIMER_ABSTIME, ctypes.byref(spec), None)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)
