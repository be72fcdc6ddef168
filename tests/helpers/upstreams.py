"""Any bytes as a request, on every transport that takes requests."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import msgspec

from feed.envelope import Envelope, decode_envelope, decode_welcome
from feed.transports import TRANSPORTS
from tests.conftest import Running
from tests.helpers.ways_in import envelopes_in

Ask = Callable[[bytes], Awaitable[Envelope]]


@asynccontextmanager
async def asking(server: Running) -> AsyncIterator[Ask]:
    """A connection of its own; call what is given with a body to get its answer."""
    name = server.ready["transport"]
    over_http = _by_polling if TRANSPORTS[name].is_poll else _by_stream
    opened = {"websocket": _by_websocket, "socketio": _by_socketio}.get(name, over_http)
    async with aiohttp.ClientSession() as session, opened(server, session) as ask:
        yield ask


@asynccontextmanager
async def _by_websocket(server: Running, session: aiohttp.ClientSession) -> AsyncIterator[Ask]:
    async with session.ws_connect(server.url + "/ws") as peer:
        assert decode_envelope(await peer.receive_str()).type == "welcome"

        async def ask(body: bytes) -> Envelope:
            await peer.send_str(body.decode())
            return decode_envelope(await peer.receive_str())

        yield ask


@asynccontextmanager
async def _by_socketio(server: Running, session: aiohttp.ClientSession) -> AsyncIterator[Ask]:
    async with session.ws_connect(server.url + "/socket.io/?EIO=4&transport=websocket") as peer:
        await peer.receive_str()
        await peer.send_str("40")

        async def ask(body: bytes) -> Envelope:
            await peer.send_str(f'427["request",{body.decode()}]')
            while not (text := await peer.receive_str()).startswith("437"):
                assert text.startswith(("40", '42["welcome"')), text
            (answer,) = msgspec.json.decode(text[3:], type=list[msgspec.Raw])
            return decode_envelope(bytes(answer))

        yield ask


@asynccontextmanager
async def _by_stream(server: Running, session: aiohttp.ClientSession) -> AsyncIterator[Ask]:
    async with session.get(server.url + TRANSPORTS[server.ready["transport"]].path) as stream:
        welcomes, rest = list[bytes](), b""
        async for piece in stream.content.iter_any():
            welcomes, rest = envelopes_in(rest + piece)
            if welcomes:
                break
        yield _posting(server, session, decode_welcome(decode_envelope(welcomes[0]).data).session)


@asynccontextmanager
async def _by_polling(server: Running, session: aiohttp.ClientSession) -> AsyncIterator[Ask]:
    async with session.post(server.url + "/sessions") as opened:
        secret: str = msgspec.json.decode(await opened.read())["data"]["session"]
    yield _posting(server, session, secret)


def _posting(server: Running, session: aiohttp.ClientSession, secret: str) -> Ask:
    async def ask(body: bytes) -> Envelope:
        headers = {"pushmark-session": secret}
        async with session.post(server.url + "/requests", data=body, headers=headers) as answer:
            return decode_envelope(await answer.read())

    return ask
