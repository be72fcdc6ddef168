"""What a server says about itself: Prometheus metrics that a strict parser takes, and logs without secrets."""

import io
import json
import logging
import string
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from servers.gate import logs
from servers.gate.auth import DEV_KEY, mint
from servers.gate.logs import REDACTED
from servers.gate.watchdog import ConnectionWatchdog
from servers.hub.stats import Stats
from servers.process.prometheus import exposition

COUNTS = {"peers": 3, "users": 2, "rooms": 4, "sessions": 1, "events": 9}
COUNTS |= {"requests_acknowledged": 7, "requests_refused": 5}


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """The log at its most talkative; afterwards it is what it was."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    stream = io.StringIO()
    logs.configure("debug", stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)


def scraped() -> dict[str, float]:
    stats = Stats()
    stats.deliveries = 11
    stats.loop_lag.record(2_000_000)
    body, content_type = exposition("sse", stats, ConnectionWatchdog(1.0, 1.0), COUNTS)
    assert content_type.startswith("text/plain")
    samples = [one for family in text_string_to_metric_families(body.decode()) for one in family.samples]
    assert all(one.labels["transport"] == "sse" for one in samples if one.name.startswith("pushmark_"))
    return {one.name + one.labels.get("quantile", ""): one.value for one in samples}


def test_metrics_are_what_the_server_counted() -> None:
    found = scraped()
    assert (found["pushmark_peers"], found["pushmark_users"], found["pushmark_rooms"]) == (3, 2, 4)
    assert found["pushmark_requests_acknowledged_total"] == 7 and found["pushmark_requests_refused_total"] == 5
    assert found["pushmark_deliveries_total"] == 11 and found["pushmark_events_total"] == 9
    assert found["process_open_fds"] > 0


def test_durations_are_in_seconds() -> None:
    found = scraped()
    assert found["pushmark_loop_lag_seconds0.5"] == pytest.approx(0.002, rel=0.01)
    assert found["pushmark_loop_lag_seconds_sum"] == pytest.approx(0.002, rel=0.01)
    assert found["pushmark_loop_lag_seconds_count"] == 1


def test_a_log_line_is_json_with_the_client(log: io.StringIO) -> None:
    logs.log_connected("c1", "sse", "127.0.0.1", "ann")
    logs.log_disconnected("c1", "x" * 500, 1.23456)
    logs.log_refused("127.0.0.1", "token_missing")
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["message"] for line in lines] == ["connected", "disconnected", "refused"]
    assert lines[0]["client"] == lines[1]["client"] == "c1" and lines[0]["user"] == "ann"
    assert len(lines[1]["reason"]) == 100 and lines[1]["duration_s"] == 1.235
    assert lines[2]["code"] == "token_missing" and lines[2]["level"] == "INFO"


@given(st.text(alphabet=string.ascii_letters + string.digits + " :=/?&", max_size=30))
def test_no_token_gets_into_a_log_whoever_writes_it(around: str) -> None:
    stream = io.StringIO()
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    logs.configure("debug", stream)
    try:
        token = mint(DEV_KEY, "ann", 60.0, time.time())
        try:
            raise ValueError(f"{around} {token} {around}")
        except ValueError:
            logging.getLogger("a.library").exception("GET /sse?token=%s", token)
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    assert token not in stream.getvalue() and token.rpartition(".")[2] not in stream.getvalue()
    assert REDACTED in stream.getvalue()
