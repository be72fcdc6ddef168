"""Ports for programs that cannot be asked for any free one."""

import socket
from pathlib import Path

import pytest

from bench.machine import ports
from bench.machine.ports import EPHEMERAL, LOWEST, free_port


def test_a_port_is_free_and_none_that_the_kernel_deals_out() -> None:
    first = int(EPHEMERAL.read_text().split()[0])
    for _ in range(20):
        port = free_port()
        assert LOWEST <= port < first
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", port))


def test_a_port_in_use_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", free_port()))
        taken = sock.getsockname()[1]
        dealt_out_from(monkeypatch, tmp_path, taken + 1)
        with pytest.raises(OSError, match=f"no free port among 100 from {taken} to {taken + 1}"):
            free_port(taken)


def test_where_the_kernel_deals_out_all_ports_it_deals_out_this_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dealt_out_from(monkeypatch, tmp_path, 1024)
    assert free_port() >= 1024


def dealt_out_from(monkeypatch: pytest.MonkeyPatch, folder: Path, first: int) -> None:
    (folder / "range").write_text(f"{first}\t60999\n")
    monkeypatch.setattr(ports, "EPHEMERAL", folder / "range")
