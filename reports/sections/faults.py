"""How transports behave when something fails, under attack, and over long use. Reads ``faults.json``, ``soak.json``."""

from collections.abc import Sequence
from statistics import median
from typing import Final

import msgspec
import numpy as np

from bench.results.files import FAULTS_FILE, SOAK_FILE
from bench.results.reliability import FaultResults, FaultTrial, SoakResult, SoakResults, kept, slope_bytes_per_min
from reports.formats import NOT_MEASURED, counted, number
from reports.layout import FigureSpec, Section, Table
from reports.sections.hostile import hostile_table
from reports.style import LOOKS
from reports.table.run import RunFolder

MIB: Final = 1024 * 1024
FAULT_NAMES: Final = {
    "kill": "server killed and started again",
    "cut": "connections cut, server lives",
    "stall": "server stands still",
}


class Recovery(msgspec.Struct, frozen=True):
    """How the clients of one transport came back from one fault, over all repeats. Seconds."""

    transport: str
    fault: str
    trials: list[FaultTrial]

    @property
    def recover_s(self) -> list[float]:
        """Seconds until each client of each repeat was back, in rising order."""
        return sorted(value for trial in self.trials for value in trial.recover_s)

    @property
    def medians_s(self) -> list[float]:
        """One per repeat: repeats are independent, the clients of one are not."""
        return [median(trial.recover_s) for trial in self.trials if trial.recover_s]

    def total(self, field: str) -> int:
        """A count over all repeats."""
        return sum(getattr(trial, field) for trial in self.trials)


class FaultSummary(msgspec.Struct, frozen=True):
    """What the section needs."""

    title: str
    cautions: list[str]
    recoveries: list[Recovery]
    tables: list[Table]


def build(run: RunFolder) -> list[Section]:
    """One section of both files; either may be missing."""
    faults, soak = run.read(FAULTS_FILE, FaultResults), run.read(SOAK_FILE, SoakResults)
    if faults is None and soak is None:
        return []
    of = summarize_faults(faults, soak)
    caption = "Time until clients received from the server again: half, nine in ten, and the last of them."
    figures = [FigureSpec("recovery", caption, "faults.draw", of)]
    return [Section("What happens when something fails", of.title, of.cautions, of.tables, figures)]


def summarize_faults(faults: FaultResults | None, soak: SoakResults | None) -> FaultSummary:
    """Everything the report says about faults and soak; either may be missing."""
    recoveries = _recoveries(faults.trials) if faults else []
    cautions = [
        f"the {name} run was interrupted"
        for name, run in (("faults", faults), ("soak", soak))
        if run and not run.finished
    ]
    lost = sorted({LOOKS[one.transport].name for one in recoveries if one.total("silently_lost")})
    if lost:
        cautions.append(f"events were lost in silence on {', '.join(lost)}")
    if faults and any(one.delivered != one.expected for one in faults.hostile):
        cautions.append("events were lost under attack")
    titles = []
    if faults and faults.trials:
        repeats = max(trial.repeat for trial in faults.trials)
        clients = max(trial.clients for trial in faults.trials)
        titles.append(f"{counted(clients, 'client')}, {number(faults.rate_hz)} events/s, {counted(repeats, 'repeat')}")
    if faults and faults.hostile:
        titles.append("hostile clients")
    if soak:
        titles.append(f"soak of {number(soak.duration_s / 60)} min with {counted(soak.clients, 'client')} per server")
    titles += dict.fromkeys(run.processor for run in (faults, soak) if run)
    tables = [
        _recovery_table(recoveries),
        hostile_table(faults.hostile if faults else []),
        _soak_table(soak.servers if soak else []),
    ]
    return FaultSummary("; ".join(titles), cautions, recoveries, [table for table in tables if table.rows])


def _recoveries(trials: Sequence[FaultTrial]) -> list[Recovery]:
    found: dict[tuple[str, str], list[FaultTrial]] = {}
    for trial in trials:
        found.setdefault((trial.fault, trial.transport), []).append(trial)
    faults, transports = list(FAULT_NAMES), list(LOOKS)
    order = sorted(found, key=lambda key: (faults.index(key[0]), transports.index(key[1])))
    return [Recovery(transport, fault, found[fault, transport]) for fault, transport in order]


def _recovery_table(recoveries: Sequence[Recovery]) -> Table:
    rows = [_recovery_row(one) for one in recoveries]
    head = [
        "Fault",
        "Transport",
        "Back after, median, s",
        "p95, s",
        "Last, s",
        "Most back in one second",
        "Told gap",
        "Told resumed",
        "Lost in silence",
        "Duplicates",
    ]
    notes = [
        "Seconds count from the moment at which the server could be reached again. Back-off: 1 s, doubled up to 30 s, "
        "full jitter. Median: lowest to highest of the repeats. Most back in one second: connections that had to "
        "be made again. Who is killed has lost its history, so gap is the truthful word there.",
    ]
    return Table("Coming back", head, rows, notes)


def _recovery_row(one: Recovery) -> list[str]:
    back = one.recover_s
    medians = one.medians_s
    spread = f" [{number(min(medians))}, {number(max(medians))}]" if len(medians) > 1 else ""
    clients = one.total("clients")
    return [
        FAULT_NAMES[one.fault],
        LOOKS[one.transport].name,
        number(median(medians)) + spread if medians else NOT_MEASURED,
        number(float(np.percentile(back, 95))) if back else NOT_MEASURED,
        number(back[-1]) if back else NOT_MEASURED,
        str(max(trial.handshakes_per_s_peak for trial in one.trials)),
        f"{one.total('gaps')} of {clients}",
        f"{one.total('resumed')} of {clients}",
        str(one.total("silently_lost")),
        str(one.total("duplicates")),
    ]


def _soak_table(servers: Sequence[SoakResult]) -> Table:
    head = ["Transport", "Clients that came and went", "Memory, MiB", "Growth, 2nd half", "Open files", "Tasks", "Kept"]
    rows = [
        [
            LOOKS[one.transport].name,
            f"{one.lives:,}",
            f"{number(one.before.rss_bytes / MIB)} → {number(one.after.rss_bytes / MIB)}",
            f"{number(slope_bytes_per_min(one) / 1024)} KiB/min",
            f"{one.before.open_files} → {one.after.open_files}",
            f"{one.before.tasks} → {one.after.tasks}",
            "; ".join(kept(one)) or "nothing",
        ]
        for one in servers
        if one.samples
    ]
    notes = [
        "Before the first client, and after the last has left. Each client joins a room, sends a message, and leaves "
        "or just goes."
    ]
    return Table("Soak", head, rows, notes)
