"""Every option of a server that can change a measurement, in one flat record that is stored with the results."""

from typing import Any, Final

import msgspec

from servers.gate.limits import LimitOptions

MAX_HOLD_S: Final = 55.0
"""Longest hold a client may ask for: less than the 60 s after which common proxies give up."""


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What no command line sets: constants, which are recorded with the results, and which tests change."""

    max_head_bytes: int = 32 * 1024
    """Longest head of a request; a longer one is refused."""
    max_url_bytes: int = 8 * 1024
    """Longest URL of a request; a longer one is refused."""
    max_body_bytes: int = 64 * 1024
    """Longest body of a request; a longer one is refused."""
    max_frame_bytes: int = 64 * 1024
    """Longest WebSocket message, or payload of Socket.IO, from a client; a longer one is refused."""
    keep_alive_s: int = 75
    """How long an idle connection is kept: longer than clients and proxies do, so that the server never ends it."""
    backlog: int = 2048
    """Connections that may wait to be accepted (``listen(2)``)."""
    unsent_bytes: int = 64 * 1024
    """TCP_NOTSENT_LOWAT: unsent bytes beyond which the kernel takes no more of a connection (``tcp(7)``)."""
    write_buffer_bytes: int = 4 * 1024
    """High-water mark of a connection's buffer in user space: above it nothing is written until it drains."""
    stream_batch_events: int = 64
    """Most events in one write of a stream, which bounds the memory that a slow reader takes."""
    per_message_deflate: bool = False
    """Negotiate compression of WebSocket messages (RFC 7692)."""
    shutdown_grace_s: float = 2.0
    """Time for open responses to end after a stop signal; then they are aborted."""
    ping_timeout_s: float = 60.0
    """Time for a client of WebSocket or Socket.IO to answer a ping; then its connection is closed."""
    send_queue_packets: int = 1024
    """Most packets that wait for one Socket.IO client; beyond that it is disconnected, and resumes by its cursor."""
    session_timeout_s: float = 60.0
    """Time without a poll after which a session of polls ends; longer than any hold."""


class ServerOptions(Bounds, frozen=True):
    """Options of one server, its ``Bounds`` included. Units are at the end of each name."""

    transport: str
    variant: str = ""
    """A variant of the transport (``feed.transports``); empty: the server that the table measures."""
    host: str = "127.0.0.1"
    port: int = 8000
    """0: the kernel picks a free one."""
    rooms: int = 1
    """Rooms of the feed."""
    history: int = 1024
    """Events kept per room for clients that resume."""
    store: str = ""
    """What services keep things in: ``sqlite``; empty: nothing."""
    store_max_mib: int = 1024
    """Size of the store above which it takes nothing more."""
    store_sync: str = "process"
    """What acknowledged writes survive: the end of the process (``process``), or a power cut too (``full``)."""
    heartbeat_s: float = 15.0
    """Interval of heartbeats on a stream, whatever else it sends: an SSE comment, a WebSocket ping, an empty frame."""
    poll_interval_hint_s: float = 0.0
    """Interval that polling's variant ``conditional`` asks its clients to keep; 0: none is asked for."""
    request_timeout_s: float = 10.0
    """Time for a request to be complete, from its first byte; for a new connection's first, from the accept."""
    stall_timeout_s: float = 20.0
    """Time without an acknowledgement, while bytes wait for it, after which a connection is aborted."""
    namespaces: tuple[str, ...] = ()
    """Namespaces next to the default one."""
    auth: str = "none"
    """``none``; ``jwt``; or ``dev``: tokens are signed with a published key."""
    room_claims: dict[str, str] = {}
    """Room -> the claim that a token must hold to enter it."""
    allowed_origins: tuple[str, ...] = ()
    """Other origins whose pages may connect; pages of the server's own origin always may."""
    tls: str = ""
    """Empty: no TLS; ``files``: a certificate and key from files; ``dev``: a throw-away authority."""
    log_level: str = "error"
    gc: str = "default"
    """Python's garbage collector (``servers.platform.collector``): ``default`` or ``tuned``."""
    inject_fault: str = ""
    """A fault to inject on purpose, for tests of the benchmark (``feed.faults``); empty: none."""
    services: dict[str, Any] = {}
    """Service -> its options, of a type of its own."""
    limits: LimitOptions = LimitOptions()
