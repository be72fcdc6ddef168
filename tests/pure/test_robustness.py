"""What verdicts assume: simulated runs that break it, and the words that must say so. Seeded."""

import math
from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from reports.blocks import APART_DEVIATIONS, apart_sentences, far_values, main_blocks
from reports.formats import verdict_text
from reports.samples import Paired, Unpaired
from reports.statistics import DIFFERS, EQUAL, MARGINS, OPEN, Comparison, Margin, compare, compare_runs, verdicts
from reports.table.summary import summarize
from tests.helpers.fake_results import fake_results, put

PURE = settings(deadline=None, derandomize=True, database=None)
SLOW = math.log(2)
MARGIN = Margin(0.05)


def pair(differences: np.ndarray) -> Comparison:
    """A against B, as a report compares them."""
    a = {block: math.exp(x) for block, x in enumerate(differences.tolist(), 1)}
    return compare({"a": a, "b": dict.fromkeys(a, 1.0)}, MARGIN)[0]


@pytest.mark.slow
def test_one_slow_block_in_ten_is_flagged_or_left_open_and_its_absence_is_no_proof() -> None:
    """A is twice as slow in one block of ten, so 7 % slower on average. 59 % of all runs of five blocks have no such
    block, and nothing can tell them from equals: *no practical difference* is false in all of them. What it says is
    true all the same, because it names its five blocks, and the report says what five blocks cannot see."""
    draw = np.random.default_rng(61)
    found: Counter[tuple[str, bool]] = Counter()
    for _ in range(800):
        slow = draw.random(5) < 0.1
        of = pair(draw.normal(0, 0.01, 5) + SLOW * slow)
        found[of.verdict.word, bool(slow.any())] += 1
        if of.verdict.word == EQUAL:
            assert verdict_text(of).startswith("no practical difference in 5 blocks")
    assert 0.55 < found[EQUAL, False] / 800 < 0.65, "the trap is there"
    assert found[EQUAL, True] == found[DIFFERS, False] == 0
    assert found[OPEN, True] / 800 > 0.3
    notes = " ".join(summarize(fake_results()).pair_rules)
    assert "what happens in one block of ten is in none of 5 blocks 59 % of the time" in notes
    assert "assume that differences between blocks scatter normally" in notes


def test_blocks_without_any_difference_need_no_other_test() -> None:
    """Requests of two streams: 0 in every block, and a margin of nothing."""
    zeros = dict.fromkeys(range(1, 6), 0.0)
    of = compare({"a": zeros, "b": zeros}, MARGIN)[0]
    assert (of.verdict.word, of.pair.margin, of.shuffled_p) == (EQUAL, 0, None) and of.is_confirmed
    assert verdict_text(of) == "no practical difference in 5 blocks"


def test_a_block_that_keeps_the_word_within_the_margin_is_named() -> None:
    """Four blocks agree and the fifth is beyond the margin: the t interval still lies inside it."""
    of = pair(np.array([0.0, 0.0, 0.0, 0.0, 0.055]))
    assert of.verdict.word == EQUAL and not of.is_confirmed
    assert "a permutation test does not confirm it (p = 0.12)" in verdict_text(of)


@settings(PURE, max_examples=30)
@given(st.lists(st.floats(-0.1, 0.1), min_size=6, max_size=8), st.booleans())
def test_a_word_hangs_on_the_blocks_without_which_it_is_another(differences: list[float], paired: bool) -> None:
    a = {block: math.exp(x) for block, x in enumerate(differences, 1)}
    b = {block: math.exp(block / 500) for block in a}
    of = compare_runs({"x": (a, b)}, MARGIN, paired=paired)["x"]
    rests = [({k: v for k, v in a.items() if k != block}, b) for block in a]
    names = [f"block {block}" + ("" if paired else " of A") for block in a]
    if not paired:
        rests += [(a, {k: v for k, v in b.items() if k != block}) for block in b]
        names += [f"block {block} of B" for block in b]
    margin = of.pair.margin  # of all blocks: a metric with an absolute margin has another one without a block
    for name, (rest_a, rest_b) in zip(names, rests, strict=True):
        logs = [[math.log(x) for x in rest.values()] for rest in (rest_a, rest_b)]
        if paired:
            rest: Paired | Unpaired = Paired([math.log(rest_a[k] / rest_b[k]) for k in rest_a], margin)
        else:
            rest = Unpaired(logs[0], logs[1], margin)
        assert (verdicts([rest])[0].word != of.verdict.word) == (name in of.hangs_on)


def test_what_a_verdict_hangs_on_is_said() -> None:
    of = pair(np.array([0.06, 0.075, 0.11, 0.112, 0.113, 0.114]))
    assert of.verdict.word == DIFFERS and of.hangs_on == []
    of = pair(np.array([0.0, 0.0, 0.001, -0.001, 0.2]))
    assert of.verdict.word == OPEN and verdict_text(of).endswith("; hangs on block 5")


