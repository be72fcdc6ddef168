"""The ways in to a server by WebSocket and by Socket.IO, and who tries which (``tests/helpers/ways_in.py``)."""

import json
from collections.abc import Sequence
from typing import Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from feed.transports import TRANSPORTS
from tests.conftest import SERVED, Running
from tests.helpers.ways_in import Guest, Polls, Raw, Said, Sse, Stream, What, answer_of, said


class Socket(Guest):
    """What the two transports by WebSocket have in common."""

    _socket: ClientConnection | None = None

    async def connect(self, path: str, what: What) -> ClientConnection:
        """A handshake. Raises ``InvalidStatus``, whose response has the refusal."""
        headers = [tuple(line.split(": ", 1)) for line in self._headers(what)]
        self._socket = await connect(
            f"ws://127.0.0.1:{self.port}{path}",
            additional_headers=headers,
            compression=None,
            proxy=None,
            close_timeout=0.2,
            local_addr=(self.address, 0),
        )
        self._open.push_async_callback(self._socket.close)
        return self._socket


class WebSockets(Socket):
    doors = ("about", "garbage", "stream", "request", "plain")

    async def stream(self, what: What) -> Said:
        path = what.path or (f"/{what.namespace}" if what.namespace else "") + "/ws"
        try:
            socket = await self.connect(f"{path}?{self._query(what)}", what)
        except InvalidStatus as error:
            return said(bytes(error.response.body))
        return said(await socket.recv())

    enter = stream

    async def plain(self, what: What) -> Said:
        """An ordinary request at the address of the WebSocket."""
        return await self.http("GET", "/ws", what)

    async def request(self, what: What) -> Said:
        if self._socket is None:
            assert not (await self.stream(What(token=what.token, namespace=what.namespace))).code
        assert self._socket is not None
        await self._socket.send(self.request_text(what.body))
        while (answer := said(await self._socket.recv())).envelope["type"] not in ("ack", "error"):
            pass
        return answer


class SocketIo(Socket):
    """Socket.IO by WebSocket: a packet is a text message."""

    doors = ("about", "garbage", "stream", "request", "engine")
    transport = "websocket"
    _prefix = ""

    async def engine(self, what: What) -> Said:
        """An ordinary request where Engine.IO's handshakes come."""
        query = f"EIO=4&transport={self.transport}&{what.query}"
        return await self.http("GET", "/socket.io/", what._replace(query=query))

    async def stream(self, what: What) -> Said:
        if not self._joined_engine and (refused := await self._begin(what)):
            return refused
        self._prefix = f"/{what.namespace}," if what.namespace else ""
        payload = {"room": what.room, "since": what.since, "token": self.token(what) if what.by == "auth" else None}
        auth = {name: value for name, value in payload.items() if value is not None} if what.auth is None else what.auth
        await self.send(f"40{self._prefix}{json.dumps(auth)}")
        packet = await self._until(f"40{self._prefix}", f"44{self._prefix}")
        if packet.startswith("44"):
            refusal = json.loads(packet.removeprefix(f"44{self._prefix}"))["data"]
            return Said(refusal["code"], {"type": "error", "data": refusal})
        welcome = await self._until(f"42{self._prefix}")
        return said(json.dumps(json.loads(welcome.removeprefix(f"42{self._prefix}"))[1]))

    enter = stream

    async def request(self, what: What) -> Said:
        if not self._joined_engine:
            assert not (await self.stream(What(token=what.token, namespace=what.namespace))).code
        number = next(self._numbers)
        body = self.request_text(what.body)
        body = body if body.startswith("{") else json.dumps(body)
        await self.send(f'42{self._prefix}{number}["request",{body}]')
        answer = await self._until(f"43{self._prefix}{number}[")
        return said(json.dumps(json.loads(answer.removeprefix(f"43{self._prefix}{number}"))[0]))

    @property
    def _joined_engine(self) -> bool:
        return self._socket is not None

    async def _begin(self, what: What) -> Said | None:
        try:
            await self.connect(f"/socket.io/?EIO=4&transport=websocket&{self._engine_query(what)}", what)
        except InvalidStatus as error:
            return said(bytes(error.response.body))
        await self._until("0{")
        return None

    def _engine_query(self, what: What) -> str:
        return self._query(what._replace(room=None, since=None))

    async def send(self, packet: str) -> None:
        assert self._socket is not None
        await self._socket.send(packet)

    async def receive(self) -> str:
        assert self._socket is not None
        return str(await self._socket.recv())

    async def _until(self, *prefixes: str) -> str:
        while not (packet := await self.receive()).startswith(prefixes):
            pass
        return packet


class SocketIoPolling(SocketIo):
    """Socket.IO by Engine.IO's polls: packets come several to an answer (Engine.IO protocol, "Payload encoding")."""

    transport = "polling"
    _sid = ""

    def __init__(self, server: Running, address: str, user: str = "ann") -> None:
        super().__init__(server, address, user)
        self._waiting: list[str] = []

    @property
    def _joined_engine(self) -> bool:
        return bool(self._sid)

    async def _begin(self, what: What) -> Said | None:
        answer = await self._exchange("GET", self._engine_query(what), self._headers(what))
        if not answer.startswith("0"):
            return said(answer)
        self._sid = json.loads(answer[1:])["sid"]
        return None

    async def send(self, packet: str) -> None:
        assert await self._exchange("POST", f"sid={self._sid}", body=packet.encode()) == "OK"

    async def receive(self) -> str:
        while not self._waiting:
            self._waiting = (await self._exchange("GET", f"sid={self._sid}")).split("\x1e")
        return self._waiting.pop(0)

    async def _exchange(self, method: str, query: str, headers: Sequence[str] = (), body: bytes = b"") -> str:
        reader, writer = await self._connection()
        head = [f"{method} /socket.io/?EIO=4&transport=polling&{query} HTTP/1.1", "host: localhost", *headers]
        writer.write("\r\n".join([*head, f"content-length: {len(body)}", "", ""]).encode() + body)
        return (await answer_of(reader)).decode()


GUESTS: Final[dict[str, tuple[type[Guest], ...]]] = {
    "sse": (Sse,),
    "websocket": (WebSockets,),
    "socketio": (SocketIo, SocketIoPolling),
    "socketio:websocket_only": (SocketIo,),
    "raw": (Raw,),
}
"""The guests of what is served that is more than a poll or a stream over HTTP of its own format."""


def guests_of(served: str) -> tuple[type[Guest], ...]:
    """The guests of a transport, or of a variant, which by default has those of its transport."""
    name = served.partition(":")[0]
    return GUESTS.get(served) or GUESTS.get(name) or ((Polls,) if TRANSPORTS[name].is_poll else (Stream,))


def ways_of(kind: type[Guest]) -> tuple[str, ...]:
    """In which a token may be shown."""
    return ("header", "cookie", "query", *(["auth"] if issubclass(kind, SocketIo) else []))


def doors_of(kind: type[Guest]) -> list[str]:
    """Where a room is named to receive it, by who has a token."""
    return [door for door in ("poll", "session_poll", "new_session", "stream") if door in kind.doors]


PLACES: Final = [(served, kind) for served in SERVED if served != "raw" for kind in guests_of(served)]
"""Everything that takes tokens, and who tries it."""
