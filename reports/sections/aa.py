"""A against A: how often the pipeline finds a difference where there is none. Reads ``aa.json``."""

from collections import Counter
from typing import Final

from bench.results.catalogue import METRICS
from bench.results.files import AA_FILE
from bench.results.run import Trial
from bench.results.sweep import SweepResults
from reports.blocks import PAIRED_METRICS
from reports.formats import counted, joined
from reports.layout import Section, Table
from reports.statistics import ALPHA, DIFFERS, EQUAL, FEW, MARGINS, OPEN, Comparison, compare_runs, estimate
from reports.style import LOOKS
from reports.table.run import RunFolder

NAME: Final = "A against A"


def build(run: RunFolder) -> list[Section]:
    """The section with one table over all experiments, and one with a row for each."""
    results = run.read(AA_FILE, SweepResults)
    return [] if results is None else [aa_section(results)]


def aa_section(results: SweepResults) -> Section:
    """How often each metric differed over all experiments, and each experiment's server CPU."""
    experiments = _experiments(results).values()
    rows = [
        _row(metric, [found for of in experiments if (found := _compared(of, metric))]) for metric in PAIRED_METRICS
    ]
    planted = _planted(results)
    rule = (
        f"In each experiment B's server used {planted} % more CPU on purpose, A's did not: '{DIFFERS}' is true in "
        "server CPU and false in bytes. Latency may differ too, because it waits for CPU."
        if planted
        else f"Each experiment compares a transport with itself, so every '{DIFFERS}' is false. Without a margin "
        f"{100 * ALPHA:g} % of the experiments may say so; with margins fewer, because the whole interval must lie "
        "outside the margin."
    )
    notes = [
        rule,
        "A / B, pooled: geometric mean over the experiments, with its 95 % t interval.",
    ]
    head = ["", "experiments", DIFFERS, EQUAL, OPEN, "A / B, pooled"]
    out = [one.trial for one in results.trials if one.trial.status != "ok"]
    cautions = [f"{counted(len(out), 'trial')} did not count: {'; '.join(out[0].reasons)}"] if out else []
    cautions += [] if results.finished else ["The run was interrupted."]
    names = sorted({LOOKS[one.trial.transport].name for one in results.trials})
    title = (
        f"{', '.join(names) or 'Nothing'} against itself, {len(results.trials)} trials, seed {results.seed}; "
        f"{results.processor}"
    )
    name, what = (
        ("A planted slowdown", "Found where a slowdown was planted")
        if planted
        else (NAME, "Found where nothing differs")
    )
    return Section(name, title, cautions, [Table(what, head, rows, notes), _each(results)])


def _each(results: SweepResults) -> Table:
    """Every experiment's server CPU, from which the counts of that metric are made."""
    metric = "server_cpu_us_per_event"
    experiments = [(name, of, _compared(of, metric)) for name, of in _experiments(results).items()]
    rows = [
        [name, str(len(of.get("A", []))), joined(found.factor, found.low, found.high), found.verdict.word]
        for name, of, found in experiments
        if found is not None
    ]
    return Table(
        f"{METRICS[metric].title}, experiment by experiment", ["", "blocks", "A / B", "verdict"], rows, [], False
    )


def _planted(results: SweepResults) -> str:
    faults = {fault for of in results.loads.values() for plan in of.values() for fault in plan.inject_fault.values()}
    return ", ".join(sorted(fault.partition(":")[2] for fault in faults))


def _experiments(results: SweepResults) -> dict[str, dict[str, list[Trial]]]:
    """Experiment -> A or B -> its valid trials."""
    found: dict[str, dict[str, list[Trial]]] = {}
    for one in results.trials:
        if one.trial.status == "ok":
            found.setdefault(one.section, {}).setdefault(one.load, []).append(one.trial)
    return found


def _compared(of: dict[str, list[Trial]], metric: str) -> Comparison | None:
    values = {
        name: {trial.block: trial.values[metric] for trial in of.get(name, []) if metric in trial.values}
        for name in ("A", "B")
    }
    if not values["A"] or not values["B"]:
        return None
    margin = MARGINS[METRICS[metric].margin]
    found = compare_runs({metric: (values["A"], values["B"])}, margin, paired=True)[metric]
    return None if found.verdict.word == FEW else found


def _row(metric: str, found: list[Comparison]) -> list[str]:
    words = Counter(of.verdict.word for of in found)
    ratios = [of.factor for of in found if of.is_ratio]
    pooled = estimate(ratios) if ratios else None
    size = joined(pooled.value, pooled.low, pooled.high) if pooled else ""
    return [METRICS[metric].title, str(len(found)), *(str(words[word]) for word in (DIFFERS, EQUAL, OPEN)), size]
