"""`${NAME}` in the strings of a configuration: what it stands for, and how it may be shown.

`${NAME}` is the environment variable, an error when unset; `${NAME:-text}` falls back to the text when it is unset or
empty; `$${` is a literal `${`. The environment is an argument: only `watcher.config` reads the real one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

HIDDEN = "***"
# Begins what `watcher.config.sealing` encrypted. No reference, so an older agent reports it and does not send it.
SEALED = "${sealed:"

_TOKEN = re.compile(r"\$\$\{|\$\{(?:(?P<name>[A-Za-z_]\w*)(?P<fallback>:-(?:(?!\$\{)[^}])*)?\})?", re.ASCII)

# Names of what must not be shown. Where such a word can be the part of a harmless one, it must stand alone: `pin`, not
# `ping`. `auth` is judged in the last part of a key only: what stands under `basic_auth` is not secret for that.
TELLING = re.compile(
    r"passw(?:or)?d|pass(?:phrase|code|key)|pass(?![a-z])|pwd|secret|token|auth(?!or|[\w-]*\.)|authori[sz]ation|cookie"
    r"|credential|signature|session|bearer|(?:csrf|xsrf)|jwt|hmac"
    r"|(?:api|access|account|client|encryption|licen[cs]e|master|private|server|shared|signing|subscription)[-_]?key"
    r"|(?<![a-z0-9])(?:pin|otp|totp|sid|sig|cvv|cvc)(?![a-z0-9])|(?<![\w-])key(?![\w-])",
    re.I,
)
_URL_PASSWORD = re.compile(r"(?P<before>[a-z][\w+.-]*://[^/?#\s@:]*:)(?P<secret>(?:\$\{[^}]*\}|[^/?#\s])*)(?=@)", re.I)
# Of a URL, ended by "&"; or as libpq reads `key = value`: blanks around the sign, quotes, "\" before any character.
_PARAMETER = re.compile(
    rf"(?P<before>[?&][\w.-]*(?:{TELLING.pattern})[\w.-]*=)(?P<secret>(?:\$\{{[^}}]*\}}|[^&#\s])*)"
    rf"|(?P<key>(?:^|(?<=\s)|(?<='))[\w.-]*(?:{TELLING.pattern})[\w.-]*\s*=\s*)"
    r"(?P<value>'(?:[^'\\]|\\.)*(?:'|\\?$)|(?:\$\{[^}]*\}|\\.|[^\s\\])+\\?)",
    re.I | re.S,
)


def expand(text: str, environ: Mapping[str, str]) -> tuple[str, list[str]]:
    """Put the values of the variables in place of their references; give the text and what is wrong with it."""
    wrong: list[str] = []

    def value(token: re.Match[str]) -> str:
        name, fallback = token["name"], token["fallback"]
        if token[0] == "$${":
            return "${"
        if name is None:
            wrong.append('"${" begins a reference such as ${NAME} or ${NAME:-text}; write "$${" for the characters')
            return ""
        found = environ.get(name)
        if fallback is not None:
            found = found or fallback[2:]
        if found is None:
            wrong.append(f"environment variable {name} is not set; set it, or write ${{{name}:-text}} for a fallback")
        elif not _is_text(found):
            wrong.append(f"environment variable {name} is not UTF-8 text; set it anew")
            return ""
        return found or ""

    return _TOKEN.sub(value, text), wrong


def _is_text(value: str) -> bool:
    try:
        value.encode()
        return True
    except UnicodeEncodeError:  # bytes that Python could only smuggle into a string
        return False


def referenced(text: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Give each value that a reference in the text stands for, with the reference as users may see it."""
    found = {}
    for token in _TOKEN.finditer(text):
        if token["name"] is not None and environ.get(token["name"]):
            found[environ[token["name"]]] = f"${{{token['name']}}}"
    return found


def is_sealed(part: object) -> bool:
    """Tell whether a raw value was encrypted."""
    return isinstance(part, str) and part.startswith(SEALED)


def masked_secret(text: str) -> str:
    """Show a secret as asterisks; one that is nothing but a reference as that reference."""
    token = _TOKEN.fullmatch(text)
    if token is None or token["name"] is None:
        return HIDDEN
    return text if token["fallback"] is None else f"${{{token['name']}:-{HIDDEN}}}"


def masked(text: str) -> str:
    """Show a text without the passwords and tokens in its URLs and `name=value` pairs; references stay."""

    def hide(found: re.Match[str]) -> str:
        return found["before"] + (masked_secret(found["secret"]) if found["secret"] else "")

    def hide_parameter(found: re.Match[str]) -> str:
        return hide(found) if found["key"] is None else found["key"] + masked_secret(found["value"])

    return _PARAMETER.sub(hide_parameter, _URL_PASSWORD.sub(hide, text)) if "=" in text or "@" in text else text


def scrubbed(text: str, secrets: Mapping[str, str]) -> str:
    """Put what may be shown in place of each secret that occurs in the text, longest first."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        # A short one is sought as a word only: "5" must not turn every number into asterisks.
        pattern = re.escape(secret) if len(secret) > 3 else rf"(?<!\w){re.escape(secret)}(?!\w)"
        text = re.sub(pattern, lambda _, shown=secrets[secret]: shown, text)
    return text
