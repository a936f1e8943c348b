"""An endpoint compiled: all that can be known before its checks. The last place that asks plugins, at load time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import pluggy
import requests

from watcher.addresses import Each
from watcher.config import foreign
from watcher.errors import ProbeError, in_one_line
from watcher.ledger import BREAKS, Account, Broken, Ledger
from watcher.models import Endpoint, Failure, Reason, Step
from watcher.transport.exchange import Exchange, Prober

Before = Callable[[requests.PreparedRequest], None]
Judge = Callable[[Any], Failure | None]  # of a response or of an exchange


class Plan(NamedTuple):
    """What a probe needs, in the order in which it needs it; shared by all checks of an endpoint.

    Each judge comes with the account of its plugin, `account` is that of the prober's. `each` is there where every
    address of the name is checked.
    """

    endpoint: Endpoint
    prober: Prober
    account: Account
    before: tuple[Before, ...] = ()
    examine: tuple[tuple[Judge, Account], ...] = ()
    assess: tuple[tuple[Judge, Account], ...] = ()
    each: Each | None = None

    def close(self) -> None:
        """Let the prober give up what it holds between checks."""
        close = getattr(self.prober, "close", None)
        if close is not None:
            close()
        if self.each is not None:
            self.each.close()


def compile_plan(endpoint: Endpoint, plugins: pluggy.PluginManager, ledger: Ledger | None = None) -> Plan:
    """Compile an endpoint; one that cannot be probed gets a plan whose every check says so (reason `config`).

    Args:
        ledger: where the steps' time and errors are written down; one of its own when nobody asks for them.
    """
    ledger = ledger or Ledger()
    plan = _Compiling(endpoint, plugins, ledger).plan()
    wanted = endpoint.options.get("addresses")
    if wanted is None or isinstance(plan.prober, Unusable):
        return plan
    return plan._replace(each=Each(endpoint, wanted, lambda: compile_plan(endpoint, plugins, ledger)))


def unusable(endpoint: Endpoint, faults: Sequence[str], ledger: Ledger) -> Plan:
    """Give the plan of an endpoint that cannot be probed: its every check says why."""
    return Plan(endpoint, Unusable(faults), ledger.account("watcher"))


def _words(error: BaseException) -> str:
    said = in_one_line(error)
    return said if isinstance(error, ValueError) and said else f"{type(error).__name__}: {said}"


class _Compiling:
    """One compilation; `faults` are what plugins refused it for."""

    def __init__(self, endpoint: Endpoint, plugins: pluggy.PluginManager, ledger: Ledger) -> None:
        self.faults: list[str] = []
        self._endpoint = endpoint
        self._hooks = plugins.hook
        self._ledger = ledger
        self._request = requests.Request("GET", endpoint.url)

    def plan(self) -> Plan:
        """Ask the plugins: for the request, then who sends it, then what each makes of the answer."""
        for _ in self._answers(self._hooks.watcher_prepare):
            pass
        refused = len(self.faults)
        probers = self._answers(self._hooks.watcher_prober)
        name, prober = next((answer for answer in probers if answer[1] is not None), ("", None))
        if prober is None and len(self.faults) == refused:
            scheme = self._endpoint.url.partition(":")[0]
            hint = foreign.scheme_hint(scheme) or "; `watcher plugins` names those that are there"
            self.faults.append(f"no plugin probes {scheme}: URLs{hint}")
        before: list[Before] = []
        examine: list[tuple[Judge, Account]] = []
        assess: list[tuple[Judge, Account]] = []
        for owner, steps in self._answers(self._hooks.watcher_steps, lambda answer: [*_flat(answer)]):
            account = self._ledger.account(owner)
            for step in steps:
                if not isinstance(step, Step):
                    examine.append((step, account))
                    continue
                kind = type(step)
                if kind.before is not Step.before:
                    before.append(_accounted(step.before, account))
                if kind.examine is not Step.examine:
                    examine.append((step.examine, account))
                if kind.assess is not Step.assess:
                    assess.append((step.assess, account))
        if prober is None or self.faults:
            return unusable(self._endpoint, self.faults, self._ledger)
        return Plan(self._endpoint, prober, self._ledger.account(name), tuple(before), tuple(examine), tuple(assess))

    def _answers(
        self, hook: pluggy.HookCaller, read: Callable[[Any], Any] = lambda answer: answer
    ) -> Iterator[tuple[str, Any]]:
        """Ask each plugin, in pluggy's order, and give its name with what `read` makes of its answer."""
        given = {"endpoint": self._endpoint, "request": self._request}
        for implementation in reversed(hook.get_hookimpls()):
            name = implementation.plugin_name
            try:
                if implementation.hookwrapper or implementation.wrapper:
                    raise TypeError(f"{hook.name} cannot be wrapped")
                answer = read(implementation.function(*[given[argument] for argument in implementation.argnames]))
            except BREAKS as error:  # the boundary around plugins at load time
                self.faults.append(f"plugin {name}: {_words(error)}")
            else:
                yield name, answer


def _accounted(before: Before, account: Account) -> Before:
    """Give a `before` that writes down what it takes; it goes through `requests`, which costs a hundred times that."""

    def change(request: requests.PreparedRequest) -> None:
        with account.step():
            try:
                before(request)
            except ProbeError:
                raise
            except BREAKS as error:  # the boundary around plugins
                raise Broken(account) from error

    return change


def _flat(answer: Any) -> Iterable[Any]:
    if answer is None:
        return
    if isinstance(answer, (list, tuple)):
        for step in answer:
            yield from _flat(step)
    elif isinstance(answer, Step) or callable(answer):
        yield answer
    else:
        raise TypeError(f"a step must be a watcher.Step or a function, not {answer!r}")


class Unusable:
    """Stands for the prober of an endpoint that cannot be probed; `why` has all its faults in one line."""

    __slots__ = ("faults", "why")

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        self.why = "; ".join(faults)

    def __call__(self, exchange: Exchange) -> None:
        raise ProbeError(Reason.CONFIG, self.why)
