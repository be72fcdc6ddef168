"""Traces of concurrent editing, and their replay on documents of Yjs's port to Python. Pure.

The format is that of ``concurrent_traces`` of https://github.com/josephg/editing-traces: each edit names those that its
writer had seen (``parents``), and counts places in characters of the text that it saw.
"""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from pycrdt import Doc, Text

MAX_BYTES: Final = 64 << 20
"""Of a trace, unpacked."""
MAX_WRITERS: Final = 20

Count = Annotated[int, msgspec.Meta(ge=0)]


class TraceError(ValueError):
    """The file is no trace that can be replayed; the message says why."""


class Edit(msgspec.Struct, frozen=True):
    """One edit: by whom, after which others, and its changes as (place, characters deleted, text inserted)."""

    parents: list[Count]
    agent: Count
    patches: list[tuple[Count, Count, str]]


class Trace(msgspec.Struct, frozen=True):
    """All edits, each after its parents, and the text that all writers had at the end."""

    kind: Literal["concurrent"]
    edits: list[Edit] = msgspec.field(name="txns")
    text: str = msgspec.field(name="endContent")
    writers: Annotated[int, msgspec.Meta(ge=1, le=MAX_WRITERS)] = msgspec.field(name="numAgents")


def read_trace(path: Path) -> Trace:
    """Read a trace, packed by gzip or not. Raises ``TraceError``."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise TraceError(f"{path}: {error}") from error
    if len(data) > MAX_BYTES:
        raise TraceError(f"{path}: more than {MAX_BYTES >> 20} MiB")
    try:
        trace = msgspec.json.decode(data, type=Trace)
    except (ValueError, RecursionError) as error:
        raise TraceError(f"{path}: no trace of concurrent editing: {error}") from error
    for index, edit in enumerate(trace.edits):
        if edit.agent >= trace.writers or any(parent >= index for parent in edit.parents):
            raise TraceError(f"{path}: edit {index} is by an unknown writer, or not after its parents")
    return trace


class Replica:
    """One writer's document. It must have exactly the ancestors of an edit before that edit is made on it."""

    def __init__(self, trace: Trace, writer: int) -> None:
        self._trace = trace
        # Each replay ends alike only with the same ids: by them Yjs orders what is inserted at one place.
        self._doc: Doc[Text] = Doc(client_id=writer + 1)
        self._text = self._doc.get("content", type=Text)
        self._has: set[int] = set()

    @property
    def text(self) -> str:
        """As it is now."""
        return str(self._text)

    def has(self, index: int) -> bool:
        """Is this edit here?"""
        return index in self._has

    def lacking(self, index: int) -> list[int]:
        """The ancestors of an edit that are not here, each after its own."""
        found: set[int] = set()
        ahead = list(self._trace.edits[index].parents)
        while ahead:
            one = ahead.pop()
            if one not in self._has and one not in found:
                found.add(one)
                ahead += self._trace.edits[one].parents
        return sorted(found)

    def edit(self, index: int) -> bytes:
        """Make an edit here; returns the update for the others."""
        before = self._doc.get_state()
        with self._doc.transaction():
            for place, deleted, inserted in self._trace.edits[index].patches:
                text = self.text
                # Indices are bytes of UTF-8 here.
                begin, end = (len(text[:at].encode()) for at in (place, place + deleted))
                if deleted:
                    del self._text[begin:end]
                if inserted:
                    self._text.insert(begin, inserted)
        self._has.add(index)
        return self._doc.get_update(before)

    def take(self, index: int, update: bytes) -> None:
        """Another's edit has come."""
        self._has.add(index)
        self.apply(update)

    def apply(self, update: bytes) -> None:
        """Apply an update of whichever edits."""
        self._doc.apply_update(update)


def of_writer(trace: Trace, writer: int) -> Iterator[int]:
    """The edits of a writer, in order."""
    return (index for index, edit in enumerate(trace.edits) if edit.agent == writer)


def replay(trace: Trace) -> str:
    """The text at the end, without a server in between."""
    writers = [Replica(trace, writer) for writer in range(trace.writers)]
    updates: list[bytes] = []
    for index, edit in enumerate(trace.edits):
        writer = writers[edit.agent]
        for other in writer.lacking(index):
            writer.take(other, updates[other])
        updates.append(writer.edit(index))
    reader = Replica(trace, trace.writers)
    for index, update in enumerate(updates):
        reader.take(index, update)
    return reader.text
