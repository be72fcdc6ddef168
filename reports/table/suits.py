"""Which transport suits a scenario, by a rule, and whether the article recommends it (decision 0017). Pure.

1. What lost, repeated or mixed up something in a valid trial does not suit.
2. Of the others, those suit for which none is better in what the scenario's user notices.
3. Of those, the one is preferred for which none moves fewer bytes, and then for which none takes less server CPU.

*Better* is a difference beyond the metric's margin, by pairs over blocks (``reports.statistics``). What is equal, or
not settled, is a tie. A client library that is needed is a cost that is printed, and excludes nobody.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from bench.results.catalogue import METRICS
from reports.blocks import Blocks
from reports.formats import counted, listed, number
from reports.statistics import MARGINS, MIN_BLOCKS, WORSE, Comparison, Estimate, compare
from reports.table.answer import prose

AGREES: Final = "agrees"
DISAGREES: Final = "disagrees"
TIE: Final = "tie"
NO_VERDICT: Final = "no verdict"

PREFERRED: Final = "best"
EQUAL_FOR_USER: Final = "as good"
WORSE_FOR_USER: Final = "worse"
FAILS: Final = "fails"


class Rule(NamedTuple):
    """What counts in a scenario."""

    never: tuple[str, ...]
    """Metrics that must be 0 in every valid trial."""
    noticed: str
    """The metric that the scenario's user notices."""
    bytes: str
    cpu: str
    """Empty: not judged."""
    recommended: str
    """The article's transport."""
    words: str
    """The article's words for the scenario."""


RULES: Final = {
    "chat": Rule(
        ("messages_unacknowledged", "messages_lost", "messages_repeated", "messages_out_of_order"),
        "seen_by_all_ms_p50",
        "wire_bytes_per_message",
        "server_cpu_us_per_message",
        "socketio",
        "chat",
    ),
    "collab": Rule(
        ("keys_unacknowledged", "keys_lost", "keys_repeated", "documents_apart"),
        "visible_ms_p50",
        "wire_bytes_per_key",
        "server_cpu_us_per_key",
        "socketio",
        "collaborative editing with OT or CRDT",
    ),
    "game": Rule(
        ("inputs_unanswered", "inputs_unshown", "snapshots_lost", "snapshots_repeated"),
        "input_to_snapshot_ms_p50",
        "wire_bytes_per_s",
        "server_cpu_us_per_snapshot",
        "websocket",
        "game sync",
    ),
    "notifications": Rule(
        ("notifications_unacknowledged", "notifications_lost", "notifications_repeated", "notifications_missed"),
        "notification_ms_p50",
        "idle_bytes_per_user_hour",
        "",
        "socketio",
        "notifications",
    ),
    "ticker": Rule((), "staleness_ms_mean", "wire_bytes_per_s", "server_cpu_us_per_quote", "sse", "data push"),
    "tokens": Rule(
        ("tokens_lost", "tokens_repeated"),
        "token_latency_ms_p50",
        "wire_bytes_per_token",
        "server_cpu_us_per_token",
        "sse",
        "data streaming",
    ),
}
"""By scenario. Set before the first run that they judge."""


class Standing(msgspec.Struct, frozen=True):
    """Where one transport stands in a scenario."""

    transport: str
    noticed: Estimate | None
    """``None``: not measured."""
    word: str
    """Empty without a verdict."""


class Suits(msgspec.Struct, frozen=True):
    """What a scenario's run says."""

    broken: dict[str, str]
    """Transport -> what it must never do and did."""
    equal: list[str]
    """Those for which none is better in what the user notices."""
    preferred: list[str]
    """Those of them for which none is cheaper."""
    word: str
    """Does the article agree?"""
    why: str
    short: dict[str, int] = {}
    """Transport -> its valid blocks, of those with too few to be compared."""

    def standings(self, rule: Rule, blocks: Blocks) -> list[Standing]:
        """Every contender, in the order of every table."""
        return [Standing(name, blocks.estimate(name, rule.noticed), self._word(name)) for name in blocks.contenders]

    def _word(self, name: str) -> str:
        if name in self.broken:
            return FAILS
        if name in self.short:
            return ""
        if name in self.preferred:
            return PREFERRED
        return EQUAL_FOR_USER if name in self.equal else WORSE_FOR_USER


