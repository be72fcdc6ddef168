"""``results.csv``: one row per trial of every operating point, every metric a column; units are in the names."""

import csv
import io
from collections.abc import Sequence
from typing import Final

from bench.results.catalogue import METRICS
from bench.results.metric import SCENARIO
from bench.results.run import Counts, Results, Trial

FIELDS: Final = (
    "id",
    "transport",
    "purpose",
    "block",
    "attempt",
    "status",
    "reasons",
    "notes",
    "seed",
    "rtt_ms",
    "poll_interval_s",
    "started_at",
    "duration_s",
    "events",
    "subscribers",
    "probes",
)
COUNTS: Final = tuple(Counts.__struct_fields__)
METRIC_NAMES: Final = [name for name, metric in METRICS.items() if metric.group != SCENARIO]
"""Those that a trial of the table can have."""


def to_csv(points: Sequence[Results]) -> str:
    """All trials, whatever their status; what was not measured is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["point", *FIELDS, *COUNTS, *METRIC_NAMES])
    writer.writerows([of.plan.point, *_row(trial)] for of in points for trial in of.trials)
    return text.getvalue()


def _row(trial: Trial) -> list[object]:
    given = {field: getattr(trial, field) for field in FIELDS} | {
        name: "; ".join(getattr(trial, name)) for name in ("reasons", "notes")
    }
    counts = [getattr(trial.counts, field) if trial.counts else "" for field in COUNTS]
    return [*given.values(), *counts, *(trial.values.get(name, "") for name in METRIC_NAMES)]
