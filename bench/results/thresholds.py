"""Thresholds as people write them: ``sse/latency_p95_ms < 100``, ``lost == 0``, ``latency_p95 > 10%``. Pure."""

import operator
import re
from collections.abc import Callable
from typing import Final

import msgspec

from bench.results.catalogue import METRICS
from bench.results.run import Counts
from feed.transports import TRANSPORTS

MAX_CHARACTERS: Final = 200
COUNTS: Final = tuple(name for name in Counts.__struct_fields__ if name not in ("expected", "delivered"))
OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_NUMBER: Final = r"(\d{1,15}(?:\.\d{1,15})?)"
_NAME: Final = r"\s*(?:([a-z_]+)\s*/)?\s*([a-z0-9_]+)\s*"
_OBJECTIVE: Final = re.compile(_NAME + r"(<=|>=|==|<|>)\s*" + _NUMBER + r"\s*")
_CHANGE: Final = re.compile(_NAME + r">\s*" + _NUMBER + r"\s*%\s*")
_UNITS: Final = frozenset({"ms", "us", "per", "event"})
"""Words of a metric's name that may be left out: "latency_p95" stands for "latency_ms_p95"."""


class ThresholdError(ValueError):
    """A threshold that cannot be read. The message shows the expected form, or lists the known names."""


class Objective(msgspec.Struct, frozen=True):
    """A bound that a run must keep. An empty ``transport`` means every transport."""

    transport: str
    metric: str
    sign: str
    bound: float

    def holds(self, value: float) -> bool:
        """Is the value within the bound?"""
        return OPERATORS[self.sign](value, self.bound)


class ChangeLimit(msgspec.Struct, frozen=True):
    """The largest ``share`` by which a metric may become worse from one run to another."""

    transport: str
    metric: str
    share: float

    def is_about(self, transport: str, metric: str) -> bool:
        """Does the limit apply to this transport's metric?"""
        return metric == self.metric and self.transport in ("", transport)


def parse_objective(text: str) -> Objective:
    """Read ``[transport/]metric OPERATOR number``. Raises ``ThresholdError``."""
    match = _OBJECTIVE.fullmatch(text) if len(text) <= MAX_CHARACTERS else None
    if match is None:
        raise ThresholdError(f"{text[:60]!r}: expected [transport/]metric, one of {', '.join(OPERATORS)}, and a number")
    return Objective(_transport(match[1]), name_of(match[2], counts=True), match[3], float(match[4]))


def parse_change(text: str) -> ChangeLimit:
    """Read ``[transport/]metric > number%``. Raises ``ThresholdError``."""
    match = _CHANGE.fullmatch(text) if len(text) <= MAX_CHARACTERS else None
    if match is None:
        raise ThresholdError(f"{text[:60]!r}: expected [transport/]metric > percentage, as in latency_p95 > 10%")
    return ChangeLimit(_transport(match[1]), name_of(match[2]), float(match[3]) / 100)


def parse_cell(text: str) -> tuple[str, str]:
    """Read ``transport/metric``, a cell of the table. Raises ``ThresholdError``."""
    transport, slash, metric = text[:MAX_CHARACTERS].partition("/")
    if not slash:
        raise ThresholdError(f"{text[:60]!r}: expected TRANSPORT/METRIC, as in sse/latency_p50")
    return _transport(transport or "nothing"), name_of(metric)


def name_of(text: str, *, counts: bool = False) -> str:
    """The metric's full name; in ``text`` its unit may be missing or stand elsewhere. Raises ``ThresholdError``."""
    if text in METRICS or (counts and text in COUNTS):
        return text
    found = [name for name in METRICS if _words(name) == _words(text)]
    if len(found) != 1:
        allowed = [*METRICS, *(COUNTS if counts else ())]
        raise ThresholdError(f"there is no metric {text!r}: allowed are {', '.join(allowed)}")
    return found[0]


def _words(name: str) -> frozenset[str]:
    return frozenset(name.split("_")) - _UNITS


def _transport(text: str | None) -> str:
    if text and text not in TRANSPORTS:
        raise ThresholdError(f"there is no transport {text!r}: allowed are {', '.join(TRANSPORTS)}")
    return text or ""
