"""The service ``game``: every player sees the same match, over every transport; binary where a transport has it."""

import asyncio
import base64
import json
import subprocess
import sys
from itertools import pairwise
from typing import Any

import pytest
from websockets.asyncio.client import connect as websocket_connect

from clients.contract.platform import Member
from clients.core.errors import RequestError
from feed.envelope import decode_packet
from feed.game import MAX_PLAYERS, SIDE, STICK, View
from feed.instruments.clock import NS_PER_S
from tests.conftest import Start, needs_curl, run, until
from tests.helpers.crew import Crew

QUIET = ("--source", "none")


async def ask(member: Member, op: str, room: str, **data: Any) -> Any:
    return await member.client.request("call", service="game", data={"op": op, "room": room, **data})


class Seen:
    """What a member has seen of a match; every snapshot must follow the one before, once one was complete."""

    def __init__(self, member: Member) -> None:
        self.view = View()
        self.ticks: list[int] = []
        self.due_ns: list[int] = []
        self._member = member
        self._taken = 0

    def look(self) -> View:
        new = self._member.received[self._taken :]
        self._taken += len(new)
        for envelope in new:
            if envelope.type == "snapshot" and self.view.apply(envelope.payload):
                self.ticks.append(self.view.tick)
                self.due_ns.append(envelope.value()["due_ns"])
        return self.view


def test_all_players_see_the_same_match(share: Start, served_upstream: str) -> None:
    server = share(served_upstream, *QUIET)
    snapshots = "full" if served_upstream == "websocket:tuned" else "delta"
    room = f"match-{served_upstream.replace(':', '-')}"

    async def body() -> None:
        async with Crew() as crew:
            members = [await crew.join(server) for _ in range(3)]
            seen = [Seen(member) for member in members]
            for member in members:
                await member.client.join(room)
            entered = [await ask(member, "enter", room, tick_hz=60, snapshots=snapshots) for member in members]
            assert sorted(one["player"] for one in entered) == [0, 1, 2]
            assert {one["tick_hz"] for one in entered} == {60} and entered[0]["snapshots"] == snapshots
            steers = {one["player"]: dx for one, dx in zip(entered, (STICK, 0, -STICK), strict=True)}
            for member, one in zip(members, entered, strict=True):
                answer = await ask(member, "input", room, n=1, tick=0, dx=steers[one["player"]], dy=STICK)
                assert answer["counts"] and answer["tick"] >= one["tick"]
            for one in seen:
                await until(lambda one=one: moved(one.look(), steers), "all go where they steer to")  # type: ignore[misc]
                await until(lambda one=one: one.look().tick > one.ticks[0] + 10, "ten more ticks")  # type: ignore[misc]
                assert one.ticks == list(range(one.ticks[0], one.ticks[-1] + 1)), "every tick, in order"
                steps = {b - a for a, b in pairwise(one.due_ns)}
                assert min(steps) >= NS_PER_S // 60

    run(body())


def moved(view: View, steers: dict[int, int]) -> bool:
    """Have all players come some way from the middle, where their sticks point?"""
    middle = SIDE // 2
    return len(view.players) == len(steers) and all(
        of.n == 1
        and of.y > middle
        and (of.x > middle) == (steers[number] > 0)
        and (of.x < middle) == (steers[number] < 0)
        for number, of in view.players.items()
    )


def test_a_player_that_is_gone_is_in_no_snapshot_and_the_match_ends_with_its_last(share: Start, upstream: str) -> None:
    server = share(upstream, *QUIET)
    room = f"leaving-{upstream}"

    async def body() -> None:
        async with Crew() as crew:
            ann, bob, watcher = [await crew.join(server) for _ in range(3)]
            seen = Seen(watcher)
            for member in (watcher, ann, bob):
                await member.client.join(room)
            await ask(ann, "enter", room, tick_hz=30)
            await ask(bob, "enter", room)
            await until(lambda: len(seen.look().players) == 2, "both play")
            await bob.client.leave(room)
            await until(lambda: list(seen.look().players) == [0], "one is gone")
            await ann.client.leave(room)
            await until(lambda: not seen.look().players, "nobody plays")

            async def over() -> bool:
                try:
                    await ask(watcher, "open", room)
                except RequestError as error:
                    return error.code == "not_found"
                return False

            await until(over, "the match is over")

    run(body())


def test_inputs_faster_than_the_limit_of_others(start: Start, upstream: str) -> None:
    """60 a second for 2.5 seconds are 150; others may send 10 at once and 50 a second, which makes 135."""
    server = start(upstream, *QUIET, "--limit", "message_burst=10")

    async def body() -> None:
        async with Crew() as crew:
            player = await crew.join(server)
            await player.client.join("fast")
            entered = await ask(player, "enter", "fast", tick_hz=60)
            loop = asyncio.get_running_loop()
            begun = loop.time()
            answers = []
            for n in range(1, 151):
                await asyncio.sleep(max(0.0, begun + n / 60 - loop.time()))
                answers.append(asyncio.ensure_future(ask(player, "input", "fast", n=n, tick=0, dx=n % 3 - 1, dy=0)))
            await asyncio.gather(*answers)
            seen = Seen(player)
            await until(lambda: seen.look().players[entered["player"]].n == 150, "the last input is applied")

    run(body())


