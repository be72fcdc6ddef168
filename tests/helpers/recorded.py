"""What a trial of a scenario would have recorded, made up row by row."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from bench.generators.scripts.registry import SCRIPTS
from bench.scenarios.registry import SCENARIOS
from bench.scenarios.scenario import Column, Recorded, scenario_trials
from clients.core.ledger import Totals
from feed.instruments.clock import NS_PER_MS, NS_PER_S

START_NS = 1_000 * NS_PER_S
MOVED = Totals(stream_bytes=900, header_bytes=100)


def recorded(name: str, rows: Mapping[str, Sequence[tuple[int, ...]]], subscribers: int, **options: Any) -> Recorded:
    """Rows by kind, as they would come from a trial of so many subscribers."""
    plan = scenario_trials(SCENARIOS[name], "smoke", ["sse"], None, 1)[0].plan
    options = {**plan.scenario_options, **options}
    plan = msgspec.structs.replace(plan, subscribers=subscribers, scenario_options=options)
    columns: dict[str, dict[str, Column]] = {}
    for kind, fields in SCRIPTS[name].FIELDS.items():
        table = np.array(rows.get(kind, ()), dtype=np.int64).reshape(-1, len(fields))
        columns[kind] = {field: table[:, place] for place, field in enumerate(fields)}
    return Recorded(plan, START_NS, columns, MOVED, server_busy_us=50.0)


def at(ms: float) -> int:
    return START_NS + round(ms * NS_PER_MS)
