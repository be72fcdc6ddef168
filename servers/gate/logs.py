"""Structured logs: one JSON object a line, with the client's public id; never a token, a cookie, a URL or a payload.

What is logged is a fixed sentence and named fields. A filter takes out what looks like a token all the same, since the
libraries below log too, and a URL of theirs may have one in its query.
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
    """Log to ``stream`` from ``level`` on, what the libraries say included. May be called again."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Redacting(_FORMAT, rename_fields=_RENAMED))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


class _Redacting(JsonFormatter):
    """JSON lines of ASCII without secrets and control characters, whoever wrote them: exceptions are text too."""

    def format(self, record: logging.LogRecord) -> str:
        text: str = super().format(record)
        return printable_json(_SECRET.sub(REDACTED, text))


def log_connected(client: str, transport: str, address: str, user: str) -> None:
    """A client is connected; ``user`` is empty for an anonymous one."""
    fields = {"client": client, "transport": transport, "address": address, "user": user}
    _log.info("connected", extra=fields)


def log_disconnected(client: str, reason: str, duration_s: float) -> None:
    """A client is gone; ``reason`` is what either side said, or that it said nothing."""
    _log.info("disconnected", extra={"client": client, "reason": reason[:100], "duration_s": round(duration_s, 3)})


def log_refused(address: str, code: str) -> None:
    """Somebody was not let in; ``code`` is that of the error."""
    _log.info("refused", extra={"address": address, "code": code})
