"""Limits: what gets through in any span of time, what a refusal promises, and that nothing is kept for ever."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import msgspec
import pytest
import throttled.utils
from hypothesis import given, settings
from hypothesis import strategies as st

from servers.gate import limits as limits_module
from servers.gate.errors import Refusal
from servers.gate.limits import MAX_COUNT, LimitOptions, Limits, parse_limit

PURE = settings(deadline=None, derandomize=True, database=None)
TINY = LimitOptions(
    connections_per_address=3,
    connections_per_user=2,
    handshakes_per_address_hz=10.0,
    handshake_burst=5,
    messages_per_connection_hz=10.0,
    message_burst=4,
    messages_per_user_hz=20.0,
    user_message_burst=6,
    message_bytes=100,
)
LONGEST_FILL_S = 1.0
ADDRESSES = st.sampled_from(["10.0.0.1", "10.0.0.2", "::1", ""])
USERS = st.sampled_from(["", "ann", "bob"])


class Clock:
    """What the library takes for the monotonic clock. A microsecond passes at each look, as it would."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        self.now_s += 1e-6
        return self.now_s


@contextmanager
def a_clock() -> Iterator[Clock]:
    clock = Clock()
    with patch.object(throttled.utils, "now_mono_f", clock):
        yield clock


@pytest.fixture
def clock() -> Iterator[Clock]:
    with a_clock() as clock:
        yield clock


def tries(limits: Limits, count: int, connection_id: str = "c", user: str = "") -> int:
    """How many of so many messages at once get through."""
    passed = 0
    for _ in range(count):
        try:
            limits.message(connection_id, user, 1)
        except Refusal as refusal:
            assert refusal.code == "rate_limited"
        else:
            passed += 1
    return passed


def test_a_service_raises_the_limit_of_those_who_use_it_and_of_no_others(clock: Clock) -> None:
    """One message in 20 ms: 50 a second, where 10 are allowed, and 30 with a service that needs 20 more."""
    limits = Limits(TINY)

    def passed(connection_id: str, more_hz: float, user: str = "") -> int:
        found = 0
        for _ in range(200):
            clock.now_s += 0.02
            try:
                limits.message(connection_id, user, 1, more_hz)
            except Refusal as refusal:
                assert refusal.code == "rate_limited"
            else:
                found += 1
        return found

    assert passed("plain", 0.0) == pytest.approx(4 * 10 + TINY.message_burst, abs=1)
    both = 4 * (10 + 20) + TINY.message_burst + 20
    assert both - 5 <= passed("player", 20.0) <= both, "a second of what is added may come at once"
    assert passed("player", 0.0) == pytest.approx(4 * 10, abs=1), "its own limit is used up first: no second one"
    assert passed("plain", 0.0) < 50
    assert passed("user's", 20.0, user="ann") < both + 1
    clock.now_s += LONGEST_FILL_S
    limits.forget("player")
    limits.forget("plain")
    assert limits.kept <= 1, "the user's bucket is full, and goes at the next sweep"


def refusal_of_admit(limits: Limits, address: str, user: str = "") -> Refusal:
    with pytest.raises(Refusal) as caught:
        limits.admit(address, user)
    assert caught.value.kind.status == 429
    return caught.value


@PURE
@given(st.integers(1, 5000), st.integers(1, 12), st.lists(st.integers(0, 400), max_size=60))
def test_in_no_window_more_gets_through_than_the_burst_and_the_rate(
    rate_dhz: int, burst: int, waits_ms: list[int]
) -> None:
    rate_hz = rate_dhz / 10
    limits = Limits(LimitOptions(messages_per_connection_hz=rate_hz, message_burst=burst))
    passed: list[tuple[float, float]] = []
    with a_clock() as clock:
        for wait_ms in waits_ms:
            clock.now_s += wait_ms / 1000
            before_s = clock.now_s
            if tries(limits, 1):
                passed.append((before_s, clock.now_s))
    for first, (start_s, _) in enumerate(passed):
        for last, (_, end_s) in enumerate(passed[first:], first):
            assert last - first + 1 <= burst + rate_hz * (end_s - start_s) + 1e-6


@PURE
@given(st.integers(1, 5000), st.integers(1, 12), st.lists(st.floats(0, 2), min_size=1, max_size=60))
def test_who_keeps_under_the_rate_is_never_refused(rate_dhz: int, burst: int, waits: list[float]) -> None:
    rate_hz = rate_dhz / 10
    limits = Limits(LimitOptions(messages_per_connection_hz=rate_hz, message_burst=burst))
    with a_clock() as clock:
        assert tries(limits, burst) == burst, "a burst at once"
        for wait in waits:
            clock.now_s += (1 + wait) / rate_hz
            assert tries(limits, 1) == 1


