"""TLS for every transport: a certificate from files, or of an authority that lives as long as the server."""

import ssl
from pathlib import Path
from typing import Final

import trustme

DEV_NAMES: Final = ("localhost", "127.0.0.1", "::1")
"""Names in the throw-away certificate."""


class TlsError(ValueError):
    """A certificate or key cannot be used; the message names the file."""


def server_context(cert: Path, key: Path) -> ssl.SSLContext:
    """TLS with a certificate chain and its private key, both PEM. Raises ``TlsError``."""
    for path in (cert, key):
        _require_readable(path)
    context = _new_context()
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except ssl.SSLError as error:
        raise TlsError(f"{cert} and {key} are no certificate (PEM) and its key: {error.reason or error}") from error
    return context


class DevAuthority:
    """A throw-away certificate authority, and its certificate for this machine, which is valid for a day."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self.ca_file: Final = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(self.ca_file)

    def server_context(self) -> ssl.SSLContext:
        """TLS with a certificate of this authority."""
        context = _new_context()
        self._authority.issue_cert(*DEV_NAMES).configure_cert(context)
        return context


def _new_context() -> ssl.SSLContext:
    """TLS 1.2 or newer, with HTTP/1.1 as the only protocol (ALPN)."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _no_password() -> str:
    """Refuse an encrypted key; without this, OpenSSL would ask for its pass phrase on the terminal."""
    raise TlsError("the private key is encrypted: give one without a pass phrase")


def _require_readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise TlsError(f"cannot read {path}: {error.strerror}") from error
