"""The table so far, while a benchmark runs."""

import io
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bench.plan.presets import make_plan
from bench.plan.trials import Planned, TrialPlan
from bench.results.run import Trial
from bench.run.progress import InPlace
from bench.run.standing import Standing, average, cell
from reports.statistics import estimate
from tests.helpers.fake_results import fake_trial

PLAN = make_plan("default")


def planned(trial: Trial) -> Planned:
    plan = TrialPlan(trial.id, trial.transport, trial.block, trial.purpose, 1, 40.0, 1.0)
    return Planned("table", "sparse", PLAN, plan)


@given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=30))
def test_the_averages_are_those_of_the_report(values: list[float]) -> None:
    mine, theirs = average(values), estimate(values)
    assert mine.value == pytest.approx(theirs.value)
    if len(values) < 2:
        assert (mine.low, mine.high, theirs.low, theirs.high) == (None, None, None, None)
    else:
        assert mine.low == pytest.approx(theirs.low) and mine.high == pytest.approx(theirs.high)


def test_an_overflowing_interval_is_infinite_and_a_value_of_nothing_a_dash() -> None:
    assert average([1e-300, 1e300]).high == math.inf
    assert cell("latency_ms_p50", []) == cell("latency_ms_p50", [0.0, 1.0]) == "–"
    assert cell("latency_ms_p50", [20.0]) == "20.0 ms" and cell("wire_bytes_per_event", [1234.0]) == "1,234 B"


def test_a_block_ends_with_the_first_trial_of_the_next() -> None:
    standing = Standing()
    for block in (1, 2, 3):
        for name in ("sse", "websocket"):
            trial = fake_trial(name, block)
            ended = standing.add(planned(trial), trial)
            assert bool(ended) == (block > 1 and name == "sse")
    invalid = fake_trial("sse", 3)
    invalid.status, invalid.reasons = "invalid", ["the host stalled"]
    standing.add(planned(invalid), invalid)
    sse, websocket = standing.rows()
    assert (sse.name, sse.valid, sse.invalid, sse.reason) == ("sse", 3, 1, "the host stalled")
    assert websocket.reason == "" and "[" in websocket.cells["latency, median"]


def test_single_trials_are_not_in_the_table() -> None:
    standing = Standing()
    curve = fake_trial("polling", purpose="curve")
    assert standing.add(planned(curve), curve) == [] == standing.rows()


def test_a_terminal_shows_the_table_in_place_and_keeps_what_was_invalid() -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=100, color_system=None)
    with InPlace(console) as progress:
        progress.begin(60.0, 4)
        for left_s, (name, block) in zip((45.0, 30.0, 15.0), [("sse", 1), ("polling", 1), ("sse", 2)], strict=True):
            trial = fake_trial(name, block)
            if block == 2:
                trial.status, trial.reasons = "invalid", ["the host stalled"]
            progress.starting(trial.id, 15.0)
            progress.recorded(planned(trial), trial)
            progress.finished(trial.id, "INVALID: the host stalled" if block == 2 else "", left_s)
    frames = re.split(r"(?:\x1b\[1A\x1b\[2K)+", written.getvalue())
    rows = [line.split()[0] for line in frames[-1].splitlines() if " valid" in line]
    assert rows == ["polling", "sse"] and "1 not: the host stalled" in frames[-1] and "15 s left" in frames[-1]
    assert sum("b2-sse: INVALID" in frame for frame in frames) == 1, "it is printed once, above the table"
