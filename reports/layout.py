"""What a report consists of: sections of statements, tables and figures, which every writer can lay out.

Writers know nothing else: whoever builds a section (``reports.sections``) decides what it says, and each writer how
that looks in its format.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

FIGURES_FOLDER: Final = "figures"
"""The folder of a report's pictures, beside its pages."""


class Part(msgspec.Struct, frozen=True):
    """One statement in words: its subject, and one or two sentences about it."""

    label: str
    text: str


class Cell(msgspec.Struct, frozen=True):
    """A cell of a table with more to say than a plain text: every field that is not empty is laid out."""

    text: str
    interval: str = ""
    """``[low, high]``, in grey where there are colours."""
    word: str = ""
    """A rating or verdict, which stands out."""
    aside: str = ""
    """Follows the word, in grey: what the article says."""
    notes: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    """They measure the numbers of this row again."""
    colour: str = ""
    """Marks the row, as the lines of figures are marked: ``#rrggbb``."""
    meaning: str = ""
    """The long form of the text."""
    url: str = ""
    """The text's source."""


class Table(msgspec.Struct, frozen=True):
    """One table with its notes."""

    title: str
    head: list[str]
    rows: Sequence[Sequence[str | Cell]]
    notes: list[str]
    on_terminal: bool = True
    """Tables for looking things up are left to the page and the Markdown."""
    is_main: bool = False
    """A main table stands on the page unfolded, and in every short form of the report."""


class FigureSpec(msgspec.Struct, frozen=True):
    """A figure to be drawn.

    ``drawing``: a function of a module in ``reports.figures``, such as ``cost.draw_memory``; ``data`` is its argument.
    """

    name: str
    """Of the files, without their endings."""
    caption: str
    drawing: str
    data: Any
    on_page: bool = True
    """The page leaves out what it has as a table of its own."""


class Figure(msgspec.Struct, frozen=True):
    """A figure as it was drawn: name of its files, caption, SVG text."""

    name: str
    caption: str
    svg: str
    on_page: bool = True


class Widget(msgspec.Struct, frozen=True):
    """An interactive part that only the page has: a template of ``reports/writers/templates``, and what it shows."""

    template: str
    data: dict[str, Any]


class Section(msgspec.Struct, frozen=True):
    """A heading, its conditions in one line, what it says in words, what to beware of, figures and tables."""

    heading: str
    title: str
    cautions: list[str]
    tables: list[Table]
    figures: list[FigureSpec] = []
    statements: list[Part] = []
    """They stand on the page's first screen, in the terminal's short form and in the summary for CI."""
    widget: Widget | None = None


class Drawn(msgspec.Struct, frozen=True):
    """A section whose figures were drawn; writers take these."""

    section: Section
    figures: list[Figure] = []


class Case(msgspec.Struct, frozen=True):
    """One thing that a build checks: it passes, unless ``failure`` or ``skipped`` says why it does not."""

    group: str
    """``POINT.TRANSPORT``: readers of JUnit take the part before the last dot for a package."""
    name: str
    measured: str
    failure: str = ""
    skipped: str = ""

    @property
    def is_skipped(self) -> bool:
        return bool(self.skipped) and not self.failure
