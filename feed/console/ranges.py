"""Ranges of numbers on a command line."""

import math
from typing import Any

import click


class FiniteRange(click.FloatRange):
    """A ``click.FloatRange`` that also refuses infinity and NaN, which no comparison catches."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number, if it is finite and within the range."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            least, most = (bound if bound is not None else "anything" for bound in (self.min, self.max))
            self.fail(f"{number} is not a finite number from {least} to {most}.", param, ctx)
        return number
