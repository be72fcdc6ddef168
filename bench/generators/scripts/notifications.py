"""Users who are notified now and then (``servers.services.notifications``), some of them while they are away."""

import asyncio
from typing import ClassVar, Final

import msgspec

from bench.generators.scripts.script import Script
from clients.core.client import Client
from clients.core.errors import ClientError
from feed.envelope import Envelope
from feed.instruments.clock import NS_PER_S, now_ns

SENT: Final = "sent"
SEEN: Final = "seen"
KEPT: Final = "kept"


class _Shown(msgspec.Struct):
    seq: int


_DECODER: Final = msgspec.json.Decoder(_Shown)


class Notifications(Script):
    """Each subscriber is user ``user-INDEX``, and sends one notification to the next one.

    Options: ``within_s``, the time in which all are sent; ``text_bytes``; ``away``: the number of users who are not
    there, and ``kept``: how many notifications each of them is sent before it comes (``back_s``).
    """

    FIELDS: ClassVar = {
        SENT: ("recipient", "due_ns", "acked_ns", "seq"),
        SEEN: ("subscriber", "seq", "receive_ns"),
        KEPT: ("user", "found"),
    }

    async def enter(self, index: int) -> None:
        """Ask what there is, as a program does when it starts; a polling client has its inbox from then on."""
        await self._ask(self.stage.clients[index], op="open")

    async def act(self, index: int, start_ns: int) -> None:
        draw, within_s = self.draw(index), self.option("within_s")
        await self._send(index, (index + 1) % self.stage.subscribers, start_ns, draw.random() * within_s, 0)
        if index < self.option("away"):
            user = self.stage.subscribers + index
            for n in range(self.option("kept")):
                await self._send(index, user, start_ns, within_s, n)
            await self.stage.timer.sleep_until(start_ns + round(self.option("back_s") * NS_PER_S))
            await self._come_back(user)

    def take(self, index: int, envelope: Envelope, receive_ns: int) -> None:
        if envelope.type == "notification":
            self.rows[SEEN].extend((index, _DECODER.decode(envelope.data).seq, receive_ns))

    async def _send(self, sender: int, user: int, start_ns: int, at_s: float, n: int) -> None:
        due_ns = start_ns + round(at_s * NS_PER_S)
        await self.stage.timer.sleep_until(due_ns)
        key, text = f"{self.stage.seed}-{sender}-{user}-{n}", "x" * self.option("text_bytes")
        acked_ns = seq = 0
        try:
            sent = await self._ask(self.stage.clients[sender], op="send", user=f"user-{user}", key=key, text=text)
            acked_ns, seq = now_ns(), sent["seq"]
        except (ClientError, TimeoutError):
            pass  # one without an acknowledgement is kept as one
        finally:
            self.rows[SENT].extend((user, due_ns, acked_ns, seq))

    async def _come_back(self, user: int) -> None:
        """Connect as a user who was away, and count what there is."""
        client, unread = self.stage.connect(user), 0
        receiving = asyncio.ensure_future(client.run())
        try:
            unread = (await self._ask(client, op="open"))["unread"]
        except (ClientError, TimeoutError):
            pass  # then it has missed all
        finally:
            receiving.cancel()
            self.rows[KEPT].extend((user, unread))

    async def _ask(self, client: Client, **data: object) -> dict[str, int]:
        found: dict[str, int] = await client.request("call", service="notifications", data=data)
        return found
