"""What stands around requests: authentication, origins, limits, namespaces, TLS, metrics, reconnection with rooms."""

import asyncio
import os
import signal
import time
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.contract.platform import Member
from clients.control import Control
from clients.core.client import State, new_client
from clients.core.errors import GaveUpError, RefusedError, RequestError
from clients.core.options import ClientOptions
from clients.core.renewal import TokenError, expires_at_s, keep_renewed
from feed.schedule import Schedule
from feed.transports import TRANSPORTS
from servers.gate.auth import DEV_KEY, mint
from tests.conftest import Running, Start, invoke, run, until
from tests.helpers.crew import Crew, token

OPEN_TO_OTHERS = ("--source", "none", "--namespace", "admin", "--allow-origin", "https://app.example.org")


async def refused(crew: Crew, server: Running, **options: Any) -> str:
    """The code with which a connection was refused."""
    with pytest.raises(RefusedError) as error:
        await crew.join(server, **options)
    return error.value.code


def test_only_good_tokens_are_let_in(share: Start, served_upstream: str) -> None:
    server = share(served_upstream, "--source", "none", "--auth", "dev")
    forged = mint(b"x" * 40, "ann", 60.0, time.time())
    unsigned = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJhbm4iLCJleHAiOjk5OTk5OTk5OTl9."
    hidden = {"handshake_refused"} if server.ready["transport"] == "websocket" else set()

    async def body() -> None:
        async with Crew() as crew:
            assert await refused(crew, server) in {"token_missing"} | hidden
            assert await refused(crew, server, token=forged) in {"token_invalid"} | hidden
            assert await refused(crew, server, token=unsigned) in {"token_invalid"} | hidden
            assert await refused(crew, server, token=token(ttl_s=-5)) in {"token_expired"} | hidden
            await crew.join(server, token=token())

    run(body())


def test_a_connection_ends_with_its_token_unless_renewed(share: Start, served_upstream: str) -> None:
    server = share(served_upstream, "--source", "none", "--auth", "dev")

    async def body() -> None:
        async with Crew() as crew:
            short = await crew.join(server, token=token("ann", 1.5))
            renewed = await crew.join(server, token=token("bob", 1.5))
            fresh = token("bob")
            await renewed.client.join("ends")
            await renewed.client.request("renew", token=fresh)
            renewed.client.token = fresh
            with pytest.raises(RequestError, match="not_allowed"):
                await renewed.client.request("renew", token=token("eve"))
            await short.client.join("ends")
            await until(lambda: short.client.state is State.CLOSED, "the other has ended")
            await renewed.until(lambda: bool(renewed.of("left")))
            assert renewed.of("left")[0]["user"] == "ann"
            assert await renewed.client.request("call", service="echo", data=1) == 1
            assert renewed.client.reconnects == 0

    run(body())


def test_a_room_can_require_a_claim(start: Start, upstream: str) -> None:
    server = start(upstream, "--source", "none", "--auth", "dev", "--room-claim", "staff=is_staff")

    async def body() -> None:
        async with Crew() as crew:
            ann = await crew.join(server, token=token("ann", is_staff=True))
            bob = await crew.join(server, token=token("bob"))
            await ann.client.join("staff")
            for type_, fields in (("join", {}), ("publish", {"data": 1})):
                with pytest.raises(RequestError, match="is_staff"):
                    await bob.client.request(type_, room="staff", **fields)
            with pytest.raises(RequestError, match="is_staff"):
                await ann.client.request("renew", token=token("ann"))
            await bob.client.request("renew", token=token("bob"))

    run(body())


def test_over_the_limit_is_told_when_to_come_back_then_cut_off(start: Start, served_upstream: str) -> None:
    """The others do not notice."""
    limits = ("--limit", "messages_per_connection_hz=0.5", "--limit", "message_burst=5")
    server = start(served_upstream, "--source", "none", *limits)

    async def body() -> None:
        async with Crew() as crew:
            loud, quiet = await crew.join(server), await crew.join(server)
            errors = []
            for _ in range(12):
                try:
                    async with asyncio.timeout(1):
                        await loud.client.request("call", service="echo", data=1)
                except RequestError as error:
                    errors.append(error)
                    if len(errors) > 3:
                        break
                except TimeoutError:
                    if errors:
                        break  # cut off
            assert errors and {error.code for error in errors} == {"rate_limited"}
            assert all(error.retry_after_s and 0 < error.retry_after_s <= 2.1 for error in errors)
            await until(lambda: loud.client.reconnects > 0, "cut off")
            assert await quiet.client.request("call", service="echo", data=1) == 1
            assert quiet.client.reconnects == 0

    run(body())


