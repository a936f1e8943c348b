"""The option `aws_sigv4`: each request is signed anew with AWS Signature Version 4.

For AWS itself (API Gateway, S3, OpenSearch, Lambda URLs …) and what speaks like it (MinIO, Ceph).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import requests
from requests.auth import AuthBase

from watcher import Endpoint, Options, Secret, Step, hookimpl
from watcher.plugins.credentials._sole import sole


class AwsSigV4(Options):
    """`aws_sigv4 = { region = "eu-central-1", service = "execute-api", access_key = "…", secret_key = "${KEY}" }`.

    What is not given comes from the variables AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, all three
    of them, and AWS_REGION or AWS_DEFAULT_REGION.
    """

    service: str
    region: str = ""
    access_key: Secret | None = None
    secret_key: Secret | None = None
    session_token: Secret | None = None

    def __post_init__(self) -> None:
        if (self.access_key is None) is not (self.secret_key is None):
            raise ValueError("access_key and secret_key go together")
        if self.session_token is not None and self.access_key is None:
            raise ValueError("session_token goes with access_key and secret_key")
        if not self.service:
            raise ValueError('an empty service; write "s3", "execute-api" …')
        scope(self, os.environ)


class Scope(NamedTuple):
    """What signatures are made with."""

    access_key: str
    secret_key: Secret
    region: str
    service: str
    session_token: Secret | None


def scope(options: AwsSigV4, environ: Mapping[str, str]) -> Scope:
    """Fill up the options from the environment.

    Raises:
        ValueError: neither has a key or a region.
    """
    access_key, secret_key, session_token = options.access_key, options.secret_key, options.session_token
    if access_key is None:
        access_key = environ.get("AWS_ACCESS_KEY_ID")
        secret_key = environ.get("AWS_SECRET_ACCESS_KEY")
        session_token = environ.get("AWS_SESSION_TOKEN") or None
    region = options.region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    if not access_key or not secret_key:
        raise ValueError("add access_key and secret_key, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    if not region:
        raise ValueError("add region, or set AWS_REGION")
    token = None if session_token is None else Secret(session_token)
    return Scope(str(access_key), Secret(secret_key), region, options.service, token)


class Signature(Step):
    """Signs the request of each check."""

    __slots__ = ("_signer",)

    def __init__(self, signer: AuthBase) -> None:
        self._signer = signer

    def before(self, request: requests.PreparedRequest) -> None:
        self._signer(request)


@lru_cache(maxsize=1024)
def signer(given: Scope) -> AuthBase:
    """Give the one signer for equal settings; it derives its key once a day."""
    from requests_aws4auth import AWS4Auth

    token = None if given.session_token is None else str(given.session_token)
    return AWS4Auth(given.access_key, str(given.secret_key), given.region, given.service, session_token=token)


@hookimpl
def watcher_options() -> dict[str, type]:
    """Add the key `aws_sigv4`."""
    return {"aws_sigv4": AwsSigV4}


@hookimpl(trylast=True)
def watcher_steps(endpoint: Endpoint) -> Signature | None:
    """Sign after other steps have changed the request."""
    given = sole(endpoint, "aws_sigv4")
    return None if given is None else Signature(signer(scope(given, os.environ)))