def test_five_blocks_flip_in_32_ways_so_p_is_at_least_a_sixteenth() -> None:
    clear = Paired([0.3, 0.31, 0.29, 0.3, 0.32], 0.05)
    assert 2 * clear.shuffled(1, 0.05) == clear.least_p == 1 / 16
    assert Paired([0.3] * 12, 0.05).least_p == 2 / 4096 == Paired([0.3] * 40, 0.05).least_p
    assert Unpaired([1.0] * 5, [0.0] * 5, 0.05).least_p == 2 / 252


@PURE
@given(st.lists(st.integers(-100, 100), min_size=2, max_size=7), st.sampled_from([-1, 1]), st.integers(0, 30))
def test_the_permutation_test_tries_every_sign(differences: list[int], side: int, threshold: int) -> None:
    beyond = [side * x - threshold for x in differences]
    sums = [
        sum(sign * x for sign, x in zip(signs, beyond, strict=True))
        for signs in product((1, -1), repeat=len(differences))
    ]
    expected = sum(of >= sum(beyond) for of in sums) / len(sums)
    assert Paired([float(x) for x in differences], 0.0).shuffled(side, threshold) == pytest.approx(expected)


def test_independent_samples_are_dealt_out_anew_as_scipy_does() -> None:
    a, b = [3.0, 4.5, 1.0, 6.0, 7.5], [2.0, 2.5, 4.0, 1.5, 5.5]
    theirs = stats.permutation_test(
        (a, b), lambda x, y, axis: x.mean(axis) - y.mean(axis), alternative="greater", vectorized=True
    )
    assert Unpaired(a, b, 0.0).shuffled(1, 0.0) == pytest.approx(theirs.pvalue)


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("threshold", [0.7, -0.7])
def test_so_are_samples_that_differ_by_the_margin(side: int, threshold: float) -> None:
    a, b = [3.0, 4.5, 1.0, 6.0, 7.5], [2.0, 2.5, 4.0, 1.5, 5.5]
    theirs = stats.permutation_test(
        ([side * x - threshold for x in a], [side * x for x in b]),
        lambda x, y, axis: x.mean(axis) - y.mean(axis),
        alternative="greater",
        vectorized=True,
    )
    assert Unpaired(a, b, 0.0).shuffled(side, threshold) == pytest.approx(theirs.pvalue)


def _word(draw: np.random.Generator, mean: float, blocks: int) -> tuple[str, int | None]:
    (found,) = verdicts([Paired(draw.normal(mean, 0.02, blocks).tolist(), 0.05)])
    return found.word, found.new_run_blocks


@pytest.mark.slow
def test_following_the_advice_four_times_keeps_each_false_word_below_five_per_cent() -> None:
    """On the edge of the margin every settled word is false. As worded, each new run is judged by itself, and a large
    one asks for no other. Adding the blocks up until a word appears, up to four times, errs more often."""
    draw = np.random.default_rng(4)
    experiments = 500
    advised: Counter[str] = Counter()
    added: Counter[str] = Counter()
    for _ in range(experiments):
        word, planned = _word(draw, 0.05, 5)
        sample = draw.normal(0.05, 0.02, 5)
        for _ in range(4):
            if planned is None:
                break
            word, planned = _word(draw, 0.05, planned)
        advised[word] += 1
        for more in (5, 10, 20, 40):
            (found,) = verdicts([Paired(sample.tolist(), 0.05)])
            if found.word != OPEN:
                break
            sample = np.append(sample, draw.normal(0.05, 0.02, more))
        added[found.word] += 1
    for word in (DIFFERS, EQUAL):
        assert advised[word] / experiments < 0.055, advised
    assert (added[DIFFERS] + added[EQUAL]) / experiments > 0.08, "the trap is there"


@pytest.mark.slow
def test_a_planned_run_settles_the_pair_about_as_often_as_it_says() -> None:
    draw = np.random.default_rng(5)
    planned = 19
    assert verdicts([Paired([-0.05, 0.15, 0.03, 0.07, 0.05], 0.1)])[0].new_run_blocks == planned
    spread = float(np.std([-0.05, 0.15, 0.03, 0.07, 0.05], ddof=1))
    runs = [verdicts([Paired(draw.normal(0.05, spread, planned).tolist(), 0.1)])[0].word for _ in range(400)]
    assert 0.72 < runs.count(EQUAL) / 400 < 0.9


def test_a_block_that_stands_apart_is_named_with_what_was_measured() -> None:
    results = fake_results()
    assert apart_sentences(main_blocks(results)) == []
    for trial in results.trials:
        if (trial.transport, trial.block, trial.status) == ("sse", 4, "ok"):
            put(trial, {"server_cpu_us_per_event": 2 * trial.metrics["server_cpu_us_per_event"]})
    (said,) = apart_sentences(main_blocks(results))
    assert said.startswith("Block 4 stands apart: SSE, server CPU per event 1") and "(other blocks 5" in said
    assert said in summarize(results).cautions


