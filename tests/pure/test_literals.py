"""The numbers that decide what counts and what is said, as literals: whoever loosens one changes this page."""

import re

from bench.capture import ground_truth
from bench.generators import window
from bench.plan import timing
from bench.results.catalogue import PERCENTILES
from bench.trial import case, drift, idle, metrics, observe, path, plausible, validity
from reports import blocks, samples, spread, statistics
from reports.table import quiet, ratings
from tests.conftest import ROOT


def test_what_makes_a_trial_invalid() -> None:
    assert {name: bound.limit for name, bound in validity.BOUNDS.items()} == {
        "generator_cpu_share": 0.9,
        "relay_lateness_us_p99": 1000,
        "publisher_lateness_us_p50": 1000,
        "steal_share": 0.05,
        "other_load_share": 0.1,
        "hiccup_ms_p99": 5,
        "drift_share": 0.1,
        "probe_loop_lag_us_p99": 5000,
        "generator_gc_pause_ms_max": 0,
    }
    assert {name: bound.limit for name, bound in validity.COST_BOUNDS.items()} == {
        "server_cpu_share": 0.95,
        "generator_cpu_share": 0.95,
    }
    assert (validity.SERVER_CPU_SHARE, validity.SATURATED_CPU_SHARE) == (0.95, 0.9)
    assert (drift.LEAST_SHARE, drift.LEAST_MS, drift.Z, drift.LEAST_EVENTS) == (0.1, 1, 4.5, 28)
    assert (path.SLOW_MS, path.USUALLY_SLOW_MS, path.LEAST_PINGS) == (2, 5, 5)
    assert (5, 3, range(5, 11)) == (idle.SCATTER_BYTES, idle.LEAST_REPEATS, idle.REPEATS)


def test_the_page_has_the_bounds_of_the_code() -> None:
    """docs/method.md, When a trial does not count: a row for each metric that has a bound."""
    page = (ROOT / "docs" / "method.md").read_text()
    (part,) = re.findall(r"## When a trial does not count\n(.*?)\n### ", page, re.DOTALL)
    assert set(re.findall(r"^\| `(\w+)`", part, re.MULTILINE)) == set(validity.BOUNDS)


def test_what_no_honest_trial_shows() -> None:
    """The other bounds of that module are pinned in test_plausible.py."""
    assert set(plausible.NEVER_NEGATIVE) == {
        "payload_bytes_per_event",
        "framing_bytes_per_event",
        "tcp_ip_bytes_per_event",
        "heartbeat_bytes_per_event",
        "wire_bytes_per_event",
        "requests_per_event",
        "setup_bytes_per_connection",
        "closing_bytes_per_connection",
        "idle_bytes_per_s",
        "server_cpu_share",
        "relay_cpu_share",
        "generator_cpu_share",
    }
    assert plausible.SHARES == ("server_user_share", "steal_share", "other_load_share")
    assert case.JUDGED_BY_THEORY == ("main", "curve", "loopback", "sensitivity", "aa")
    assert (observe.SAME_READ_NS, validity.CUT_SHARE, window.EDGE) == (500_000, 0.05, 0.9)
    assert (ground_truth.BYTES_TOLERANCE, ground_truth.USER_SHARE) == (0.01, 0.2)
    assert (ground_truth.CLOCK_DRIFT_US, ground_truth.STAMP_SLACK_MS) == (100, 0.05)


def test_what_a_number_needs() -> None:
    assert (metrics.MIN_EVENTS_BEYOND, metrics.LEAST_TICKS) == (10, 10)
    assert {50, 95, 99} <= set(PERCENTILES)
    assert (timing.LATE_MS, timing.DRAIN_ROUND_TRIPS, timing.GRACE_S) == (100, 2, 1)


def test_what_a_verdict_needs() -> None:
    assert (statistics.ALPHA, statistics.MIN_BLOCKS, statistics.DECIDING_BLOCKS) == (0.05, 5, 10)
    assert (statistics.MAX_PLANNED_BLOCKS, statistics.PLANNED_ODDS) == (1000, 0.8)
    assert {name: (of.relative, of.absolute) for name, of in statistics.MARGINS.items()} == {
        "latency": (0.05, 0.5),
        "bytes": (0.02, 0),
        "cpu": (0.1, 0),
        "staleness": (0.1, 0),
    }
    assert (blocks.APART_DEVIATIONS, blocks.APART_MARGINS, blocks.APART_BLOCKS) == (8, 2, 4)
    assert (samples.MAX_SHUFFLES, samples.SAME, spread.LEAST_RUNS) == (4096, 1e-12, 3)
    assert ratings.LATENCY_BOUNDS == ((1.25, "very low"), (2.0, "low"), (5.0, "medium"))
    assert ratings.BANDWIDTH_BOUNDS == ((1.5, "very low"), (2.5, "low"), (5.0, "medium"))
    assert quiet.LIMITS == {
        "hiccup_ms": (2, 10),
        "steal_share": (0.01, 0.05),
        "other_load_share": (0.05, 0.1),
        "invalid_share": (0.05, 0.25),
        "spread_share": (0.05, 0.25),
    }
