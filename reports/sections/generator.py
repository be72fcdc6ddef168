"""What receiving costs the load side: locust next to the same client without locust, and next to Node's ``ws``.

Reads ``generator.json``.
"""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Final

from bench.results.files import GENERATOR_FILE
from bench.results.run import STATUSES
from bench.results.sweep import SweepResults, SweepTrial
from reports.formats import NOT_MEASURED, counted, number, with_interval
from reports.layout import Section, Table
from reports.sections.cost import reached
from reports.sections.cost_trials import arm_name, arm_of
from reports.statistics import Estimate, estimate
from reports.style import LOOKS
from reports.table.run import RunFolder

PER_EVENT: Final = "generator_cpu_us_per_event"
SHARE: Final = "generator_cpu_share"
RECEIVED: Final = "received_events_per_s"
WITHOUT: Final = "bare"
NAMES: Final = {
    "locust": "locust",
    WITHOUT: "bare uvloop, same client",
    "node": "Node's ws",
    "socketiouser": "locust's SocketIOUser",
}
GOAL_RATIO: Final = 1.1
GOAL_EVENTS_PER_S: Final = 40_000
VALID_SHARE: Final = 0.9


def build(run: RunFolder) -> list[Section]:
    """The section with every table of the benchmark."""
    results = run.read(GENERATOR_FILE, SweepResults)
    return [] if results is None else [generator_section(results)]


def generator_section(results: SweepResults) -> Section:
    """The section from the results."""
    tables = [_receive(results.trials), _socketio(results.trials), _sustain(results.trials), _saturate(results.trials)]
    cautions = [] if results.finished else [f"Interrupted: only {counted(len(results.trials), 'trial')} are here."]
    if results.preset == "smoke":
        cautions.append("The smoke preset shows that everything works; its numbers settle nothing.")
    cautions += [
        f"{one.trial.id} left out: {'; '.join(one.trial.reasons)}."
        for one in results.trials
        if one.trial.status != "ok"
    ]
    subscribers = max((one.trial.subscribers for one in results.trials), default=0)
    title = (
        f"One core, {counted(subscribers, 'subscriber')}, 256 B payload, loopback, seed {results.seed}; "
        f"served by the cheapest variants; {results.processor}"
    )
    return Section("What receiving costs the load side", title, cautions, [table for table in tables if table.rows])


def _of(
    trials: Sequence[SweepTrial], section: str, statuses: Sequence[str] = ("ok",)
) -> dict[tuple[str, str], list[SweepTrial]]:
    """Trials of a section by served arm and generator, in the order of every table; by default only valid trials."""
    found: dict[tuple[str, str], list[SweepTrial]] = {}
    for one in trials:
        if one.section == section and one.trial.status in statuses:
            found.setdefault((arm_of(one), one.trial.generator), []).append(one)
    transports, generators = list(LOOKS), list(NAMES)
    return dict(
        sorted(
            found.items(),
            key=lambda item: (transports.index(item[0][0].partition(":")[0]), generators.index(item[0][1])),
        )
    )


def _values(of: Sequence[SweepTrial], metric: str) -> dict[int, float]:
    return {one.trial.block: one.trial.values[metric] for one in of if metric in one.trial.values}


def _estimate(of: Sequence[SweepTrial], metric: str) -> Estimate | None:
    values = list(_values(of, metric).values())
    return estimate(values) if values else None


def _receive(trials: Sequence[SweepTrial]) -> Table:
    groups, rows = _of(trials, "receive"), []
    locust: dict[int, list[float]] = {}
    for (served, generator), of in groups.items():
        without = _values(groups.get((served, WITHOUT), []), PER_EVENT)
        ratios = {block: value / without[block] for block, value in _values(of, PER_EVENT).items() if block in without}
        ratio = estimate(list(ratios.values())) if ratios and generator != WITHOUT else None
        rows.append(
            [arm_name(served), NAMES[generator], with_interval(_estimate(of, PER_EVENT)), with_interval(ratio), ""]
        )
        if generator == "locust":
            for block, value in ratios.items():
                locust.setdefault(block, []).append(value)
    if locust:
        together = estimate([math.exp(fmean(map(math.log, values))) for values in locust.values()])
        goal = f"at most {GOAL_RATIO:g}: {reached(together, GOAL_RATIO)}"
        rows.append(["All of them", "locust", NOT_MEASURED, with_interval(together), goal])
    head = ["Served by", "Received by", "Generator CPU per event, µs", "× bare client", "Goal"]
    notes = [
        "Same feed, same run, same core. Ratios are taken within the block; 'All of them' is their geometric mean. "
        "Node's script neither resumes nor counts bytes.",
    ]
    return Table("CPU per received event", head, rows, notes)


def _socketio(trials: Sequence[SweepTrial]) -> Table:
    rows = [
        [NAMES[generator], with_interval(_estimate(of, PER_EVENT)), with_interval(_estimate(of, SHARE))]
        for (_, generator), of in _of(trials, "socketio").items()
    ]
    notes = [
        "The same feed at a tenth of the rate above. SocketIOUser has one greenlet and one synchronous client for each "
        "subscriber.",
    ]
    head = ["Received by", "Generator CPU per event, µs", "Generator, of a core"]
    return Table("locust's SocketIOUser next to this load script", head, rows, notes)


def _sustain(trials: Sequence[SweepTrial]) -> Table:
    rows = []
    for (served, _), of in _of(trials, "sustain", STATUSES).items():  # a lossy trial is invalid, and counts here
        share = _estimate(of, SHARE)
        lost = sum(one.trial.counts.lost for one in of if one.trial.counts)
        valid = all(one.trial.status == "ok" for one in of)
        verdict = reached(share, VALID_SHARE) if share is not None and valid else "missed"
        rows.append(
            [
                arm_name(served),
                with_interval(_estimate(of, RECEIVED)),
                with_interval(share),
                str(lost),
                verdict,
            ]
        )
    head = ["Served by", "Received, events/s", "Generator, of a core", "Lost", f"Goal: {GOAL_EVENTS_PER_S:,}/s, valid"]
    notes = [
        f"Valid: the generator used at most {VALID_SHARE:g} of its core, and nothing was lost. Schedules are Poisson, "
        "so that rates vary a little."
    ]
    return Table("What locust sustains on one core", head, rows, notes)


def _saturate(trials: Sequence[SweepTrial]) -> Table:
    rows = [
        [arm_name(served), with_interval(_estimate(of, RECEIVED)), _number(_estimate(of, SHARE))]
        for (served, _), of in _of(trials, "saturate").items()
    ]
    head = ["Served by", "Received, events/s", "Generator, of a core"]
    notes = [
        "The server offers 140,000 events/s, more than a core can take; events that fall off the history are lost on "
        "purpose. SSE is not here: it fills the server's core before the generator's.",
    ]
    return Table("Where a generator core saturates (locust)", head, rows, notes)


def _number(of: Estimate | None) -> str:
    return NOT_MEASURED if of is None else number(of.value)
