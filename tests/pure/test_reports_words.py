"""What the report says in words: ratings, the table's cells, the sentence, cautions. From FAKE results."""

import msgspec
import pytest

from bench.results.catalogue import METRICS
from bench.results.files import load
from bench.results.run import Counts, Results
from feed.transports import TRANSPORTS
from reports.formats import fixed, joined, listed, number
from reports.style import LOOKS
from reports.table.ratings import ARTICLE, BANDWIDTH_BOUNDS, LATENCY_BOUNDS, NOT_IN_ARTICLE, rate
from reports.table.rows import Measurement
from reports.table.summary import Summary, summarize
from tests.conftest import VERSION_1
from tests.helpers.fake_results import fake_results, fake_trial, put


def _latency(summary: Summary, transport: str) -> Measurement:
    return next(row.latency for row in summary.rows if row.transport == transport)


def _bandwidth(summary: Summary, transport: str) -> Measurement:
    return next(row.bandwidth for row in summary.rows if row.transport == transport)


def _set(results: Results, transport: str, **metrics: float) -> None:
    for trial in results.trials:
        if trial.transport == transport and trial.status == "ok":
            put(trial, metrics)


@pytest.mark.parametrize(
    ("transits", "word"),
    [
        (1.0, "very low"),
        (1.25, "very low"),
        (1.2501, "low"),
        (2.0, "low"),
        (2.01, "medium"),
        (5.0, "medium"),
        (5.1, "high"),
    ],
)
def test_latency_words(transits: float, word: str) -> None:
    assert rate(transits, LATENCY_BOUNDS) == word


@pytest.mark.parametrize(
    ("multiples", "word"),
    [(1.5, "very low"), (1.51, "low"), (2.5, "low"), (2.51, "medium"), (5.0, "medium"), (5.01, "high")],
)
def test_bandwidth_words(multiples: float, word: str) -> None:
    assert rate(multiples, BANDWIDTH_BOUNDS) == word


def test_every_transport_has_a_claim_and_a_look_of_its_own() -> None:
    assert tuple(ARTICLE) == tuple(LOOKS) == tuple(TRANSPORTS)
    assert len({look.colour for look in LOOKS.values()}) == len({look.marker for look in LOOKS.values()}) == len(LOOKS)
    in_the_article = [claim for claim in ARTICLE.values() if claim.latency != NOT_IN_ARTICLE]
    assert [claim.latency for claim in in_the_article] == ["High", "Medium", "Low", "Very low"]
    assert [claim.complexity for claim in in_the_article] == ["Low", "Medium", "Low", "High"]


def test_every_metric_of_the_catalogue_has_a_label_of_its_own_and_is_in_the_details_once() -> None:
    results = fake_results()
    _set(results, "sse", **dict.fromkeys(METRICS, 1.0))
    shown = [line.label for group in summarize(results).details for line in group.lines]
    labels = [metric.label for metric in METRICS.values()]
    assert len(set(labels)) == len(labels) and [label for label in shown if label in set(labels)] == labels


