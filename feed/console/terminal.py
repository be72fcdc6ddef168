"""The terminal, for all command lines: whatever is printed, what somebody else wrote in it is harmless."""

from typing import Any, Final

import click
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult

from feed.console.printable import printable

_LAYOUT: Final = "\n"
"""What stands in rendered text of its own."""


class _Harmless:
    """Something to render, whose text is made harmless once its styles are known; they are sequences of our own."""

    def __init__(self, of: ConsoleRenderable) -> None:
        self._of = of

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._of, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text, keep=_LAYOUT))


class _Hook(RenderHook):
    """Where rich lets all that it prints be replaced."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [*map(_Harmless, renderables)]


def new_console(**options: Any) -> Console:
    """A rich console (its options) that prints no control characters but its own."""
    console = Console(emoji=False, **options)  # ``:on:`` in somebody's text is not ours to draw
    console.push_render_hook(_Hook())
    return console


def echo(text: str, err: bool = False) -> None:
    """Print lines of text."""
    click.echo(printable(text, keep=_LAYOUT), err=err)


class PrintableErrors(click.Command):
    """A command that says what went wrong without control characters."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            error.message = printable(error.message, keep=_LAYOUT)  # type: ignore[misc]  # final for subclasses only
            raise


class PrintableGroup(PrintableErrors, click.Group):
    """Such a group."""
