"""The timer that is never early, on both event loops, and the histogram of latenesses."""

import asyncio
import gc
import math
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from feed.instruments.clock import NS_PER_MS, NS_PER_S, NS_PER_US, Timer, now_ns
from feed.instruments.meters import GcPauses, Lateness, measure_loop_lag

PURE = settings(deadline=None, derandomize=True, database=None)
NewLoop = Callable[[], asyncio.AbstractEventLoop]


@pytest.fixture(params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def new_loop(request: pytest.FixtureRequest) -> NewLoop:
    """Both event loops in turn."""
    factory: NewLoop = request.param
    return factory


def descriptors() -> set[str]:
    """What this process has open."""
    # os, not pathlib: Path.iterdir and Path.readlink open descriptors of their own that would be counted.
    return {f"{fd} {_opened(fd)}" for fd in os.listdir("/proc/self/fd")}  # noqa: PTH208 - pathlib would open one itself


def _opened(fd: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115 - a path as text, as listed
    except OSError:
        return ""


def timerfds() -> int:
    return sum("timerfd" in one for one in descriptors())


def test_callbacks_come_in_order_of_time_and_never_early(new_loop: NewLoop) -> None:
    offsets_us = [0, 1500, 300, 300, 900, -5000, 700, 50, 1, 300, 2500]

    async def body() -> list[tuple[int, int, int]]:
        loop = asyncio.get_running_loop()
        timer = Timer(loop)
        done = loop.create_future()
        came: list[tuple[int, int, int]] = []
        start_ns = now_ns()

        def note(due_ns: int, number: int) -> None:
            came.append((now_ns(), due_ns, number))
            if len(came) == len(offsets_us):
                done.set_result(None)

        for number, offset_us in enumerate(offsets_us):
            due_ns = start_ns + offset_us * NS_PER_US
            timer.call_at(due_ns, partial(note, due_ns, number))
        assert not came, "not from within call_at"
        await asyncio.wait_for(done, 60)
        timer.close()
        return came

    with asyncio.Runner(loop_factory=new_loop) as runner:
        came = runner.run(body())
    assert all(at_ns >= due_ns for at_ns, due_ns, _ in came)
    assert [number for *_, number in came] == sorted(range(len(offsets_us)), key=offsets_us.__getitem__)


def test_of_many_sleepers_all_wake_and_none_early(new_loop: NewLoop) -> None:
    async def sleeper(timer: Timer, due_ns: int, woken: list[tuple[int, int]]) -> None:
        await timer.sleep_until(due_ns)
        woken.append((due_ns, now_ns()))

    async def body() -> list[tuple[int, int]]:
        timer = Timer(asyncio.get_running_loop())
        start_ns = now_ns() + NS_PER_MS
        woken: list[tuple[int, int]] = []
        dues = [start_ns + (i * 7919) % 400 * 50 * NS_PER_US for i in range(400)]
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            for due_ns in dues:
                group.create_task(sleeper(timer, due_ns, woken))
        timer.close()
        return woken

    with asyncio.Runner(loop_factory=new_loop) as runner:
        woken = runner.run(body())
    assert len(woken) == 400
    assert all(woken_ns >= due_ns for due_ns, woken_ns in woken)


def test_an_instant_in_the_past_is_the_next_turn(new_loop: NewLoop) -> None:
    async def body() -> list[str]:
        timer = Timer(asyncio.get_running_loop())
        order: list[str] = []
        other = asyncio.ensure_future(_append(order, "another task"))
        await timer.sleep_until(now_ns() - 1)
        order.append("slept")
        await other
        called = asyncio.Event()
        for due_ns in (0, 1, -(10**18)):
            called.clear()
            timer.call_at(due_ns, called.set)
            assert not called.is_set()
            await asyncio.wait_for(called.wait(), 60)
        timer.close()
        return order

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(body()) == ["another task", "slept"], "the loop had its turn"


async def _append(order: list[str], word: str) -> None:
    order.append(word)


def test_an_earlier_instant_overtakes_and_a_callback_may_set_another(new_loop: NewLoop) -> None:
    async def body() -> list[str]:
        timer = Timer(asyncio.get_running_loop())
        order: list[str] = []
        finished = asyncio.Event()
        start_ns = now_ns()

        def first() -> None:
            order.append("first")
            timer.call_at(start_ns + 2 * NS_PER_MS, lambda: order.append("set by first"))
            timer.call_at(0, lambda: order.append("at once"))

        def last() -> None:
            order.append("last")
            finished.set()

        timer.call_at(start_ns + 4 * NS_PER_MS, last)
        timer.call_at(start_ns + NS_PER_MS, first)
        await asyncio.wait_for(finished.wait(), 60)
        timer.close()
        return order

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(body()) == ["first", "at once", "set by first", "last"]


def test_cancelled_sleepers_disturb_nobody(new_loop: NewLoop) -> None:
    complaints: list[dict[str, object]] = []

    async def body() -> int:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        timer = Timer(loop)
        due_ns = now_ns() + 2 * NS_PER_MS
        sleepers = [asyncio.ensure_future(timer.sleep_until(due_ns + i * NS_PER_US)) for i in range(50)]
        await asyncio.sleep(0)
        for sleeper in sleepers[::2]:
            sleeper.cancel()
        results = await asyncio.wait_for(asyncio.gather(*sleepers, return_exceptions=True), 60)
        await timer.sleep_until(due_ns + NS_PER_MS)
        timer.close()
        return sum(isinstance(result, asyncio.CancelledError) for result in results)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(body()) == 25
    assert not complaints


def test_closing_releases_the_descriptor_and_calls_nobody(new_loop: NewLoop) -> None:
    called: list[int] = []

    async def body() -> None:
        loop = asyncio.get_running_loop()
        other = Timer(loop)
        before = timerfds()
        timers = [Timer(loop) for _ in range(5)]
        assert timerfds() == before + 5
        sleeper = asyncio.ensure_future(timers[0].sleep_until(now_ns() + NS_PER_S * 3600))  # not before it is closed
        await asyncio.sleep(0)
        for timer in timers:
            timer.call_at(0, lambda: called.append(1))
            timer.close()
        assert timerfds() == before
        await other.sleep_until(now_ns() + 2 * NS_PER_MS)
        assert not sleeper.done()
        sleeper.cancel()
        with suppress(asyncio.CancelledError):
            await sleeper
        other.close()
        assert timerfds() == before - 1

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(body())
    assert not called


def test_a_callback_may_close_its_timer(new_loop: NewLoop) -> None:
    called: list[int] = []

    async def body() -> None:
        loop = asyncio.get_running_loop()
        other, timer = Timer(loop), Timer(loop)
        timer.call_at(1, timer.close)
        timer.call_at(2, lambda: called.append(1))
        await other.sleep_until(now_ns() + NS_PER_MS)
        other.close()

    before = descriptors()
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(body())
    assert not called
    assert timerfds() == sum("timerfd" in one for one in before)


def test_the_loop_lag_is_measured(new_loop: NewLoop) -> None:
    async def body() -> dict[str, float]:
        timer, lag = Timer(asyncio.get_running_loop()), Lateness()
        meter = asyncio.ensure_future(measure_loop_lag(timer, lag))
        await timer.sleep_until(now_ns() + 55 * NS_PER_MS)
        meter.cancel()
        with suppress(asyncio.CancelledError):
            await meter
        timer.close()
        return lag.summary()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        summary = runner.run(body())
    assert summary["count"] >= 1 and summary["unrecorded"] == 0


MAX_US = 600_000_000
LATENESSES = st.lists(
    st.integers(-(10**9), 10**12) | st.integers(-5, 5000) | st.sampled_from([MAX_US * 1000, -1, 0, 10**15, 10**18]),
    max_size=40,
)


def _record(latenesses: list[int]) -> Lateness:
    lateness = Lateness()
    for late_ns in latenesses:
        lateness.record(late_ns)
    return lateness


@PURE
@given(LATENESSES)
def test_a_lateness_is_recorded_or_counted_as_unrecorded(latenesses: list[int]) -> None:
    lateness = _record(latenesses)
    summary = lateness.summary()
    assert summary["count"] + summary["unrecorded"] == len(latenesses)
    assert summary["unrecorded"] >= sum(late_ns < 0 or late_ns > 2 * MAX_US * 1000 for late_ns in latenesses)
    assert summary["count"] >= sum(0 <= late_ns <= MAX_US * 1000 for late_ns in latenesses)
    lateness.reset()
    empty = lateness.summary()
    assert (empty["count"], empty["unrecorded"], lateness.unrecorded) == (0, 0, 0)
    assert set(empty.values()) == {0}
    lateness.record(7000)
    assert lateness.summary() == {"count": 1, "us_p50": 7, "us_p99": 7, "us_max": 7, "unrecorded": 0}


@PURE
@given(st.lists(st.integers(0, MAX_US * 1000), min_size=1, max_size=40))
def test_the_summary_is_right_to_three_digits(latenesses: list[int]) -> None:
    summary = _record(latenesses).summary()
    exact_us = sorted(max(1, late_ns // NS_PER_US) for late_ns in latenesses)
    for name, share in (("us_p50", 0.5), ("us_p99", 0.99), ("us_max", 1.0)):
        exact = exact_us[math.ceil(share * len(exact_us)) - 1]
        assert summary[name] == pytest.approx(exact, rel=2e-3), name


def test_collections_are_counted_and_reset() -> None:
    pauses = GcPauses()
    try:
        gc.collect()
        gc.collect()
        summary = pauses.summary()
        assert summary["count"] >= 2 and 0 < summary["max_ms"] <= summary["total_ms"]
        pauses.reset()
        assert pauses.summary() == {"count": 0, "total_ms": 0, "max_ms": 0}
    finally:
        gc.callbacks.remove(pauses._on_gc)