def test_numbers_as_people_read_them() -> None:
    assert [number(x) for x in (0.0, 0.12345, 20.72, 521.6, 13284.2, -0.0001)] == [
        "0", "0.123", "20.7", "522", "13,284", "-0.000100",
    ]  # fmt: skip
    assert fixed(-0.0001, 1) == "0.0"
    assert joined(20.7134, 20.7012, 20.7256) == "20.71 [20.70, 20.73]"
    assert joined(256.0, 256.0, 256.0) == "256"
    assert joined(3.0, None, None) == "3.00"
    assert joined(1.06, 1e-9, 3e8) == "1.06 [0, ∞]", "two blocks that disagree"
    assert joined(-5.0, -47.0, 36.0) == "-5.00 [-47.00, 36.00]"
    assert [listed(["a", "b", "c"][:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]


def test_rows_are_in_order_and_the_baseline_is_last() -> None:
    summary = summarize(fake_results())
    assert [row.technology for row in summary.rows] == [
        "Polling", "Long polling", "SSE", "WebSocket", "Socket.IO", "Raw TCP (baseline)",
    ]  # fmt: skip
    assert [row.latency.word for row in summary.rows] == ["high", *["very low"] * 5]
    assert [row.bandwidth.word for row in summary.rows] == ["high", "high", *["low"] * 4]
    assert [row.latency.article for row in summary.rows] == ["High", "Medium", "Low", "Very low", "-", "-"]


def _answer(summary: Summary) -> dict[str, str]:
    return {part.label: part.text for part in summary.answer}


def test_the_answer_says_what_is_equal_and_by_how_much_the_rest_differs() -> None:
    said = _answer(summarize(fake_results()))
    assert list(said) == ["Latency", "Bytes", "CPU", "Polling"]
    assert said["Latency"] == (
        "WebSocket, SSE, Socket.IO and long polling are equal for the user over 5 blocks: half of all events arrive "
        "within 20.9 to 21.2 ms, of which the network takes 20 ms; polling takes 25.0 times as long."
    )
    assert said["Bytes"].startswith(
        "WebSocket moves the fewest bytes as measured, 472 B per event; SSE moves 1.11 times"
    )
    assert said["Bytes"].endswith("long polling 3.95 times and polling 20.2 times as many.")
    assert said["CPU"].endswith("CPU is the cost of these implementations, not of the protocols.")
    assert "half of all events arrive within 522 ms" in said["Polling"]


def test_the_answer_of_a_real_run_reads_in_five_lines() -> None:
    """With the rate from which polling moves the fewest bytes, which needs what idle subscribers cost."""
    for point in (VERSION_1, VERSION_1 / "broadcast"):
        parts = summarize(load(point)).answer
        assert [part.label for part in parts] == ["Latency", "Bytes", "CPU", "Polling", "Not settled"]
        assert all(len(part.text) < 450 and part.text[0].isupper() and part.text.endswith(".") for part in parts)
    assert parts[0].text.startswith("WebSocket has the lowest latency as measured")
    assert "only in rooms with more than 10.0 events/s (here 10 events/s)" in parts[3].text


@pytest.mark.parametrize(
    ("interval_s", "rate_hz", "said"),
    [(1.0, 20.0, "more than 10.3 events/s (here 0.1"), (3600.0, 20.0, "however few"), (0.001, 20.0, "however many")],
)
def test_polling_pays_from_some_rate_always_or_never(interval_s: float, rate_hz: float, said: str) -> None:
    results = load(VERSION_1)
    results.plan = msgspec.structs.replace(results.plan, poll_interval_s=interval_s, rate_hz=rate_hz)
    assert said in _answer(summarize(results))["Polling"]


def test_a_cost_without_a_ratio_is_said_as_a_difference() -> None:
    """The idle server's CPU is subtracted, so an event's server CPU may be 0."""
    results = fake_results()
    _set(results, "websocket", server_cpu_us_per_event=0.0)
    said = _answer(summarize(results))["CPU"]
    assert said.startswith("WebSocket costs the server the least CPU as measured, below the noise of the idle server; ")
    assert "SSE takes 55." in said and "µs more" in said and "times" not in said


def test_the_answer_names_what_is_not_settled_and_about_how_many_blocks_it_takes() -> None:
    results = fake_results()
    for trial in results.trials:
        if trial.transport == "sse" and trial.status == "ok":
            trial.latency_ms["50"] = 21.5 + 0.6 * (trial.block - 3)
    said = _answer(summarize(results))
    assert said["Not settled"].startswith("Whether SSE differs from WebSocket in latency (1.0")
    assert "one new run of about " in said["Not settled"] and "SSE" not in said["Latency"]


def test_a_transport_with_a_single_valid_block_leads_nobody() -> None:
    """The others are compared with one another, and it is left open."""
    results = fake_results()
    for trial in results.trials:
        if trial.transport == "websocket" and trial.block > 1 and trial.status == "ok":
            trial.status, trial.reasons = "invalid", ["the host stalled"]
    said = _answer(summarize(results))
    assert said["Bytes"].startswith("SSE moves the fewest bytes as measured")
    assert "long polling 3." in said["Bytes"] and "WebSocket" not in said["Bytes"]
    assert "whether WebSocket differs from SSE in bytes" in said["Not settled"]


def test_one_block_is_said_to_settle_nothing() -> None:
    summary = summarize(fake_results(1))
    said = _answer(summary)
    assert said["Not settled"] == "A single block has no intervals, so it settles nothing."
    assert said["Latency"].startswith("Polling 5") and "WebSocket 20.9 ms" in said["Latency"]
    assert all("1 block: no interval" in row.latency.cautions for row in summary.rows)
    assert all("1 block: no interval" in row.bandwidth.cautions for row in summary.rows)
    assert all(row.latency.interval == "" for row in summary.rows)
    assert all(
        cell is None or cell.word == "no verdict: fewer than 5 valid blocks"
        for line in summary.pairs
        for cell in line.cells
    )


def test_without_a_valid_trial_there_is_nothing_to_compare() -> None:
    results = fake_results()
    for trial in results.trials:
        trial.status = "failed"
    summary = summarize(results)
    assert [part.text for part in summary.answer] == ["There is no valid measurement to compare."]
    assert all(row.latency.cautions == ["no valid trial"] for row in summary.rows)


def test_only_valid_trials_are_averaged_and_the_others_are_listed() -> None:
    results = fake_results()
    before = _latency(summarize(results), "sse").value
    for trial in results.trials:
        if trial.status != "ok":
            trial.latency_ms["50"] = 1e6
    summary = summarize(results)
    assert _latency(summary, "sse").value == before
    assert [(trial.id, trial.status) for trial in summary.left_out] == [
        ("b2-sse", "invalid"),
        ("b3-long_polling", "failed"),
    ]
    for trial in results.trials:
        if (trial.transport, trial.block) == ("long_polling", 3):
            trial.status = "failed"
    assert "4 of 5 blocks valid" in _latency(summarize(results), "long_polling").cautions


def test_of_two_valid_attempts_the_last_counts_once() -> None:
    results = fake_results(2)
    again = fake_trial("raw", 1, attempt=2)
    again.latency_ms["50"] = 99.0
    results.trials.insert(0, again)
    assert summarize(results).blocks.values("raw", "latency_ms_p50")[1] == 99.0


def test_curve_and_loopback_trials_never_feed_the_table() -> None:
    results = fake_results()
    extra = fake_trial("raw", 1, purpose="loopback", rtt_ms=0.0)
    results.trials.append(extra)
    assert summarize(results).rows == summarize(fake_results()).rows


def test_without_network_delay_latency_is_not_rated() -> None:
    summary = summarize(fake_results(rtt_ms=0.0))
    assert all(row.latency.word == "" for row in summary.rows)
    assert "not rated" in summary.rules[0]
    assert any(caution.startswith("Loopback only") for caution in summary.cautions)


def test_lost_and_repeated_events_stand_beside_the_latency() -> None:
    results = fake_results()
    trial = next(trial for trial in results.trials if trial.transport == "websocket")
    trial.counts = Counts(
        expected=210, delivered=208, lost=2, duplicate=3, out_of_order=1, gaps=0, reconnects=0, late=4
    )
    summary = summarize(results)
    cell = _latency(summary, "websocket")
    wrong = ["2 lost", "3 duplicate", "1 out of order", "4 late"]
    assert f"1,048 of 1,050 delivered: {', '.join(wrong)}" in cell.notes
    assert set(wrong) <= set(cell.cautions)
    said = f"WebSocket did not deliver as it must: {', '.join(wrong)}, of 1,050 deliveries."
    assert [caution for caution in summary.cautions if "deliver" in caution] == [said]


def test_a_percentile_without_enough_events_is_said_to_be_missing() -> None:
    results = fake_results()
    for trial in results.trials:
        trial.latency_ms.pop("95", None)
    cell = _latency(summarize(results), "sse")
    assert "p95: n too small" in cell.cautions
    assert not any(note.startswith("p95") for note in cell.notes)


def test_a_noisy_host_and_an_unsettled_word_are_cautioned() -> None:
    results = fake_results()
    _set(results, "raw", hiccup_ms_p99=3.1)
    spread = iter([20.0, 24.0, 26.0, 27.0, 29.0])
    for trial in results.trials:
        if trial.transport == "websocket":
            trial.latency_ms["50"] = next(spread)
    summary = summarize(results)
    assert "noisy host: 1 ms timer 3.1 ms late (p99)" in _latency(summary, "raw").cautions
    assert "interval: very low to low" in _latency(summary, "websocket").cautions
    assert _latency(summary, "sse").cautions == []


def test_an_interrupted_run_says_so() -> None:
    assert any("interrupted" in caution for caution in summarize(fake_results(finished=False)).cautions)


def test_the_bandwidth_cell_shows_multiples_set_up_and_idle() -> None:
    cell = _bandwidth(summarize(fake_results()), "websocket")
    assert cell.notes == ["1.84 × payload", "set-up 1,650 B/connection", "idle 7.10 B/s"]


def test_the_curve_has_the_main_interval_and_cautions_single_trials() -> None:
    points = summarize(fake_results()).curve
    assert [point.interval_s for point in points] == [0.2, 1.0, 5.0]
    assert [point.caution for point in points] == ["single trial: no interval", "", "single trial: no interval"]
    assert points[0].latency_ms.value < points[1].latency_ms.value < points[2].latency_ms.value


def test_cost_is_given_as_a_ratio_to_the_baseline() -> None:
    cost = next(group for group in summarize(fake_results()).details if group.title == "Cost on the server")
    assert [line.label for line in cost.lines[:2]] == ["server CPU per event", "ratio to the baseline"]
    assert cost.lines[1].cells[-1] == "–"
    assert 60 < float(cost.lines[1].cells[0].split()[0]) < 90
