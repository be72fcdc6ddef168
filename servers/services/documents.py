"""Documents that several people edit at once, by two engines. Pure: what an update does, and what somebody lacks.

* ``crdt``: updates of Yjs (https://docs.yjs.dev/api/document-updates), merged in any order to the same document. The
  server keeps what the clients sent, and has it written shorter only where that says the same.
* ``naive``: positions, applied as they come, which is the article's sketch. Whoever types while another's edit is on
  its way hits the wrong place, and documents differ for good.

A further engine is one more class, and one more entry in ``ENGINES``.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec
from pycrdt import Doc, get_state, get_update, merge_updates

MAX_BYTES: Final = 400 << 10
"""Of one document: as a whole, in base64, it fits into a message of 1 MiB, which clients take."""
MERGED_AT: Final = 500
"""So many updates are kept one by one, and then merged."""
MAX_PARTS: Final = 20
"""Into how many updates a document may be merged: some that are valid each cannot be merged with each other."""

_EVERYTHING: Final = b"\0"
"""The state vector of somebody who has nothing."""


class UpdateError(ValueError):
    """The update cannot be applied; the message says why."""


class Document(Protocol):
    """One document. What it hands out and takes is what its engine's clients understand."""

    @property
    def size(self) -> int:
        """Bytes that it takes."""

    @property
    def vector(self) -> bytes:
        """What it has, for a client to know what it lacks."""

    def apply(self, update: bytes) -> bytes:
        """Apply a client's update. Returns it as others get it. Raises ``UpdateError``."""

    def replay(self, update: bytes) -> None:
        """Apply what ``apply`` gave once, whatever the bounds are."""

    def missing(self, vector: bytes) -> list[bytes]:
        """The updates that somebody with such a vector lacks. Raises ``UpdateError``."""

    def whole(self) -> list[bytes]:
        """Updates that make the whole document."""

    def restore(self, whole: list[bytes]) -> None:
        """Go on from what ``whole`` gave."""


class Crdt:
    """Updates of Yjs."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._recent: list[bytes] = []
        self.size = 0

    @property
    def vector(self) -> bytes:
        """Of the first part alone if it could not be merged with others: a client then sends more than is needed."""
        parts = self.whole()
        return get_state(parts[0]) if parts else _EVERYTHING

    def apply(self, update: bytes) -> bytes:
        try:
            clean = merge_updates(_counted(update))  # written anew, so that nothing else comes with it
            Doc().apply_update(clean)
        except (ValueError, RuntimeError):
            raise UpdateError("the payload is no update of Yjs (version 1)") from None
        if self.size + len(clean) > MAX_BYTES:
            self.whole()
        if self.size + len(clean) > MAX_BYTES:
            raise UpdateError(f"the document would have more than {MAX_BYTES} bytes")
        if len(self._parts) >= MAX_PARTS:
            raise UpdateError(f"the document has fallen into {MAX_PARTS} parts that cannot be merged, and is closed")
        self.replay(clean)
        return clean

    def replay(self, update: bytes) -> None:
        self._recent.append(update)
        self.size += len(update)
        if len(self._recent) >= MERGED_AT:
            self.whole()

    def missing(self, vector: bytes) -> list[bytes]:
        try:
            return [get_update(part, _counted(vector or _EVERYTHING)) for part in self.whole()]
        except ValueError:
            raise UpdateError("the vector is no state vector of Yjs (version 1)") from None

    def whole(self) -> list[bytes]:
        if self._recent:
            parts = self._parts + self._recent
            try:
                parts = [shortened(merge_updates(*parts))]
            except ValueError:
                parts = _merged(parts)
            self.restore(parts)
        return self._parts

    def restore(self, whole: list[bytes]) -> None:
        self._parts, self._recent = whole, []
        self.size = sum(map(len, whole))


def shortened(update: bytes) -> bytes:
    """The same update with runs of characters as one piece each, a tenth of the size after typing.

    That takes a document of Yjs's port to Rust, which reads three things otherwise than Yjs: it drops the other half of
    a surrogate pair that an edit has torn, and does not write what waits for updates that are missing, nor deletions of
    what is missing. All show in what its update has or deletes; then the update stays as it is.
    """
    document: Doc[Any] = Doc()
    try:
        document.apply_update(update)
    except RuntimeError:  # it may be more than the sum of updates that each can be applied
        return update
    shorter, has = document.get_update(), get_state(update)
    same = get_state(shorter) == has and get_update(shorter, has) == get_update(update, has)
    return shorter if same else update


def _counted(data: bytes) -> bytes:
    """Update or state vector as it is. Raises ``ValueError`` if it begins with a count of more than there are bytes.

    The library would set memory aside for so many: 512 MiB for 4 bytes.
    """
    count = 0
    for place, byte in enumerate(data[:10]):
        count |= (byte & 0x7F) << 7 * place
        if not byte & 0x80:
            break
    if count > len(data):
        raise ValueError("more than there are bytes")
    return data


def _merged(updates: list[bytes]) -> list[bytes]:
    """As few updates as can be had by merging each with the first one that takes it."""
    parts: list[bytes] = []
    for update in updates:
        for place, part in enumerate(parts):
            try:
                parts[place] = merge_updates(part, update)
                break
            except ValueError:
                continue
        else:
            parts.append(update)
    return parts


class Edit(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One naive edit, in UTF-16 code units, as browsers count."""

    position: int
    deleted: int
    inserted: str


