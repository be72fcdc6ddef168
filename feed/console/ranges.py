"""Ranges of numbers on a command line: both ends mean the same by them."""

import math
from typing import Any

import click


class FiniteRange(click.FloatRange):
    """``click.FloatRange`` that refuses NaN, which is neither below a minimum nor above a maximum, and infinity."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number, if it is one within the range."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            least, most = (bound if bound is not None else "anything" for bound in (self.min, self.max))
            self.fail(f"{number} is not a finite number from {least} to {most}.", param, ctx)
        return number
