"""Facts of the run: host, versions, options, the plan of each operating point, every trial. Reads ``results.json``."""

from bench.results.run import Trial
from reports.layout import Part, Section, Table
from reports.table.quiet import quiet_sentence
from reports.table.run import RunFolder
from reports.table.summary import Summary


def build(run: RunFolder) -> list[Section]:
    """Tables for looking things up; whether the host was quiet enough stands in front, in words."""
    if not run.points:
        return []
    tables = [_facts(title, run.points) for title in run.points[0].facts]
    tables += [_trials(of) for of in run.points if of.results.trials]
    statements = [Part("Host", quiet_sentence([of.results for of in run.points]))]
    return [Section("Facts of the run", "How it was measured, and on what", [], tables, statements=statements)]


def _facts(title: str, points: list[Summary]) -> Table:
    """A column per operating point."""
    names = dict.fromkeys(name for of in points for name in of.facts[title])
    rows = [[name, *(of.facts[title].get(name, "") for of in points)] for name in names]
    return Table(title, ["", *(of.point for of in points)], rows, [], on_terminal=False)


def _trials(of: Summary) -> Table:
    head = ["Trial", "Attempt", "Purpose", "Status", "Started", "Duration (s)", "Events", "Reasons and notes"]
    rows = [_trial(trial) for trial in of.results.trials]
    return Table(f"All trials: {of.point.lower()}", head, rows, [], on_terminal=False)


def _trial(trial: Trial) -> list[str]:
    return [
        trial.id,
        str(trial.attempt),
        trial.purpose,
        trial.status,
        trial.started_at,
        f"{trial.duration_s:.1f}",
        str(trial.events),
        "; ".join([*trial.reasons, *trial.notes]),
    ]
