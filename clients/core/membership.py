"""The rooms that a client has joined, and joining them again after a reconnection."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from clients.core.backoff import Backoff
from clients.core.errors import ClientError, RequestError, asked_wait_s
from clients.core.session import SessionTable


class Membership:
    """Joins and leaves rooms by the client's ``request``, each room from the cursor that ``sessions`` has of it."""

    def __init__(
        self, request: Callable[..., Awaitable[Any]], sessions: SessionTable, new_backoff: Callable[[], Backoff]
    ) -> None:
        self._request = request
        self._sessions = sessions
        self._new_backoff = new_backoff
        self._rejoining: asyncio.Task[None] | None = None
        self.rooms: dict[str, None] = {}
        """Joined rooms, in the order in which they are joined again."""

    async def join(self, room: str) -> Any:
        """Become a member. Returns the data of the acknowledgement; raises as ``Client.request``."""
        answer = await self._request("join", room=room, since=self._sessions.since(room))
        self.rooms[room] = None
        return answer

    async def leave(self, room: str) -> Any:
        """Stop being a member. Returns the data of the acknowledgement; raises as ``Client.request``."""
        was_member = room in self.rooms
        self.rooms.pop(room, None)
        try:
            return await self._request("leave", room=room)
        except RequestError as error:
            if error.code != "not_joined" or not was_member:
                raise
            return {}  # the connection was cut, and the new one has not joined the room
        finally:
            self._sessions.forget(room)

    def start_rejoining(self) -> None:
        """Join all rooms again on a new connection, in the background."""
        self.stop_rejoining()
        if self.rooms:
            self._rejoining = asyncio.ensure_future(self._rejoin())

    def stop_rejoining(self) -> None:
        """End the background task."""
        if self._rejoining is not None:
            self._rejoining.cancel()

    async def _rejoin(self) -> None:
        for room in tuple(self.rooms):
            await self._join_again(room)

    async def _join_again(self, room: str) -> None:
        """Repeat the request until it is granted. A room that refuses it for good, or too often, is not received."""
        backoff = self._new_backoff()
        delay_s: float | None = 0.0
        while delay_s is not None:
            await asyncio.sleep(delay_s)
            try:
                await self._request("join", room=room, since=self._sessions.since(room))
                return
            except TimeoutError:
                delay_s = backoff.delay_s()
            except RequestError as error:
                delay_s = backoff.delay_s(asked_wait_s(error)) if error.is_passing else None
            except ClientError:  # if the cause is the connection, receiving ends with the same error
                return
