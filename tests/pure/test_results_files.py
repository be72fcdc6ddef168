"""Files of results: what is saved is loaded, and anything else is refused by name."""

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.results.files import RESULTS_FILE, STORED_METRICS, ResultsError, load, save
from bench.results.provenance import SCHEMA_VERSION
from bench.results.run import Results
from tests.helpers.fake_results import fake_results

PURE = settings(deadline=None, derandomize=True, database=None)
# Each example overwrites the one results file.
ON_FILES = settings(PURE, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def results() -> Results:
    """FAKE results, made once; whoever changes them copies them."""
    return fake_results(3)


def test_results_from_before_there_were_networks_are_read(results: Results, tmp_path: Path) -> None:
    path = save(results, tmp_path)
    written = msgspec.json.decode(path.read_bytes())
    for name in ("network", "jitter_ms", "bandwidth_mbit_s", "loss"):
        del written["plan"][name]
    path.write_bytes(msgspec.json.encode(written))
    plan = load(path).plan
    assert plan == results.plan and plan.between.is_plain and plan.between.words == "40 ms round trip"


NAMES = st.text(max_size=10)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@ON_FILES
@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(STORED_METRICS, NUMBERS)),
    st.lists(NAMES, max_size=3),
    st.dictionaries(
        NAMES, st.none() | st.booleans() | st.integers(-(2**53), 2**53) | NAMES | st.lists(NAMES), max_size=4
    ),
    st.integers(0, 2**60),
)
def test_what_is_saved_is_loaded(
    results: Results, tmp_path: Path, metrics: dict[str, float], words: list[str], details: dict[str, object], seed: int
) -> None:
    trial = msgspec.structs.replace(results.trials[0], metrics=metrics, reasons=words, details=details, seed=seed)
    kept = msgspec.structs.replace(results, trials=[trial, *results.trials[1:]], command=words, host=details)
    path = save(kept, tmp_path)
    assert path == tmp_path / RESULTS_FILE
    assert load(tmp_path) == load(path) == kept
    assert [file.name for file in tmp_path.iterdir()] == [RESULTS_FILE], "no half-written file is left"


def refused(path: Path, folder: Path | None = None) -> str:
    """The reason, after the file's name."""
    with pytest.raises(ResultsError) as refusal:
        load(folder or path)
    said = str(refusal.value)
    assert said.startswith(f"{path}: ") and len(said) > len(f"{path}: ")
    return said.removeprefix(f"{path}: ")


@ON_FILES
@given(st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused(results: Results, tmp_path: Path, share: float) -> None:
    path = save(results, tmp_path)
    text = path.read_bytes().rstrip()
    path.write_bytes(text[: int(share * len(text))])
    refused(path, tmp_path)


JUNK = st.one_of(
    st.binary(max_size=100),
    st.sampled_from(
        ["{}", "[]", "null", "[" * 100_000, '{"schema_version":' * 50_000, '{"schema_version": 1}', "\0"]
    ).map(str.encode),
)


@ON_FILES
@given(JUNK)
def test_garbage_is_refused(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / RESULTS_FILE
    path.write_bytes(junk)
    refused(path, tmp_path)


@ON_FILES
@given(st.floats(0, 1, exclude_max=True), st.integers(0, 255))
def test_one_wrong_byte_is_read_or_refused(results: Results, tmp_path: Path, share: float, byte: int) -> None:
    path = save(results, tmp_path)
    text = bytearray(path.read_bytes())
    text[int(share * len(text))] = byte
    path.write_bytes(text)
    try:
        load(path)
    except ResultsError as refusal:
        assert str(refusal).startswith(f"{path}: ")


@ON_FILES
@given(st.integers(-(2**63), 2**63 - 1).filter(lambda version: version != SCHEMA_VERSION))
def test_another_version_is_refused_whatever_else_the_file_holds(tmp_path: Path, version: int) -> None:
    path = tmp_path / RESULTS_FILE
    path.write_bytes(msgspec.json.encode({"schema_version": version, "something": "new"}))
    assert f"schema version {version};" in refused(path)


def _changed(results: Results, **changes: Any) -> Results:
    trial = msgspec.structs.replace(results.trials[-1], **changes)
    return msgspec.structs.replace(results, trials=[*results.trials[:-1], trial])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"metrics": {"latency_ms_p42": 1.0}}, "unknown metrics latency_ms_p42"),
        ({"metrics": {"b": 1.0, "a": 2.0}}, "unknown metrics a, b"),
        ({"latency_ms": {"50.5": 1.0}}, "unknown percentiles 50.5"),
        ({"transport": "carrier_pigeon"}, "unknown transports carrier_pigeon"),
        ({"purpose": "fun"}, "unknown purposes fun"),
        ({"status": "fine"}, "unknown statuses fine"),
        ({"metrics": {"latency_ms_mean": math.nan}}, "Expected `float`, got `null`"),
        ({"block": "1"}, "Expected `int`, got `str`"),
    ],
)
def test_an_unknown_name_or_a_wrong_type_is_refused(
    results: Results, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    assert reason in refused(save(_changed(results, **changes), tmp_path))


@pytest.mark.parametrize("field", [field.name for field in msgspec.structs.fields(Results) if field.required])
def test_a_missing_field_is_refused_by_name(results: Results, tmp_path: Path, field: str) -> None:
    path = tmp_path / RESULTS_FILE
    path.write_bytes(msgspec.json.encode({k: v for k, v in msgspec.structs.asdict(results).items() if k != field}))
    assert f"`{field}`" in refused(path)


def test_no_file_is_refused_by_name(tmp_path: Path) -> None:
    refused(tmp_path / RESULTS_FILE, tmp_path)
    refused(tmp_path / "elsewhere")
