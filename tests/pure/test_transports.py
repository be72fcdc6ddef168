"""Every transport has each of its parts under its name (docs/add-a-transport.md)."""

import importlib
import re
import tomllib

import pytest

from bench.results.run import Idle
from bench.theory.bytes import FRAMING, predict_bytes
from bench.theory.latency import Conditions, predict_latency
from clients.core.client import Client
from feed.transports import BASELINE, CONTENDERS, POLLING, POLLS, TRANSPORTS
from reports.style import LOOKS, PLAIN
from reports.table.clients import FOLDER, client_lines
from tests.conftest import ROOT

CONDITIONS = Conditions(rtt_ms=40.0, rate_hz=1.0, poll_interval_s=1.0, hold_s=25.0)
IDLE = Idle(cycle_bytes=1000.0, cycle_stream_bytes=740.0, cycles=6, period_s=15.0)
EACH = pytest.mark.parametrize("name", list(TRANSPORTS))


def first_cells(page: str, section: str) -> list[set[str]]:
    """The names in the first cells of a section's first table, in lower case."""
    text = (ROOT / "docs" / page).read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    table = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert table is not None, f"{page} has no table in the section {section}"
    return [set(line.split("|")[1].strip().lower().split(", ")) for line in table[0].splitlines()[2:]]


@EACH
def test_a_server_and_a_client_of_that_name(name: str) -> None:
    assert callable(importlib.import_module(f"servers.{name}").build)
    client_class = importlib.import_module(f"clients.{name}").CLIENT
    assert issubclass(client_class, Client) and client_class.transport is TRANSPORTS[name]


@EACH
def test_a_place_in_the_import_contracts(name: str) -> None:
    text = (ROOT / "pyproject.toml").read_text()
    layers = re.findall(r'^    "(.*[:|].*)",$', text, re.MULTILINE)
    servers, clients = (line for line in layers if BASELINE in line)
    assert name in servers.split(" : ") and name in clients.split(" | ")
    contracts = [
        one for one in tomllib.loads(text)["tool"]["importlinter"]["contracts"] if one["type"] == "independence"
    ]
    independent = {module for contract in contracts for module in contract["modules"]}
    assert name == POLLING or {f"servers.{name}", f"clients.{name}"} <= independent


@EACH
def test_opening_bytes_that_name_its_path(name: str) -> None:
    row = TRANSPORTS[name]
    assert row.opening.startswith(f"GET {row.path}".encode()) if row.path else row.opening


@EACH
def test_a_theory(name: str) -> None:
    assert (name in FRAMING) != (name in POLLS)
    assert predict_latency(name, CONDITIONS).mean_ms >= CONDITIONS.transit_ms
    predicted = predict_bytes(name, CONDITIONS, 256, 0, 1, IDLE)
    assert predicted is not None and predicted > 256


@EACH
def test_a_look_of_its_own(name: str) -> None:
    assert (LOOKS[name].colour, LOOKS[name].line, LOOKS[name].marker) != PLAIN


@EACH
def test_a_line_in_the_protocol(name: str) -> None:
    names = {name, TRANSPORTS[name].label.lower()}
    assert any(names & cells for cells in first_cells("protocol.md", "Transports"))
    assert any(names & cells for cells in first_cells("protocol.md", "Requests")) == TRANSPORTS[name].takes_requests


@pytest.mark.parametrize("name", CONTENDERS)
def test_a_shortest_client(name: str) -> None:
    assert client_lines(name) and f"({name}_client.py)" in (FOLDER / "README.md").read_text()
