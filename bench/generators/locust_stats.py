"""Adds deliveries to locust's own statistics, many at a time, so that its web UI, CSV files and summary are true.

locust's ``request`` event costs more than receiving the delivery does; one merge per second costs next to nothing.
Its percentiles are whole milliseconds: they are for its own views, never for the results.
"""

import time
from array import array
from typing import Any

import numpy as np
from locust.stats import RequestStats, StatsEntry

from bench.generators.spec import METHOD, SAMPLE_FIELDS


def merge_deliveries(stats: RequestStats, name: str, batch: "array[int]", payload_bytes: int) -> None:
    """Add a batch of deliveries to the entry ``name`` and to the total; response time is delivery latency in ms."""
    if not batch:
        return
    rows = np.frombuffer(batch, dtype=np.int64).reshape(-1, len(SAMPLE_FIELDS))
    latencies_ms = (rows[:, 3] - rows[:, 2]) / 1e6
    addition = _entry(stats, name, latencies_ms, payload_bytes)
    for entry in (stats.entries[(name, METHOD)], stats.total):
        entry.extend(addition)


def _entry(stats: RequestStats, name: str, latencies_ms: Any, payload_bytes: int) -> StatsEntry:
    entry = StatsEntry(stats, name, METHOD)
    entry.num_requests = len(latencies_ms)
    entry.total_response_time = round(latencies_ms.sum())
    entry.min_response_time = round(latencies_ms.min())
    entry.max_response_time = round(latencies_ms.max())
    entry.total_content_length = len(latencies_ms) * payload_bytes
    entry.last_request_timestamp = time.time()
    entry.num_reqs_per_sec[int(time.time())] = len(latencies_ms)
    values, counts = np.unique(_rounded(latencies_ms), return_counts=True)
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        entry.response_times[value] += count
    return entry


def _rounded(latencies_ms: Any) -> Any:
    """As locust rounds: whole milliseconds below 100, tens below 1,000, hundreds below 10,000, thousands above."""
    steps = np.select([latencies_ms < 100, latencies_ms < 1000, latencies_ms < 10_000], [1, 10, 100], 1000)
    return (np.round(latencies_ms / steps) * steps).astype(np.int64)
