"""Every option of a server that can move a number, in one record that is stored with the results."""

from typing import Final

import msgspec

from servers.gate.limits import LimitOptions

TRANSPORTS: Final = {
    "polling": "servers.polling:build",
    "long_polling": "servers.long_polling:build",
    "sse": "servers.sse:build",
    "websocket": "servers.websocket:build",
    "socketio": "servers.socketio:build",
    "raw": "servers.raw:build",
}
"""Transport -> where its listener is built. The one list of what can be served."""

VARIANTS: Final = {
    "polling": ("tuned",),
    "long_polling": ("tuned",),
    "sse": ("plain",),
    "websocket": ("tuned",),
    "socketio": ("websocket_only",),
}
"""Named variants beside the row of the table; the empty variant is the row."""

MAX_HOLD_S: Final = 55.0
"""Longest hold a client may ask for: under the 60 s after which common proxies give up."""


class ServerOptions(msgspec.Struct, frozen=True):
    """What one server runs with. Seconds, bytes and counts as the names say."""

    transport: str
    variant: str = ""
    host: str = "127.0.0.1"
    port: int = 8000
    rooms: int = 1
    history: int = 1024
    heartbeat_s: float = 15.0
    """A stream sends a heartbeat so often, whatever else it sends: an SSE comment, a WebSocket ping, an empty frame."""
    request_timeout_s: float = 10.0
    """A request must be complete this long after its first byte, a new connection's after it was accepted."""
    max_head_bytes: int = 32 * 1024
    max_url_bytes: int = 8 * 1024
    max_body_bytes: int = 64 * 1024
    max_frame_bytes: int = 64 * 1024
    stall_timeout_s: float = 20.0
    """A peer that acknowledges nothing for this long while bytes wait for it is aborted."""
    keep_alive_s: int = 75
    """Longer than any client or proxy keeps an idle connection, so that it is never the server that cuts it."""
    backlog: int = 2048
    unsent_bytes: int = 64 * 1024
    """TCP_NOTSENT_LOWAT: how much the kernel takes beyond what is in flight before it pushes back."""
    write_buffer_bytes: int = 4 * 1024
    """High-water mark of what a connection buffers beyond the kernel: over it nothing is written until it drains."""
    stream_batch_events: int = 64
    """At most this many events go into one write of a stream, which bounds what a slow reader holds."""
    per_message_deflate: bool = False
    shutdown_grace_s: float = 2.0
    """Responses that are still open this long after a stop signal are aborted."""
    ping_timeout_s: float = 60.0
    """Socket.IO: a client that has not answered a ping for this long is gone."""
    send_queue_packets: int = 1024
    """Socket.IO: packets that wait for one client; who has more is disconnected, and resumes by its cursor."""
    namespaces: tuple[str, ...] = ()
    """Beside the default one."""
    session_timeout_s: float = 60.0
    """A session of polls ends when no poll has come for this long. Longer than any hold."""
    auth: str = "none"
    """``none``, ``jwt``, or ``dev``: tokens signed with a key that everybody knows."""
    room_claims: dict[str, str] = {}
    """Room -> the claim that a token must hold for it."""
    allowed_origins: tuple[str, ...] = ()
    """Pages of other origins that may connect; those of the server's own may always."""
    tls: str = ""
    """Empty: none; ``files``: certificate and key were given; ``dev``: a throw-away authority."""
    log_level: str = "error"
    sabotage: str = ""
    """A fault to commit on purpose, for tests (``feed.faults``)."""
    limits: LimitOptions = LimitOptions()
