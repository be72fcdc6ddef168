"""Statistics at their edges: few values, the margin's level, the largest run that is planned, and what is far away."""

import math
from statistics import geometric_mean

import pytest

from reports.blocks import Blocks, apart_sentences, far_values
from reports.samples import Moments, Paired, moments
from reports.statistics import ALPHA, MARGINS, MAX_PLANNED_BLOCKS, Margin, compare, new_run_blocks
from tests.helpers.fake_results import fake_trial, put

TENTH = Margin(0.10)


def test_one_degree_of_freedom_is_enough_for_a_level_and_none_is_not() -> None:
    """With one, Student's distribution is Cauchy's."""
    assert Moments(1.0, 0.5, 1).tail(1.0) == pytest.approx(2 * (0.5 - math.atan(2) / math.pi))
    assert Moments(1.0, math.nan, 0).tail(1.0) == math.inf
    with pytest.raises(ValueError, match=r"^no values to average$"):
        moments([])


def test_the_margin_is_that_at_the_middle_of_the_two() -> None:
    of_units, of_logs = {1: 0.0, 2: 6.4}, {1: 4.0, 2: 4.0}
    (units,) = compare({"a": of_units, "b": {1: 11.0, 2: 13.0}}, TENTH)
    assert units.pair.margin == pytest.approx(0.1 * (3.2 + 12) / 2)
    (logs,) = compare({"a": of_logs, "b": {1: 9.0, 2: 9.0}}, MARGINS["latency"])
    assert logs.pair.margin == pytest.approx(math.log1p(0.5 / 6)), "half a millisecond, at the geometric mean"


def test_a_pair_without_a_block_has_the_same_margin() -> None:
    pair = Paired([1.0, 2.0, 3.0], 0.25, ["block 1", "block 2", "block 3"])
    assert [(name, rest.margin) for name, rest in pair.without_each()] == [(name, 0.25) for name in pair.names]


def test_the_largest_run_that_is_planned() -> None:
    """With the widest spread for which one is, all of its blocks are needed."""

    def planned(spread: float) -> int | None:
        return new_run_blocks(Paired([1 + spread * step for step in (-1.0, 0.5, 1.0, -0.5, 0.0)], 0.0), ALPHA)

    low, high = 1.0, 1000.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if planned(middle) is None else (middle, high)
    assert planned(low) == MAX_PLANNED_BLOCKS and planned(high) is None


def test_what_is_far_is_held_against_the_geometric_mean_of_the_others() -> None:
    """Below 1 as well, where logarithms are negative."""
    others = [0.1, 0.12, 0.09, 0.11]
    ((name, block, value, usual),) = far_values({"x": dict(enumerate([*others, 100.0]))}, TENTH)
    assert (name, block, value) == ("x", 4, 100.0) and usual == pytest.approx(geometric_mean(others), rel=1e-9)


@pytest.mark.parametrize(("deviations", "is_far"), [(7.6, False), (8.5, True)])
def test_far_is_eight_standard_deviations_of_a_sample(deviations: float, is_far: bool) -> None:
    """Of 0, 1, 2 and 3, by one less than their number."""
    value = 1.5 + deviations * math.sqrt(5 / 3)
    found = list(far_values({"x": dict(enumerate([0.0, 1.0, 2.0, 3.0, value]))}, TENTH))
    assert [block for _, block, _, _ in found] == [4] * is_far


def test_four_blocks_are_enough_to_see_that_one_stands_apart() -> None:
    assert [block for _, block, _, _ in far_values({"x": {1: 0.0, 2: 1.0, 3: 2.0, 4: 100.0}}, TENTH)] == [4]
    assert not list(far_values({"x": {1: 0.0, 2: 1.0, 3: 100.0}}, TENTH))


def test_a_block_that_stands_apart_in_two_metrics_has_one_sentence() -> None:
    trials = {block: fake_trial("sse", block) for block in range(1, 6)}
    for metric in ("wire_bytes_per_event", "server_cpu_us_per_event"):
        put(trials[3], {metric: 50 * trials[3].values[metric]})
    (sentence,) = apart_sentences(Blocks({"sse": trials}))
    assert sentence.startswith("Block 3 stands apart: ") and sentence.count("; ") == 1 and "XX" not in sentence
