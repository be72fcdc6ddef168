"""Whom a client trusts when the address says TLS."""

import ssl
from functools import cache
from pathlib import Path


class TlsError(ValueError):
    """The file holds no certificate that could be trusted; the message names it."""


@cache
def client_context(ca_file: Path | None) -> ssl.SSLContext:
    """Trust the authority in a PEM file, or with ``None`` those of the system. Raises ``TlsError``.

    One for all connections of a process: it holds the parsed certificates, a megabyte of the system's.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError as error:
        raise TlsError(f"{ca_file} is no certificate (PEM): {error.reason or error}") from error
    except OSError as error:
        raise TlsError(f"cannot read {ca_file}: {error.strerror}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