@PURE
@given(st.integers(1, 5000), st.integers(1, 12), st.integers(1, 20), st.floats(0, 1))
def test_who_waits_as_long_as_was_said_gets_through(rate_dhz: int, burst: int, hammered: int, part: float) -> None:
    """However often it was tried before: a refusal costs nothing."""
    rate_hz = rate_dhz / 10
    limits = Limits(LimitOptions(messages_per_connection_hz=rate_hz, message_burst=burst))
    with a_clock() as clock:
        tries(limits, burst)
        clock.now_s += part / rate_hz / 2
        tries(limits, hammered)
        with pytest.raises(Refusal) as caught:
            limits.message("c", "", 1)
        retry_after_s = caught.value.retry_after_s
        assert retry_after_s is not None and 0 < retry_after_s <= 1 / rate_hz + 0.002
        clock.now_s += retry_after_s
        assert tries(limits, 1) == 1


def test_the_messages_of_a_user_count_together_on_all_connections(clock: Clock) -> None:
    limits = Limits(TINY)
    assert [tries(limits, 10, connection, "ann") for connection in "abc"] == [4, 2, 0]
    assert tries(limits, 10, "d", "bob") == 4, "somebody else's do not"
    assert [tries(limits, 10, connection) for connection in "efg"] == [4, 4, 4], "nobody's do not"


def test_a_message_has_a_bound_and_one_over_it_takes_no_token(clock: Clock) -> None:
    limits = Limits(TINY)
    for _ in range(10):
        with pytest.raises(Refusal, match="101 bytes") as caught:
            limits.message("c", "ann", 101)
        assert caught.value.code == "message_too_large" and caught.value.retry_after_s is None
    limits.message("c", "ann", 100)
    assert tries(limits, 10, "c", "ann") == 3


def test_an_address_may_have_so_many_connections_and_a_user_so_many(clock: Clock) -> None:
    limits = Limits(TINY)
    limits.admit("10.0.0.1", "ann")
    limits.admit("10.0.0.2", "ann")
    for address in ("10.0.0.1", "10.0.0.2", "10.0.0.3"):
        refusal = refusal_of_admit(limits, address, "ann")
        assert refusal.code == "too_many_connections" and refusal.retry_after_s
    limits.admit("10.0.0.1", "bob")
    limits.admit("10.0.0.1", "")
    assert refusal_of_admit(limits, "10.0.0.1").code == "too_many_connections"
    clock.now_s += LONGEST_FILL_S
    limits.release("10.0.0.1", "bob")
    limits.admit("10.0.0.1", "")
    limits.release("10.0.0.2", "ann")
    limits.admit("10.0.0.2", "ann")


def test_handshakes_are_limited_though_no_connection_stays(clock: Clock) -> None:
    limits = Limits(TINY)
    for _ in range(TINY.handshake_burst):
        limits.admit("10.0.0.1", "")
        limits.release("10.0.0.1", "")
    refusal = refusal_of_admit(limits, "10.0.0.1")
    assert refusal.code == "rate_limited" and refusal.retry_after_s is not None
    limits.admit("10.0.0.2", "")
    clock.now_s += refusal.retry_after_s
    limits.admit("10.0.0.1", "")


def test_to_connect_anew_fills_no_bucket_of_the_user(clock: Clock) -> None:
    limits = Limits(TINY)
    limits.admit("10.0.0.1", "ann")
    assert tries(limits, 10, "a", "ann") + tries(limits, 10, "b", "ann") == 6
    limits.release("10.0.0.1", "ann")
    for connection in "ab":
        limits.forget(connection)
    limits.admit("10.0.0.1", "ann")
    assert tries(limits, 10, "c", "ann") == 0


@PURE
@given(st.lists(st.tuples(ADDRESSES, USERS, st.integers(0, 6), st.integers(0, 300), st.booleans()), max_size=40))
def test_nothing_is_kept_of_who_is_gone(steps: list[tuple[str, str, int, int, bool]]) -> None:
    limits = Limits(TINY)
    opened: list[tuple[str, str, str]] = []
    with a_clock() as clock:
        for number, (address, user, messages, wait_ms, close) in enumerate(steps):
            clock.now_s += wait_ms / 1000
            try:
                limits.admit(address, user)
            except Refusal:
                continue
            opened.append((address, user, str(number)))
            tries(limits, messages, str(number), user)
            if close:
                _close(limits, *opened.pop(0))
        for one in opened:
            _close(limits, *one)
        clock.now_s += LONGEST_FILL_S
        limits.forget("anybody's end drops what is full")
    assert limits.kept == 0


