"""WebSocket servers, run as a process that prints their ports and ends with its stdin.

The first two are of the library aiohttp, plain and TLS, and do what the URL's path says; the third, of the library
websockets, gives back what it gets. The argument is a PEM file with certificate and key.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys

from aiohttp import WSCloseCode, web
from websockets.asyncio.server import serve

ENDED = web.AppKey("ended", list)


async def echo(request: web.Request) -> web.WebSocketResponse:
    """Give back each message."""
    socket = web.WebSocketResponse(protocols=("chat", "mqtt"))
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(message.data)
    request.app[ENDED].append(socket.close_code)
    return socket


async def greet(request: web.Request) -> web.WebSocketResponse:
    """Say two things unasked, then give back each message."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_str("welcome")
    await socket.send_str("motd")
    async for message in socket:
        await socket.send_str(f"you said {message.data}")
    return socket


async def tell(request: web.Request) -> web.WebSocketResponse:
    """Say what the handshake was like."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_str(json.dumps({"path": request.path_qs, "headers": [*request.headers.items()]}))
    await socket.receive()
    return socket


async def pings(request: web.Request) -> web.WebSocketResponse:
    """Answer only who answers a ping."""
    socket = web.WebSocketResponse(autoping=False)
    await socket.prepare(request)
    await socket.ping(b"are you there")
    message = await socket.receive()
    await socket.send_bytes(b"pong was " + message.data)
    await socket.receive()
    return socket


async def leave(request: web.Request) -> web.WebSocketResponse:
    """Close at once."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"no token")
    return socket


async def mute(request: web.Request) -> web.WebSocketResponse:
    """Shake hands, and answer nothing, not even pings."""
    socket = web.WebSocketResponse(autoping=False)
    await socket.prepare(request)
    async for _ in socket:
        pass
    return socket


async def ended(request: web.Request) -> web.Response:
    """Say by which close codes the connections to /echo have ended."""
    return web.json_response(request.app[ENDED])


async def deny(request: web.Request) -> web.Response:
    """Refuse."""
    raise web.HTTPForbidden(text=f"not for {request.remote}")


async def move(request: web.Request) -> web.Response:
    """Send elsewhere."""
    raise web.HTTPFound(f"https://{request.host}/echo")


async def copy(connection) -> None:
    """Give back each message."""
    async for message in connection:
        await connection.send(message)


async def main(certificate: str) -> None:
    """Serve until stdin ends."""
    app = web.Application()
    app[ENDED] = []
    for act in (echo, greet, tell, pings, leave, mute, ended, deny, move):
        app.router.add_get(f"/{act.__name__}", act)
    runner = web.AppRunner(app)
    await runner.setup()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    for context in (None, tls):
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    async with serve(copy, "127.0.0.1", 0, compression=None) as third:
        print(*(address[1] for address in runner.addresses), third.sockets[0].getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


asyncio.run(main(sys.argv[1]))
