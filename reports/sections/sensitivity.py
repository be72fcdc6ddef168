"""How the rating words change with the setting. Reads ``sensitivity.json``."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from bench.results.files import SENSITIVITY_FILE, ResultsError
from bench.results.run import Plan
from bench.results.sweep import SweepResults, SweepTrial
from feed.transports import POLLING
from reports.formats import NOT_MEASURED, counted, listed, number
from reports.layout import FigureSpec, Section, Table
from reports.style import LOOKS
from reports.table.ratings import ARTICLE, BANDWIDTH_BOUNDS, LATENCY_BOUNDS, NOT_IN_ARTICLE, Claim, rate, rules
from reports.table.run import RunFolder
from reports.theory.predict import predict

HEADING: Final = "How the words change with the setting"
SHAPE: Final = "One trial per setting, without intervals, shows a shape and settles nothing; no claim is judged on it."


FIGURES: Final = (
    (
        "sensitivity_latency",
        "sensitivity.draw_latency",
        "The word for latency in each setting: median divided by the one-way transit, predicted in brackets. Framed: "
        "the article's word. Single trials.",
    ),
    (
        "sensitivity_bandwidth",
        "sensitivity.draw_bandwidth",
        "The word for bandwidth in each setting: wire bytes per event divided by the payload, predicted in brackets. "
        "Framed: the article's word. Single trials.",
    ),
)
"""Name, drawing function, and caption of each figure."""


class Scale(msgspec.Struct, frozen=True):
    """A rated quantity: a metric in multiples of a unit, and the bounds of its words."""

    title: str
    metric: str
    unit: str
    bounds: tuple[tuple[float, str], ...]
    unit_of: Callable[[Plan], float]
    article_of: Callable[[Claim], str]


LATENCY: Final = Scale(
    "Latency",
    "latency_ms_p50",
    "one-way transits",
    LATENCY_BOUNDS,
    lambda plan: plan.rtt_ms / 2,
    lambda claim: claim.latency,
)
BANDWIDTH: Final = Scale(
    "Bandwidth",
    "wire_bytes_per_event",
    "multiples of the payload",
    BANDWIDTH_BOUNDS,
    lambda plan: plan.payload_bytes,
    lambda claim: claim.bandwidth,
)


class Setting(msgspec.Struct, frozen=True, order=True):
    """A column of the grid: round trip in ms, and events per second for each subscriber."""

    rtt_ms: float
    rate_hz: float


class Rated(msgspec.Struct, frozen=True):
    """A measured multiple of the unit, its word, and the predicted multiple (``None``: theory predicts none)."""

    multiple: float
    word: str
    predicted: float | None

    @property
    def numbers(self) -> str:
        """The measured multiple, and the predicted one in brackets."""
        return number(self.multiple) + ("" if self.predicted is None else f" ({number(self.predicted)})")


class Line(msgspec.Struct, frozen=True):
    """A row: a transport (polling: one row per interval), the article's word, and the word earned in each setting."""

    transport: str
    interval_s: float
    """Poll interval in seconds; 0 for other transports."""
    article: str
    cells: dict[Setting, Rated]

    @property
    def name(self) -> str:
        """The label of the row."""
        short = LOOKS[self.transport].name.partition(" (")[0]
        return short + (f" every {self.interval_s:g} s" if self.interval_s else "")


class Map(msgspec.Struct, frozen=True):
    """All lines of one scale."""

    scale: Scale
    settings: list[Setting]
    lines: list[Line]


class SensitivitySummary(msgspec.Struct, frozen=True):
    """The section's title, cautions, maps and tables."""

    title: str
    cautions: list[str]
    maps: list[Map]
    tables: list[Table]


def build(run: RunFolder) -> list[Section]:
    """The section with maps and tables over the grid of settings."""
    results = run.read(SENSITIVITY_FILE, SweepResults)
    if results is None:
        return []
    of = summarize_sensitivity(results)
    figures = [FigureSpec(name, caption, drawing, of) for name, drawing, caption in FIGURES]
    return [Section(HEADING, of.title, of.cautions, of.tables, figures)]