def judge(rule: Rule, blocks: Blocks) -> Suits:
    """Apply the rule to the valid trials of the scenario's first arm."""
    broken = {name: of for name in blocks.contenders if (of := _broken(rule, blocks, name))}
    counts = {name: len(blocks.values(name, rule.noticed)) for name in blocks.contenders if name not in broken}
    short = {name: count for name, count in counts.items() if count < MIN_BLOCKS}
    fit = [name for name in counts if name not in short]
    noticed = _compared(blocks, rule.noticed, fit)
    equal = preferred = _unbeaten(fit, noticed)
    steps = [(rule.noticed, noticed)]
    for metric in filter(None, (rule.bytes, rule.cpu)):
        steps.append((metric, _compared(blocks, metric, preferred)))
        preferred = _unbeaten(preferred, steps[-1][1])
    found = Suits(broken, equal, preferred, "", "", short)
    word, why = _article(rule, found, steps)
    return msgspec.structs.replace(found, word=word, why=why)


def _broken(rule: Rule, blocks: Blocks, name: str) -> str:
    counts = {metric: sum(blocks.values(name, metric).values()) for metric in rule.never}
    return ", ".join(f"{METRICS[metric].label} {count:g}" for metric, count in counts.items() if count)


def _compared(blocks: Blocks, metric: str, names: Sequence[str]) -> list[Comparison]:
    values = {name: blocks.values(name, metric) for name in names}
    return compare(values, MARGINS[METRICS[metric].margin])


def _unbeaten(names: Sequence[str], comparisons: Sequence[Comparison]) -> list[str]:
    return [name for name in names if not _beats(name, comparisons)]


def _beats(name: str, comparisons: Sequence[Comparison]) -> Comparison | None:
    """The comparison in which another is better by most, turned so that the name is first."""
    mine = [of if of.a == name else of.turned() for of in comparisons if name in (of.a, of.b)]
    lost = [of for of in mine if of.word == WORSE]
    return max(lost, key=lambda of: of.factor, default=None)


def _article(rule: Rule, found: Suits, steps: Sequence[tuple[str, Sequence[Comparison]]]) -> tuple[str, str]:
    """The verdict on the article's recommendation, and the sentence why.

    It disagrees whatever others would have shown; to agree, all must have been compared.
    """
    name = rule.recommended
    if name in found.broken:
        return DISAGREES, f"{prose(name)}: {found.broken[name]}"
    beaten = [(metric, lost) for metric, of in steps if (lost := _beats(name, of)) is not None]
    if beaten and beaten[0][0] == rule.noticed:
        return DISAGREES, _sentence(METRICS[rule.noticed].label, beaten[0][1])
    if found.short:
        few = [f"{prose(of)} has {counted(count, 'valid block')}" for of, count in found.short.items()]
        return NO_VERDICT, f"{listed(few)}; {MIN_BLOCKS} are needed"
    if name not in found.equal:
        return NO_VERDICT, f"{prose(name)} was not measured"
    if beaten:
        metric, lost = beaten[0]
        return TIE, _sentence(METRICS[metric].label, lost)
    if found.preferred == [name]:
        return AGREES, "nothing is better for the user, moves fewer bytes or takes less CPU"
    others = listed([prose(other) for other in found.preferred if other != name])
    return TIE, f"{others} suits as well"


def _sentence(label: str, lost: Comparison) -> str:
    if lost.is_ratio:
        return f"{label}: {prose(lost.a)} {number(lost.factor)} times {prose(lost.b)}"
    return f"{label}: {prose(lost.a)} {number(lost.factor)} above {prose(lost.b)}"
