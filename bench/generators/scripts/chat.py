"""Members of chat rooms (``servers.services.chat``) who write now and then, and read everything."""

import asyncio
from typing import ClassVar, Final

import msgspec

from bench.generators.scripts.script import Script, Stage
from clients.core.errors import ClientError
from feed.envelope import Envelope
from feed.instruments.clock import NS_PER_S, now_ns

SENT: Final = "sent"
SEEN: Final = "seen"
TYPED: Final = "typed"
TYPING: Final = "typing"


class _Said(msgspec.Struct):
    seq: int


class _Message(msgspec.Struct):
    data: _Said


class _Typing(msgspec.Struct):
    client: str
    active: bool


_MESSAGE: Final = msgspec.json.Decoder(_Message)
_TYPING: Final = msgspec.json.Decoder(_Typing)


class Chat(Script):
    """Options: ``room_size``, ``posts_hz`` of each member, ``text_bytes``, ``types_s`` (how long one types before a
    post; 0: nobody is told), and ``stops_s``, after which nothing is posted.
    """

    FIELDS: ClassVar = {
        SENT: ("subscriber", "room", "due_ns", "acked_ns", "seq"),
        SEEN: ("subscriber", "room", "seq", "receive_ns"),
        TYPED: ("subscriber", "room", "due_ns"),
        TYPING: ("subscriber", "writer", "receive_ns"),
    }

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._typing: set[int] = set()
        """Who is typing: a member whose next post is due before the last one is sent does not begin anew."""

    async def enter(self, index: int) -> None:
        await self.stage.clients[index].join(self._name(index))

    async def act(self, index: int, start_ns: int) -> None:
        """Open loop: a post is sent when it is due, whether or not the one before is acknowledged."""
        draw, types_s, n = self.draw(index), self.option("types_s"), 0
        at_s = types_s
        async with asyncio.TaskGroup() as posts:
            while (at_s := at_s + draw.expovariate(self.option("posts_hz"))) < self.option("stops_s"):
                await self.stage.timer.sleep_until(start_ns + round((at_s - types_s) * NS_PER_S))
                posts.create_task(self._post(index, n, start_ns + round(at_s * NS_PER_S)))
                n += 1

    def take(self, index: int, envelope: Envelope, receive_ns: int) -> None:
        if envelope.type == "message":
            seq = _MESSAGE.decode(envelope.data).data.seq
            self.rows[SEEN].extend((index, self._room(index), seq, receive_ns))
        elif envelope.type == "typing":
            typing = _TYPING.decode(envelope.data)
            if typing.active:
                self.rows[TYPING].extend((index, self._index_of(typing.client), receive_ns))

    async def _post(self, index: int, n: int, due_ns: int) -> None:
        client, room = self.stage.clients[index], self._name(index)
        text = "x" * self.option("text_bytes")
        data = {"op": "send", "room": room, "key": f"{self.stage.seed}-{index}-{n}", "text": text}
        acked_ns = seq = 0
        types = self.option("types_s") > 0 and index not in self._typing
        try:
            if types:
                self._typing.add(index)
                self.rows[TYPED].extend((index, self._room(index), due_ns - round(self.option("types_s") * NS_PER_S)))
                await client.request("typing", room=room, active=True)
            await self.stage.timer.sleep_until(due_ns)
            seq = (await client.request("call", service="chat", data=data))["seq"]
            acked_ns = now_ns()
            if types:
                await client.request("typing", room=room, active=False)
        except (ClientError, TimeoutError):
            pass  # a post without an acknowledgement is kept as one
        finally:
            if types:
                self._typing.discard(index)
            self.rows[SENT].extend((index, self._room(index), due_ns, acked_ns, seq))

    def _room(self, index: int) -> int:
        return int(index // self.option("room_size"))

    def _name(self, index: int) -> str:
        return f"chat-{self._room(index)}"

    def _index_of(self, client: str) -> int:
        """The subscriber with this public id, -1 if it is in another process."""
        return next((index for index, of in self.stage.clients.items() if of.id == client), -1)
