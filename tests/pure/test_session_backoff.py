"""How a subscriber judges what it receives, how long it waits before it tries again, and which address it uses."""

import random
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from yarl import URL

from clients.core.backoff import Backoff
from clients.core.options import UrlError, target
from clients.core.session import MAX_REMEMBERED_HOLES, Session, Verdict
from feed.cursor import Cursor, CursorError
from feed.envelope import Envelope, decode_envelope, encode_envelope
from feed.transports import TRANSPORTS, Transport

PURE = settings(deadline=None, derandomize=True, database=None)
EPOCH = "0badcafe"
OTHER = "5f3a9c1e"
SEQS = st.lists(st.integers(1, 25), max_size=40)


def event(seq: int, epoch: str = EPOCH) -> Envelope:
    return decode_envelope(encode_envelope("event", f"{epoch}-{seq}", "feed", {"n": seq - 1}))


def notice(type_: str, resume: str, missed: int | None, seq: int, epoch: str = EPOCH) -> Envelope:
    return decode_envelope(encode_envelope(type_, f"{epoch}-{seq}", "feed", {"resume": resume, "missed": missed}))


@PURE
@given(st.integers(0, 10), SEQS)
def test_every_event_of_any_run_is_counted_once(start: int, seqs: list[int]) -> None:
    """Against sets: what was seen, what was skipped."""
    session = Session(Cursor(EPOCH, start))
    seen: set[int] = set()
    newest = start
    expected: Counter[Verdict] = Counter()
    for seq in seqs:
        if seq <= start or seq in seen:
            verdict = Verdict.DUPLICATE
        else:
            verdict = Verdict.NEW if seq > newest else Verdict.OUT_OF_ORDER
            seen.add(seq)
        newest = max(newest, seq)
        expected[verdict] += 1
        assert session.observe(event(seq)) is verdict
        assert session.cursor == Cursor(EPOCH, newest)
        assert session.delivered == len(seen)
        assert session.duplicates == expected[Verdict.DUPLICATE]
        assert session.out_of_order == expected[Verdict.OUT_OF_ORDER]
        assert session.silently_lost == newest - start - len(seen)
    assert session.delivered + session.duplicates == len(seqs)
    assert (session.gaps, session.missed) == (0, 0)


@PURE
@given(st.integers(1, 30), st.data())
def test_a_shuffled_run_with_copies_loses_nothing(count: int, data: st.DataObject) -> None:
    copies = data.draw(st.lists(st.integers(1, count), max_size=10))
    order = data.draw(st.permutations([*range(1, count + 1), *copies]))
    session = Session(Cursor(EPOCH, 0))
    verdicts = Counter(session.observe(event(seq)) for seq in order)
    assert (session.delivered, session.silently_lost, session.duplicates) == (count, 0, len(copies))
    assert verdicts[Verdict.NEW] + verdicts[Verdict.OUT_OF_ORDER] == count
    firsts = list(dict.fromkeys(order))
    assert session.out_of_order == sum(seq < max(firsts[: i + 1]) for i, seq in enumerate(firsts))


@PURE
@given(st.integers(1, 30), st.integers(0, 60))
def test_without_a_cursor_the_first_event_is_where_it_begins(seq: int, earlier: int) -> None:
    session = Session()
    assert session.observe(event(seq + earlier)) is Verdict.NEW
    assert (session.delivered, session.silently_lost, session.cursor) == (1, 0, Cursor(EPOCH, seq + earlier))


@PURE
@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 50), st.sampled_from(["welcome", "gap"]))
def test_a_gap_notice_moves_the_cursor_and_counts_what_is_gone(start: int, lead: int, missed: int, type_: str) -> None:
    session = Session(Cursor(EPOCH, start))
    for seq in range(start + 1, start + lead + 1):
        session.observe(event(seq))
    at = start + lead + missed
    assert session.observe(notice(type_, "gap", missed, at)) is Verdict.NOTICE
    assert (session.gaps, session.missed, session.cursor) == (1, missed, Cursor(EPOCH, at))
    assert session.observe(event(at + 1)) is Verdict.NEW
    assert (session.delivered, session.silently_lost, session.duplicates) == (lead + 1, 0, 0)


