"""Documents: any interleaving of edits, cuts and rejoins ends equal with ``crdt``; what Yjs sent is kept as it is."""

import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from pycrdt import merge_updates

from servers.services import documents
from servers.services.documents import ENGINES, MAX_BYTES, MAX_PARTS, Crdt, Document, Naive, UpdateError, shortened
from tests.helpers.editors import Editor

TORN = [base64.b64decode(text) for text in ("AQEBAAQBBHRleHQGYfCfmIBiAA==", "AAEBAQEB", "AQEBBMQBAQECAXgA")]
"""Made by yjs 13.6.33: 'a😀b' inserted, the first half of the pair deleted, and 'x' put in its place."""
MANY = b"\x80\x80\x80\x7f"
"""A count of 266 million."""
EDITS = st.tuples(st.integers(0, 12), st.integers(0, 3), st.text("abcäß😀", max_size=3))


class Editing(RuleBasedStateMachine):
    """Three editors and a server between them; updates are on their way in queues, and cuts lose what is in them."""

    @initialize()
    def begin(self) -> None:
        self.server = Crdt()
        self.editors = [Editor() for _ in range(3)]
        self.waiting: list[list[bytes]] = [[] for _ in self.editors]
        self.unsent: list[list[bytes]] = [[] for _ in self.editors]

    @rule(who=st.integers(0, 2), edit=EDITS, sent=st.booleans())
    def edit(self, who: int, edit: tuple[int, int, str], sent: bool) -> None:
        update = self.editors[who].edit(*edit)
        if update:
            self.unsent[who].append(update)
        if sent:
            self._send(who)

    def _send(self, who: int) -> None:
        for update in self.unsent[who]:
            clean = self.server.apply(update)
            for other, queue in enumerate(self.waiting):
                if other != who:
                    queue.append(clean)
        self.unsent[who].clear()

    @rule(who=st.integers(0, 2), count=st.integers(1, 5), last_first=st.booleans(), twice=st.booleans())
    def deliver(self, who: int, count: int, last_first: bool, twice: bool) -> None:
        """In any order, and again."""
        queue = self.waiting[who]
        taken, self.waiting[who] = queue[:count], queue[count:]
        for update in reversed(taken) if last_first else taken:
            for _ in range(1 + twice):
                self.editors[who].take(update)

    @rule(who=st.integers(0, 2))
    def cut_and_rejoin(self, who: int) -> None:
        """What was on its way either way is lost; each side sends what the other lacks."""
        self.waiting[who].clear()
        self.unsent[who].clear()
        self._catch_up(who)

    def _catch_up(self, who: int) -> None:
        editor = self.editors[who]
        for update in self.server.missing(editor.vector):
            editor.take(update)
        lacking = editor.lacking(self.server.vector)
        self.unsent[who].append(lacking)
        self._send(who)

    @rule()
    def merge(self) -> None:
        assert len(self.server.whole()) <= 1

    @rule()
    def restart(self) -> None:
        """A server that comes back with what was kept of the document."""
        again = Crdt()
        again.restore(self.server.whole())
        self.server = again

    def teardown(self) -> None:
        if not hasattr(self, "server"):
            return
        for _ in range(2):  # what the last one brings reaches the first one
            for who in range(3):
                self._catch_up(who)
        for who, queue in enumerate(self.waiting):
            for update in queue:
                self.editors[who].take(update)
        late = Editor()
        for update in self.server.missing(b""):
            late.take(update)
        assert len({editor.text for editor in (*self.editors, late)}) == 1


Editing.TestCase.settings = settings(deadline=None, max_examples=60, stateful_step_count=30)
test_editing: Any = Editing.TestCase


def test_a_torn_pair_stays_as_yjs_sent_it() -> None:
    """Yjs's port to Rust would drop the other half, and a late joiner's text would differ from everybody's."""
    server = Crdt()
    for update in TORN:
        server.apply(update)
    (whole,) = server.whole()
    assert whole == merge_updates(*TORN)
    assert "f09f9880" in whole.hex(), "the pair's bytes, next to the deletion"


def test_an_update_is_shortened_only_where_that_says_the_same() -> None:
    editor = Editor()
    typed = [editor.edit(n, 0, "x") for n in range(200)] + [editor.edit(50, 3, "")]
    whole = merge_updates(*typed)
    assert len(shortened(whole)) < len(whole) / 5
    for kept in (merge_updates(*TORN), merge_updates(*typed[5:]), typed[-1]):
        assert shortened(kept) == kept, "torn; what is missing; a deletion of what is missing"


@pytest.mark.parametrize("size", [documents.MERGED_AT - 1, documents.MERGED_AT, 3 * documents.MERGED_AT])
def test_updates_are_merged_after_a_while_and_nothing_is_lost(size: int) -> None:
    server, editor = Crdt(), Editor()
    for n in range(size):
        server.apply(editor.edit(n, 0, "x"))
    reader = Editor()
    for update in server.missing(b""):
        reader.take(update)
    assert reader.text == editor.text == "x" * size
    assert server.missing(editor.vector) == server.missing(reader.vector)
    assert server.size < 10 * size, "typing in one place takes little more than the text"


@settings(deadline=None)
@given(st.binary(max_size=80) | st.sampled_from(TORN).flatmap(lambda good: st.binary(max_size=4).map(good.__add__)))
def test_what_is_no_update_is_refused_and_what_passes_harms_nobody(update: bytes) -> None:
    server, editor = Crdt(), Editor()
    server.apply(editor.edit(0, 0, "good"))
    try:
        server.apply(update)
    except UpdateError as error:
        assert "no update of Yjs" in str(error)
    reader = Editor()
    reader.take(server.missing(b"")[0])
    assert "good" in reader.text


