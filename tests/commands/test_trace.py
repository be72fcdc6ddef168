"""``python -m bench scenario collab --trace FILE``: writers of a trace, replayed over real servers."""

from pathlib import Path

import msgspec
import pytest

from tests.conftest import invoke, run_module
from tests.helpers.traces import made_up


def trace_file(path: Path, **changed: object) -> Path:
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(made_up(7, 3, 60), **changed)))
    return path


def test_all_end_as_recorded_over_a_stream_and_over_polls(tmp_path: Path) -> None:
    """Binary and base64, and requests that share the stream's connection or have one of their own."""
    path = trace_file(tmp_path / "trace.json")
    done = run_module("bench", "scenario", "collab", "--trace", str(path), "--transports", "websocket,polling")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Without a server: 60 edits end as recorded" in done.stdout
    assert done.stdout.count("all as recorded") == 2, done.stdout


def test_another_text_than_was_recorded_is_said_and_fails(tmp_path: Path) -> None:
    path = trace_file(tmp_path / "trace.json", text="something else")
    done = run_module("bench", "scenario", "collab", "--trace", str(path), "--transports", "websocket")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "end NOT as recorded" in done.stdout and "all alike, but not as recorded" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("chat",), "--trace is an option of collab"),
        (("collab", "--blocks", "2"), "--blocks has no meaning with --trace"),
        (("collab", "--out", "here"), "--out has no meaning with --trace"),
    ],
)
def test_what_has_no_meaning_next_to_a_trace_is_refused(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    done = invoke("bench", "scenario", *arguments, "--trace", str(trace_file(tmp_path / "trace.json")))
    assert done.returncode == 2 and words in done.stderr


def test_a_file_that_is_no_trace_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "no-trace.json"
    path.write_text("{}")
    done = invoke("bench", "scenario", "collab", "--trace", str(path))
    assert done.returncode == 1 and "no-trace.json" in done.stderr and "Traceback" not in done.stderr
