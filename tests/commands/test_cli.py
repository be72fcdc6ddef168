"""The commands as a person or a script uses them: what they print, and what they say to a mistake."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from clients.cli import main as clients_main
from feed.console.ranges import FiniteRange
from feed.transports import TRANSPORTS
from servers.gate.limits import LimitOptions
from servers.process.cli import main as servers_main
from tests.conftest import ROOT, Start, invoke, launch_command, run_module, starting


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """By the command itself; other tests fork."""
    with starting(tmp_path, launch_command) as start_one:
        yield start_one


@pytest.mark.parametrize("module", ("servers", "clients", "bench", "reports"))
def test_help_explains(module: str) -> None:
    done = run_module(module, "--help")
    assert done.returncode == 0 and "Usage: python -m " + module in done.stdout and done.stderr == ""


def test_list_names_the_transports() -> None:
    assert invoke("servers", "--list").stdout.split() == list(TRANSPORTS)


def test_the_ready_line_is_the_only_output(start: Start) -> None:
    server = start("sse")
    assert {"transport", "host", "port", "pid", "url", "control_url"} <= server.ready.keys()
    assert server.ready["pid"] == server.process.pid and server.port > 0
    assert server.stop() == 0
    assert server.process.stdout is not None and server.process.stdout.read() == b""


def test_the_client_prints_json_lines_of_the_host_feed(start: Start, transport: str) -> None:
    server = start(transport, "--rate-hz", "50")
    done = run_module("clients", transport, server.url, "--count", "3", "--json", "--poll-interval-s", "0.05")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and done.stderr == ""
    assert [line["type"] for line in lines] == ["welcome", "event", "event", "event"]
    assert all(line["data"]["memory_percent"] > 0 and line["receive_ns"] > line["data"]["due_ns"] for line in lines[1:])


def test_the_client_prints_a_feed_for_people(start: Start) -> None:
    server = start("sse", "--rate-hz", "50")
    done = run_module("clients", "sse", server.url, "--count", "2", COLUMNS="160")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("new at ") and len(lines) == 3
    assert " ms " in lines[1] and "cpu_percent" in lines[1]
    assert done.stderr.splitlines() == ["connecting", "open", "closed"]


def test_ctrl_c_ends_the_client_quietly(start: Start) -> None:
    server = start("websocket", "--rate-hz", "50")
    command = [sys.executable, "-m", "clients", "websocket", server.url, "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=10)
    assert process.returncode == 0 and said == ""


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("clients", "sse", "nonsense"), "'nonsense' is no server address"),
        (("clients", "sse", "http://127.0.0.1:8000", "--since", "x"), "'x' is not a cursor"),
        (("clients", "sse", "http://127.0.0.1:8000", "--room", "a b"), "'a b' is not a room name"),
        (("clients", "sse", "http://127.0.0.1:8000", "--token", "a b"), "--token: allowed are printable ASCII"),
        (("clients", "fax", "http://127.0.0.1:8000"), "'fax' is not one of"),
        (("clients", "sse", "http://127.0.0.1:9", "--max-attempts", "0"), "gave up on http://127.0.0.1:9"),
        (("servers", "fax"), "No such command 'fax'"),
        (("servers", "sse", "--rate-hz", "0"), "rate_hz 0.0: allowed are 1e-06 to 100000"),
        (("servers", "sse", "--rate-hz", "nan"), "rate_hz nan"),
        (("servers", "sse", "--payload-bytes", "3"), "96<=x<=65536"),
        (("servers", "sse", "--source", "replay"), "--replay-file FILE go together"),
        (("servers", "sse", "--source", "replay", "--replay-file", "no/such.jsonl"), "no/such.jsonl: No such file"),
        (("servers", "sse", "--host", "203.0.113.1"), "cannot listen on 203.0.113.1:8000"),
        (("bench", "--transports", "sse,fax"), "fax: allowed are polling"),
        (("bench", "--blocks", "0"), "blocks 0: allowed are 1 to 1000"),
        (("bench", "--payload-bytes", "1"), "payload_bytes 1: allowed are"),
        (("bench", "--out", "bench"), "is not empty"),
        (("reports", "no/such/folder"), "no/such/folder"),
        (("reports", "/dev/zero"), "/dev/zero: not a file of results"),
    ],
)
def test_a_mistake_is_named_without_a_traceback(arguments: tuple[str, ...], named: str) -> None:
    done = invoke(*arguments)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode in (1, 2) and "Traceback" not in said, said
    assert named in said, said


SSE = ("sse", "--host", "203.0.113.1")
"""Not an address of this machine: an option that is taken by mistake ends there, and serves nobody."""
RELAY = ("relay", "--host", "203.0.113.1")
TOKEN = ("token", "--user", "ann")
CLIENT = ("sse", "http://127.0.0.1:9", "--max-attempts", "0")


@pytest.mark.parametrize("number", ("nan", "inf", "-inf"))
@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        *((servers_main, (*SSE, option)) for option in ("--heartbeat-s", "--stall-timeout-s", "--request-timeout-s")),
        (servers_main, (*TOKEN, "--dev", "--ttl-s")),
        *(
            (servers_main, (*RELAY, "--to", "127.0.0.1:9", option))
            for option in ("--rtt-ms", "--jitter-ms", "--bandwidth-mbit-s", "--loss")
        ),
        *(
            (clients_main, (*CLIENT, option))
            for option in ("--poll-interval-s", "--hold-s", "--backoff-base-s", "--backoff-factor", "--backoff-cap-s")
        ),
    ],
)
def test_what_is_no_finite_number_is_in_no_range(
    command: click.Command, arguments: tuple[str, ...], number: str
) -> None:
    assert _refusal(command, *arguments, number).startswith(
        f"Error: Invalid value for '{arguments[-1]}': {number} is not"
    )


@pytest.mark.parametrize(
    ("number", "said"), [("nan", "from 1 to anything"), ("inf", "from 1 to anything"), ("0.5", "the range x>=1")]
)
def test_a_refused_number_is_named_with_its_range(number: str, said: str) -> None:
    with pytest.raises(click.BadParameter, match=f"^{number} is not .* {said}"):
        FiniteRange(1).convert(number, None, None)
    assert FiniteRange(1).convert("1e3", None, None) == 1000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--limit", "strikes=1", "--limit", "strikes=2"), "--limit strikes: given twice"),
        (("--limit", "foo=1"), f"--limit: 'foo' is no limit: there are {', '.join(LimitOptions.__struct_fields__)}"),
        (("--limit", "strikes=1.5"), "--limit: strikes=1.5: expected a whole number from 0 to"),
        (("--limit", "handshake_burst=0"), "--limit: handshake_burst=0: expected a whole number from 1 to"),
        (
            ("--limit", "handshakes_per_address_hz=nan"),
            "--limit: handshakes_per_address_hz=nan: expected a number from",
        ),
        (("--auth", "dev", *("--room-claim", "feed=admin") * 2), "--room-claim feed: given twice"),
        (("--auth", "dev", "--room-claim", "x y=admin"), "--room-claim: 'x y' is not a room name: allowed are"),
        (("--room-claim", "feed=admin"), "--room-claim goes with --auth jwt or --auth dev"),
    ],
)
def test_a_protection_that_would_not_protect_is_refused(arguments: tuple[str, ...], said: str) -> None:
    assert said in _refusal(servers_main, *SSE, *arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--dev", "--jwt-key-file", "nowhere"), "--dev and --jwt-key-file name two keys"),
        (("--dev", "--claim", "sub", "--claim", "staff", "--claim", "exp"), "--claim exp, sub: "),
        (("--dev", "--user", "x y"), "'x y' is not a user name: allowed are 1 to 64 of"),
    ],
)
def test_a_token_that_was_not_meant_is_not_made(arguments: tuple[str, ...], said: str) -> None:
    assert said in _refusal(servers_main, *TOKEN, *arguments)


@pytest.mark.parametrize("port", ("²", "٣٤", "0", "65536", "-1", "+1", " 1", "1_0", "", "9" * 5000))
def test_the_relay_needs_a_port_in_plain_digits(port: str) -> None:
    said = _refusal(servers_main, *RELAY, "--to", f"foo:{port}")
    assert repr(f"foo:{port}") in said and "is not HOST:PORT" in said


def _refusal(command: click.Command, *arguments: str) -> str:
    """What is said to a command line that is refused."""
    done = CliRunner().invoke(command, arguments)
    assert isinstance(done.exception, SystemExit) and done.exit_code in (1, 2) and done.stdout == "", done.exception
    return done.stderr[done.stderr.index("Error: ") :]


def test_a_busy_port_is_named(start: Start) -> None:
    server = start("polling", "--source", "none")
    done = run_module("servers", "polling", "--port", str(server.port))
    assert done.returncode == 1 and f"cannot listen on 127.0.0.1:{server.port}: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_malformed_recording_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text('{"at_s": 0, "data": {"a": 1}}\n{"at_s": 1, "data": 5}\n')
    done = invoke("servers", "sse", "--source", "replay", "--replay-file", str(file))
    assert done.returncode == 1 and f"{file}, line 2: Expected `object`" in done.stderr and done.stdout == ""


def test_a_recording_is_played(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "good.jsonl"
    file.write_text("".join(json.dumps({"at_s": i, "data": {"mark": i}}) + "\n" for i in range(100)))
    server = start("websocket", "--source", "replay", "--replay-file", str(file), "--replay-speed", "50")
    done = run_module("clients", "websocket", server.url, "--count", "3", "--json")
    marks = [json.loads(line)["data"]["mark"] for line in done.stdout.splitlines()[1:]]
    assert marks == [(marks[0] + place) % 100 for place in range(3)], "it begins again at its end"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("sse", "--port", "0"), "python -m clients sse http://127.0.0.1:"),
        (("websocket", "--port", "0", "--tls", "dev"), " --ca-file /"),
        (("relay", "--to", "127.0.0.1:9"), "Let clients connect to 127.0.0.1:"),
    ],
)
def test_a_terminal_is_told_what_to_do_next(arguments: tuple[str, ...], said: str) -> None:
    master, terminal = os.openpty()
    command = [sys.executable, "-m", "servers", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=terminal) as process:
        os.close(terminal)
        told = os.read(master, 1000).decode()
        process.terminate()
        assert process.wait(60) == 0
    os.close(master)
    assert told.startswith("Ready (Ctrl-C ends it). ") and said in told and told.count("\n") == 1, told