def test_connections_of_a_user_are_bounded(start: Start, upstream: str) -> None:
    server = start(upstream, "--source", "none", "--auth", "dev", "--limit", "connections_per_user=2")
    polls = TRANSPORTS[upstream].is_poll

    async def body() -> None:
        async with Crew() as crew:
            for _ in range(2):
                one = await crew.join(server, token=token())
                await one.client.request("call", service="echo", data=1)  # polls count once they have a session
            if polls:
                third = await crew.join(server, token=token())
                with pytest.raises(TimeoutError):  # it asks again and again, until there is room
                    async with asyncio.timeout(1):
                        await third.client.request("call", service="echo", data=1)
            else:
                with pytest.raises(GaveUpError):
                    await crew.join(server, token=token(), max_attempts=0)

    run(body())


def test_namespaces_are_apart(share: Start, served_upstream: str) -> None:
    server = share(served_upstream, *OPEN_TO_OTHERS)

    async def body() -> None:
        async with Crew() as crew:
            here, there = await crew.join(server), await crew.join(server, namespace="admin")
            for one in (here, there):
                await one.client.join("tea")
            await here.client.request("publish", room="tea", data="here")
            await there.client.request("publish", everyone=True, data="there")
            await there.until(lambda: bool(there.of("message")))
            await here.until(lambda: bool(here.of("message")))
            assert [said["data"] for said in here.of("message")] == ["here"]
            assert [said["data"] for said in there.of("message")] == ["there"]

    run(body())


def test_rooms_are_joined_again_and_resumed(share: Start, start: Start, served_upstream: str) -> None:
    """Connections are cut while another member talks on: nothing is missing, nothing comes twice."""
    server = share(served_upstream, "--source", "none")
    relay = start("relay", "--to", f"127.0.0.1:{server.port}", "--rtt-ms", "0")
    scheme = server.url.partition("://")[0]
    rooms = ["resumed-tea", "resumed-cake"]

    async def body() -> None:
        async with Crew() as crew:
            far = await crew.join(server, f"{scheme}://127.0.0.1:{relay.port}")
            near = await crew.join(server)
            for one in (far, near):
                for room in rooms:
                    await one.client.join(room)

            async def say(numbers: range) -> None:
                for n in numbers:
                    await near.client.request("publish", rooms=rooms[n % 3 == 0 :], data=n)

            await say(range(10))
            await far.until(lambda: len(far.of("message")) >= 10)
            os.kill(relay.process.pid, signal.SIGKILL)
            relay.process.wait()
            await say(range(10, 20))
            again = ("--to", f"127.0.0.1:{server.port}", "--rtt-ms", "0", "--port", str(relay.port))
            await asyncio.to_thread(lambda: start("relay", *again, free_port=False))
            await say(range(20, 30))
            await far.until(lambda: len(far.of("message")) >= 30)
            assert sorted(said["data"] for said in far.of("message")) == list(range(30))
            assert all(session.silently_lost == 0 for session in far.client.sessions.others.values())

    run(body())


def test_a_restarted_servers_clients_are_members_again_whoever_notices_first(start: Start, upstream: str) -> None:
    """The stream, a poll, or several requests at once: a session that has not joined the rooms is deaf in them."""
    server = start(upstream, "--source", "none")
    port = str(server.port)

    async def body() -> None:
        nonlocal server
        async with Crew() as crew:
            far, near = await crew.join(server), await crew.join(server)
            for one in (far, near):
                await one.client.join("tea")
            for requests in range(1, 6):
                server.process.kill()
                server.process.wait()
                server = start(upstream, "--source", "none", "--port", port, free_port=False)
                asked = [far.client.request("call", service="echo", data=data) for data in range(requests - 1)]
                assert await asyncio.gather(*asked) == list(range(requests - 1))
                await until(lambda: _are_members(near, 2), "both are members")
                await near.client.request("publish", room="tea", data="hello")
                await far.gets(requests, "message", "tea")
                assert len((await _members(far))["members"]) == 2, "its requests are those of a member"

    run(body())


async def _members(member: Member) -> Any:
    return await member.client.request("call", service="members", data={"room": "tea"})


async def _are_members(member: Member, count: int) -> bool:
    with suppress(RequestError):  # not yet itself
        return len((await _members(member))["members"]) == count
    return False


