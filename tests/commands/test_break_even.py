"""Break-evens and idle users: the arithmetic, the section, and the page's sliders against the pure module."""

import math
import shutil
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page, sync_playwright

from bench.results.files import save
from bench.results.run import Idle, Results
from bench.theory.bytes import EMPTY_ANSWER_BYTES
from reports.blocks import main_blocks
from reports.sections.breakeven import AWAKE, NEVER, break_evens
from reports.theory.traffic import (
    HIGHEST_HZ,
    LOWEST_HZ,
    MONTH_S,
    Traffic,
    break_even,
    break_even_hz,
    month_mb,
    wake_ups_per_hour,
)
from tests.conftest import invoke
from tests.helpers.fake_results import ALL, fake_results

PURE = settings(deadline=None, derandomize=True, database=None)
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
TRAFFIC = st.builds(
    Traffic,
    transport=st.sampled_from(("sse", "websocket", "long_polling")),
    per_event=st.floats(50, 2000),
    per_cycle=st.floats(20, 3000),
    period_s=st.floats(1, 100),
    rtt_ms=st.floats(1, 300),
    hold_s=st.floats(1, 60),
)
POLLING = st.builds(
    Traffic,
    transport=st.just("polling"),
    per_event=st.floats(50, 2000),
    per_cycle=st.floats(20, 3000),
    period_s=st.just(1.0),
    rtt_ms=st.floats(1, 300),
    hold_s=st.just(25.0),
)
INTERVALS = st.floats(0.05, 60)


def with_idle(results: Results) -> Results:
    periods = {"polling": 1.0, "long_polling": 25.0}
    results.idle = {name: Idle(1003.0, 740.0, 6, periods.get(name, 15.0)) for name in ALL}
    return results


@PURE
@given(POLLING, TRAFFIC, INTERVALS)
def test_at_a_break_even_both_move_equally_many(polling: Traffic, rival: Traffic, interval_s: float) -> None:
    found = break_even_hz(polling, rival, interval_s)
    if found is not None:
        assert LOWEST_HZ <= found <= HIGHEST_HZ
        assert polling.bytes_per_s(found, interval_s) == pytest.approx(rival.bytes_per_s(found, interval_s), rel=1e-6)


@PURE
@given(POLLING, TRAFFIC, INTERVALS)
def test_where_none_is_found_polling_is_not_above_at_first_and_below_at_last(
    polling: Traffic, rival: Traffic, interval_s: float
) -> None:
    def more(rate_hz: float) -> bool:
        return polling.bytes_per_s(rate_hz, interval_s) > rival.bytes_per_s(rate_hz, interval_s)

    assert (break_even_hz(polling, rival, interval_s) is not None) == (more(LOWEST_HZ) and not more(HIGHEST_HZ))


@PURE
@given(TRAFFIC | POLLING, INTERVALS, st.floats(0.001, 50), st.floats(1.01, 3))
def test_more_events_are_more_bytes(of: Traffic, interval_s: float, rate_hz: float, factor: float) -> None:
    if of.transport != "long_polling":  # its cycles become fewer when events share an answer
        assert of.bytes_per_s(rate_hz * factor, interval_s) > of.bytes_per_s(rate_hz, interval_s)
    assert of.latency_ms(rate_hz, interval_s) >= of.rtt_ms / 2


def test_a_break_even_that_can_be_worked_out_by_hand() -> None:
    """A poll of 1,000 B, in whose answer ten events of 300 B come in three segments and with nine commas."""
    polling = Traffic("polling", 300.0, 1000.0, 1.0, 40.0, 25.0)
    segments = (EMPTY_ANSWER_BYTES + 10 * 301) / 1448 - 0.5
    stream = Traffic("sse", (1000 + 10 * 300 + 9 + 52 * segments) / 10, 0.0, 15.0, 40.0, 25.0)
    assert 1.5 < segments < 2
    assert break_even_hz(polling, stream, 1.0) == pytest.approx(10.0, rel=1e-4)  # nine and a 20,000th
    assert break_even_hz(polling, stream, 5.0) == pytest.approx(2.0, rel=1e-4)
    found = break_even({1: polling, 2: polling}, {1: stream, 2: stream}, 1.0)
    assert found is not None and found.value == pytest.approx(10.0) and found.blocks == 2
    never = msgspec.structs.replace(stream, per_event=200.0)
    assert break_even({1: polling, 2: polling}, {1: stream, 2: never}, 1.0) is None, "one block without is no answer"


@PURE
@given(st.floats(0.01, 1e5), st.floats(0.1, 1e4))
def test_months_and_hours(bytes_per_s: float, period_s: float) -> None:
    assert month_mb(bytes_per_s) == pytest.approx(bytes_per_s * MONTH_S / 1e6)
    assert 30 * 86_400 < MONTH_S < 31 * 86_400
    wakes = wake_ups_per_hour(period_s)
    assert (wakes is None) == (period_s <= 10) and (wakes is None or wakes == pytest.approx(3600 / period_s))


def test_the_section_and_a_run_without_idle_cycles(tmp_path: Path) -> None:
    assert break_evens(fake_results(), main_blocks(fake_results())) is None
    results = with_idle(fake_results())
    found = break_evens(results, main_blocks(results))
    assert found is not None and len(found.lines) == 5 and found.rate_hz == 0.1
    rates, idle = found.tables
    assert any("events/s" in cell or cell == NEVER for row in rates.rows for cell in row[2:])
    assert [row[2] for row in idle.rows if row[0] == "Polling"] == [AWAKE]
    assert [row[2] for row in idle.rows if row[0] == "SSE"] == ["240"]
    save(results, tmp_path)
    assert invoke("reports", str(tmp_path)).returncode == 0
    assert "Per idle user" in (tmp_path / "report.md").read_text()
    assert (tmp_path / "figures" / "break_even.png").exists()


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is missing: apt-get install chromium")
def test_the_sliders_say_what_the_module_says(tmp_path: Path) -> None:
    results = with_idle(fake_results())
    save(results, tmp_path)
    assert invoke("reports", str(tmp_path)).returncode == 0
    found = break_evens(results, main_blocks(results))
    assert found is not None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.goto((tmp_path / "index.html").as_uri())
        page.click("nav >> text=Where polling begins to pay")  # the contents open the section that they lead to
        before = page.inner_text("#slider-polling .bytes")
        for slider, key in (("#rate", "ArrowRight"), ("#interval", "ArrowLeft")):
            page.focus(slider)
            for _ in range(12):
                page.keyboard.press(key)
            _agree(page, found.lines)
        assert page.inner_text("#slider-polling .bytes") != before
        assert "moves the fewest bytes" in page.inner_text("#fewest")
        assert all(url.startswith("file:") for url in requests), "nothing is loaded"
        browser.close()


def _agree(page: Page, lines: list[Traffic]) -> None:
    rate_hz, interval_s = (10 ** float(page.input_value(name)) for name in ("#rate", "#interval"))
    for of in lines:
        row = f"#slider-{of.transport}"
        shown = [float(page.get_attribute(f"{row} .{name}", "data-exact") or "nan") for name in ("bytes", "latency")]
        expected = [of.bytes_per_s(rate_hz, interval_s), of.latency_ms(rate_hz, interval_s)]
        assert all(math.isclose(a, b, rel_tol=1e-9) for a, b in zip(shown, expected, strict=True)), (of, shown)
