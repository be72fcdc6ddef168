"""Every section of a report names the processor that its own file records, since no two benchmarks need share one."""

from pathlib import Path

import msgspec
import pytest

from bench.machine.host import facts
from bench.results.files import (
    AA_FILE,
    COST_FILE,
    FAULTS_FILE,
    GENERATOR_FILE,
    RESULTS_FILE,
    SENSITIVITY_FILE,
    VERIFY_FILE,
    read,
    save,
)
from bench.results.provenance import SCHEMA_VERSION, Provenance
from bench.results.verify import VerifyResults
from bench.sweeps.cost import GENERATOR_PRESETS, PRESETS, cost_trials
from bench.sweeps.sensitivity import sensitivity_trials
from reports.report import build
from reports.table.run import RunFolder
from tests.commands import test_aa, test_cost, test_reports_faults, test_sensitivity
from tests.conftest import VERSION_1
from tests.helpers.fake_results import fake_results


def provenance(host: dict[str, object]) -> Provenance:
    return Provenance(SCHEMA_VERSION, "0.1.0", "2026-01-01T00:00:00+00:00", True, [], host, {}, {})


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ({}, "processor not recorded"),
        ({"cpu_model": "", "system": "Linux 6"}, "processor not recorded"),
        ({"cpu_model": "M", "cores": [0, 1], "system": "Linux 6"}, "M, 2 cores, Linux 6"),
        ({"cpu_model": "M", "cpu_mhz": "2100.0", "cores": [1], "system": "Linux 6"}, "M, 2100 MHz, 1 core, Linux 6"),
        ({"cpu_model": ["odd"], "cores": "odd"}, "['odd']"),
    ],
)
def test_a_processor_in_a_line(host: dict[str, object], said: str) -> None:
    assert provenance(host).processor == said


def test_this_machine_is_recorded_as_the_kernel_tells_it() -> None:
    here = facts()
    assert {"cpu_model", "cpu_mhz", "cpu_caches", "cores", "system"} <= here.keys()
    assert str(here["cpu_model"]) in Path("/proc/cpuinfo").read_text() and here["cpu_model"]
    assert provenance(here).processor.startswith(f"{here['cpu_model']}, ")


@pytest.mark.parametrize("known", (True, False))
def test_every_section_names_its_own(tmp_path: Path, known: bool) -> None:
    """FAKE results, each measured on a model of its own; without a model every section says so."""
    files: dict[str, Provenance] = {
        RESULTS_FILE: fake_results(),
        COST_FILE: test_cost.measured(cost_trials(PRESETS["smoke"], 1), tmp_path, COST_FILE),
        GENERATOR_FILE: test_cost.measured(cost_trials(GENERATOR_PRESETS["smoke"], 1), tmp_path, GENERATOR_FILE),
        SENSITIVITY_FILE: test_sensitivity.measured(sensitivity_trials("smoke", ["sse", "polling"], 1), tmp_path),
        AA_FILE: test_aa.results_with(1.0),
        FAULTS_FILE: test_reports_faults.results([test_reports_faults.fault()], []),
        VERIFY_FILE: read(VERSION_1 / VERIFY_FILE, VerifyResults),
    }
    for name, of in files.items():
        save(msgspec.structs.replace(of, host={"cpu_model": f"Model of {name}"} if known else {}), tmp_path, name)
    titles = [section.title for section in build(RunFolder(tmp_path))]
    for name in files:
        expected = f"Model of {name}" if known else "processor not recorded"
        assert any(title.endswith(f"; {expected}") for title in titles), (name, titles)
    if not known:
        assert sum("processor not recorded" in title for title in titles) == len(files)
