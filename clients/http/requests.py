"""Requests of the HTTP transports: POST on a connection of their own, with the session of the subscription."""

import asyncio
from http import HTTPStatus
from typing import Final

import aiohttp
from yarl import URL

from clients.core.client import Client, Shared
from clients.core.options import ClientOptions, target
from clients.http.answers import JSON, check_answer, failure_of, is_passing, read_envelope, read_error
from clients.http.headers import authorization
from clients.http.stamped import OneConnection, new_session
from feed.envelope import Envelope, decode_error, with_payload

SESSION_HEADER: Final = "pushmark-session"
ANSWERED_PASSING: Final = frozenset({429, 504})
"""Passing statuses that answer a request if the body says so: the caller may send another."""


class HttpClient(Client):
    """What polling, long polling and SSE share: their address, and how requests are sent."""

    def __init__(self, url: str, options: ClientOptions, shared: Shared) -> None:
        super().__init__(url, options, shared)
        self.target = target(url, self.transport, options.namespace)
        """Address of the subscription; the other addresses have the same parent."""
        self.request_session: aiohttp.ClientSession | None = None
        self._opening = asyncio.Lock()

    async def send_request(self, id_: str, body: bytes, payload: bytes = b"") -> Envelope:
        if payload:
            body = with_payload(body, payload)
        async with self._opening:  # of several requests at once, the first opens a session for all
            if not self.secret:
                await self.open_session()
        secret = self.secret
        answer = await self.post(self.sibling("requests"), body, "ack")
        if answer.type == "error" and decode_error(answer.data).code == "unknown_session":
            self.forget_session(secret)
            raise ConnectionResetError("the session has ended")
        return answer

    def forget_session(self, secret: str) -> None:
        """The server has no such session any more. The client may have another by now."""
        if self.secret == secret:
            self.secret = ""

    async def open_session(self) -> None:
        """Open the session that requests need, if the subscription itself brings none."""
        raise ConnectionResetError("the stream has not been welcomed yet")

    async def post(self, url: URL, body: bytes, expected: str) -> Envelope:
        """The answer to a POST: an envelope of the expected type, or an error. Raises as ``clients.http.answers``."""
        if self.request_session is None:
            connector = OneConnection(self.ledger, keep_alive=True, ca_file=self.options.ca_file)
            self.request_session = new_session(connector, self.options.connect_timeout_s)
        headers = {"content-type": "application/json"} | authorization(self.token) | self.session_header()
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self.options.connect_timeout_s)
        self.ledger.requests += 1
        async with self.request_session.post(url, data=body, headers=headers, timeout=timeout) as response:
            if response.status == HTTPStatus.OK:
                await check_answer(response, JSON)
                return await read_envelope(response, expected, "error")
            error = await read_error(response)
            if error is None or (is_passing(response.status) and response.status not in ANSWERED_PASSING):
                raise failure_of(response, error, JSON)
            return error

    def sibling(self, name: str) -> URL:
        """The address with the same parent as the subscription's."""
        return self.target.with_path(f"{self.target.path.rpartition('/')[0]}/{name}")

    def session_header(self) -> dict[str, str]:
        """The header that names the session; no header without one."""
        return {SESSION_HEADER: self.secret} if self.secret else {}

    async def release(self) -> None:
        if self.request_session is not None:
            await self.request_session.close()
            self.request_session = None
