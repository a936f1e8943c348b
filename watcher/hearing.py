"""Whose fault a failure is, the site's or that of the agent's own network: the witnesses are heard before it counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import gevent
import msgspec
from gevent.event import Event

from watcher import witnesses
from watcher.models import Reason, Result, Status
from watcher.witnesses import RESOLVER, Witness

PEACE_S = 5.0  # between two hearings when nothing fails
PAUSE_S = 0.25  # at least; with `witnesses.ASK_S` the longest time for which a result is held
HELD_MOST = 5_000  # results; beyond, they are kept as they are

# What a network that is away looks like; a status or a certificate is the site's own.
BY_NETWORK = frozenset({Reason.DNS, Reason.CONNECT, Reason.TIMEOUT, Reason.CLOSED, Reason.TLS})

# What our own delay can bring about, too; a refusal is one however late we looked.
BY_LAG = BY_NETWORK - {Reason.CONNECT}


class _Held(NamedTuple):
    """A result, and who takes it as it is to be kept."""

    result: Result
    take: Callable[[Result], None]


class Hearing:
    """Holds failures back until the witnesses were heard, and passes them on as the site's or as the agent's own.

    The network is away when every credible witness is silent and meanwhile no fewer checks of endpoints that were up
    failed than others went well. Whatever began before it came back is the agent's too.

    Args:
        called: none of them: nobody is asked, and nothing is held.
        clock_us: the time of day, as `Result.time_us` has it.
        say: told, in a line, when the network goes and comes.
    """

    def __init__(
        self, called: Sequence[Witness], clock_us: Callable[[], int], say: Callable[[str], None] = lambda line: None
    ) -> None:
        self.well = 0  # checks in which a site answered, since the start
        self.away = False
        self._witnesses = called
        self._clock_us = clock_us
        self._say = say
        self._fell = 0
        self._held: list[_Held] = []
        self._woken = Event()
        self._back_us = 0
        self._silences = 0  # hearings in a row
        self._no_resolver = False
        self._ended = False

    def holds(self, result: Result, was_up: bool, take: Callable[[Result], None]) -> bool:
        """Take a failure whose reason is in `BY_NETWORK`; False when it is the site's and to be kept at once.

        Args:
            was_up: the endpoint was up until now; only these raise the question.
            take: called with the result as it is to be kept, now or soon.
        """
        self._fell += was_up
        if self.away or result.time_us < self._back_us:
            take(_ours(result, "the agent's own network was away"))
        elif self._no_resolver and _is_of_resolver(result):
            take(_ours(result, "no resolver of the agent answers"))
        elif was_up and not self._ended and len(self._held) < HELD_MOST and any(w.credible for w in self._witnesses):
            self._held.append(_Held(result, take))
            self._woken.set()
        else:
            return False
        return True

    def run(self) -> None:
        """Hear the witnesses now and then, and at once when something fails; to be run in a greenlet."""
        while self._witnesses and not self._ended:
            self.hear()
            gevent.sleep(PAUSE_S)
            self._woken.wait(PAUSE_S if self._silences else PEACE_S)

    def hear(self) -> None:
        """Ask all witnesses, judge what is held, and pass it on."""
        self._woken.clear()
        well, fell = self.well, self._fell - len(self._held)
        hurry = bool(self._held) and not any(_is_of_resolver(one.result) for one in self._held)
        answers = witnesses.ask(self._witnesses, first_will_do=hurry)
        well, fell = self.well - well, self._fell - fell
        for witness, heard in zip(self._witnesses, answers, strict=True):
            if heard is not None:
                witness.take(heard, others_well=well > fell)
        self._judge(well, fell)
        self._release()

    def clock_set(self) -> None:
        """Forget times of the day that the clock shows no more."""
        self._back_us = 0

    def end(self) -> None:
        """Hold nothing any more."""
        self._ended = True
        self._release()
        self._woken.set()

    def _judge(self, well: int, fell: int) -> None:
        far = [one for one in self._witnesses if one.credible and not one.near()]
        silent = bool(far) and not any(one.heard for one in far)
        self._silences = self._silences + 1 if silent else 0
        away = silent and fell >= well and (fell > 0 or self._silences > 1)  # one lost packet is no silence
        resolvers = [one for one in self._witnesses if one.name == RESOLVER and one.credible]
        self._no_resolver = bool(resolvers) and not any(one.heard for one in resolvers)
        if self.away and not away:
            self._back_us = self._clock_us()
            self._say("the agent's own network is back")
        elif away and not self.away:
            names = ", ".join(one.name for one in far)
            self._say(f"the agent's own network is away: no answer from {names}; failures are rows of status missed")
        self.away = away

    def _release(self) -> None:
        held, self._held = self._held, []
        for result, take in held:
            if self.away:
                take(_ours(result, "the agent's own network is away"))
            elif self._no_resolver and _is_of_resolver(result):
                take(_ours(result, "no resolver of the agent answers"))
            else:
                take(result)


def _is_of_resolver(result: Result) -> bool:
    """Say whether a check got no further than its name, which the system's resolver was asked for."""
    in_dns = result.reason is Reason.DNS or (
        result.reason is Reason.TIMEOUT and result.dns_us is not None and result.connect_us is None
    )
    return in_dns and "resolver" not in result.endpoint.options


def _ours(result: Result, why: str) -> Result:
    return msgspec.structs.replace(
        result, status=Status.MISSED, reason=Reason.AGENT_NETWORK, detail=f"{why}; {result.detail}"
    )


def of_lag(result: Result, max_lag_us: int) -> Result:
    """Give a failure as the agent's own where its own delay was over the budget, and can have brought it about."""
    lag_us = result.lag_us or 0
    if result.reason is Reason.TIMEOUT:  # how late we saw the deadline pass took nothing from the site
        lag_us = min(lag_us, int(result.endpoint.timeout_s * 1e6) - (result.latency_us or 0))
    if lag_us <= max_lag_us or result.reason not in BY_LAG:
        return result
    return msgspec.structs.replace(
        result,
        status=Status.MISSED,
        reason=Reason.OVERLOAD,
        detail=f"the agent itself took {lag_us / 1e6:.2f} s of the check, more than accuracy.max_lag; {result.detail}",
    )
