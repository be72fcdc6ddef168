"""What a writer of the scenario ``collab`` has: a document, by the engine of the room."""

from typing import Final, Protocol

import msgspec
from pycrdt import Doc, Text


class Editor(Protocol):
    """One writer's document."""

    @property
    def text(self) -> str:
        """As the writer sees it."""

    def edit(self, position: int, deleted: int, inserted: str) -> bytes:
        """Change it here, at once; returns the update for the others. ASCII only, so that all count alike."""

    def take(self, update: bytes) -> None:
        """Another's update has come."""


class Crdt:
    """Yjs's port to Python."""

    def __init__(self) -> None:
        self._doc: Doc[Text] = Doc()
        self._text = self._doc.get("content", type=Text)

    @property
    def text(self) -> str:
        return str(self._text)

    def edit(self, position: int, deleted: int, inserted: str) -> bytes:
        before = self._doc.get_state()
        with self._doc.transaction():
            if deleted:
                del self._text[position : position + deleted]
            if inserted:
                self._text.insert(position, inserted)
        return self._doc.get_update(before)

    def take(self, update: bytes) -> None:
        self._doc.apply_update(update)


class Naive:
    """Positions, applied as they come."""

    def __init__(self) -> None:
        self.text = ""

    def edit(self, position: int, deleted: int, inserted: str) -> bytes:
        update = msgspec.msgpack.encode((position, deleted, inserted))
        self.take(update)
        return update

    def take(self, update: bytes) -> None:
        position, deleted, inserted = msgspec.msgpack.decode(update, type=tuple[int, int, str])
        self.text = self.text[:position] + inserted + self.text[position + deleted :]


EDITORS: Final[dict[str, type[Crdt] | type[Naive]]] = {"crdt": Crdt, "naive": Naive}
