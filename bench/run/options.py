"""Options that several commands have."""

from collections.abc import Callable, Collection

import click


def among(known: Collection[str]) -> Callable[[click.Context, click.Parameter, str | None], list[str] | None]:
    """A callback that reads a comma-separated list of these names; ``None`` if the option was left out.

    Each is there once, in the order of all tables, however often and in which order it was named.
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
