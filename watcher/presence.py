"""Whether this process ran: what tells an agent that was too busy from one that was stopped or slept."""

from __future__ import annotations

import time

from watcher.models import Reason

SAMPLE_US = 1_000_000
OWN_CPU_SHARE = 0.5  # of a gap: above it we were busy, below it we did not run


class Presence:
    """Knows when its process last ran, and how much of the CPU it took since.

    Args:
        now_us: the time of the schedule, as of all its methods.
    """

    def __init__(self, now_us: int) -> None:
        self._ran_us = self._sampled_us = now_us
        self._sampled_cpu_s = time.process_time()

    def note(self, now_us: int) -> None:
        """Note that the process runs."""
        self._ran_us = now_us

    def why_late(self, now_us: int) -> Reason:
        """Tell why what was due since the last note is late."""
        why = Reason.OVERLOAD
        if now_us - self._sampled_us > SAMPLE_US:  # the CPU clock costs a system call
            cpu_s = time.process_time()
            if now_us - self._ran_us > SAMPLE_US:
                busy_share = (cpu_s - self._sampled_cpu_s) * 1e6 / (now_us - self._sampled_us)
                why = Reason.OVERLOAD if busy_share > OWN_CPU_SHARE else Reason.SUSPENDED
            self._sampled_us, self._sampled_cpu_s = now_us, cpu_s
        return why
