"""A client that joins a room of Socket.IO while events are published and emitted gets each of them once."""

import asyncio
from typing import Any

import pytest

from feed.cursor import Cursor
from feed.wire import Event
from servers.gate.auth import ANONYMOUS
from servers.http.socketio_rooms import RoomPump, SocketIoConnection
from servers.hub.hub import Hub
from servers.hub.reader import Notice, Subscription
from servers.hub.stats import Counters
from servers.platform.connections import Connections
from tests.conftest import run

ROOM = "feed"


class SlowEmitter:
    """Delivers to whoever is in the room when it is told to, and then takes its time, as python-socketio does."""

    def __init__(self) -> None:
        self.inside: dict[str, set[str]] = {}
        self.received: dict[str, list[int]] = {}
        self.free = asyncio.Event()
        self.free.set()

    async def send(self, event: Event, *, room: str = "", to: str = "", skip_sid: Any = ()) -> None:
        for client in [to] if to else sorted(self.inside.get(room, set())):
            self.received.setdefault(client, []).append(event.seq)
        await self.free.wait()

    async def notify(self, notice: Notice, to: str) -> None:
        await asyncio.sleep(0)

    async def enter_room(self, client: str, room: str) -> None:
        self.inside.setdefault(room, set()).add(client)

    def clients_in(self, room: str) -> set[str]:
        return self.inside.get(room, set())

    async def taken(self, client: str) -> None:
        await asyncio.sleep(0)


async def settled() -> None:
    """Let every task go on until it waits: nothing here waits for time, or for another process."""
    for _ in range(100):
        await asyncio.sleep(0)


@pytest.mark.parametrize("behind", [0, 1, 3])
@pytest.mark.parametrize("waiting", [0, 1, 2])
def test_a_client_that_joins_meanwhile_gets_each_event_once(behind: int, waiting: int) -> None:
    """The sixth event is being emitted, and others wait for their turn. The client has the newest, or not the last."""
    newest = 6 + waiting

    async def body() -> list[int]:
        hub, connections, emitter = Hub(1, 100), Connections(), SlowEmitter()
        room = hub.rooms[ROOM]
        pump = RoomPump(room, emitter, connections, Counters())  # type: ignore[arg-type]
        pump.task = asyncio.ensure_future(pump.run())
        for _ in range(5):
            hub.publish(ROOM, b"{}")
        await settled()
        emitter.free.clear()
        hub.publish(ROOM, b"{}")  # the sixth
        await settled()
        for _ in range(waiting):
            hub.publish(ROOM, b"{}")
        connection = SocketIoConnection(ANONYMOUS, "", "c1", None, ROOM)  # type: ignore[arg-type]
        connections.add(connection)
        connection.starts[ROOM] = newest - behind
        subscription = Subscription(room, Cursor(room.ring.epoch, newest - behind) if behind else None, Counters())
        catching_up = asyncio.ensure_future(pump.catch_up(connection, subscription))
        await settled()
        emitter.free.set()
        await catching_up
        hub.publish(ROOM, b"{}")
        await settled()
        pump.close()
        return emitter.received["c1"]

    assert run(body()) == list(range(newest + 1 - behind, newest + 2))