def _close(limits: Limits, address: str, user: str, connection_id: str) -> None:
    limits.release(address, user)
    limits.forget(connection_id)


def test_after_a_flood_it_is_dropped_piece_by_piece(clock: Clock) -> None:
    limits = Limits(TINY)
    flood = 10 * limits_module.SWEPT_AT_ONCE
    for number in range(flood):
        limits.admit(str(number), "")
        limits.release(str(number), "")
    assert limits.kept == flood
    clock.now_s += LONGEST_FILL_S
    for done in range(1, 11):
        limits.forget("somebody")
        assert limits.kept == flood - done * limits_module.SWEPT_AT_ONCE


def test_a_flood_of_addresses_has_a_bound(clock: Clock) -> None:
    with patch.object(limits_module, "MAX_BUCKETS", 50):
        limits = Limits(TINY)
    for number in range(200):
        limits.admit(str(number), "")
        limits.release(str(number), "")
    assert limits.kept == 50


def test_who_was_not_admitted_cannot_leave() -> None:
    with pytest.raises(KeyError):
        Limits(TINY).release("10.0.0.1", "")


@pytest.mark.parametrize("rate_hz", (0.0, -1.0, float("nan"), float("inf"), 1 / 3601))
def test_a_rate_that_cannot_be_kept_to_is_refused(rate_hz: float) -> None:
    with pytest.raises(ValueError, match="requests of this user"):
        Limits(LimitOptions(messages_per_user_hz=rate_hz))
    with pytest.raises(ValueError, match="at once"):
        Limits(LimitOptions(handshake_burst=0))


COUNTS = [name for name in LimitOptions.__struct_fields__ if not name.endswith("_hz")]
RATES = [name for name in LimitOptions.__struct_fields__ if name.endswith("_hz")]


@pytest.mark.parametrize("name", COUNTS)
def test_a_count_is_read_or_refused_with_what_is_allowed(name: str) -> None:
    least = 0 if name in ("strikes", "rooms_per_connection") else 1
    assert [parse_limit(name, text) for text in (str(least), "77", str(MAX_COUNT))] == [least, 77, MAX_COUNT]
    for text in (str(least - 1), "-1", "1.5", "many", "", "nan", "٣", str(MAX_COUNT + 1), "9" * 5000):
        with pytest.raises(ValueError, match=f"^{name}={text}: expected a whole number from {least} to {MAX_COUNT}$"):
            parse_limit(name, text)


@pytest.mark.parametrize("name", RATES)
def test_a_rate_is_read_or_refused_with_what_is_allowed(name: str) -> None:
    for text in ("0.000278", "0.5", "1e3", str(MAX_COUNT)):
        rate_hz = parse_limit(name, text)
        assert rate_hz == float(text)
        Limits(LimitOptions(**{name: rate_hz}))  # which can keep to it
    for text in ("0", "-1", "nan", "inf", "1e-300", "many", "", str(MAX_COUNT + 1)):
        with pytest.raises(ValueError, match=f"^{name}={text}: expected a number from 0.000278 .* to {MAX_COUNT}$"):
            parse_limit(name, text)


def test_what_is_no_limit_is_told_which_there_are() -> None:
    with pytest.raises(ValueError, match=", ".join(LimitOptions.__struct_fields__)):
        parse_limit("speed", "1")


def test_one_in_an_hour_is_a_rate(clock: Clock) -> None:
    limits = Limits(LimitOptions(messages_per_connection_hz=1 / 3600, message_burst=1))
    assert tries(limits, 2) == 1
    clock.now_s += 3599
    assert tries(limits, 1) == 0
    clock.now_s += 1
    assert tries(limits, 1) == 1


def test_the_defaults_let_a_benchmark_through(clock: Clock) -> None:
    """Ten thousand connections from one address, opened as fast as a test can."""
    limits = Limits(LimitOptions())
    for _ in range(10_000):
        limits.admit("127.0.0.1", "")
    assert limits.kept == 2


def test_limits_are_stored_with_the_results() -> None:
    assert msgspec.json.decode(msgspec.json.encode(TINY), type=LimitOptions) == TINY
