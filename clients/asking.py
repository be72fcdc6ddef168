"""Requests of the HTTP transports: POST by a connection of its own, with the session of the receiving side."""

import aiohttp
from yarl import URL

from clients.client import Client, RefusedError, Shared
from clients.http import RETRY_STATUSES, OneConnection, new_session
from clients.options import ClientOptions, authorization
from feed.envelope import Envelope, decode_envelope, decode_error

SESSION_HEADER = "pushmark-session"


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
        answer = await self._post(self._beside("requests"), body)
        if answer.type == "error" and decode_error(answer.data).code == "unknown_session":
            self._secret = ""
            raise ConnectionResetError("the session has ended")
        return answer

    async def _open_session(self) -> None:
        """Get a session, where the receiving side has not brought one."""
        raise ConnectionResetError("the stream has not been welcomed yet")

    async def _post(self, url: URL, body: bytes) -> Envelope:
        if self._asking is None:
            connector = OneConnection(self.ledger, keep_alive=True, ca_file=self.options.ca_file)
            self._asking = new_session(connector, self.options.connect_timeout_s)
        headers = {"content-type": "application/json"} | authorization(self.token) | self._session_header()
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self.options.connect_timeout_s)
        self.ledger.requests += 1
        async with self._asking.post(url, data=body, headers=headers, timeout=timeout) as response:
            if response.status in RETRY_STATUSES - {429, 504}:  # those two are answers
                response.raise_for_status()
            answer = await response.content.read(1 << 20)
        try:
            return decode_envelope(answer)
        except ValueError:
            raise RefusedError("not_pushmark", f"status {response.status} without the error shape") from None

    def _beside(self, name: str) -> URL:
        return self._target.with_path(f"{self._target.path.rpartition('/')[0]}/{name}")

    def _session_header(self) -> dict[str, str]:
        return {SESSION_HEADER: self._secret} if self._secret else {}

    async def _release(self) -> None:
        if self._asking is not None:
            await self._asking.close()
            self._asking = None
