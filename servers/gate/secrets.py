"""The secrets of a server, read from the keys and certificates that its command line names."""

import os
import ssl
from pathlib import Path
from typing import Final, NamedTuple

from servers.gate.auth import DEV_KEY, load_key
from servers.gate.tls import DevAuthority, server_context

AUTH_MODES: Final = ("none", "jwt", "dev")
DEV_WARNING: Final = (
    "AUTHENTICATION IS IN DEV MODE: tokens are signed with a key that is published with the source code, so everybody"
    " can make a token for any user. Never serve the public like this."
)


class SecurityError(ValueError):
    """Options contradict each other; the message says which."""


class Secrets(NamedTuple):
    """The keys of tokens and of the certificate, which must not be in the options, as these are stored with results."""

    jwt_key: bytes | None = None
    tls: ssl.SSLContext | None = None
    ca_file: Path | None = None
    """Certificate of the throw-away authority, which clients must trust."""


def load_secrets(
    auth: str, key_file: Path | None, tls: str, cert: Path | None, key: Path | None, folder: Path
) -> Secrets:
    """Read keys and certificates, or make throw-away ones in ``folder``.

    Raises ``SecurityError``, ``AuthKeyError`` and ``TlsError``, which are all ``ValueError``.
    """
    if (cert is None) != (key is None):
        raise SecurityError("--tls-cert and --tls-key go together")
    if tls == "dev" and cert is not None:
        raise SecurityError("--tls dev makes its own certificate: leave --tls-cert and --tls-key out")
    if key_file is not None and auth != "jwt":
        raise SecurityError("--jwt-key-file goes with --auth jwt")
    jwt_key = {"none": None, "dev": DEV_KEY}[auth] if auth != "jwt" else load_key(os.environ, key_file)
    if tls == "dev":
        authority = DevAuthority(folder)
        return Secrets(jwt_key, authority.server_context(), authority.ca_file)
    if cert is not None and key is not None:
        return Secrets(jwt_key, server_context(cert, key))
    return Secrets(jwt_key)
