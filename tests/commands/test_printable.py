"""What somebody else wrote reaches no terminal as anything but text."""

import io
import json
import logging
import re
import unicodedata
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.progress import Progress
from rich.table import Table

from bench.run.progress import Lines
from clients.cli import Pretty, _print_json
from clients.core.client import Received
from feed.console.printable import printable, printable_json
from feed.console.terminal import PrintableErrors, echo, new_console
from feed.envelope import decode_envelope, encode_envelope
from servers.gate import logs
from tests.conftest import Start, invoke, run_module

PURE = settings(deadline=None, derandomize=True, database=None)
EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\x7f\u202egnp.exe\u2066\u200f\u2028\r\x08\x00[bold]x"
BIDI = "\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069"
HARMFUL = re.compile(f"[\x00-\x09\x0b-\x1f\x7f-\x9f{BIDI}\u2028\u2029\ud800-\udfff]")
CATEGORIES = ("Cc", "Cf", "Cs", "Zl", "Zp")
ANY = st.text(st.characters()) | st.text(st.sampled_from(EVIL)) | st.text(st.characters(categories=CATEGORIES))


@PURE
@given(ANY)
def test_nothing_is_left_that_a_terminal_would_obey(text: str) -> None:
    shown = printable(text)
    assert not HARMFUL.search(shown) and "\n" not in shown
    assert printable(shown) == shown
    shown.encode()


@PURE
@given(st.text(st.characters(exclude_categories=CATEGORIES)))
def test_ordinary_text_is_left_as_it_is(text: str) -> None:
    assert printable(text) == text


@PURE
@given(ANY)
def test_what_is_shown_says_what_it_was(text: str) -> None:
    text = text.replace("\\", "")
    assert re.sub(r"\\x(..)|\\u(....)", lambda found: chr(int(found[1] or found[2], 16)), printable(text)) == text


def test_all_controls_are_known() -> None:
    for code in range(0x10000):
        character = chr(code)
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(character) in (
            *("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"),
        ):
            assert printable(character) != character, hex(code)
    assert printable("\x1b\u202e\ud800") == r"\x1b\u202e\ud800"
    assert printable("a\nb\tc", keep="\n") == "a\nb\\x09c"


@PURE
@given(ANY)
def test_json_is_harmless_and_the_same(text: str) -> None:
    plain = json.dumps({text: text})
    line = printable_json(plain)
    assert not HARMFUL.search(line) and json.loads(line) == json.loads(plain)


@pytest.mark.parametrize("options", [{}, {"force_terminal": True}], ids=["pipe", "terminal"])
def test_a_console_prints_only_controls_of_its_own(options: dict[str, Any]) -> None:
    """Strings, tables, and what stands beside a live bar."""
    console = new_console(file=io.StringIO(), width=200, highlight=False, **options)
    table = Table(title=EVIL.replace("[", "("))
    table.add_column("name")
    table.add_row(EVIL.replace("[", "("))
    console.print(EVIL, markup=False)
    console.print(table)
    with Progress(console=console) as progress:
        progress.add_task("works", total=1)
        progress.console.print(EVIL, markup=False)
    Lines(console).finished("cell", EVIL, 0)
    console.print("[bold]ours[/]")
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    ours = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
    left = ours.sub("", said) if options else said
    assert not HARMFUL.search(left), HARMFUL.search(left)
    assert r"\x1b(2J" in said and ("\x1b[1mours" in said) == bool(options)


@pytest.mark.parametrize(
    "envelope",
    [
        encode_envelope("message", "0badcafe-1", EVIL, {"user": EVIL, "data": f"one\ntwo {EVIL}"}),
        encode_envelope("message", "0badcafe-1", "tea", [EVIL]),
        encode_envelope("event", EVIL, "tea", {EVIL: EVIL}),
        encode_envelope("event", "0badcafe-1", "tea", EVIL),
        encode_envelope("joined", "0badcafe-1", "tea", {"user": EVIL}),
        encode_envelope("left", "0badcafe-1", "tea", {"user": "", "reason": EVIL}),
        encode_envelope("typing", "0badcafe-1", "tea", EVIL),
        encode_envelope("welcome", EVIL, "tea", {"resume": EVIL, "missed": 0}),
        encode_envelope("gap", EVIL, "tea", {"resume": "gap", "missed": 7}),
        encode_envelope("gap", "[/x]", "tea", {"resume": "gap", "missed": 7}),
        encode_envelope("welcome", "[bold red]x\ny", "tea", {"resume": "resumed", "missed": 0}),
        encode_envelope("event", "0badcafe-1", "tea", {"n": 1, "due_ns": -(1 << 62)}),
        b'{"type":"event","id":"0badcafe-1","room":"tea","data":{"n":1,"due_ns":1' + b"0" * 400 + b"}}",
        encode_envelope("message", "0badcafe-1", "tea", {"user": "u", "data": "hello :bomb: 10:on:20"}),
    ],
    ids=lambda envelope: envelope[9:20].decode(),
)
def test_the_client_shows_one_harmless_line(envelope: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    """Of whatever shape the data is."""
    console = new_console(file=io.StringIO(), width=1000)
    Pretty(console).show(Received(decode_envelope(envelope), 1))
    _print_json(Received(decode_envelope(envelope), 1))
    assert isinstance(console.file, io.StringIO)
    shown, printed = console.file.getvalue(), capsys.readouterr().out
    for said in (shown, printed):
        assert not HARMFUL.search(said) and said.count("\n") == 1 and "💣" not in said
    assert json.loads(printed)["id"] == decode_envelope(envelope).id


def test_errors_of_commands_are_harmless() -> None:
    @click.command(cls=PrintableErrors)
    def fails() -> None:
        echo(f"one\n{EVIL}")
        raise click.UsageError(f"no such file: {EVIL}")

    done = CliRunner().invoke(fails)
    assert done.exit_code == 2 and "Usage: fails" in done.output
    assert not HARMFUL.search(done.output) and r"\x1b[2J" in done.output


def test_logs_are_harmless() -> None:
    stream = io.StringIO()
    before = logging.getLogger().handlers[:], logging.getLogger().level
    try:
        logs.configure("info", stream)
        logs.log_connected("c", "sse", EVIL, EVIL)
        logging.getLogger("uvicorn").error("odd: %s", EVIL)
    finally:
        logging.getLogger().handlers[:], logging.getLogger().level = before
    said = stream.getvalue()
    assert said.count("\n") == 2 and not HARMFUL.search(said)
    assert json.loads(said.splitlines()[0])["user"] == EVIL


def test_a_hostile_message_is_shown_harmless_by_the_command(start: Start) -> None:
    server = start("websocket", "--source", "none")
    said = ("--room", "tea", "--send", "\x1b[2Jhi\u202e\x9b1m", "--count", "1")
    done = run_module("clients", "websocket", server.url, *said)
    assert done.returncode == 0 and r"\x1b[2Jhi\u202e\x9b1m" in done.stdout
    assert not HARMFUL.search(done.stdout + done.stderr)


def test_a_hostile_reason_is_shown_harmless_by_the_command() -> None:
    done = run_module("clients", "sse", "http://127.0.0.1:9", "--since", "\x1b[2J")
    assert done.returncode == 2 and not HARMFUL.search(done.stderr)
    missing = invoke("reports", "no\x1b[2J\u202esuch")
    assert missing.returncode and not HARMFUL.search(missing.stdout + missing.stderr)
