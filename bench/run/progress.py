"""Says how far a run is, and how much longer it takes: a bar on a terminal, plain lines elsewhere."""

import time
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from bench.results.run import Trial


class Reporter(Protocol):
    """What the runner tells while it runs."""

    def begin(self, expected_s: float, count: int) -> None:
        """The run begins."""

    def starting(self, name: str, expected_s: float) -> None:
        """A trial begins."""

    def finished(self, name: str, said: str, left_s: float) -> None:
        """A trial ended, with an outcome in a few words; about ``left_s`` seconds are left."""


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
    server, generator = (trial.values.get(f"{who}_cpu_us_per_event") for who in ("server", "generator"))
    found = {"server": server, "generator": generator}
    said = ", ".join(f"{who} {cost:.1f} us" for who, cost in found.items() if cost is not None)
    return f"{said} per event" if said else "too little CPU to measure"


def duration(seconds: float) -> str:
    """For people: 7 min 5 s."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class Lines:
    """One plain line a trial, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._done: set[str] = set()
        """One that is measured again counts once."""
        self._count = 0

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None:
        return

    def begin(self, expected_s: float, count: int) -> None:
        self._count = count
        self._say(f"{count} trials, about {duration(expected_s)}")

    def starting(self, name: str, expected_s: float) -> None:
        return

    def finished(self, name: str, said: str, left_s: float) -> None:
        self._done.add(name)
        left = f"about {duration(left_s)} left" if left_s else "done"
        self._say(f"[{len(self._done)}/{self._count}] {name}: {said} ({left})")

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


class Bar:
    """A live bar with the trial that runs and the time remaining, and a line for each that has ended."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:24}"),
            BarColumn(),
            TextColumn("{task.fields[left]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._expected_s = 1.0
        self._ends_at = 0.0

    def __enter__(self) -> "Bar":
        self._progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.__exit__(kind, error, trace)

    def begin(self, expected_s: float, count: int) -> None:
        self._expected_s = expected_s
        self._ends_at = time.monotonic() + expected_s
        self._task = self._progress.add_task("starting", total=expected_s, left=f"about {duration(expected_s)} left")

    def starting(self, name: str, expected_s: float) -> None:
        self._progress.update(self._task, description=name)

    def finished(self, name: str, said: str, left_s: float) -> None:
        self._progress.console.print(f"{name}: {said}", highlight=False, markup=False)
        done_s = max(0.0, self._expected_s - left_s)
        self._progress.update(self._task, completed=done_s, left=f"about {duration(left_s)} left")


def new_reporter(console: Console) -> "Bar | Lines":
    """The bar on a terminal, lines elsewhere."""
    return Bar(console) if console.is_terminal else Lines(console)
