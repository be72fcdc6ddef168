"""Numbers as people read them."""

import math
from typing import Final

from reports.statistics import EQUAL, Comparison, Estimate

SIGNIFICANT_DIGITS: Final = 3
MAX_SIGNIFICANT_DIGITS: Final = 5
MAX_PLAIN: Final = 1e12
NEGLIGIBLE: Final = 1e-9
"""An interval narrower than this share of its value is rounding noise: the number was the same in every block."""
BEYOND: Final = 1000.0
"""So many times larger or smaller than its value, an end of an interval is as good as infinite or nothing."""
NOT_MEASURED: Final = "–"


def number(value: float) -> str:
    """Three significant digits, thousands with commas; whole numbers are not rounded."""
    return fixed(value, _decimals(value, 0.0))


def fixed(value: float, places: int) -> str:
    """A number with so many decimals and commas between thousands; never "-0"."""
    if abs(value) >= MAX_PLAIN:
        return f"{value:.1e}"
    text = f"{value:,.{places}f}"
    return text.lstrip("-") if not text.strip("-0.,") else text


def parts(value: float, low: float | None, high: float | None) -> tuple[str, str]:
    """Value and ``[low, high]`` with the same number of decimals.

    The interval is empty where there is none, and where it has no width: the number was the same in every block.
    """
    if low is None or high is None or high - low <= NEGLIGIBLE * abs(value):
        return number(value), ""
    places = _decimals(value, (high - low) / 2)
    return fixed(value, places), f"[{_end(low, value, places)}, {_end(high, value, places)}]"


def _end(end: float, value: float, places: int) -> str:
    """An end of an interval; where it is a thousand times the value away, its digits say nothing."""
    if value > 0 and end >= 0 and not value / BEYOND < end < value * BEYOND:
        return "0" if end < value else "∞"
    return fixed(end, places)


def joined(value: float, low: float | None, high: float | None) -> str:
    """``value [low, high]``."""
    return " ".join(parts(value, low, high)).strip()


def with_interval(of: Estimate | None) -> str:
    """An average as ``value [low, high]``."""
    return NOT_MEASURED if of is None else joined(of.value, of.low, of.high)


def listed(words: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def counted(count: int, thing: str) -> str:
    """``1 block``, ``2 blocks``."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def verdict_text(of: Comparison) -> str:
    """The verdict on a pair in words, with what settles it or speaks against it.

    *No practical difference* names its number of blocks, because blocks can all miss what is rare.
    """
    verdict, said = of.verdict, of.word
    if verdict.word == EQUAL:
        said += f" in {counted(verdict.blocks, 'block')}"
    if verdict.new_run_blocks:
        said += f", {new_run(verdict.new_run_blocks)}"
    return "; ".join([said, *doubts(of)])


def new_run(blocks: int) -> str:
    """How to settle what is not settled: by a run that is judged by itself, not by adding blocks to this one."""
    return f"one new run of about {counted(blocks, 'block')} would tell"


def doubts(of: Comparison) -> list[str]:
    """What speaks against resting on a verdict: it hangs on single blocks, or on the t test's assumption."""
    found = [hangs(of.hangs_on)] if of.hangs_on else []
    return found + ([] if of.is_confirmed else [f"a permutation test does not confirm it (p = {of.shuffled_p:.2f})"])


def hangs(names: list[str]) -> str:
    """Says that a word would be another without one of these blocks."""
    return f"hangs on {listed(names) if len(names) < 3 else f'each of {len(names)} blocks'}"


def _decimals(value: float, half_width: float) -> int:
    """Decimals that show three digits of the value, or more (up to five) where the interval is narrower than those."""
    if value == 0 or not math.isfinite(value):
        return 0
    magnitude = math.floor(math.log10(abs(value)))
    wanted = SIGNIFICANT_DIGITS - 1 - magnitude
    if half_width and math.isfinite(half_width):
        wanted = max(wanted, -math.floor(math.log10(half_width)))
    return max(0, min(wanted, MAX_SIGNIFICANT_DIGITS - 1 - magnitude))
