"""A against A: 10,000 simulated experiments through the verdict code."""

import numpy as np

from reports.samples import Paired
from reports.statistics import DIFFERS, EQUAL, MARGINS, Margin, compare, verdicts

EXPERIMENTS = 10_000
BLOCKS = 5
NAMES = ("polling", "long_polling", "sse", "websocket", "socketio", "raw")
NONE = Margin(0.0)


def experiments(seed: int, members: int, noise: float, count: int = EXPERIMENTS) -> np.ndarray:
    """Logarithms: experiment, member, block. A block's members share its disturbance; each has noise of its own."""
    draw = np.random.default_rng(seed)
    shared = draw.normal(0, 0.3, (count, 1, BLOCKS))
    return np.asarray(shared + draw.normal(0, noise, (count, members, BLOCKS)))


def test_a_single_pair_differs_falsely_as_often_as_the_level_says() -> None:
    """At 95 %: 3 to 7 % of 10,000, whatever the noise."""
    for noise in (0.005, 0.15):
        a, b = np.moveaxis(experiments(5, 2, noise), 1, 0)
        wrong = sum(verdicts([Paired(list(d), 0.0)])[0].word == DIFFERS for d in a - b)
        assert 0.03 <= wrong / EXPERIMENTS <= 0.07, (noise, wrong)


def test_over_all_pairs_of_six_the_chance_of_any_is_at_most_the_level() -> None:
    """Fifteen pairs, Holm-corrected, over a tenth as many experiments."""
    wrong = 0
    for values in np.exp(experiments(6, len(NAMES), 0.1, EXPERIMENTS // 10)):
        by_name = {name: dict(enumerate(of)) for name, of in zip(NAMES, values.tolist(), strict=True)}
        wrong += any(of.verdict.word == DIFFERS for of in compare(by_name, NONE))
    assert wrong / (EXPERIMENTS // 10) <= 0.06


def test_with_the_committed_margins_there_are_fewer_still_and_quiet_ones_are_equal() -> None:
    a, b = np.moveaxis(experiments(7, 2, 0.02, EXPERIMENTS // 5), 1, 0)
    words = [verdicts([Paired(list(d), MARGINS["cpu"].in_logs(50.0))])[0].word for d in a - b]
    assert words.count(DIFFERS) / len(words) < 0.005 and words.count(EQUAL) / len(words) > 0.9
