"""docs/add-a-metric.md, carried out on a toy in a copy of the checkout: one row and its formula are enough."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

ROW = """    "toy_requests_per_s": Metric(
        "1/s", "toy requests", REQUESTS, "requests per second of the measured part", margin="bytes", compared=True
    ),
    "requests_per_event": """
FORMULA = """    metrics: dict[str, float] = {}
    metrics["toy_requests_per_s"] = moved.requests / window_s
    if moved.deliveries and moved.stream_bytes:"""
MEASURE = """
from pathlib import Path
from bench.generators.spec import Mark, Records
from bench.results.files import save
from bench.trial.metrics import byte_metrics
from clients.core.ledger import Totals
from tests.helpers.fake_results import fake_results

begin, end = (Mark(dict.fromkeys(Totals._fields, number), 0, number) for number in (0, 30))
records = Records(
    pid=1, probes=[], loads=[], samples=b"", begin=begin, end=end, final=end, counts={}, failures=[], loop_lag={},
    gc_pauses={},
)
for run in ("a", "b"):
    results = fake_results()
    for trial in results.trials:
        trial.metrics |= byte_metrics([records], "sse", 10.0, 1, None, 1.0) if trial.status == "ok" else {}
    Path(run).mkdir()
    save(results, Path(run))
"""


def _insert(path: Path, before: str, text: str) -> None:
    source = path.read_text()
    assert source.count(before) == 1, f"{path}: {before!r} is where the page says that a metric goes"
    path.write_text(source.replace(before, text))


def _run(folder: Path, *arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_row_and_a_formula_bring_a_metric_everywhere(tmp_path: Path) -> None:
    copy = tmp_path / "checkout"
    for room in ("feed", "servers", "clients", "bench", "reports", "tests"):
        shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    _insert(copy / "bench/results/catalogue.py", '    "requests_per_event": ', ROW)
    formula = FORMULA.splitlines(keepends=True)
    _insert(copy / "bench/trial/metrics.py", formula[0] + formula[2], FORMULA)
    _run(copy, "-c", MEASURE)
    assert '"toy_requests_per_s": 3.0' in (copy / "a" / "results.json").read_text()
    _run(copy, "-m", "reports", "a")
    assert "| toy requests | 1/s | 3.00 |" in (copy / "a" / "report.md").read_text()
    assert "toy_requests_per_s" in (copy / "a" / "results.csv").read_text().splitlines()[0]
    assert "toy_requests_per_s (1/s)" in _run(copy, "-m", "reports", "compare", "a", "b", "--allow-unlike")
