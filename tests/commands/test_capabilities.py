"""Capability checks on real servers, and the plain proxy that one of them goes through."""

import asyncio
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.capabilities.checks import CHECKS, run_checks
from bench.capabilities.plain_proxy import HOP_BY_HOP, PlainProxy, end_to_end
from bench.results.capabilities import CapabilityResults
from bench.results.files import CAPABILITIES_FILE, read
from feed.transports import CONTENDERS
from tests.conftest import invoke, run_module

PURE = settings(deadline=None, derandomize=True, database=None)
EXPECTED = {
    ("polling", "sends_where_it_receives"): False,
    ("long_polling", "sends_where_it_receives"): False,
    ("sse", "sends_where_it_receives"): False,
    ("websocket", "sends_where_it_receives"): True,
    ("socketio", "sends_where_it_receives"): True,
    ("polling", "passes_a_plain_proxy"): True,
    ("long_polling", "passes_a_plain_proxy"): True,
    ("sse", "passes_a_plain_proxy"): True,
    ("websocket", "passes_a_plain_proxy"): False,
    ("socketio", "passes_a_plain_proxy"): True,  # it polls, and stays with that
    ("polling", "waits_for_data"): False,
    ("long_polling", "waits_for_data"): True,
    ("polling", "asks_on_a_clock"): True,
    ("long_polling", "asks_on_a_clock"): False,
    ("polling", "opens_connections"): False,
    ("long_polling", "opens_connections"): False,
    ("sse", "reconnects_in_a_browser"): True,
    ("websocket", "reconnects_in_a_browser"): False,
}
"""What the protocols' specifications say; a check that sees something else is wrong, or a server is."""


def test_every_check_sees_what_the_specifications_say(tmp_path: Path) -> None:
    done = run_module("bench", "capabilities", "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stdout + done.stderr
    checks = read(tmp_path / "out" / CAPABILITIES_FILE, CapabilityResults).checks
    found = {(of.transport, of.check): of for of in checks}
    assert found.keys() == EXPECTED.keys()
    assert not {key: of.evidence for key, of in found.items() if of.holds is not EXPECTED[key]}
    assert found.keys() == {(name, check) for check, (_, names) in CHECKS.items() for name in names}
    without = float(found["long_polling", "opens_connections"].evidence.split()[-2])
    assert 0.9 < without < 1.1, "a connection for every answer, and every answer brings one event"
    assert "426" in found["websocket", "passes_a_plain_proxy"].evidence, "it asks for the Upgrade that was taken away"
    page = (tmp_path / "out" / "index.html").read_text()
    assert all(of.evidence.partition("'")[0] in page for of in checks)


def test_a_server_that_does_not_start_is_told_for_each_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.machine.processes.ROOT", tmp_path)  # no servers there
    found = asyncio.run(run_checks(["websocket"], 0, tmp_path))
    assert [of.check for of in found] == [name for name, (_, names) in CHECKS.items() if "websocket" in names]
    assert all(of.holds is None and "could not be tried" in of.evidence for of in found)


def test_an_unknown_transport_is_refused_by_name() -> None:
    done = invoke("bench", "probes", "--transports", "raw")
    assert done.returncode == 2 and f"raw: allowed are {', '.join(CONTENDERS)}" in " ".join(done.stderr.split())


NAMES = st.sampled_from(["X-One", "Accept", "Upgrade", "Connection", "Keep-Alive", "TE", "Cookie", "Trailer"])


@PURE
@given(st.dictionaries(NAMES, st.sampled_from(["a", "b"])), st.lists(NAMES))
def test_hop_by_hop_headers_are_dropped_and_no_others(headers: dict[str, str], named: list[str]) -> None:
    """RFC 9110, section 7.6.1: the fixed ones, and whatever Connection names."""
    sent = {**headers, "Connection": ", ".join(named)}
    kept = {name.lower() for name in end_to_end(sent)}
    dropped = HOP_BY_HOP | {name.lower() for name in named}
    assert kept == {name.lower() for name in sent} - dropped


def test_the_proxy_streams_and_passes_bodies_and_statuses_on() -> None:
    asyncio.run(_through_the_proxy())


UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket"}


async def _through_the_proxy() -> None:
    go_on = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        assert "Upgrade" not in request.headers
        response = web.StreamResponse(status=202, headers={"X-Seen": await request.text()})
        await response.prepare(request)
        await response.write(b"first")
        await go_on.wait()
        await response.write(b"second")
        return response

    application = web.Application()
    application.router.add_post("/a", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with PlainProxy(f"http://127.0.0.1:{runner.addresses[0][1]}") as proxy, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{proxy.port}/a"
        async with session.post(url, data="body", headers=UPGRADE) as response:
            assert response.status == 202 and response.headers["X-Seen"] == "body"
            assert await response.content.readany() == b"first"
            go_on.set()
            assert await response.content.readany() == b"second"
    await runner.cleanup()
