"""What a metric is: how its numbers are shown and compared. Pure."""

from typing import Final

import msgspec

LATENCY: Final = "Latency"
BYTES: Final = "Bytes on the wire"
REQUESTS: Final = "Requests and connections"
COST: Final = "Cost on the server"
SCENARIO: Final = "Scenarios"
QUALITY: Final = "How well it was measured"


BELOW_NOISE: Final = "below the noise of the idle server"


class Metric(msgspec.Struct, frozen=True):
    """What a number of a trial is, and how it is shown."""

    unit: str
    label: str
    """A few words for the head of a column or the start of a line; they stand alone, without the group."""
    group: str
    """The heading under which a report's details show it."""
    meaning: str
    """One sentence, for the reader to whom the label does not say enough."""
    margin: str = ""
    """Which of ``reports.statistics.MARGINS`` applies when it is compared; empty: it never is."""
    decimals: int = 1
    """Digits after the point where a trial's number is shown as it is measured."""
    compared: bool = False
    """``python -m reports compare`` has a line for it."""
    less_idle: bool = False
    """What the idle server uses was subtracted. A value of 0 or below is below the noise of that: it is kept, so that
    averages and differences are not censored at one end, shown as such, and no ratio is formed from it."""

    @property
    def title(self) -> str:
        """Label and unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    def text(self, value: float) -> str:
        """A number with its unit."""
        if self.is_below_noise(value):
            return BELOW_NOISE
        return f"{value:,.{self.decimals}f} {self.unit}".rstrip()

    def is_below_noise(self, value: float) -> bool:
        """Is nothing left of the value but the noise of the idle server?"""
        return self.less_idle and value <= 0
