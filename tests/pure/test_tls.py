"""Certificates: what can be used is used, and what cannot is named."""

import ssl
from pathlib import Path

import pytest
import trustme

from clients.core import tls as client_tls
from clients.core.tls import client_context
from servers.gate.tls import DevAuthority, TlsError, server_context


def shaken(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str:
    """The TLS version that both agree on, in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname=name)
    two = server.wrap_bio(to_server, to_client, server_side=True)
    done = 0
    for _ in range(10):
        for side in (one, two):
            try:
                side.do_handshake()
                done += 1
            except ssl.SSLWantReadError:
                continue
    assert done >= 2
    return str(one.version())


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_the_throw_away_authority_is_good_for_this_machine(tmp_path: Path, name: str) -> None:
    authority = DevAuthority(tmp_path)
    assert shaken(authority.server_context(), client_context(authority.ca_file), name) in ("TLSv1.2", "TLSv1.3")


def test_nobody_else_trusts_it(tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shaken(DevAuthority(tmp_path).server_context(), client_context(None), "localhost")


def test_files_are_used_and_bad_ones_named(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    cert, key, other, text = (tmp_path / name for name in ("cert.pem", "key.pem", "other.pem", "text.pem"))
    issued.cert_chain_pems[0].write_to_path(cert)
    issued.private_key_pem.write_to_path(key)
    authority.issue_cert("localhost").private_key_pem.write_to_path(other)
    text.write_text("nothing of the kind")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    assert shaken(server_context(cert, key), client_context(tmp_path / "ca.pem"), "localhost")
    for one, two in ((cert, other), (text, key), (cert, text), (tmp_path / "none.pem", key), (cert, tmp_path / "none")):
        with pytest.raises(TlsError, match=r"\.pem|none"):
            server_context(one, two)


def test_an_encrypted_key_does_not_ask_on_the_terminal(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    issued = trustme.CA().issue_cert("localhost")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(cert)
    private = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    how = serialization.BestAvailableEncryption(b"secret")
    form = serialization.PrivateFormat.PKCS8
    key.write_bytes(private.private_bytes(serialization.Encoding.PEM, form, how))
    with pytest.raises(TlsError, match="encrypted"):
        server_context(cert, key)


def test_a_client_names_what_it_cannot_trust(tmp_path: Path) -> None:
    text = tmp_path / "text.pem"
    text.write_text("nothing of the kind")
    for path in (text, tmp_path / "none.pem"):
        with pytest.raises(client_tls.TlsError, match=path.name):
            client_context(path)
