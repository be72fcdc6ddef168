"""The certificate authorities that a client trusts, for TLS."""

import ssl
from functools import cache
from pathlib import Path


class TlsError(ValueError):
    """The file holds no usable certificate; the message names it."""


@cache
def client_context(ca_file: Path | None) -> ssl.SSLContext:
    """A context that trusts the authority in a PEM file, or those of the system if it is ``None``. Raises ``TlsError``.

    All connections of a process share it, since the system's parsed certificates take a megabyte.
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