@PURE
@given(st.integers(1, 20), st.integers(0, 20))
def test_a_new_epoch_is_a_gap_of_unknown_size_announced_or_not(seq: int, at: int) -> None:
    announced, silent = Session(Cursor(EPOCH, seq)), Session(Cursor(EPOCH, seq))
    announced.observe(notice("welcome", "gap", None, at, OTHER))
    for session in (announced, silent):
        assert session.observe(event(at + 1, OTHER)) is Verdict.NEW
        assert (session.gaps, session.missed, session.delivered) == (1, 0, 1)
        assert (session.silently_lost, session.cursor) == (0, Cursor(OTHER, at + 1))


@PURE
@given(st.integers(0, 20), st.integers(2, 20))
def test_resumed_changes_nothing_and_what_is_skipped_after_it_shows(start: int, ahead: int) -> None:
    session = Session(Cursor(EPOCH, start))
    session.observe(notice("welcome", "resumed", 0, start))
    assert (session.gaps, session.cursor) == (0, Cursor(EPOCH, start))
    session.observe(event(start + ahead))
    assert session.silently_lost == ahead - 1


@PURE
@given(st.integers(2, 20), st.integers(1, 20))
def test_a_gap_notice_does_not_excuse_what_was_skipped_before_it(ahead: int, missed: int) -> None:
    """``silently_lost`` counts what was skipped without a notice; a later notice is about later events."""
    session = Session(Cursor(EPOCH, 0))
    session.observe(event(ahead))
    assert session.silently_lost == ahead - 1
    session.observe(notice("gap", "gap", missed, ahead + missed))
    assert (session.missed, session.silently_lost) == (missed, ahead - 1)


def test_new_starts_at_the_tail() -> None:
    session = Session()
    assert session.observe(notice("welcome", "new", 0, 7)) is Verdict.NOTICE
    assert (session.gaps, session.cursor) == (0, Cursor(EPOCH, 7))
    session.observe(event(9))
    assert session.silently_lost == 1


def test_other_messages_are_notices_and_an_event_without_cursor_is_an_error() -> None:
    session = Session(Cursor(EPOCH, 3))
    for type_ in ("error", "ack"):
        assert session.observe(decode_envelope(encode_envelope(type_, "", "", {}))) is Verdict.NOTICE
    with pytest.raises(CursorError):
        session.observe(decode_envelope(encode_envelope("event", "", "feed", {})))
    assert (session.cursor, session.delivered) == (Cursor(EPOCH, 3), 0)


def test_a_jump_over_any_number_of_events_takes_bounded_memory() -> None:
    session = Session(Cursor(EPOCH, 0))
    for seq in (10**17, 2 * 10**17):
        assert session.observe(event(seq)) is Verdict.NEW
        assert session.silently_lost == MAX_REMEMBERED_HOLES
    assert session.delivered == 2


BACKOFFS = st.tuples(st.floats(0, 10), st.floats(1, 10), st.floats(0, 100), st.integers(0, 100))


@PURE
@given(BACKOFFS, st.integers(), st.lists(st.booleans(), max_size=120))
@example((1.0, 2.0, 30.0, 5), 1, [False] * 7)
def test_a_wait_is_within_its_bound_and_attempts_end(
    numbers: tuple[float, float, float, int], seed: int, successes: list[bool]
) -> None:
    base_s, factor, cap_s, max_attempts = numbers
    backoff = Backoff(base_s, factor, cap_s, max_attempts, random.Random(seed))
    failures = 0
    for success in successes:
        if success:
            backoff.succeeded()
            failures = 0
            continue
        failures += 1
        delay_s = backoff.delay_s()
        assert backoff.failures == failures
        if failures > max_attempts:
            assert delay_s is None
        else:
            assert delay_s is not None
            assert 0 <= delay_s <= min(cap_s, base_s * factor ** min(failures - 1, 64))


@PURE
@given(BACKOFFS)
def test_the_bound_grows_from_the_base_to_the_cap(numbers: tuple[float, float, float, int]) -> None:
    base_s, factor, cap_s, _ = numbers
    backoff = Backoff(*numbers, random.Random(1))
    bounds = [backoff.bound_s(failures) for failures in range(1, 200)]
    assert bounds == sorted(bounds)
    assert bounds[0] == min(base_s, cap_s) and max(bounds) <= cap_s
    if base_s >= 1e-3 and factor >= 2:
        assert bounds[-1] == cap_s


