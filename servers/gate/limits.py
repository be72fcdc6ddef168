"""Limits on the connections and requests of one address, one user and one connection.

The buckets are throttled-py's GCRA: a token bucket that stores the time at which it will be full again instead of a
count. The library's own ``token_bucket`` reads the wall clock in whole seconds: it hands out the tokens of a second at
once, and none for as long as the clock is set back.
"""

import math
from datetime import timedelta
from fractions import Fraction
from typing import Annotated, Final

import msgspec
from throttled import MemoryStore, per_duration
from throttled.rate_limiter import GCRARateLimiter

from servers.gate.errors import Refusal

RETRY_FULL_AFTER_S: Final = 5.0
"""Advice to a client with too many connections; when one of them will close is not known."""
LONGEST_PERIOD_S: Final = 3600
"""Longest time per request: the library takes whole numbers of requests per whole seconds."""
MAX_BUCKETS: Final = 100_000
"""Most buckets of each kind; beyond that, the one that was unused for longest is forgotten."""
SWEPT_AT_ONCE: Final = 100
"""Most full buckets that one call drops, so that no call takes long after a flood."""

MAX_COUNT: Final = 1_000_000_000
"""Highest limit, of counts and of rates per second: more than a machine can do, and small enough for exact sums."""

_PREFIX: Final = "pushmark"

Count = Annotated[int, msgspec.Meta(ge=1, le=MAX_COUNT)]
CountOrNone = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]
Rate = Annotated[float, msgspec.Meta(ge=1 / LONGEST_PERIOD_S, le=MAX_COUNT)]
_FORMS: Final = {
    Count: f"a whole number from 1 to {MAX_COUNT}",
    CountOrNone: f"a whole number from 0 to {MAX_COUNT}",
    Rate: f"a number from {1 / LONGEST_PERIOD_S:.6f} (one an hour) to {MAX_COUNT}",
}


class LimitOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of one server. They are high, since a benchmark opens ten thousand connections from one address."""

    connections_per_address: Count = 20_000
    """Open connections of one address."""
    connections_per_user: Count = 100
    """Open connections of one user; anonymous ones are not counted."""
    handshakes_per_address_hz: Rate = 5000.0
    """New connections of one address per second, in the long run."""
    handshake_burst: Count = 20_000
    """New connections of one address at once."""
    messages_per_connection_hz: Rate = 50.0
    """Requests of one connection per second, in the long run."""
    message_burst: Count = 100
    """Requests of one connection at once."""
    messages_per_user_hz: Rate = 200.0
    """Requests of one user per second, in the long run, over all connections; anonymous ones are not counted."""
    user_message_burst: Count = 400
    """Requests of one user at once, over all connections."""
    rooms_per_connection: CountOrNone = 64
    """Rooms of which one connection may be a member."""
    message_bytes: Count = 65_536
    """Longest request in bytes."""
    strikes: CountOrNone = 3
    """Successive requests that may be over a limit; the next one ends the connection."""


def parse_limit(name: str, text: str) -> float:
    """Read the value of a limit. Raises ``ValueError`` naming the limit and what is allowed."""
    types = {field.name: field.type for field in msgspec.structs.fields(LimitOptions)}
    if name not in types:
        raise ValueError(f"{name!r} is no limit: there are {', '.join(types)}")
    try:
        value: float = msgspec.convert(text, types[name], strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(f"{name}={text}: expected {_FORMS[types[name]]}") from error
    return value


class Limits:
    """Counts connections and requests against the limits of one server. Call in the event loop's thread only.

    Call ``admit`` before a connection, ``message`` before each of its requests, ``release`` and ``forget`` after it.
    Raises ``ValueError`` for a rate that is out of range.
    """

    def __init__(self, options: LimitOptions) -> None:
        self.options: Final = options
        self._by_address: dict[str, int] = {}
        self._by_user: dict[str, int] = {}
        self._handshakes = _Buckets(
            "connections from this address", options.handshakes_per_address_hz, options.handshake_burst
        )
        self._messages = _Buckets(
            "requests on this connection", options.messages_per_connection_hz, options.message_burst
        )
        self._user_messages = _Buckets(
            "requests of this user", options.messages_per_user_hz, options.user_message_burst
        )
        self._more: dict[float, _Buckets] = {}
        """Requests per second that a service adds -> what is beyond the limits, of connections and of users."""

    def admit(self, address: str, user: str) -> None:
        """Count a new connection; ``user`` is empty for an anonymous one.

        Raises ``Refusal`` with ``rate_limited`` or ``too_many_connections``; then ``release`` must not be called.
        """
        self._sweep()
        self._handshakes.take(address)
        _require_room(self._by_address, address, self.options.connections_per_address, "this address")
        if user:
            _require_room(self._by_user, user, self.options.connections_per_user, "this user")
            self._by_user[user] = self._by_user.get(user, 0) + 1
        self._by_address[address] = self._by_address.get(address, 0) + 1

    def release(self, address: str, user: str) -> None:
        """Count down for an admitted connection that has ended. Raises ``KeyError`` for one that was not admitted."""
        _take_one_off(self._by_address, address)
        if user:
            _take_one_off(self._by_user, user)
        self._sweep()

    def message(self, connection_id: str, user: str, size: int, more_hz: float = 0.0) -> None:
        """Count a request of ``size`` bytes. Raises ``Refusal`` with ``message_too_large`` or ``rate_limited``.

        ``more_hz``: by how much a service that the connection uses raises its limit (``Service.messages_hz``).
        """
        if size > self.options.message_bytes:
            raise Refusal("message_too_large", f"{size} bytes: a request may have {self.options.message_bytes}")
        self._take(self._messages, connection_id, more_hz)
        if user:
            self._take(self._user_messages, user, more_hz)

    def forget(self, connection_id: str) -> None:
        """Free the buckets of a connection that has ended."""
        for buckets in (self._messages, *self._more.values()):
            buckets.drop(connection_id)
        self._sweep()

    @property
    def kept(self) -> int:
        """Number of counters and buckets in memory."""
        return len(self._by_address) + len(self._by_user) + sum(buckets.size for buckets in self._all)

    @property
    def _all(self) -> list["_Buckets"]:
        return [self._handshakes, self._messages, self._user_messages, *self._more.values()]

    def _take(self, buckets: "_Buckets", key: str, more_hz: float) -> None:
        """A token of the limit's, or else one of those that a service adds for a second."""
        try:
            buckets.take(key)
        except Refusal:
            if not more_hz:
                raise
            if more_hz not in self._more:
                what = f"requests, {more_hz:g} per second of them beyond the limit"
                self._more[more_hz] = _Buckets(what, more_hz, math.ceil(more_hz))
            self._more[more_hz].take(key)

    def _sweep(self) -> None:
        for buckets in self._all:
            buckets.sweep()


