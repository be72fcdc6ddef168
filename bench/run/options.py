"""Command-line options that several commands share."""

from collections.abc import Callable, Collection
from typing import Any, Final

import click

from feed.transports import TRANSPORTS

PRESET_HELP: Final = "Size of the run. smoke measures everything once, quickly; nothing can be concluded from it."
TRANSPORTS_HELP: Final = f"Transports to measure, comma-separated, of {','.join(TRANSPORTS)}.  [default: all]"


class RenamedOption(click.Option):
    """An option that is also accepted under its old name, which the help does not show."""

    def __init__(self, *names: Any, old_name: str, **settings: Any) -> None:
        super().__init__(*names, **settings)
        self._old_name = old_name

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        shown = self.opts
        self.opts = [*shown, self._old_name]
        super().add_to_parser(parser, ctx)
        self.opts = shown


def among(known: Collection[str]) -> Callable[[click.Context, click.Parameter, str | None], list[str] | None]:
    """A callback that reads a comma-separated list of these names; ``None`` if the option was left out.

    The list has each name once, in the order of ``known``, however often and in whatever order they were given.
    """

    def read(context: click.Context, parameter: click.Parameter, text: str | None) -> list[str] | None:
        if text is None:
            return None
        names = [name.strip() for name in text.split(",") if name.strip()]
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            said = ", ".join(unknown) or f"{text!r} names none"
            raise click.BadParameter(f"{said}: allowed are {', '.join(known)}")
        return [name for name in known if name in names]

    return read
