"""Any bytes as a request, on every transport that takes requests."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import msgspec

from feed.envelope import Envelope, decode_envelope, decode_welcome
from feed.wire import SseParser
from tests.conftest import Running

Ask = Callable[[bytes], Awaitable[Envelope]]


@asynccontextmanager
async def asking(server: Running) -> AsyncIterator[Ask]:
    """A connection of its own; call what is given with a body to get its answer."""
    opened = {"websocket": _by_websocket, "socketio": _by_socketio, "sse": _by_sse}.get(
        server.ready["transport"], _by_polling
    )
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
async def _by_sse(server: Running, session: aiohttp.ClientSession) -> AsyncIterator[Ask]:
    async with session.get(server.url + "/sse") as stream:
        parser = SseParser()
        async for piece in stream.content.iter_any():
            welcomes = [decode_envelope(item.data) for item in parser.feed(piece) if item.data]
            if welcomes:
                break
        yield _posting(server, session, decode_welcome(welcomes[0].data).session)


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
