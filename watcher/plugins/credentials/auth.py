"""The option `auth`: any authentication for `requests` that somebody else wrote, as it is.

What is named by `package.module:name` is a class derived from `requests.auth.AuthBase`, or a function whose declared
result is one. It is called when the endpoint is loaded; what it gives is asked at each check, and answers a 401 if it
knows how to.
"""

from __future__ import annotations

import inspect
import pkgutil
import typing
from collections.abc import Callable
from typing import Any, ClassVar

import requests
from requests.auth import AuthBase
from requests.utils import to_native_string

from watcher import Endpoint, Options, ProbeError, Reason, Secret, Step, hookimpl
from watcher.plugins.request._scope import for_request

NTLMSSP = "TlRMTVNT"  # what every NTLM message begins with, in Base64


class Auth(Options):
    """`auth = "package.module:Class"`, or a table with what the class is called with.

    `args` are arguments by name. `secrets` are texts that are never shown: by name, or in their order.
    """

    __brief__: ClassVar[str] = "factory"

    factory: str
    args: dict[str, Any] = {}
    secrets: dict[str, Secret] | list[Secret] = {}

    def __post_init__(self) -> None:
        if isinstance(self.secrets, dict) and (twice := self.args.keys() & self.secrets.keys()):
            raise ValueError(f"{', '.join(sorted(twice))} is among args and secrets; give it once")
        positional, named = self.arguments()
        try:
            inspect.signature(found(self.factory)).bind(*positional, **named)
        except TypeError as error:
            raise ValueError(f"{self.factory}: {error}") from error

    def arguments(self) -> tuple[list[str], dict[str, Any]]:
        """Give what the factory is called with, secrets as the plain strings that it expects."""
        if isinstance(self.secrets, dict):
            return [], self.args | {name: str(value) for name, value in self.secrets.items()}
        return [str(value) for value in self.secrets], self.args

    def hidden(self, text: str) -> str:
        """Take the secrets out of somebody else's words."""
        secrets = self.secrets.values() if isinstance(self.secrets, dict) else self.secrets
        for secret in sorted(filter(None, secrets), key=len, reverse=True):
            text = text.replace(secret, "***")
        return text

    def made(self) -> AuthBase:
        """Call the factory.

        Raises:
            ValueError: it refuses its arguments.
        """
        positional, named = self.arguments()
        try:
            return found(self.factory)(*positional, **named)
        except Exception as error:  # pylint: disable=broad-exception-caught  # a boundary: its words may hold secrets
            raise ValueError(self.hidden(f"{self.factory}: {type(error).__name__}: {error}")) from None


def found(name: str) -> Callable[..., AuthBase]:
    """Import what a name stands for.

    Raises:
        ValueError: there is no such thing, or it makes no `AuthBase`: an endpoint must not call whatever it likes.
    """
    if name.count(":") != 1:
        raise ValueError(f'factory {name!r} is not like "package.module:Class"')
    try:
        factory = pkgutil.resolve_name(name)
        made = factory if isinstance(factory, type) else typing.get_type_hints(factory).get("return")
    except Exception as error:  # pylint: disable=broad-exception-caught  # a boundary: somebody else's module is loaded
        words = f"{type(error).__name__}: {error}"
        raise ValueError(f"factory {name!r}: {words}; install its package where watcher is installed") from error
    if not (isinstance(made, type) and issubclass(made, AuthBase)):
        wanted = "a class derived from requests.auth.AuthBase, or a function annotated with such a result"
        raise ValueError(f"factory {name!r} is not {wanted}")
    return factory


class ThirdParty(Step):
    """Has somebody else's `AuthBase` change each request, as `requests` would."""

    __slots__ = ("_auth", "_measured", "_options")

    def __init__(self, options: Auth, measured: bool) -> None:
        self._options = options
        self._auth = options.made()
        self._measured = measured

    def before(self, request: requests.PreparedRequest) -> None:
        try:
            request.prepare_auth(self._auth, request.url or "")
        except ProbeError:
            raise
        except Exception as error:  # pylint: disable=broad-exception-caught  # a boundary: its words may hold secrets
            words = f"{self._options.factory}: {type(error).__name__}: {error}"
            raise RuntimeError(self._options.hidden(words)) from None
        if self._measured:
            request.register_hook("response", refuse_ntlm)


def refuse_ntlm(response: requests.Response, **_: Any) -> None:
    """Tell why NTLM failed: it logs in a connection, and the measured transport has a fresh one for each request."""
    proof = to_native_string(response.request.headers.get("Authorization", ""))  # requests-oauthlib sets bytes
    if response.status_code == 401 and proof.partition(" ")[2].startswith(NTLMSSP):
        raise ProbeError(Reason.CONFIG, 'NTLM logs in a connection, not a request: add transport = "requests"')


@hookimpl
def watcher_options() -> dict[str, type]:
    """Add the key `auth`."""
    return {"auth": Auth}


@hookimpl(trylast=True)
def watcher_steps(endpoint: Endpoint) -> ThirdParty | None:
    """Sign after other steps have changed the request."""
    given = for_request(endpoint, "auth")
    if given is None:
        return None
    measured = endpoint.options.get("transport") != "requests" and "proxy" not in endpoint.options
    return ThirdParty(given, measured)
