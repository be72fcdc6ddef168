"""Requests of the HTTP transports: POST by a connection of its own, with the session of the receiving side."""

from http import HTTPStatus
from typing import Final

import aiohttp
from yarl import URL

from clients.core.client import Client, Shared
from clients.core.options import ClientOptions, authorization
from clients.http.answers import JSON, check_answer, failure_of, is_passing, read_envelope, read_error
from clients.http.stamped import OneConnection, new_session
from feed.envelope import Envelope, decode_error

SESSION_HEADER = "pushmark-session"
ANSWERED_PASSING: Final = frozenset({429, 504})
"""Passing statuses with which a request is answered, if the body says so: who asked may ask again."""


class HttpAsking(Client):
    """What polling, long polling and SSE share: how to ask."""

    _target: URL
    """Where it receives; the other addresses lie beside it."""

    def __init__(self, url: str, options: ClientOptions, shared: Shared) -> None:
        super().__init__(url, options, shared)
        self._asking: aiohttp.ClientSession | None = None

    async def _ask(self, id_: str, body: bytes) -> Envelope:
        if not self._secret:
            await self._open_session()
        answer = await self._post(self._beside("requests"), body, "ack")
        if answer.type == "error" and decode_error(answer.data).code == "unknown_session":
            self._secret = ""
            raise ConnectionResetError("the session has ended")
        return answer

    async def _open_session(self) -> None:
        """Get a session, where the receiving side has not brought one."""
        raise ConnectionResetError("the stream has not been welcomed yet")

    async def _post(self, url: URL, body: bytes, expected: str) -> Envelope:
        """The answer to a POST: an envelope of the expected type, or an error. Raises as ``answers`` says."""
        if self._asking is None:
            connector = OneConnection(self.ledger, keep_alive=True, ca_file=self.options.ca_file)
            self._asking = new_session(connector, self.options.connect_timeout_s)
        headers = {"content-type": "application/json"} | authorization(self.token) | self._session_header()
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self.options.connect_timeout_s)
        self.ledger.requests += 1
        async with self._asking.post(url, data=body, headers=headers, timeout=timeout) as response:
            if response.status == HTTPStatus.OK:
                await check_answer(response, JSON)
                return await read_envelope(response, expected, "error")
            error = await read_error(response)
            if error is None or (is_passing(response.status) and response.status not in ANSWERED_PASSING):
                raise failure_of(response, error, JSON)
            return error

    def _beside(self, name: str) -> URL:
        return self._target.with_path(f"{self._target.path.rpartition('/')[0]}/{name}")

    def _session_header(self) -> dict[str, str]:
        return {SESSION_HEADER: self._secret} if self._secret else {}

    async def _release(self) -> None:
        if self._asking is not None:
            await self._asking.close()
            self._asking = None
