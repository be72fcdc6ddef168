"""One look for everything: a colour, a line and a name per transport, fonts that can be read on a slide."""

from typing import Any, Final

import msgspec

from feed.transports import TRANSPORTS


class Look(msgspec.Struct, frozen=True):
    """How a transport appears in every figure and table."""

    name: str
    colour: str
    line: str | tuple[int, tuple[int, ...]]
    """matplotlib's line style: lines that coincide stay distinguishable by it."""
    marker: str


PLAIN: Final = ("#000000", "dashed", "X")
"""Colour, line and marker of a transport without a look of its own."""

LOOKS: Final[dict[str, Look]] = {name: Look(row.label, *PLAIN) for name, row in TRANSPORTS.items()} | {
    "polling": Look("Polling", "#D55E00", "solid", "o"),
    "long_polling": Look("Long polling", "#E69F00", (0, (6, 2)), "s"),
    "sse": Look("SSE", "#009E73", "solid", "^"),
    "websocket": Look("WebSocket", "#0072B2", (0, (4, 1, 1, 1)), "D"),
    "socketio": Look("Socket.IO", "#CC79A7", (0, (8, 1, 1, 1, 1, 1)), "P"),
    "raw": Look("Raw TCP (baseline)", "#666666", (0, (1, 1)), "v"),
}
"""Colours of Okabe and Ito (jfly.uni-koeln.de/color), distinguishable with every kind of colour vision."""

INK: Final = "#1b1f24"
FAINT: Final = "#5b6470"
RULE: Final = "#d0d7de"
PAPER: Final = "#ffffff"
CAUTION: Final = "#9a3412"

RATING_TINTS: Final = {"very low": "#eef4fa", "low": "#d6e6f4", "medium": "#a9cbe6", "high": "#6aa5d1"}
"""Behind a rating word; darker is more. One hue, so that it reads in grey as well."""

FIGURE_SIZE_INCHES: Final = (12.8, 7.2)
"""16:9, as a slide."""
TEXT_DARKNESS: Final = 0.72
LIGHT_FROM: Final = 140
PNG_DPI: Final = 150

RC: Final[dict[Any, object]] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same picture on every machine
    "font.size": 16,
    "axes.titlesize": 17,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 16,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelsize": 14,
    "ytick.labelsize": 14,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "svg.fonttype": "path",
    "svg.hashsalt": "pushmark",  # the same figure gives the same file
}


TITLE: Final[dict[str, object]] = {"fontsize": 20, "fontweight": "bold", "x": 0.012, "ha": "left"}
"""How every figure's heading is set."""
PADDING_INCHES: Final = 0.12


def tint(colour: str, strength: float) -> str:
    """``colour`` mixed with white: 1 is the colour itself, 0 is white."""
    return _hex([255 + (channel - 255) * strength for channel in _channels(colour)])


def text_colour(colour: str) -> str:
    """A darker ``colour``, for text on white: some of the palette are too light to read."""
    return _hex([channel * TEXT_DARKNESS for channel in _channels(colour)])


def on_top(colour: str) -> str:
    """White or ink, whichever can be read on ``colour`` (relative luminance, roughly as in WCAG 2)."""
    red, green, blue = _channels(colour)
    return PAPER if 0.2126 * red + 0.7152 * green + 0.0722 * blue < LIGHT_FROM else INK


def _channels(colour: str) -> list[int]:
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


def _hex(channels: list[float]) -> str:
    return "#" + "".join(f"{round(channel):02x}" for channel in channels)
