"""Sections of the report beside the comparison: tables ready to lay out in any format."""

import msgspec


class Drawn(msgspec.Struct, frozen=True):
    """A figure that was written: its name, caption and SVG text."""

    name: str
    caption: str
    svg: str


class Table(msgspec.Struct, frozen=True):
    """One table with its notes."""

    title: str
    head: list[str]
    rows: list[list[str]]
    notes: list[str]
    on_terminal: bool = True
    """Tables for looking things up are left to the page and the Markdown."""


class Section(msgspec.Struct, frozen=True):
    """A heading, the conditions in one line, what to beware of, figures and tables."""

    heading: str
    title: str
    cautions: list[str]
    tables: list[Table]
    figures: list[Drawn]


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
