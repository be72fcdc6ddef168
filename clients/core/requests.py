"""A client's requests: an id for each, sent again after a cut until it is answered (docs/protocol.md, Requests)."""

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, Final

from clients.core.backoff import asked_at_most_s
from clients.core.errors import (
    NOT_PUSHMARK,
    RETRIED,
    SENSELESS,
    ClientError,
    RefusedError,
    RequestError,
    asked_wait_s,
    end_if_permanent,
    words,
)
from feed.envelope import Envelope, decode_error
from feed.requests import encode_request

MAX_PENDING_REQUESTS: Final = 1000
"""How many requests of one client may wait for their answers among the events."""
RETRY_PAUSE_S: Final = 0.05
"""Upper bound of the random pause before a request that was cut off is sent again."""

Send = Callable[[str, bytes, bytes], Awaitable[Envelope]]
"""Sends the request with an id, its body and its payload, and returns its answer. Raises one of ``RETRIED`` if the
connection ends before."""


class Requests:
    """The requests of one client. ``send`` is its transport's way to send one."""

    def __init__(self, send: Send, timeout_s: float, draw: random.Random) -> None:
        self._send = send
        self._timeout_s = timeout_s
        self._draw = draw
        self._instance = ""
        self._numbers = count(1)
        self._pending: dict[str, asyncio.Future[Envelope]] = {}
        self._last_failure = ""
        self.can_send = asyncio.Event()
        """Set while the client's connection is open."""

    async def make(self, type_: str, fields: dict[str, Any]) -> Any:
        """Send a request until it is answered, and return the data of its acknowledgement.

        A repeated request keeps its id, so that the server applies it once. Raises ``RequestError`` if the server
        refuses it, ``TimeoutError`` if no answer comes in time, and ``ClientError`` if the transport takes no requests
        or too many requests are pending.
        """
        if len(self._pending) >= MAX_PENDING_REQUESTS:
            raise ClientError(f"{MAX_PENDING_REQUESTS} requests are pending already")
        self._instance = self._instance or secrets.token_hex(16)
        id_ = str(next(self._numbers))
        payload = fields.get("payload", b"")
        body = encode_request(type_, id_, instance=self._instance, **{**fields, "payload": None})
        wait_s = self._timeout_s + float(fields.get("ack_timeout_s") or 0)
        try:
            async with asyncio.timeout(wait_s):
                answer = await self._send_until_answered(id_, body, payload)
        except TimeoutError:
            reason = f"; {self._last_failure}" if self._last_failure else ""
            raise TimeoutError(f"no answer to {type_!r} within {wait_s:g} s{reason}") from None
        return _data_of(answer)

    async def answer_after(self, id_: str, sending: Awaitable[None]) -> Envelope:
        """Send, and wait for the answer that comes among the events (``take``)."""
        future: asyncio.Future[Envelope] = asyncio.get_running_loop().create_future()
        self._pending[id_] = future
        try:
            await sending
            return await future
        finally:
            future.cancel()
            del self._pending[id_]

    def take(self, answer: Envelope) -> None:
        """An answer has come among the events."""
        future = self._pending.get(answer.id)
        if future is not None and not future.done():
            future.set_result(answer)

    def connection_ended(self, reason: str) -> None:
        """Fail what is pending: no answer comes by that connection any more."""
        self._last_failure = reason
        for future in tuple(self._pending.values()):
            if not future.done():
                future.set_exception(ConnectionResetError("the connection ended before the answer came"))

    async def _send_until_answered(self, id_: str, body: bytes, payload: bytes) -> Envelope:
        while True:
            await self.can_send.wait()
            try:
                return await self._send(id_, body, payload)
            except RETRIED as error:
                end_if_permanent(error, opened=True)
                self._last_failure = words(error)
                asked_s = asked_at_most_s(asked_wait_s(error))
            await asyncio.sleep(asked_s + self._draw.uniform(0, RETRY_PAUSE_S))


def _data_of(answer: Envelope) -> Any:
    """The data of an acknowledgement. Raises ``RequestError`` for an error, ``RefusedError`` for what is unreadable."""
    try:
        if answer.type != "error":
            return answer.value()
        error = decode_error(answer.data)
    except SENSELESS as nonsense:
        raise RefusedError(NOT_PUSHMARK, f"got an answer that cannot be read: {nonsense}") from nonsense
    raise RequestError(error.code, error.message, error.retry_after_s)