def test_cross_site_pages_are_kept_out(share: Start, served_upstream: str) -> None:
    """On handshakes as on requests; a page on the list gets the headers that let it read the answer."""
    server = share(served_upstream, *OPEN_TO_OTHERS)
    name = server.ready["transport"]
    path = TRANSPORTS[name].path
    if name == "socketio":
        path += "?EIO=4&transport=" + ("websocket" if "only" in served_upstream else "polling")
    base = server.url.replace("ws://", "http://")
    socket = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
    extra = (
        {**socket, "sec-websocket-key": "x3JJHMbDL1EzLkh9GBhXDw=="}
        if name == "websocket" or "only" in served_upstream
        else {}
    )

    async def body() -> None:
        async with aiohttp.ClientSession() as session:
            for origin in ("https://evil.example.org", "null", "https://app.example.org.evil.org"):
                async with session.get(base + path, headers={"origin": origin, **extra}) as response:
                    assert response.status == 403
                    assert (await response.json())["data"]["code"] == "origin_not_allowed"
            allowed = {"origin": "https://app.example.org", **extra}
            async with session.get(base + path, headers=allowed) as response:
                assert response.status in (101, 200)
                if response.status == 200:
                    assert response.headers["access-control-allow-origin"] == "https://app.example.org"
            asks = {"origin": "https://app.example.org", "access-control-request-method": "POST"}
            async with session.options(base + "/requests", headers=asks) as response:
                assert response.status == 204
                assert "pushmark-session" in response.headers["access-control-allow-headers"]

    run(body())


def test_tls_with_a_throw_away_authority(start: Start, served: str) -> None:
    server = start(served, "--source", "none", "--tls", "dev")
    trusting = {"ca_file": server.ready["ca_file"]}

    async def body() -> None:
        async with Crew() as crew:
            one = await crew.join(server, **trusting)
            async with Control(server.ready["control_url"]) as control:
                await control.start_feed(Schedule("constant", 100.0, limit=5), 256)
            await one.until(lambda: len(one.of("event")) == 5)
            if served != "raw":
                assert await one.client.request("call", service="echo", data=1) == 1
            client = new_client(server.ready["transport"], server.url, ClientOptions(max_attempts=0), crew.shared)
            with pytest.raises(Exception, match=r"(?i)certificate|gave up"):
                await client.run()

    run(body())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--auth", "jwt"), "PUSHMARK_JWT_KEY"),
        (("--tls-cert", "a.pem"), "go together"),
        (("--tls-cert", "a.pem", "--tls-key", "b.pem"), "a.pem"),
        (("--namespace", "Nope"), "no namespace"),
        (("--room-claim", "staff"), "ROOM=CLAIM"),
        (("--allow-origin", "*"), "*"),
        (("--limit", "speed=1"), "speed"),
        (("--limit", "strikes=many"), "strikes"),
    ],
)
def test_bad_options_are_named(arguments: tuple[str, ...], said: str) -> None:
    done = invoke("servers", "sse", "--port", "0", "--source", "none", *arguments)
    assert done.returncode != 0 and said in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [("--auth", "dev"), ("--room-claim", "a=b"), ("--limit", "strikes=1")])
def test_the_baseline_does_not_pretend_to_protect(arguments: tuple[str, ...]) -> None:
    done = invoke("servers", "raw", "--port", "0", *arguments)
    assert done.returncode != 0 and f"{arguments[0]}: the baseline" in done.stderr


def test_a_connection_outlives_its_tokens(share: Start, upstream: str) -> None:
    """Renewed before each expires, without a reconnection."""
    server = share(upstream, "--source", "none", "--auth", "dev")
    given: list[str] = []

    async def source() -> str:
        given.append(token("ann", 1.0))
        return given[-1]

    async def body() -> None:
        async with Crew() as crew:
            one = await crew.join(server, token=token("ann", 1.0))
            await one.client.join("outlives")
            renewing = asyncio.ensure_future(keep_renewed(one.client, source))
            await until(lambda: len(given) >= 3, "renewed three times")
            assert await one.client.request("call", service="echo", data=1) == 1
            assert one.client.reconnects == 0
            renewing.cancel()

    run(body())


@given(st.text(max_size=60))
def test_what_is_no_token_has_no_expiry(text: str) -> None:
    with pytest.raises(TokenError):
        expires_at_s(text)


def test_the_expiry_is_read_from_a_token() -> None:
    assert expires_at_s(mint(DEV_KEY, "ann", 60.0, 1000.0)) == 1060.0