def test_full_jitter_fills_the_whole_range_and_is_seeded() -> None:
    def delays() -> list[float]:
        backoffs = (Backoff(8, 2, 8, 1, random.Random(seed)) for seed in range(400))
        return [delay_s for backoff in backoffs if (delay_s := backoff.delay_s()) is not None]

    assert delays() == delays()
    assert len(delays()) == 400
    assert Counter(int(delay_s) for delay_s in delays()).keys() == set(range(8))


SCHEMES = st.sampled_from(["http", "ws", "tcp"])
HOSTS = st.sampled_from(["127.0.0.1", "localhost", "[::1]", "example.org", "xn--bcher-kva.example"])
PATHS = st.lists(st.text("abcXYZ019-_.~", min_size=1, max_size=6).filter(lambda part: part.strip(".")), max_size=3)


def row(scheme: str) -> Transport:
    """A transport with that scheme."""
    return TRANSPORTS["polling"]._replace(scheme=scheme)


@PURE
@given(SCHEMES, SCHEMES, HOSTS, st.integers(1, 65535), st.sampled_from(["", "/"]))
def test_any_server_address_becomes_the_transports(given: str, scheme: str, host: str, port: int, path: str) -> None:
    url = target(f"{given}://{host}:{port}{path}", row(scheme))
    assert url == URL(f"{scheme}://{host}:{port}/poll")
    assert (url.scheme, url.explicit_port or url.port, url.path) == (scheme, port, "/poll")


@PURE
@given(SCHEMES, SCHEMES, HOSTS, PATHS.filter(bool), st.dictionaries(st.text("abc", min_size=1), st.text("xyz é&=+")))
def test_a_path_and_a_query_are_kept(
    given: str, scheme: str, host: str, path: list[str], query: dict[str, str]
) -> None:
    address = URL(f"{given}://{host}:8000/" + "/".join(path)).with_query(query)
    url = target(str(address), row(scheme))
    assert url.path == "/" + "/".join(path)
    assert dict(url.query) == query


def test_the_schemes_own_port_is_understood() -> None:
    assert str(target("http://localhost", TRANSPORTS["polling"])) == "http://localhost/poll"
    assert target("http://localhost", TRANSPORTS["raw"]).port == 80
    with pytest.raises(UrlError):
        target("tcp://localhost", TRANSPORTS["raw"])


NONSENSE = ["", "8000", "localhost:8000", "//localhost:8000", "http://", "http://:8000", "http://h:0", "http://h:99999",
            "http://h:-1", "http://h:x", "http://[::1", "http://[x]:80", "ftp://h:21", "https://h:443", "http:/h:80",
            "http:h", "http://h h:80", "http://\0:80", "http://é\ud800:80", "http://" + "a" * 300 + ":80", "http://%:80",
            "http://..:80", "http://h:80:90", "tcp://h", "\n", "http://[fe80::1%25]:1",
            "http://[::1%]:1", "http://h/\ud800", "http://[]@", "http://[]@h:80"]  # fmt: skip


@settings(PURE, max_examples=500)
@given(
    st.one_of(
        st.text(max_size=40),
        st.text("htpwsc:/[]@%.#?-0189aéß٣ \0\\", max_size=24),
        st.builds(
            "{}://{}:{}{}".format,
            SCHEMES,
            st.text("aé[]%@:.-_ ßİ٣1f\u200d\ufffd", max_size=10),
            st.sampled_from(["8000", "0", "٣", "", "99999", "-1", "8 0"]),
            st.text("/?#%:@[ é\0&=+", max_size=8),
        ),
    ),
    SCHEMES,
)
def test_an_address_is_used_or_refused_and_nothing_else(url: str, scheme: str) -> None:
    _used_or_refused(url, scheme)


@pytest.mark.parametrize("url", NONSENSE, ids=range(len(NONSENSE)))
def test_nonsense_is_used_or_refused_and_nothing_else(url: str) -> None:
    for scheme in ("http", "ws", "tcp"):
        _used_or_refused(url, scheme)


def _used_or_refused(url: str, scheme: str) -> None:
    try:
        used = target(url, row(scheme))
    except UrlError as refusal:
        assert repr(url) in str(refusal)
    else:
        assert used.scheme in (scheme, f"{scheme}s") and used.host and used.port