class _Store(MemoryStore):
    """The library's store in memory, with ways to drop and count buckets, which have no public interface."""

    @property
    def size(self) -> int:
        return len(self._backend.get_client())

    def drop(self, key: str) -> None:
        self._backend.delete(key)

    def sweep(self) -> None:
        """Drop full buckets, which the library itself only does when one of them is used.

        They are in the order of their last use. It stops at the first that is not full: full ones behind it are found
        soon, since no bucket takes longer to fill than an empty one.
        """
        buckets = self._backend.get_client()
        for _ in range(SWEPT_AT_ONCE):
            oldest = next(iter(buckets), None)
            if oldest is None or not self._backend.has_expired(oldest):
                return
            self._backend.delete(oldest)


class _Buckets:
    """Token buckets of one kind, one per key. A full bucket takes no memory."""

    def __init__(self, what: str, rate_hz: float, burst: int) -> None:
        if not 1 / LONGEST_PERIOD_S <= rate_hz < math.inf or burst < 1:
            raise ValueError(f"{what}: {rate_hz:g} per second and {burst} at once: at least one an hour, one at once")
        ratio = Fraction(rate_hz).limit_denominator(LONGEST_PERIOD_S)
        quota = per_duration(timedelta(seconds=ratio.denominator), ratio.numerator, burst)
        self._refusal = f"too many {what}: allowed are {rate_hz:g} per second, and {burst} at once"
        self._store = _Store(options={"MAX_SIZE": MAX_BUCKETS})
        self._limiter = GCRARateLimiter(quota, self._store, key_prefix=_PREFIX)
        self._key = f"{_PREFIX}:{GCRARateLimiter.KEY_SCHEMA_VERSION}:{GCRARateLimiter.Meta.type}:"

    @property
    def size(self) -> int:
        """Number of buckets that are not full, or have not been swept since they were."""
        return self._store.size

    def take(self, key: str) -> None:
        """Take a token. Raises ``Refusal`` that says when there will be one; a refused attempt takes none."""
        result = self._limiter.limit(key)
        if result.limited:
            # 0.5 to 1.5 ms more, so that a rounding error does not make the client come too early.
            raise Refusal("rate_limited", self._refusal, round(result.state.retry_after + 0.001, 3))

    def drop(self, key: str) -> None:
        """Forget a key, as if its bucket were full."""
        self._store.drop(self._key + key)

    def sweep(self) -> None:
        """Forget keys whose bucket has become full."""
        self._store.sweep()


def _require_room(counts: dict[str, int], key: str, most: int, whose: str) -> None:
    if counts.get(key, 0) >= most:
        text = f"{whose} has {most} connections, as many as it may have"
        raise Refusal("too_many_connections", text, RETRY_FULL_AFTER_S)


def _take_one_off(counts: dict[str, int], key: str) -> None:
    """Count down, and drop a counter that is at zero."""
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
