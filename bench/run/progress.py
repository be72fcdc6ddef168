"""Progress of a run, its results so far and the time left: shown in place on a terminal, elsewhere in lines."""

from types import TracebackType
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.table import Table

from bench.plan.trials import Planned
from bench.results.catalogue import METRICS
from bench.results.run import Trial
from bench.run.standing import SHOWN, Row, Standing


class Progress(Protocol):
    """Receives what a benchmark reports while it runs."""

    def begin(self, expected_s: float, count: int) -> None:
        """The run begins."""

    def more(self, expected_s: float, count: int) -> None:
        """So many trials more than the run began with will follow, because too few blocks are complete."""

    def starting(self, name: str, expected_s: float) -> None:
        """A trial begins."""

    def recorded(self, one: Planned, trial: Trial) -> None:
        """A trial's record was saved."""

    def finished(self, name: str, said: str, left_s: float) -> None:
        """A trial ended. ``said``: its outcome in a few words; ``left_s``: about how long the run still takes."""


def outcome(trial: Trial) -> str:
    """A trial's outcome in a few words."""
    if trial.status != "ok":
        return f"{trial.status.upper()}: {'; '.join(trial.reasons)}"
    lost = trial.counts.lost if trial.counts else 0
    found = _cost(trial) if trial.purpose in ("cost", "saturation", "tls") else _latency(trial)
    return found + (f", {lost} lost" if lost else "")


def _latency(trial: Trial) -> str:
    p50 = trial.values.get("latency_ms_p50")
    return f"p50 {p50:.1f} ms" if p50 is not None else "p50: too few events"


def _cost(trial: Trial) -> str:
    names = [name for name in ("server_cpu_us_per_event", "generator_cpu_us_per_event") if name in trial.values]
    said = [f"{METRICS[name].label} {METRICS[name].text(trial.values[name])}" for name in names]
    return ", ".join(said) or "CPU not measured"


def duration(seconds: float) -> str:
    """Seconds as text: 7 min 05 s."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class Lines:
    """Plain lines for logs and pipes: one for each trial, and after each block one for each row of the table so far."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._standing = Standing()
        self._done: set[str] = set()
        """Names of finished trials; a trial that is measured again counts once."""
        self._count = 0

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None:
        self._say_rows(self._standing.rows())

    def begin(self, expected_s: float, count: int) -> None:
        self._count = count
        self._say(f"{count} trials, about {duration(expected_s)}")

    def more(self, expected_s: float, count: int) -> None:
        self._count += count
        self._say(f"a spare block follows: {count} trials, about {duration(expected_s)}")

    def starting(self, name: str, expected_s: float) -> None:
        return

    def recorded(self, one: Planned, trial: Trial) -> None:
        self._say_rows(self._standing.add(one, trial))

    def finished(self, name: str, said: str, left_s: float) -> None:
        self._done.add(name)
        left = f"about {duration(left_s)} left" if left_s else "done"
        self._say(f"[{len(self._done)}/{self._count}] {name}: {said} ({left})")

    def _say_rows(self, rows: list[Row]) -> None:
        for row in rows:
            found = ", ".join(f"{label} {cell}" for label, cell in row.cells.items())
            self._say(f"  so far {row.name}: {found} ({_trials(row)})")

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def _trials(row: Row) -> str:
    invalid = f", {row.invalid} not: {row.reason}" if row.invalid else ""
    return f"{row.valid} valid{invalid}"


class InPlace:
    """A live bar with the current trial and the time remaining, below the table so far.

    A trial that the table does not show leaves a line that stays, such as an invalid one with its reason.
    """

    def __init__(self, console: Console) -> None:
        self._bar = RichProgress(
            SpinnerColumn(),
            TextColumn("{task.description:24}"),
            BarColumn(),
            TextColumn("{task.fields[left]}"),
            TimeElapsedColumn(),
        )
        self._console = console
        self._live = Live(self._bar, console=console, refresh_per_second=4)
        self._standing = Standing()
        self._in_table = False
        """Does the table show the trial that was just measured?"""
        self._expected_s = 1.0

    def __enter__(self) -> "InPlace":
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def begin(self, expected_s: float, count: int) -> None:
        self._expected_s = expected_s
        self._task = self._bar.add_task("starting", total=expected_s, left=f"about {duration(expected_s)} left")

    def more(self, expected_s: float, count: int) -> None:
        self._expected_s += expected_s
        self._bar.update(self._task, total=self._expected_s)
        self._console.print(f"a spare block follows: {count} trials", highlight=False, markup=False)

    def starting(self, name: str, expected_s: float) -> None:
        self._bar.update(self._task, description=name)

    def recorded(self, one: Planned, trial: Trial) -> None:
        self._standing.add(one, trial)
        self._in_table = trial.purpose in SHOWN and trial.status == "ok"
        self._live.update(Group(self._table(), self._bar))

    def finished(self, name: str, said: str, left_s: float) -> None:
        if not self._in_table:
            self._console.print(f"{name}: {said}", highlight=False, markup=False)
        self._in_table = False
        done_s = max(0.0, self._expected_s - left_s)
        self._bar.update(self._task, completed=done_s, left=f"about {duration(left_s)} left")

    def _table(self) -> Table:
        table = Table(title=escape(self._standing.title), title_justify="left", box=None)
        for head in ("", *(METRICS[metric].label for metric in self._standing.metrics), "trials"):
            table.add_column(head)
        for row in self._standing.rows():
            table.add_row(escape(row.name), *row.cells.values(), escape(_trials(row)))
        return table


def new_progress(console: Console) -> "InPlace | Lines":
    """In place on a terminal, lines elsewhere."""
    return InPlace(console) if console.is_terminal else Lines(console)
