"""Editors of a test, each with a document of Yjs's port to Python."""

from pycrdt import Doc, Text


class Editor:
    """A document and the updates that it made and nobody else has."""

    def __init__(self) -> None:
        self.doc: Doc = Doc()
        self.content = self.doc.get("content", type=Text)
        self.made: list[bytes] = []
        self._merging = False
        self.doc.observe(lambda event: None if self._merging else self.made.append(event.update))

    @property
    def text(self) -> str:
        return str(self.content)

    def edit(self, position: int, deleted: int, inserted: str) -> bytes:
        """Delete and insert characters at a place, cut to what there is; returns the update."""
        text = self.text
        start = min(position, len(text))
        end = min(start + deleted, len(text))
        # Indices are bytes of UTF-8 here.
        begin, stop = len(text[:start].encode()), len(text[:end].encode())
        with self.doc.transaction():
            if stop > begin:
                del self.content[begin:stop]
            if inserted:
                self.content.insert(begin, inserted)
        return self.made.pop() if self.made else b""

    def take(self, update: bytes) -> None:
        """Another's update."""
        self._merging = True
        try:
            self.doc.apply_update(update)
        finally:
            self._merging = False

    @property
    def vector(self) -> bytes:
        """What it has."""
        return self.doc.get_state()

    def lacking(self, vector: bytes) -> bytes:
        """What somebody with this vector lacks."""
        return self.doc.get_update(vector)
