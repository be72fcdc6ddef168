"""Traces of concurrent editing: what may be one, and that its replay ends as its writers' texts did."""

import gzip
import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.scenarios.trace import Replica, Trace, TraceError, of_writer, read_trace, replay
from tests.helpers.traces import made_up

TWO = {
    "kind": "concurrent",
    "endContent": "na\u00efve \U0001f600!",
    "numAgents": 2,
    "txns": [
        {"parents": [], "agent": 0, "patches": [[0, 0, "na\u00efve "]]},
        {"parents": [0], "agent": 0, "patches": [[6, 0, "x"], [6, 1, "\U0001f600"]]},
        {"parents": [0], "agent": 1, "patches": [[6, 0, "!"]]},
    ],
}


def written(path: Path, data: object) -> Path:
    path.write_bytes(msgspec.json.encode(data))
    return path


def test_places_are_characters_and_concurrent_edits_are_merged(tmp_path: Path) -> None:
    path = written(tmp_path / "trace.json", TWO)
    assert replay(read_trace(path)) == TWO["endContent"]
    packed = tmp_path / "trace.json.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read_trace(packed) == read_trace(path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({**TWO, "kind": "sequential"}, "kind"),
        ({**TWO, "numAgents": 0}, "numAgents"),
        ({**TWO, "txns": [{"parents": [0], "agent": 0, "patches": []}]}, "edit 0"),
        ({**TWO, "txns": [{"parents": [], "agent": 2, "patches": []}]}, "unknown writer"),
        ({**TWO, "txns": [{"parents": [], "agent": 0, "patches": [[-1, 0, "x"]]}]}, "patches"),
        ([], "no trace"),
    ],
)
def test_what_is_no_trace_is_refused_by_name(tmp_path: Path, data: object, words: str) -> None:
    with pytest.raises(TraceError, match=words):
        read_trace(written(tmp_path / "bad.json", data))


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\x1f\x8b", gzip.compress(b"{}", mtime=0)[:-9], gzip.compress(b"{}", mtime=0)[:12] + b"?" * 20]
)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "damaged.gz"
    path.write_bytes(data)
    with pytest.raises(TraceError, match="damaged"):
        read_trace(path)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), writers=st.integers(1, 4), edits=st.integers(0, 40))
def test_all_writers_end_with_the_text_of_the_replay(seed: int, writers: int, edits: int) -> None:
    """However the edits interleave. Each comes after its parents: Yjs's port to Rust may lose one that comes before."""
    trace = made_up(seed, writers, edits)
    draw = random.Random(seed)
    replicas = [Replica(trace, writer) for writer in range(writers)]
    ahead = [list(of_writer(trace, writer)) for writer in range(writers)]
    updates: dict[int, bytes] = {}
    while any(ahead):
        able = [
            w for w in range(writers) if ahead[w] and all(one in updates for one in replicas[w].lacking(ahead[w][0]))
        ]
        writer = draw.choice(able)
        index = ahead[writer].pop(0)
        for other in replicas[writer].lacking(index):
            replicas[writer].take(other, updates[other])
        updates[index] = replicas[writer].edit(index)
    for replica in replicas:
        for index in updates:
            if not replica.has(index):
                replica.take(index, updates[index])
        assert replica.text == trace.text


def test_a_trace_survives_its_file(tmp_path: Path) -> None:
    trace = made_up(1, 3, 30)
    assert isinstance(trace, Trace) and trace.text
    assert read_trace(written(tmp_path / "trace.json", trace)) == trace