def _runs(draw: np.random.Generator, scatter: list[float], slow: float) -> Counter[str]:
    """200 runs of five blocks: how many name a block, and whether the slow one is among them."""
    seen: Counter[str] = Counter()
    for _ in range(200):
        logs = draw.normal(0, 1, (len(scatter), 5)) * np.array(scatter)[:, None]
        logs[0, 2] += slow
        values = {str(name): {b: math.exp(x) for b, x in enumerate(row)} for name, row in enumerate(logs.tolist())}
        named = {(name, block) for name, block, _, _ in far_values(values, MARGINS["cpu"])}
        seen["slow"] += ("0", 2) in named
        seen["other"] += bool(named - {("0", 2)})
    return seen


@pytest.mark.slow
def test_how_often_a_block_stands_apart_by_chance_and_how_often_a_slow_one_is_found() -> None:
    assert APART_DEVIATIONS == 8.0
    draw = np.random.default_rng(8)
    alike, unlike = [0.05] * 6, [0.03] * 4 + [0.24] * 2
    assert _runs(draw, alike, 0.0)["other"] / 200 < 0.015
    assert _runs(draw, unlike, 0.0)["other"] / 200 < 0.09
    assert _runs(draw, alike, SLOW)["slow"] / 200 > 0.9


def test_a_disturbance_of_a_whole_block_moves_no_ratio_and_is_named() -> None:
    """The host was twice as slow while block 2 was measured, for every transport."""
    quiet, disturbed = fake_results(), fake_results()
    for trial in disturbed.trials:
        if (trial.block, trial.status) == (2, "ok"):
            put(trial, {"server_cpu_us_per_event": 2 * trial.metrics["server_cpu_us_per_event"]})
    before, after = (main_blocks(of).compare("server_cpu_us_per_event") for of in (quiet, disturbed))
    assert [of.factor for of in after] == pytest.approx([of.factor for of in before])
    assert [of.word for of in after] == [of.word for of in before]
    (said,) = apart_sentences(main_blocks(disturbed))
    assert said.startswith("Block 2 stands apart: Polling, server CPU per event") and said.count("other blocks") >= 4


def test_receivers_and_events_are_no_independent_observations() -> None:
    """A thousand times as many of both narrow no interval: the blocks are as many as before."""
    few, many = fake_results(), fake_results()
    for trial in many.trials:
        trial.events, trial.subscribers, trial.probes = 1000 * trial.events, 200_000, 200_000
    for metric in ("latency_ms_p50", "server_cpu_us_per_event"):
        assert main_blocks(few).compare(metric) == main_blocks(many).compare(metric)
        found = main_blocks(many).estimate("sse", metric)
        assert found is not None and found.blocks == 5


def test_too_few_blocks_to_tell_is_not_the_same_as_no_difference() -> None:
    """Equals that scatter by a quarter are hardly ever *no practical difference*: nothing was proven."""
    draw = np.random.default_rng(12)
    words = Counter(pair(draw.normal(0, 0.25, 5)).verdict.word for _ in range(200))
    assert words[EQUAL] <= 2 and words[OPEN] > 180


def test_an_independent_sample_of_one_block_has_a_difference_and_no_error() -> None:
    for a, b, mean in (([3.0], [1.0, 2.0], 1.5), ([1.0, 2.0], [3.0], -1.5)):
        found = Unpaired(a, b, 0.1).moments()
        assert (found.mean, found.freedom) == (mean, 0) and math.isnan(found.error)


def test_independent_samples_without_scatter_have_all_degrees_of_freedom() -> None:
    found = Unpaired([2.0] * 5, [1.0] * 4, 0.1).planned(5, 4)
    assert (found.mean, found.error, found.freedom) == (1.0, 0.0, 7)


def test_each_block_of_independent_samples_is_left_out_once_and_the_margin_stays() -> None:
    names = ["block 1 of A", "block 2 of A", "block 1 of B", "block 2 of B"]
    rests = {name: (rest.a, rest.b, rest.margin) for name, rest in Unpaired([1, 2], [3, 4], 0.25, names).without_each()}
    assert rests == dict(
        zip(names, [([2], [3, 4], 0.25), ([1], [3, 4], 0.25), ([1, 2], [4], 0.25), ([1, 2], [3], 0.25)], strict=True)
    )
    with pytest.raises(ValueError, match="zip"):
        list(Unpaired([1, 2], [3, 4], 0.25, names[1:]).without_each())


def test_the_published_run_stays_as_it_is_when_a_new_one_is_planned() -> None:
    """Two runs by their names, the second of which nobody measures again."""
    spread = [0.97, 1.0, 1.03, 0.99, 1.02]
    runs = {"sse": (dict(enumerate((1.12 * x for x in spread), 1)), dict(enumerate(spread, 1)))}
    alone, both = (
        compare_runs(runs, Margin(0.05), paired=False, runs=("new", "old"), second_stays=stays)["sse"]
        for stays in (True, False)
    )
    assert isinstance(alone.pair, Unpaired) and isinstance(both.pair, Unpaired)
    assert (alone.pair.b_stays, both.pair.b_stays) == (True, False)
    assert alone.pair.names[0] == "block 1 of new" and alone.pair.names[-1] == "block 5 of old"
