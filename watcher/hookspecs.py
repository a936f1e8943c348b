"""What a plugin may implement. pluggy asks at load time only: no hook here is called on the way of a check.

A plugin is a module (or object) whose functions carry `watcher.hookimpl`, named by an entry point of the group
`watcher`. An implementation may leave out arguments that it does not need.
"""

# pylint: disable=unused-argument  # a specification has no body

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

from watcher.models import Endpoint, Incident, OptionTypes, Result, Steps

if TYPE_CHECKING:
    import click
    import requests

    from watcher.models import Discovery
    from watcher.transport.exchange import Prober

Output = Callable[[Sequence[Result]], None]

hookspec = pluggy.HookspecMarker("watcher")
hookimpl = pluggy.HookimplMarker("watcher")


@hookspec
def watcher_options() -> OptionTypes:  # type: ignore[empty-body]
    """Give the keys that an `[[endpoints]]` table may carry for this plugin, each with its type.

    Asked once at start. A type is anything `msgspec.convert` knows: `str`, `int`, `list[str]`, a subclass of
    `watcher.Options`, a union of them. A misspelt key becomes an error with a suggestion.

    `Annotated[type, check]` says more: `check(value)` is called with the converted value when the configuration is
    read, gives the value that the endpoint keeps, and raises ValueError for one that is wrong.
    """


@hookspec
def watcher_settings() -> Any:
    """Give the type of this plugin's own part of the configuration.

    Asked once at start. A subclass of `watcher.Options` is the table `[plugins.NAME]`, where NAME is the plugin's entry
    point; `list[…]` of one are the tables `[[plugins.NAME]]`. All that holds for the types of options holds here. What
    is written there comes to the hooks that are given `settings`, as `settings.plugins["NAME"]`; when nothing is
    written, the key is absent.
    """


@hookspec
def watcher_prepare(endpoint: Endpoint, request: requests.Request) -> None:
    """Change the request of an endpoint once, when its plan is made: credentials, body, headers, method."""


@hookspec
def watcher_steps(endpoint: Endpoint) -> Steps:
    """Give the steps for this endpoint: a `watcher.Step`, a function of the response, a list of them, or None.

    Asked once per plan. Every step runs at each check; the first `Failure` is the verdict.
    """


@hookspec(firstresult=True)
def watcher_prober(endpoint: Endpoint, request: requests.Request) -> Prober | None:
    """Give the prober of this endpoint's URL scheme, or None when the scheme is another plugin's.

    Asked once per plan, after `watcher_prepare`. A prober is called with the `watcher.transport.Exchange` to fill.
    """


@hookspec
def watcher_endpoints(settings: Any) -> Iterable[dict[str, Any] | Discovery]:  # type: ignore[empty-body]
    """Give endpoints discovered elsewhere, as tables like `[[endpoints]]`; asked at start and at each reload.

    `settings` is the `watcher.config.Settings` of the file: `settings.path`, and `settings.plugins["NAME"]`, the
    plugin's own part (see `watcher_settings`). A `watcher.Discovery(find, every_s)` beside plain tables is asked again
    and again for the tables of its own. They are synced as the source `plugin:NAME`.
    """


@hookspec
def watcher_results(results: Sequence[Result]) -> None:
    """Receive a batch of results, after they were handed to the database; called in a greenlet of its own."""


@hookspec
def watcher_output(settings: Any) -> Output | None:
    """Give what receives each batch of results, configured by `settings`: a function of them, or None.

    Asked once in each worker. `settings` is a `watcher.config.Settings`: `settings.plugins["NAME"]` is the plugin's own
    part (see `watcher_settings`), `settings.agent` says where this agent stands. What it gives is called as
    `watcher_results` is. Where it has `flush()` and `every_s`, that is called so often, also when no results come;
    where it has `close()`, that is called at the end, after the last batch, and has a second.
    """


@hookspec
def watcher_incident(incident: Incident) -> None:
    """Receive a change of an endpoint's status, e.g. to notify somebody; called in a greenlet of its own."""


@hookspec
def watcher_commands(cli: click.Group) -> None:
    """Add subcommands to `watcher`; asked at start of the command line when the command is not a built-in."""
