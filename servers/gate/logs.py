"""Structured logs: one JSON object a line, with the client's public id; never a token, a cookie, a URL or a payload.

A record is a fixed sentence and named fields. Anything that looks like a token is removed all the same, since libraries
log too, and a URL in their messages may have a token in its query.
"""

import logging
import re
from typing import Final, TextIO

from pythonjsonlogger.json import JsonFormatter

from feed.console.printable import printable_json

LEVELS: Final = ("debug", "info", "warning", "error")
REDACTED: Final = "[redacted]"
_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"
_RENAMED: Final = {"asctime": "at", "levelname": "level", "name": "logger"}
_SECRET: Final = re.compile(
    r"[\w-]+\.[\w-]+\.[\w-]{43}(?![\w-])"  # a JSON Web Token signed with HS256
    r"|(?<=token=)[^&\s\"']+"
    r"|(?<=session: )[0-9a-f]{32}",
    re.ASCII,
)

_log: Final = logging.getLogger("pushmark")


def configure(level: str, stream: TextIO) -> None:
    """Log to ``stream`` from ``level`` on, messages of libraries included. Calling it again replaces the stream."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Redacting(_FORMAT, rename_fields=_RENAMED))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


class _Redacting(JsonFormatter):
    """JSON lines in ASCII without secrets and control characters, the text of exceptions included."""

    def format(self, record: logging.LogRecord) -> str:
        text: str = super().format(record)
        return printable_json(_SECRET.sub(REDACTED, text))


def log_connected(client: str, transport: str, address: str, user: str) -> None:
    """Log that a client has connected; ``user`` is empty for an anonymous one."""
    fields = {"client": client, "transport": transport, "address": address, "user": user}
    _log.info("connected", extra=fields)


def log_disconnected(client: str, reason: str, duration_s: float) -> None:
    """Log that a client has disconnected; ``reason`` is what either side gave, or that neither gave one."""
    _log.info("disconnected", extra={"client": client, "reason": reason[:100], "duration_s": round(duration_s, 3)})


def log_refused(address: str, code: str) -> None:
    """Log that a connection was refused; ``code`` is the error code."""
    _log.info("refused", extra={"address": address, "code": code})
