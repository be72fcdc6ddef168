"""Server CPU below the noise of the idle server: kept with its sign, shown as what it is, and never in a ratio."""

import pytest

from bench.generators.spec import Mark, Records
from bench.machine.load import Machine
from bench.results.catalogue import METRICS
from bench.results.metric import BELOW_NOISE
from bench.results.run import Results
from bench.run.progress import outcome
from bench.run.standing import cell
from bench.trial.evaluate import CUT_BY_EDGES, below_noise, drop_cut_bytes
from bench.trial.metrics import Gauges, Reading, cost_metrics
from clients.core.ledger import Totals
from reports.blocks import main_blocks
from reports.compare.runs import compare_point, table
from reports.table.summary import summarize
from tests.helpers.fake_results import fake_results, put

CPU = "server_cpu_us_per_event"


def with_cpu(values: list[float]) -> Results:
    """FAKE: SSE's server CPU per event, by block."""
    results = fake_results()
    for trial in results.trials:
        if (trial.transport, trial.status, trial.purpose) == ("sse", "ok", "main"):
            put(trial, {CPU: values[trial.block - 1]})
    return results


NOISY = [3.0, -2.0, 1.0, -1.0, 2.0]


@pytest.mark.parametrize(("server_cpu_ns", "expected"), [(3_000_000, 10.0), (2_000_000, 0.0), (1_000_000, -10.0)])
def test_the_difference_keeps_its_sign(server_cpu_ns: int, expected: float) -> None:
    """The idle server uses 0.2 % of a core, so 2 ms of the second: the rest is that of 100 deliveries."""
    moved = Totals()._replace(deliveries=100, requests=100)
    begin, end = Mark(Totals()._asdict(), 0, 0), Mark(moved._asdict(), 0, 10**9)
    records = Records(1, [], [], b"", begin, end, end, {}, [], {}, {})
    machine = Machine(0, 0, 1, 0)
    stats = {
        "publisher_lateness": {"us_p50": 0, "us_p99": 0},
        "loop_lag": {"us_p99": 0},
        "gc_pauses": {"max_ms": 0},
    }
    gauges = Gauges(
        1.0, Reading(0, 0, 0, 0, machine), Reading(server_cpu_ns, 0, 0, 0, machine), 0.002, 0, 0, stats, {}, [], []
    )
    found = cost_metrics([records], gauges, 1)
    assert found[CPU] == found["server_cpu_us_per_request"] == pytest.approx(expected)
    names = [f"{METRICS[name].label}: {BELOW_NOISE}" for name in (CPU, "server_cpu_us_per_request")]
    assert below_noise(found) == ([] if expected > 0 else names)


def test_an_average_is_not_censored_and_no_ratio_is_formed() -> None:
    blocks = main_blocks(with_cpu(NOISY))
    found = blocks.estimate("sse", CPU)
    assert found is not None and found.value == pytest.approx(0.6) and found.low is not None and found.low < 0
    pairs = [of for of in blocks.compare(CPU) if "sse" in (of.a, of.b)]
    assert len(pairs) == 5 and not any(of.is_ratio for of in pairs)
    assert all(of.is_ratio for of in blocks.compare(CPU) if "sse" not in (of.a, of.b))
    summary = summarize(with_cpu(NOISY))
    (said,) = [text for text in summary.cautions if BELOW_NOISE in text]
    assert said == (
        "SSE: server CPU per event was below the noise of the idle server in 2 of 5 blocks, so that it has differences "
        "and no ratios."
    )
    (ratio,) = [line for group in summary.details for line in group.lines if line.label == "ratio to the baseline"]
    assert ratio.cells[list(summary.blocks.trials).index("sse")] == "–"


def test_what_is_below_the_noise_on_average_is_shown_as_that() -> None:
    results = with_cpu([-x for x in NOISY])
    summary = summarize(results)
    (line,) = [of for group in summary.details for of in group.lines if of.label == METRICS[CPU].label]
    assert line.cells[list(summary.blocks.trials).index("sse")] == BELOW_NOISE
    said = {part.label: part.text for part in summary.answer}["CPU"]
    assert said.startswith(f"SSE costs the server the least CPU as measured, {BELOW_NOISE}; ") and "times" not in said
    (row,) = [row for row in table(compare_point(fake_results(), results)).rows if row[:2] == ["SSE", f"{CPU} (µs)"]]
    assert row[3] == BELOW_NOISE and str(row[4]).endswith(" more")


def test_it_is_shown_while_a_benchmark_runs() -> None:
    assert cell(CPU, [1.0, -2.0]) == BELOW_NOISE and cell(CPU, [3.0, -2.0]) == "0.5 µs"
    trial = with_cpu(NOISY).trials[0]
    trial.purpose, trial.metrics[CPU] = "cost", -1.0
    assert f"server CPU per event {BELOW_NOISE}" in outcome(trial)


def test_a_change_from_below_the_noise_is_no_share_of_it() -> None:
    found = compare_point(with_cpu([-x for x in NOISY]), with_cpu([50.0, 51.0, 49.0, 50.0, 50.0]))
    (change,) = [of for of in found.changes if (of.transport, of.metric) == ("sse", CPU)]
    assert change.worse == float("inf")


PAYLOAD_BYTES = 16_384


@pytest.mark.parametrize(
    ("framing", "stream_bytes", "dropped"),
    [
        (-400.0, 16_460, True),
        (-1000.0, 16_460, False),  # 6.5 % of the bytes are missing
        (-400.0, 16_000, False),  # less than the payload
        (-400.0, None, False),
        (76.0, 16_460, False),
    ],
)
def test_bytes_that_an_edge_cut_are_left_out_only_if_they_were_possible_without_edges(
    framing: float, stream_bytes: int | None, dropped: bool
) -> None:
    """Else the trial stays invalid for a negative part."""
    start, end = Mark(Totals()._asdict(), 0, 0), Mark(Totals()._asdict(), 0, 0)
    records = Records(1, [], [], b"", start, end, end, {}, [], {}, {})
    if stream_bytes is not None:  # else the host was too slow for a reading before the first event
        moved = Totals(deliveries=3, stream_bytes=3 * stream_bytes, payload_bytes=3 * PAYLOAD_BYTES)
        records.quiet, records.drained = start, Mark(moved._asdict(), 0, 0)
    found = {**dict.fromkeys(CUT_BY_EDGES, 50.0), "payload_bytes_per_event": float(PAYLOAD_BYTES)}
    found |= {"framing_bytes_per_event": framing, CPU: 20.0}
    notes = drop_cut_bytes(found, [records])
    assert notes == (
        ["bytes per event: an edge of the measured part cut 2.9% of them, and the cost may be off by as much"]
        if dropped
        else []
    )
    assert set(found) == ({CPU} if dropped else {*CUT_BY_EDGES, CPU})
