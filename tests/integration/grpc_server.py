"""gRPC servers of grpcio, run as a process that prints their ports and ends with its stdin.

In order: with the health service, the same over TLS, without it, and with it for who brings a token. The argument is a
PEM file with certificate and key.
"""

from __future__ import annotations

import sys
from concurrent import futures
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

Response = health_pb2.HealthCheckResponse  # pylint: disable=no-member  # protobuf makes it when the module is imported

LONG = "shop." + "x" * 300


class Guard(grpc.ServerInterceptor):
    """Lets pass who shows the token, and was sent by watcher."""

    def intercept_service(self, continuation, handler_call_details):
        """Look at the metadata."""
        given = dict(handler_call_details.invocation_metadata)
        if given.get("authorization") == "Bearer let-me-in" and given["user-agent"].startswith("watcher/"):
            return continuation(handler_call_details)

        def refuse(request, context) -> None:
            del request
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token: größer\n")

        return grpc.unary_unary_rpc_method_handler(refuse)


def server(*interceptors: grpc.ServerInterceptor, healthy: bool = True) -> grpc.Server:
    """Make a server."""
    made = grpc.server(futures.ThreadPoolExecutor(2), interceptors=interceptors)
    if healthy:
        servicer = health.HealthServicer()
        for name in ("", "shop.Cart", LONG):
            servicer.set(name, Response.SERVING)
        servicer.set("shop.Closed", Response.NOT_SERVING)
        servicer.set("shop.Odd", Response.UNKNOWN)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, made)
    return made


def main(certificate: str) -> None:
    """Serve until stdin ends."""
    pem = Path(certificate).read_bytes()
    plain, secure, bare, locked = server(), server(), server(healthy=False), server(Guard())
    ports = [plain.add_insecure_port("127.0.0.1:0")]
    ports.append(secure.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(pem, pem)])))
    ports += [one.add_insecure_port("127.0.0.1:0") for one in (bare, locked)]
    for one in (plain, secure, bare, locked):
        one.start()
    print(*ports, flush=True)
    sys.stdin.read()
    for one in (plain, secure, bare, locked):
        one.stop(None)


main(sys.argv[1])
