"""Every way in to a server, as somebody goes who writes the bytes by hand: nothing a client would refuse to send.

A ``Guest`` has an address and a user of its own, and knocks at doors: the methods named in ``doors``.
"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Final, NamedTuple, Self
from urllib.parse import quote

from feed.transports import TRANSPORTS
from feed.wire import FrameDecoder, encode_frame
from servers.gate.auth import DEV_KEY, mint
from tests.conftest import Running

PATIENCE_S: Final = 10.0
"""How long an answer may take on a busy machine."""
TokenOf = Callable[[str], str]
"""From a user to a token."""


def good(user: str, ttl_s: float = 50.0, **claims: Any) -> str:
    """A token that may come in a URL too."""
    return mint(DEV_KEY, user, ttl_s, time.time(), claims)


class What(NamedTuple):
    """What is said at a door; ``None`` is left out."""

    room: str | None = None
    since: str | None = None
    token: TokenOf | None = good
    by: str = "header"
    """``header``, ``cookie``, ``query``, or ``auth``: Socket.IO's payload."""
    namespace: str = ""
    query: str = ""
    """More parameters, as they stand in the query."""
    headers: tuple[str, ...] = ()
    method: str = ""
    path: str = ""
    """In the place of the door's own."""
    body: Any = None
    """A request, or from the user to one; text is sent as it is."""
    length: int = 0
    """What ``Content-Length`` announces while nothing is sent."""
    auth: Any = None
    """In the place of Socket.IO's payload."""
    session: str | None = None
    """In the place of the guest's own."""


class Said(NamedTuple):
    """What was answered: the code of a refusal, empty for who was let in, and the envelope."""

    code: str
    envelope: dict[str, Any]

    @property
    def data(self) -> Any:
        return self.envelope["data"]


def said(text: str | bytes) -> Said:
    """Understand one envelope, or an answer of another kind."""
    envelope = json.loads(text or b"{}")
    return Said(envelope["data"]["code"] if envelope.get("type") == "error" else "", envelope)


def allowed(answer: Said) -> Said:
    """An answer that is no refusal."""
    assert not answer.code, answer
    return answer


class Guest:
    """Who knocks at the doors that every HTTP listener has. A context manager: whatever is open ends with it."""

    doors: Sequence[str] = ("about", "garbage")

    def __init__(self, server: Running, address: str, user: str = "ann") -> None:
        self.server = server
        self.name = str(server.ready["transport"])
        self.port = server.port
        self.address = address
        self.user = user
        self.secret = ""
        """Of the session that its requests name, where they come by another connection."""
        self._numbers = iter(range(1, 1_000_000))
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    async def knock(self, door: str, what: What) -> Said:
        """Say it at a door."""
        async with asyncio.timeout(PATIENCE_S):
            answer: Said = await getattr(self, door)(what)
            return answer

    async def ask(self, type_: str, what: What | None = None, **fields: Any) -> Said:
        """One request with an id of its own."""
        return await self.knock("request", (what or What())._replace(body={"type": type_, **fields}))

    async def enter(self, what: What) -> Said:
        """Open the receiving side, and keep what requests need."""
        raise NotImplementedError

    def bring(self, other: "Guest") -> None:
        """Let somebody else stay for as long as this one."""
        self._open.push_async_callback(other._open.aclose)

    async def about(self, what: What) -> Said:
        return await self.http("GET", "/", what)

    async def http(self, method: str, path: str, what: What) -> Said:
        """One exchange on a connection of its own, which stays open if the answer is a stream."""
        reader, writer = await self._connection()
        before = f"/{what.namespace}" if what.namespace else ""
        target = f"{what.path or before + path}?{self._query(what)}"
        lines = [f"{what.method or method} {target} HTTP/1.1", "host: localhost", *self._headers(what)]
        body = b"" if what.body is None else self.request_text(what.body).encode()
        lines.append(f"content-length: {what.length or len(body)}")
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        return said(await answer_of(reader))

    async def garbage(self, what: What) -> Said:
        """What is no request at all: its path and headers as they are."""
        reader, writer = await self._connection()
        writer.write("\r\n".join([what.path, *what.headers, "", ""]).encode())
        return said(await answer_of(reader))

    def request_text(self, body: Any) -> str:
        """A request as JSON, with an id of its own unless it has one."""
        body = body(self.user) if callable(body) else body
        return body if isinstance(body, str) else json.dumps({"id": str(next(self._numbers)), **body})

    def token(self, what: What) -> str:
        return "" if what.token is None else what.token(self.user)

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(self.address, 0))
        self._open.callback(_abort, reader, writer)
        return reader, writer

    def _query(self, what: What) -> str:
        said_ = {"room": what.room, "since": what.since}
        pairs = [f"{name}={quote(value)}" for name, value in said_.items() if value is not None]
        token = [f"token={self.token(what)}"] if what.by == "query" and what.token else []
        return "&".join([*pairs, *token, *([what.query] if what.query else [])])

    def _headers(self, what: What) -> list[str]:
        forms = {"header": "authorization: Bearer {}", "cookie": "cookie: pushmark_token={}"}
        token = [forms[what.by].format(self.token(what))] if what.token and what.by in forms else []
        return [*token, *what.headers]


