"""Servers that drop, repeat, reorder, delay, or waste CPU on purpose: the faults, and that the report names them."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.plan.presets import make_plans
from bench.results.files import AA_FILE, ResultsError, load, read, save
from bench.results.sweep import SweepResults
from bench.run.cell import plan_again
from feed.faults import EVERY, KINDS, MAX_BURN_PERCENT, Fault, FaultError, parse_fault
from reports.compare.runs import environment, unlike
from reports.table.summary import judge, summarize
from reports.table.verdicts import UNJUDGED
from servers.hub.fault_injection import DELAY_S, MAX_BURN_NS, with_fault
from tests.conftest import invoke, render_as_valid, run_module, until
from tests.helpers.fake_results import fake_results

ROUNDS = 3
EVENTS = ROUNDS * EVERY + EVERY // 2


def published(kind: str, rooms: int = 1) -> list[tuple[str, bytes]]:
    """What comes out of ``EVENTS`` events that take turns among rooms."""
    out: list[tuple[str, bytes]] = []

    async def publish_all() -> None:
        publish = with_fault(lambda room, data: out.append((room, data)), Fault(kind))
        for n in range(EVENTS):
            publish(f"room-{n % rooms}", str(n).encode())

    asyncio.run(publish_all())
    return out


def in_order(rooms: int = 1) -> list[tuple[str, bytes]]:
    return [(f"room-{n % rooms}", str(n).encode()) for n in range(EVENTS)]


def test_none_is_none() -> None:
    def publish(room: str, data: bytes) -> None:
        raise AssertionError

    assert with_fault(publish, parse_fault("")) is publish


@pytest.mark.parametrize("rooms", [1, 7])
def test_dropped_and_repeated_is_one_in_a_hundred(rooms: int) -> None:
    whole = in_order(rooms)
    hit = whole[EVERY - 1 :: EVERY]
    assert len(hit) == ROUNDS
    assert published("drop", rooms) == [event for event in whole if event not in hit]
    assert published("repeat", rooms) == sorted(whole + hit, key=lambda event: int(event[1]))


@pytest.mark.parametrize("rooms", [1, 7])
def test_reordered_is_one_in_a_hundred_behind_the_next_of_its_room(rooms: int) -> None:
    found = published("reorder", rooms)
    assert sorted(found, key=lambda event: int(event[1])) == in_order(rooms), "nothing lost, nothing twice"
    for name in {room for room, _ in found}:
        numbers = [int(data) for room, data in found if room == name]
        swapped = [place for place in range(len(numbers) - 1) if numbers[place] > numbers[place + 1]]
        assert len(swapped) == sum((n + 1) % EVERY == 0 for n in numbers)


def test_delayed_holds_up_its_room_only() -> None:
    out: list[tuple[str, bytes]] = []

    async def run() -> None:
        publish = with_fault(lambda room, data: out.append((room, data)), Fault("delay"))
        for n in range(EVERY):
            publish("a", str(n).encode())
        publish("a", b"behind it")
        publish("b", b"another room")
        assert out[-2:] == [("a", str(EVERY - 2).encode()), ("b", b"another room")]
        began = time.monotonic()
        await until(lambda: len(out) == EVERY + 2, "what was held up")
        assert time.monotonic() - began > DELAY_S / 2
        publish("a", b"after it")

    asyncio.run(run())
    assert [data for _, data in out[-3:]] == [str(EVERY - 1).encode(), b"behind it", b"after it"]


def work(cpu_ns: int) -> None:
    until_ns = time.thread_time_ns() + cpu_ns
    while time.thread_time_ns() < until_ns:
        pass


def test_reordering_does_not_wait_for_ever_for_an_event_to_overtake() -> None:
    out: list[bytes] = []

    async def run() -> None:
        publish = with_fault(lambda room, data: out.append(data), Fault("reorder"))
        for n in range(EVERY):
            publish("quiet", str(n).encode())
        assert len(out) == EVERY - 1
        await until(lambda: len(out) == EVERY, "what nothing overtook")
        publish("quiet", b"after it")

    asyncio.run(run())
    assert out[-2:] == [str(EVERY - 1).encode(), b"after it"]


def test_burning_takes_a_share_of_what_was_used_in_between() -> None:
    calls: list[bytes] = []
    publish = with_fault(lambda room, data: calls.append(data), parse_fault("burn:50"))
    publish("a", b"0")
    for used_ns in (4_000_000, 10_000_000):
        work(used_ns)
        before_ns = time.thread_time_ns()
        publish("a", b"1")
        assert 0.5 * used_ns <= time.thread_time_ns() - before_ns <= 0.6 * used_ns + 200_000
    assert calls == [b"0", b"1", b"1"]


def test_one_burn_is_bounded() -> None:
    publish = with_fault(lambda room, data: None, parse_fault("burn:400"))
    work(MAX_BURN_NS // 2)
    before_ns = time.thread_time_ns()
    publish("a", b"0")
    assert MAX_BURN_NS <= time.thread_time_ns() - before_ns < 1.5 * MAX_BURN_NS


@given(st.text(max_size=20))
def test_what_is_no_fault_is_refused_with_what_is_allowed(text: str) -> None:
    try:
        found = parse_fault(text)
    except FaultError as error:
        assert repr(text) in str(error) and all(kind in str(error) for kind in (*KINDS, "burn:P"))
    else:
        assert text in ("", *KINDS) or (text.startswith("burn:") and 0 < found.burn_share <= MAX_BURN_PERCENT / 100)


@pytest.mark.parametrize("text", ["burn", "burn:", "burn:0", "burn:-1", "burn:nan", "burn:inf", "burn:401", "DROP"])
def test_refusals(text: str) -> None:
    with pytest.raises(FaultError, match="allowed are drop, repeat"):
        parse_fault(text)


@pytest.mark.parametrize(
    "arguments",
    [
        ("servers", "sse", "--inject-fault", "lie"),
        ("servers", "sse", "--sabotage", "lie"),
        ("bench", "run", "--inject-fault", "sse=lie"),
        ("bench", "run", "--sabotage", "pigeon=drop"),
        ("bench", "run", "--sabotage", "drop"),
        ("bench", "run", "--inject-fault", "sse=drop", "--sabotage", "sse=delay"),
        ("bench", "run", "--transports", "sse", "--sabotage", "polling=drop"),
        ("bench", "aa", "--planted", "--transport", "socketio"),
    ],
)
def test_command_lines_refuse_with_a_sentence(arguments: tuple[str, ...]) -> None:
    done = invoke(*arguments)
    assert done.returncode in (1, 2) and "Error: " in done.stderr and "Traceback" not in done.stderr


FAULTS = {"polling": "drop", "long_polling": "repeat", "sse": "reorder", "websocket": "delay"}
NAMED: dict[str, Callable[[str], bool]] = {
    "drop": lambda said: "lost" in said and "duplicate" not in said,
    "repeat": lambda said: "duplicate" in said and "lost" not in said,
    "reorder": lambda said: "out of order" in said and "lost" not in said,
    "delay": lambda said: "late" in said and "lost" not in said and "out of order" not in said,
}
ROWS = {"polling": "Polling", "long_polling": "Long polling", "sse": "SSE", "websocket": "WebSocket"}


@pytest.mark.long
@pytest.mark.parametrize("turn", [0, pytest.param(2, marks=pytest.mark.nightly)])
def test_the_report_names_what_every_server_did(turn: int, tmp_path: Path) -> None:
    """Each fault is committed by two transports in turn, and none by Socket.IO."""
    kinds = list(FAULTS.values())
    faults = {name: kinds[(place + turn) % len(kinds)] for place, name in enumerate(FAULTS)}
    folder = tmp_path / "out"
    done = run_module(
        *("bench", "run", "--preset", "smoke", "--point", "broadcast"),
        *("--subscribers", "20", "--rate-hz", "100", "--duration-s", "3"),
        *("--transports", ",".join([*FAULTS, "socketio"]), "--out", str(folder)),
        *(word for name, kind in faults.items() for word in ("--inject-fault", f"{name}={kind}")),
    )
    results = load(folder / "broadcast")
    assert results.finished and results.plan.inject_fault == faults, done.stdout + done.stderr
    render_as_valid(folder, results.trials, lambda: save(results, folder / "broadcast"))
    cautions = summarize(results).cautions
    said = {name: text for name, _, text in (caution.partition(" did not deliver") for caution in cautions) if text}
    report = (folder / "report.md").read_text()
    for name, kind in faults.items():
        assert NAMED[kind](said[ROWS[name]]), (kind, said)
        assert f"A fault ({kind}) was injected into {ROWS[name]}'s server: no claim is judged." in report
        assert f"{ROWS[name]} did not deliver{said[ROWS[name]]}" in report
    assert not any(word in said.get("Socket.IO", "") for word in ("lost", "duplicate", "out of order"))


def test_faults_belong_to_the_points_that_measure_the_transport() -> None:
    plans = make_plans("default", None, inject_fault={"raw": "drop", "sse": "delay"})
    assert {plan.point: plan.inject_fault for plan in plans} == {
        "sparse": {"sse": "delay"},
        "broadcast": {"sse": "delay", "raw": "drop"},
    }


def test_a_run_with_an_injected_fault_judges_no_claim_and_is_not_measured_again() -> None:
    results = fake_results()
    results.plan = msgspec.structs.replace(results.plan, inject_fault={"sse": "drop"})
    judged = [judgement for line in judge([summarize(results)], None) for judgement in line.points.values()]
    assert judged and {judgement.word for judgement in judged} == {UNJUDGED}
    with pytest.raises(ResultsError, match="had faults injected"):
        plan_again(results, "sse", 3, None)


def test_a_planted_fault_is_said_when_runs_are_compared() -> None:
    a, b = fake_results(), fake_results()
    b.plan = msgspec.structs.replace(b.plan, inject_fault={"sse": "burn:20"})
    assert unlike(a, b) == [] and environment(a, b) == ["inject_fault: {} / {'sse': 'burn:20'}"]


@pytest.mark.long
def test_a_planted_slowdown_for_real(tmp_path: Path) -> None:
    """The plumbing: B's server is told to burn, A's is not. That it is found takes two hours (docs/method.md)."""
    done = run_module("bench", "aa", "--planted", "--preset", "smoke", "--out", str(tmp_path / "a"))
    results = read(tmp_path / "a" / AA_FILE, SweepResults)
    assert results.finished, done.stdout + done.stderr
    for one in results.trials:
        server = cast(dict[str, dict[str, str]], one.trial.details["server"])
        assert server["options"]["inject_fault"] == ("burn:20" if one.load == "B" else "")
    render_as_valid(
        tmp_path / "a", (one.trial for one in results.trials), lambda: save(results, tmp_path / "a", AA_FILE)
    )
    assert "A planted slowdown" in (tmp_path / "a" / "report.md").read_text()
