"""Printing for all command lines, so that text from other programs cannot control the terminal."""

from typing import Any, Final

import click
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult

from feed.console.printable import printable

_LAYOUT: Final = "\n"
"""Control characters of our own in rendered text."""


class _Harmless:
    """A renderable whose text is made harmless after its styles are known, as those are control sequences too."""

    def __init__(self, of: ConsoleRenderable) -> None:
        self._of = of

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._of, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text, keep=_LAYOUT))


class _Hook(RenderHook):
    """rich's hook for everything that it prints."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [*map(_Harmless, renderables)]


def new_console(**options: Any) -> Console:
    """A rich console that prints only its own control characters. ``options``: those of ``Console``."""
    console = Console(emoji=False, **options)  # ``:on:`` in other programs' text is no emoji
    console.push_render_hook(_Hook())
    return console


def echo(text: str, err: bool = False) -> None:
    """Print lines of text without other control characters."""
    click.echo(printable(text, keep=_LAYOUT), err=err)


class PrintableErrors(click.Command):
    """A command whose error messages have no control characters."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            error.message = printable(error.message, keep=_LAYOUT)  # type: ignore[misc]  # final for subclasses only
            raise


class PrintableGroup(PrintableErrors, click.Group):
    """A group of commands whose error messages have no control characters."""