def summarize_sensitivity(results: SweepResults) -> SensitivitySummary:
    """What the report says about the grid. Raises ``ResultsError`` for a trial whose load is not in the file."""
    maps = [_map(results, scale) for scale in (LATENCY, BANDWIDTH)]
    cautions = [SHAPE] + ([] if results.finished else ["The run was interrupted: settings are missing."])
    left_out = [one.trial for one in results.trials if one.trial.status != "ok"]
    if left_out:
        reasons = sorted({reason for trial in left_out for reason in trial.reasons})
        cautions.append(f"{counted(len(left_out), 'trial')} left out: {'; '.join(reasons)}")
    rtts = listed([f"{rtt_ms:g}" for rtt_ms in sorted({setting.rtt_ms for setting in maps[0].settings})])
    rates = listed([f"{rate_hz:g}" for rate_hz in sorted({setting.rate_hz for setting in maps[0].settings})])
    title = f"Round trips of {rtts} ms; {rates} events/s for each subscriber, in a room of its own; {results.processor}"
    tables = [_words_table(maps), *map(_map_table, maps)] if results.trials else []
    return SensitivitySummary(title if results.trials else "Nothing was measured", cautions, maps, tables)


def _map(results: SweepResults, scale: Scale) -> Map:
    plans = [(one, _plan(results, one)) for one in results.trials]
    settings = sorted({_setting(plan) for _, plan in plans})
    lines: dict[tuple[int, float], Line] = {}
    for one, plan in plans:
        name = one.trial.transport
        interval_s = one.trial.poll_interval_s if name == POLLING else 0.0
        empty = Line(name, interval_s, scale.article_of(ARTICLE[name]), {})
        line = lines.setdefault((list(LOOKS).index(name), interval_s), empty)
        value = one.trial.values.get(scale.metric)
        if one.trial.status == "ok" and value is not None:
            multiple, predicted = value / scale.unit_of(plan), _predicted(results, one, plan, scale)
            line.cells[_setting(plan)] = Rated(multiple, rate(multiple, scale.bounds), predicted)
    return Map(scale, settings, [lines[key] for key in sorted(lines)])


def _plan(results: SweepResults, one: SweepTrial) -> Plan:
    plan = results.loads.get(one.section, {}).get(f"{one.load} ({one.trial.transport})")
    if plan is None or not plan.rtt_ms:
        raise ResultsError(f"trial {one.trial.id}: its load {one.load!r} is missing, or has no round trip")
    return plan


def _predicted(results: SweepResults, one: SweepTrial, plan: Plan, scale: Scale) -> float | None:
    value = predict(one.trial.transport, plan, results.idle, one.trial).get(scale.metric)
    return None if value is None else value / scale.unit_of(plan)


def _setting(plan: Plan) -> Setting:
    return Setting(plan.rtt_ms, round(plan.rate_hz / plan.rooms, 6))


def _words_table(maps: Sequence[Map]) -> Table:
    """Per row: the article's word, and in how many settings each word was earned."""
    head = [
        "",
        *(text for one in maps for text in (f"{one.scale.title}, article", f"{one.scale.title}, over the grid")),
    ]
    rows = []
    for lines in zip(*(one.lines for one in maps), strict=True):
        said = [text for one, line in zip(maps, lines, strict=True) for text in (line.article, _spread(one, line))]
        rows.append([lines[0].name, *said])
    notes = ["In brackets: the number of settings in which the word was earned."]
    return Table("Which words were earned", head, rows, notes)


def _spread(of: Map, line: Line) -> str:
    counts = Counter(rated.word for rated in line.cells.values())
    words = [*(word for _, word in of.scale.bounds), rate(float("inf"), of.scale.bounds)]
    return ", ".join(f"{word} ({counts[word]})" for word in words if counts[word]) or NOT_MEASURED


def _map_table(of: Map) -> Table:
    head = ["", *(f"{setting.rtt_ms:g} ms, {setting.rate_hz:g}/s" for setting in of.settings)]
    rows = [[line.name, *(_said(line.cells.get(setting)) for setting in of.settings)] for line in of.lines]
    notes = [
        f"{of.scale.title} in {of.scale.unit}: {rules(of.scale.bounds)}. "
        "In brackets: predicted. Columns: round trip, and events per second for each subscriber."
    ]
    return Table(f"{of.scale.title} over the grid", head, rows, notes)


def _said(rated: Rated | None) -> str:
    return NOT_MEASURED if rated is None else f"{rated.word} {rated.numbers}"


def is_articles(line: Line, rated: Rated) -> bool:
    """Is the earned word the article's word?"""
    return line.article != NOT_IN_ARTICLE and line.article.lower() == rated.word
