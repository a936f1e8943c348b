"""Where tokens of the client credentials grant come from (RFC 6749, 4.4): for the plugin `oauth2`."""

from __future__ import annotations

import re
import threading
from functools import lru_cache
from time import monotonic
from typing import Any, NamedTuple
from urllib.parse import quote_plus, urlsplit

import requests

from watcher import ProbeError, Reason, Secret
from watcher.transport.failures import beneath

LIFE_S = 300.0  # of a token that does not say how long it lives
AHEAD_S = 60.0  # renew so long before the end, or a fifth of its life
RETRY_S = 10.0  # a token endpoint that gave none is left alone for so long
DOUBT_S = 60.0  # a token that the site refuses is renewed when it is older
TOKEN = re.compile(r"[\x21-\x7e]+")
ERROR_CODE = re.compile(r"[\w.-]{1,40}", re.ASCII)


class Question(NamedTuple):
    """What the token endpoint is asked; equal ones share a token."""

    url: str
    fields: tuple[tuple[str, Secret], ...]
    login: tuple[str, Secret] | None
    timeout_s: float
    ca: str


class Grant(NamedTuple):
    """What is known of a token; times are on the monotonic clock, `failure` is why the last renewal gave none."""

    token: Secret = Secret("")
    got_at: float = 0.0
    renew_at: float = 0.0
    ends_at: float = 0.0
    failure: str = ""


class Tokens:
    """Where checks get the token from; one renewal at a time, however many wait."""

    __slots__ = ("_give_up_at", "_grant", "_question", "_renewed")

    def __init__(self, question: Question) -> None:
        self._question = question
        self._grant = Grant()
        self._renewed: threading.Event | None = None  # of the renewal under way
        self._give_up_at = 0.0  # when another may begin though that one has not ended

    def token(self, wait_s: float) -> str:
        """Give a token that is valid now; waits for one only where there is none.

        Raises:
            ProbeError: there is none.
        """
        now = monotonic()
        if now >= self._grant.renew_at and (self._renewed is None or now >= self._give_up_at):
            self._renewed = threading.Event()
            self._give_up_at = now + 3 * self._question.timeout_s  # one for the connection, one for a read, and some
            # in a thread (a greenlet) of its own: a check that runs out of time must not end what others wait for
            threading.Thread(target=self._renew, args=(self._renewed,), daemon=True).start()
        renewed = self._renewed
        if renewed is not None and now >= self._grant.ends_at and not renewed.wait(wait_s):
            raise self._none(f"no answer in {wait_s:g} s")
        grant = self._grant
        if not grant.token or monotonic() >= grant.ends_at:
            raise self._none(grant.failure or "the token has ended")
        return str(grant.token)

    def doubt(self) -> None:
        """Take note that the site refused the token: get another one, unless this one is quite new."""
        if self._grant.token and monotonic() - self._grant.got_at > DOUBT_S:
            self._grant = Grant()

    def _renew(self, renewed: threading.Event) -> None:
        began = monotonic()
        try:
            token, life_s = ask(self._question)
            ahead_s = min(AHEAD_S, life_s / 5)
            self._grant = Grant(token, began, began + life_s - ahead_s, began + life_s)
        except (OSError, ValueError) as error:  # OSError: also a `ca` that cannot be read
            words = _words(error, self._question.timeout_s)
            self._grant = self._grant._replace(renew_at=monotonic() + RETRY_S, failure=words)
        finally:
            if self._renewed is renewed:
                self._renewed = None
            renewed.set()

    def _none(self, why: str) -> ProbeError:
        return ProbeError(Reason.CREDENTIALS, f"oauth2: no token from {urlsplit(self._question.url).netloc}: {why}")


def ask(question: Question) -> tuple[Secret, float]:
    """Ask the token endpoint; give the token and the seconds that it lives.

    Raises:
        requests.RequestException: no answer.
        ValueError: an answer without a token, in words for people.
    """
    with requests.Session() as session:
        session.trust_env = False  # or a .netrc would take the place of the credentials
        response = session.post(
            question.url,
            data=[(name, str(value)) for name, value in question.fields],
            # RFC 6749, 2.3.1: both are written as in a form first
            auth=question.login and (quote_plus(question.login[0]), quote_plus(question.login[1])),
            headers={"Accept": "application/json"},
            timeout=question.timeout_s,
            verify=question.ca or True,
            allow_redirects=False,  # the secret is for this address only
        )
    answer = _object(response)
    if response.status_code != 200:
        code = answer.get("error")
        known = isinstance(code, str) and ERROR_CODE.fullmatch(code)
        raise ValueError(f"it answered {response.status_code}" + (f" {code}" if known else ""))
    token, kind = answer.get("access_token"), answer.get("token_type", "bearer")
    if not isinstance(token, str) or not TOKEN.fullmatch(token):
        raise ValueError("its answer holds no access_token")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise ValueError("its token is not of the type Bearer")
    return Secret(token), _life_s(answer.get("expires_in"))


def _object(response: requests.Response) -> dict[str, Any]:
    try:
        answer = response.json()
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _life_s(value: Any) -> float:
    """Read `expires_in`; some servers write a number as text."""
    try:
        life_s = float(value)
    except (TypeError, ValueError):
        return LIFE_S
    return life_s if 0 < life_s < 1e9 else LIFE_S


def _words(error: OSError | ValueError, timeout_s: float) -> str:
    if isinstance(error, requests.Timeout):
        return f"no answer in {timeout_s:g} s"
    own = isinstance(error, ValueError) and not isinstance(error, requests.RequestException)
    return " ".join((str(error) if own else beneath(error)).split())[:100]


@lru_cache(maxsize=4096)
def tokens(question: Question) -> Tokens:
    """Give the one source of tokens for equal settings."""
    return Tokens(question)