def test_updates_that_cannot_be_merged_stay_beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """As planted ones, of a client that breaks the rules: everybody else's work goes on, until there are too many."""
    server, editor = Crdt(), Editor()
    mine = server.apply(editor.edit(0, 0, "mine"))
    merge = documents.merge_updates

    def unmergeable(*updates: bytes) -> bytes:
        if len(updates) > 1 and any(one != mine for one in updates):
            raise ValueError("Cannot merge updates")
        return merge(*updates)

    monkeypatch.setattr(documents, "merge_updates", unmergeable)
    for n in range(MAX_PARTS - 1):
        server.apply(Editor().edit(0, 0, f"odd {n}"))
    assert len(server.whole()) == len(server.missing(b"")) == MAX_PARTS and server.whole()[0] == mine
    with pytest.raises(UpdateError, match="closed"):
        server.apply(Editor().edit(0, 0, "one more"))


POISON = bytes.fromhex("0102050004010174017804000500017900")
"""An item whose parent is a text: merging takes it, and no document does."""


def test_an_update_that_no_document_takes_is_refused_and_one_that_was_kept_harms_nobody() -> None:
    server, editor = Crdt(), Editor()
    mine = server.apply(editor.edit(0, 0, "mine"))
    with pytest.raises(UpdateError, match="no update"):
        server.apply(POISON)
    assert server.whole() == [mine]
    server.replay(merge_updates(POISON))
    assert server.missing(b"") and server.vector
    server.apply(editor.edit(4, 0, "!"))


def test_what_was_kept_is_restored_though_it_takes_more_than_the_bound_before_it_is_merged() -> None:
    """Pasted and deleted again: the document is small, and its log is not."""
    server, editor, log = Crdt(), Editor(), []
    for _ in range(30):
        for update in (editor.edit(0, 0, "x" * 40_000), editor.edit(0, 40_000, "")):
            log.append(server.apply(update))
    assert sum(map(len, log)) > 2 * MAX_BYTES > server.size
    again = Crdt()
    for update in log:
        again.replay(update)
    assert again.missing(b"") == server.missing(b"")


def test_a_vector_that_is_none_is_refused() -> None:
    server = Crdt()
    server.apply(Editor().edit(0, 0, "text"))
    for vector in (b"\xff" * 12, b"\x05\x01", MANY):
        with pytest.raises(UpdateError, match="vector"):
            server.missing(vector)


def edit(position: int, deleted: int, inserted: str) -> bytes:
    return msgspec.msgpack.encode([position, deleted, inserted])


def whole_of(document: Document) -> Any:
    (whole,) = document.missing(b"")
    return msgspec.msgpack.decode(whole)


def test_a_count_beyond_the_bytes_is_refused_before_memory_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library takes 512 MiB and a quarter of a second for these four bytes."""
    monkeypatch.setattr(documents, "merge_updates", None)
    with pytest.raises(UpdateError, match="no update"):
        Crdt().apply(MANY)


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3), st.text("abä", max_size=3)), max_size=20))
def test_naive_edits_are_slices(edits: list[tuple[int, int, str]]) -> None:
    server, text = Naive(), ""
    for position, deleted, inserted in edits:
        server.apply(edit(position, deleted, inserted))
        text = text[:position] + inserted + text[position + deleted :]
    assert whole_of(server) == [len(edits), text]
    assert server.missing(server.vector) == []
    again = Naive()
    again.restore(server.whole())
    assert (again.text, again.vector) == (server.text, server.vector)


def test_naive_positions_are_those_of_browsers_and_may_tear_a_pair() -> None:
    server = Naive()
    server.apply(edit(0, 0, "a😀b"))
    server.apply(edit(3, 0, "x"))
    assert server.text == "a😀xb"
    server.apply(edit(1, 1, ""))
    assert server.text == "a\ufffdxb"


def test_two_who_type_at_once_get_different_documents() -> None:
    """What the scenario counts: each applied its own edit first."""
    server = Naive()
    server.apply(edit(0, 0, "the cat"))
    mine, yours = edit(4, 0, "black "), edit(0, 3, "a")
    server.apply(mine)
    server.apply(yours)
    other = Naive()
    other.apply(edit(0, 0, "the cat"))
    other.apply(yours)
    other.apply(mine)
    assert (server.text, other.text) == ("a black cat", "a cablack t")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        edit(-1, 0, "x"),
        edit(0, -1, "x"),
        msgspec.msgpack.encode([0, 0]),
        msgspec.msgpack.encode([0, 0, "x", "more"]),
        b"\x93\x00\x00\xa1\xff",
        b"\x94\x00\x00\xa0" + b"\x91" * 40_000,
        TORN[0],
    ],
)
def test_what_is_no_edit_is_refused(payload: bytes) -> None:
    with pytest.raises(UpdateError, match=r"edit|0 or more"):
        Naive().apply(payload)
    with pytest.raises(UpdateError, match="version"):
        Naive().missing(b"\xc1")


def test_a_document_has_a_bound() -> None:
    for name, update in (("naive", edit(0, 0, "x" * (MAX_BYTES // 2))), ("crdt", Editor().edit(0, 0, "x" * MAX_BYTES))):
        document = ENGINES[name]()
        with pytest.raises(UpdateError, match=str(MAX_BYTES)):
            document.apply(update)
            document.apply(edit(0, 0, "y"))