def _abort(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Whoever will call this keeps the reader, too: without it asyncio ends the connection."""
    writer.transport.abort()


async def answer_of(reader: asyncio.StreamReader) -> bytes:
    """The body of an HTTP answer; of a stream its first envelope."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = head.partition("content-length: ")[2].partition("\r\n")[0]
    if length:
        return await reader.readexactly(int(length))
    if "content-type: text/plain" in head:  # Engine.IO's answers hold packets
        return await _chunks(reader)
    return b"" if " 204 " in head else await _first_envelope(reader)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    return body


async def _first_envelope(reader: asyncio.StreamReader) -> bytes:
    found: list[bytes] = []
    rest = b""
    while not found:
        piece = await reader.read(65_536)
        assert piece, "the stream ended before its first envelope"
        found, rest = envelopes_in(rest + piece)
    return found[0]


def envelopes_in(stream: bytes) -> tuple[list[bytes], bytes]:
    """The whole envelopes of a stream, whatever its format puts around them, and what is left."""
    text, found = stream.decode("latin-1"), list[bytes]()  # a character per byte, so that positions are the same
    start = text.find("{")
    while start >= 0:
        try:
            _, end = json.JSONDecoder().raw_decode(text, start)
        except json.JSONDecodeError:
            return found, stream[start:]
        found.append(stream[start:end])
        start = text.find("{", end)
    return found, b""


class Sessions(Guest):
    """Requests by POST, with the session of the receiving side."""

    async def request(self, what: What) -> Said:
        return await self.http("POST", "/requests", await self._of_session(what))

    async def leave(self, what: What) -> Said:
        return await self.http("DELETE", "/sessions", await self._of_session(what))

    async def enter(self, what: What) -> Said:
        """Open the receiving side, and keep its session."""
        answer = await self._begin(what)
        self.secret = "" if answer.code else answer.data["session"]
        return answer

    async def _begin(self, what: What) -> Said:
        raise NotImplementedError

    async def _of_session(self, what: What) -> What:
        if not self.secret and what.session is None:
            assert not (await self.enter(What(token=what.token, namespace=what.namespace))).code
        session = self.secret if what.session is None else what.session
        return what._replace(token=None, headers=(*what.headers, f"pushmark-session: {session}"))


class Polls(Sessions):
    """Polling and long polling, where a poll holds nothing unless its query says so."""

    doors = ("about", "garbage", "poll", "session_poll", "new_session", "request", "leave")

    async def poll(self, what: What) -> Said:
        return await self.http("GET", TRANSPORTS[self.name].path, what._replace(query=f"hold_s=0&{what.query}"))

    async def session_poll(self, what: What) -> Said:
        return await self.poll(await self._of_session(what))

    async def new_session(self, what: What) -> Said:
        return await self.http("POST", "/sessions", what)

    _begin = new_session


class Stream(Sessions):
    """A stream over HTTP of any format."""

    doors = ("about", "garbage", "stream", "request", "leave")

    async def stream(self, what: What) -> Said:
        return await self.http("GET", TRANSPORTS[self.name].path, what)

    _begin = stream


class Sse(Stream):
    """The stream that takes a cursor in ``Last-Event-ID`` too."""


class Raw(Guest):
    """The baseline: frames, and no HTTP."""

    doors = ("subscribe", "second_frame")

    async def subscribe(self, what: What) -> Said:
        fields = {"type": "subscribe", "room": what.room, "since": what.since}
        hello = {name: value for name, value in fields.items() if value is not None} if what.body is None else what.body
        return (await self._frames(json.dumps(hello)))[0]

    enter = subscribe

    async def second_frame(self, what: What) -> Said:
        return (await self._frames(json.dumps({"type": "subscribe"}), what.body))[-1]

    async def _frames(self, *texts: str) -> list[Said]:
        """Send frames, and read as many answers."""
        reader, writer = await self._connection()
        writer.write(b"".join(encode_frame(text.encode()) for text in texts))
        decoder, found = FrameDecoder(1 << 20), list[Said]()
        while len(found) < len(texts):
            found += map(said, decoder.feed(await reader.read(65_536)))
        return found


class Control(Guest):
    """The control listener of a server, or of the relay."""

    doors = ("about", "garbage", "control")

    def __init__(self, server: Running, address: str, user: str = "ann") -> None:
        super().__init__(server, address, user)
        self.port = int(server.ready["control_url"].rpartition(":")[2])

    async def control(self, what: What) -> Said:
        return await self.http("POST", "/stats/reset", what)
