"""Spare blocks: a run goes on until enough blocks have a valid trial of every transport, or no spare is left."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.plan.presets import PRESETS, make_plan
from bench.plan.trials import spare_block, trials
from bench.results.run import Trial
from bench.trial.conduct import blank
from reports.blocks import main_blocks
from reports.statistics import FEW
from reports.table.summary import summarize
from tests.commands.test_bench import run_fake

PURE = settings(deadline=None, derandomize=True, database=None)
NAMES = ["sse", "websocket"]
OFTEN = ["invalid"] * 9


def test_the_presets_have_two_spare_blocks_but_smoke() -> None:
    spare = {(preset, point): make_plan(preset, point).spare_blocks for preset in PRESETS for point in PRESETS[preset]}
    assert {preset: of for (preset, _), of in spare.items()} == {"default": 2, "full": 2, "smoke": 0}


def test_a_run_ends_with_its_planned_blocks_if_all_are_complete(tmp_path: Path) -> None:
    results, fake = run_fake(tmp_path, {"b2-sse": ["invalid"]}, transports=NAMES)
    assert {trial.block for trial in results.trials} == {1, 2, 3, 4, 5}
    assert len(fake.calls) == 11, "the invalid trial was measured again"


def test_a_spare_block_has_every_transport_and_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results, fake = run_fake(tmp_path, {"b2-sse": OFTEN}, transports=NAMES)
    assert [name for name, _ in fake.calls[-2:]] in (["b6-sse", "b6-websocket"], ["b6-websocket", "b6-sse"])
    blocks = main_blocks(results)
    assert {name: len(of) for name, of in blocks.trials.items()} == {"sse": 5, "websocket": 6}
    assert len({trial.seed for trial in results.trials if trial.block == 6}) == 1
    assert not {trial.seed for trial in results.trials if trial.block == 6} & {
        trial.seed for trial in results.trials if trial.block < 6
    }
    said = "Measured as spare, because fewer than 5 blocks had a valid trial of every transport: block 6."
    summary = summarize(results)
    assert said in summary.cautions and not any(
        FEW in cell.word for line in summary.pairs for cell in line.cells if cell
    )
    lines = capsys.readouterr().out.splitlines()
    finished = [line for line in lines if line.startswith("[")]
    assert finished[-1].startswith("[12/12] ") and finished[-1].endswith("(done)")
    assert not any(line.endswith("(done)") for line in finished[:-1]), "time is left while a spare block follows"
    assert any(line.startswith("a spare block follows: 2 trials, about ") for line in lines)


def test_spare_blocks_are_bounded_and_without_enough_there_is_no_verdict(tmp_path: Path) -> None:
    statuses = {f"b{block}-sse": OFTEN for block in (1, 2, 3, 6, 7)}
    results, _ = run_fake(tmp_path, statuses, transports=NAMES)
    assert max(trial.block for trial in results.trials) == 7
    words = {cell.word for line in summarize(results).pairs for cell in line.cells if cell}
    assert words == {"no verdict: fewer than 5 valid blocks"}


def test_a_transport_that_never_worked_gets_no_spare_block(tmp_path: Path) -> None:
    results, _ = run_fake(tmp_path, {f"b{block}-sse": ["failed"] for block in range(1, 9)}, transports=NAMES)
    assert max(trial.block for trial in results.trials) == 5
    nothing, _ = run_fake(
        tmp_path / "2", {f"b{block}-{name}": OFTEN for block in range(1, 9) for name in NAMES}, transports=NAMES
    )
    assert max(trial.block for trial in nothing.trials) == 5


def test_only_the_table_has_spare_blocks_not_its_curve_or_loopback() -> None:
    plan = make_plan("full", curve_repeats=1, loopback_too=True)
    measured = [blank(plan, trial, 1, "") for trial in trials(plan)]
    for trial in measured:
        if trial.purpose == "main" and trial.block == 1:
            trial.status = "invalid"
    spare = spare_block(plan, measured)
    assert {trial.purpose for trial in spare} == {"main"} and {trial.block for trial in spare} == {6}
    assert {trial.transport for trial in spare} == set(plan.transports)


@PURE
@given(st.lists(st.tuples(st.integers(1, 5), st.sampled_from(NAMES)), max_size=10))
def test_the_run_ends_complete_or_out_of_spares(broken: list[tuple[int, str]]) -> None:
    plan = make_plan("default", transports=NAMES)
    measured: list[Trial] = []
    to_come = trials(plan)
    while to_come:
        for trial in to_come:
            record = blank(plan, trial, 1, "")
            record.status = "invalid" if (trial.block, trial.transport) in broken else "ok"
            measured.append(record)
        to_come = spare_block(plan, measured)
    blocks = {trial.block for trial in measured}
    valid = {(trial.block, trial.transport) for trial in measured if trial.status == "ok"}
    able = {name for _, name in valid}
    complete = sum(all((block, name) in valid for name in able) for block in blocks)
    assert max(blocks) <= 7 and (complete == 5 or max(blocks) == 7 or not able)
    assert complete <= 5 or max(blocks) == 5