class Text(msgspec.Struct, array_like=True, frozen=True):
    """A naive document as a whole."""

    version: int
    text: str


_EDIT: Final = msgspec.msgpack.Decoder(Edit)
_TEXT: Final = msgspec.msgpack.Decoder(Text)
_VERSION: Final = msgspec.msgpack.Decoder(int)


class Naive:
    """A text and a version that counts its edits. Payloads are MessagePack: ``Edit``, ``Text``, and the version."""

    def __init__(self) -> None:
        self._units = b""
        """UTF-16, two bytes for each unit: an edit may tear a pair, as it does in a browser."""
        self._version = 0

    @property
    def size(self) -> int:
        return len(self._units)

    @property
    def vector(self) -> bytes:
        return msgspec.msgpack.encode(self._version)

    @property
    def text(self) -> str:
        """The document; what is left of a torn pair shows as U+FFFD."""
        return self._units.decode("utf-16-le", "replace")

    def apply(self, update: bytes) -> bytes:
        """A position beyond the end is the end."""
        try:
            edit = _EDIT.decode(update)
        except (ValueError, RecursionError):
            raise UpdateError("the payload is no edit: [position, deleted, inserted] in MessagePack") from None
        if edit.position < 0 or edit.deleted < 0:
            raise UpdateError("position and deleted are 0 or more")
        inserted = edit.inserted.encode("utf-16-le", "surrogatepass")
        if len(self._units) + len(inserted) > MAX_BYTES:
            raise UpdateError(f"the document would have more than {MAX_BYTES} bytes")
        self._apply(edit)
        return update

    def replay(self, update: bytes) -> None:
        self._apply(_EDIT.decode(update))

    def _apply(self, edit: Edit) -> None:
        inserted = edit.inserted.encode("utf-16-le", "surrogatepass")
        start, end = 2 * edit.position, 2 * (edit.position + edit.deleted)
        self._units = self._units[:start] + inserted + self._units[end:]
        self._version += 1

    def missing(self, vector: bytes) -> list[bytes]:
        try:
            known = _VERSION.decode(vector) if vector else -1
        except (ValueError, RecursionError):
            raise UpdateError("the vector is no version: a number in MessagePack") from None
        return [] if known == self._version else self.whole()

    def whole(self) -> list[bytes]:
        return [msgspec.msgpack.encode(Text(self._version, self.text))]

    def restore(self, whole: list[bytes]) -> None:
        found = _TEXT.decode(whole[0])
        self._version, self._units = found.version, found.text.encode("utf-16-le", "surrogatepass")


ENGINES: Final[dict[str, Callable[[], Document]]] = {"crdt": Crdt, "naive": Naive}
