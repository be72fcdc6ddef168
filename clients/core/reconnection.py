"""When a client connects again after a connection has ended, and when it gives up."""

from clients.core.backoff import Backoff
from clients.core.errors import SENSELESS


class Reconnection:
    """The failures of one client's connections in a row, and the wait before the next connection.

    A good welcome ends the row, unless a connection ended with bytes that cannot be read: after that only a delivery
    does. Otherwise the client would connect for ever to a server that sends a welcome and then nonsense.
    """

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self.stream_retry_s = 0.0
        """Shortest wait before any reconnection, as the stream has set it (SSE's ``retry:``)."""
        self.in_doubt = False
        """Did a connection end with bytes that cannot be read, and nothing has been delivered since?"""

    def failed(self, error: Exception) -> None:
        """Note why a connection ended."""
        self.in_doubt |= isinstance(error, SENSELESS)

    def welcomed(self) -> None:
        """A connection has begun with a good welcome."""
        if not self.in_doubt:
            self._backoff.succeeded()

    def delivered(self) -> None:
        """An event has been delivered; needed only while ``in_doubt``."""
        self.in_doubt = False
        self._backoff.succeeded()

    def delay_s(self, asked_s: float) -> float | None:
        """Seconds until the next connection, or ``None`` if the client must give up; ``asked_s``: by the server."""
        return self._backoff.delay_s(max(asked_s, self.stream_retry_s))