@pytest.mark.parametrize(
    ("op", "data", "code"),
    [
        ("enter", {"tick_hz": 25}, "bad_request"),
        ("enter", {"snapshots": "some"}, "bad_request"),
        ("input", {"n": 0, "tick": 0, "dx": 0, "dy": 0}, "bad_request"),
        ("input", {"n": 1, "tick": 0, "dx": STICK + 1, "dy": 0}, "bad_request"),
        ("input", {"n": 1, "tick": 2**30, "dx": 0, "dy": 0}, "bad_request"),
        ("input", {"n": 1, "tick": 0, "dx": 0.5, "dy": 0}, "bad_request"),
        ("pause", {}, "bad_request"),
    ],
)
def test_what_is_wrong_is_refused(share: Start, upstream: str, op: str, data: dict[str, Any], code: str) -> None:
    server = share(upstream, *QUIET)
    room = f"wrong-{upstream}"

    async def body() -> None:
        async with Crew() as crew:
            member = await crew.join(server)
            await member.client.join(room)
            await ask(member, "enter", room)
            with pytest.raises(RequestError, match=code):
                await ask(member, op, room, **data)

    run(body())


def test_who_does_not_play_cannot_steer_and_a_full_match_takes_nobody(share: Start, upstream: str) -> None:
    server = share(upstream, *QUIET)
    room = f"full-{upstream}"

    async def body() -> None:
        async with Crew() as crew:
            members = [await crew.join(server) for _ in range(MAX_PLAYERS + 1)]
            *players, last = members
            with pytest.raises(RequestError, match="not_joined"):
                await ask(last, "enter", room)
            for member in members:
                await member.client.join(room)
            with pytest.raises(RequestError, match="not_found"):
                await ask(last, "input", room, n=1, tick=0, dx=0, dy=0)
            for player in players:
                await ask(player, "enter", room)
            again = await ask(players[3], "enter", room)
            assert again["player"] == 3 and len(again["players"]) == MAX_PLAYERS
            with pytest.raises(RequestError, match="too_many_requests"):
                await ask(last, "enter", room)
            with pytest.raises(RequestError, match="not_joined"):
                await ask(last, "input", room, n=1, tick=0, dx=0, dy=0)

    run(body())


async def _play(server: Any, crew: Crew, room: str) -> None:
    """Somebody plays, so that there are snapshots."""
    player = await crew.join(server)
    await player.client.join(room)
    await ask(player, "enter", room, snapshots="full")


@pytest.mark.parametrize("served", ["websocket", "websocket:tuned"])
def test_a_websocket_client_of_others_gets_binary_messages(share: Start, served: str) -> None:
    server = share(served, *QUIET)

    async def body() -> None:
        async with Crew() as crew:
            await _play(server, crew, "strange")
            async with websocket_connect(f"{server.url}/ws?room=strange") as socket:
                while isinstance(message := await socket.recv(), str):
                    pass
            envelope = decode_packet(message)
            view = View()
            assert envelope.type == "snapshot" and view.apply(envelope.payload) and len(view.players) == 1

    run(body())


STRANGER = """
import asyncio, json, sys
import socketio

url, transport = sys.argv[1:]


async def play() -> None:
    client, got = socketio.AsyncClient(reconnection=False), asyncio.Queue()
    client.on("snapshot", got.put)
    await client.connect(url, transports=[transport], auth={"room": "feed"})
    await client.call("request", {"type": "join", "id": "1", "room": "strange"})
    data = {"op": "enter", "room": "strange", "snapshots": "full"}
    await client.call("request", {"type": "call", "id": "2", "service": "game", "data": data})
    envelope = await got.get()
    print(json.dumps({**envelope, "payload": envelope["payload"].hex()}))
    await client.disconnect()


asyncio.run(play())
"""
"""In a process of its own: our client sets the library's JSON for all of a process."""


@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_a_socketio_client_of_others_gets_an_attachment(share: Start, transport: str) -> None:
    """python-socketio's own client, by polls (where binary is base64) and by WebSocket."""
    server = share("socketio", *QUIET)
    done = subprocess.run(
        [sys.executable, "-c", STRANGER, server.url, transport], capture_output=True, text=True, timeout=60, check=True
    )
    envelope, view = json.loads(done.stdout), View()
    assert view.apply(bytes.fromhex(envelope["payload"])) and len(view.players) == 1
    assert envelope["room"] == "strange" and envelope["data"]["due_ns"] > 0


@needs_curl
def test_text_transports_carry_base64(share: Start) -> None:
    server = share("polling", *QUIET)

    async def body() -> None:
        async with Crew() as crew:
            await _play(server, crew, "text")
            reader = await crew.join(server, room="text")
            await until(lambda: bool(reader.of("snapshot")), "a snapshot")
            process = await asyncio.create_subprocess_exec(
                *(
                    "curl",
                    "-s",
                    f"{server.url}/poll?room=text&since={str(reader.client.session.cursor).split('-')[0]}-0",
                ),
                stdout=asyncio.subprocess.PIPE,
            )
            said, _ = await process.communicate()
            events = json.loads(said)["data"]["events"]
            view = View()
            assert view.apply(base64.b64decode(next(e for e in events if e["type"] == "snapshot")["payload"]))

    run(body())
