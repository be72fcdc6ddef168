"""How much one address, one user and one connection may ask for.

The buckets are those of throttled-py, with its GCRA: a token bucket that keeps the instant at which it will be full
again in place of a count. The library's own ``token_bucket`` reads the wall clock in whole seconds: it gives the tokens
of a second at once, and none at all for as long as the clock was set back.
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
"""What is said to who has too many connections: nobody knows when one of them will close."""
LONGEST_PERIOD_S: Final = 3600
"""The library takes whole numbers of requests per whole seconds: no rate is under one in this time."""
MAX_BUCKETS: Final = 100_000
"""So many of each kind are kept at most; beyond that, who has been quiet for longest counts as new."""
SWEPT_AT_ONCE: Final = 100
"""At most so many full buckets are dropped by one call, so that none takes long after a flood."""

MAX_COUNT: Final = 1_000_000_000
"""Of what is counted, and of a rate per second: more than any machine can do, and no trouble to calculate with."""

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
    """Limits of one server. High, as a benchmark opens ten thousand connections from one address."""

    connections_per_address: Count = 20_000
    """Open at the same time."""
    connections_per_user: Count = 100
    """Open at the same time; anonymous ones are not counted."""
    handshakes_per_address_hz: Rate = 5000.0
    """New connections per second, in the long run."""
    handshake_burst: Count = 20_000
    """New connections at once."""
    messages_per_connection_hz: Rate = 50.0
    """Requests per second, in the long run."""
    message_burst: Count = 100
    """Requests at once."""
    messages_per_user_hz: Rate = 200.0
    """Requests per second over all connections of a user, in the long run; anonymous ones are not counted."""
    user_message_burst: Count = 400
    """Requests at once over all connections of a user."""
    rooms_per_connection: CountOrNone = 64
    """Rooms that a connection may be a member of."""
    message_bytes: Count = 65_536
    """Length of a request in bytes."""
    strikes: CountOrNone = 3
    """Requests in a row that may be over a limit; the next one ends the connection."""


def parse_limit(name: str, text: str) -> float:
    """The value of one limit as it was written. Raises ``ValueError`` naming the limit and what is allowed."""
    types = {field.name: field.type for field in msgspec.structs.fields(LimitOptions)}
    if name not in types:
        raise ValueError(f"{name!r} is no limit: there are {', '.join(types)}")
    try:
        value: float = msgspec.convert(text, types[name], strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(f"{name}={text}: expected {_FORMS[types[name]]}") from error
    return value


class Limits:
    """What counts against the limits of one server. Call from the event loop's thread only.

    ``admit`` comes before a connection, ``message`` before each of its requests, ``release`` and ``forget`` after it.
    Raises ``ValueError`` for a rate that cannot be kept to.
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
        """A connection that was admitted is gone. Raises ``KeyError`` for one that was not."""
        _take_one_off(self._by_address, address)
        if user:
            _take_one_off(self._by_user, user)
        self._sweep()

    def message(self, connection_id: str, user: str, size: int) -> None:
        """Count a request of ``size`` bytes. Raises ``Refusal`` with ``message_too_large`` or ``rate_limited``."""
        if size > self.options.message_bytes:
            raise Refusal("message_too_large", f"{size} bytes: a request may have {self.options.message_bytes}")
        self._messages.take(connection_id)
        if user:
            self._user_messages.take(user)

    def forget(self, connection_id: str) -> None:
        """Free what is kept of a connection."""
        self._messages.drop(connection_id)
        self._sweep()

    @property
    def kept(self) -> int:
        """Counters and buckets in memory."""
        buckets = self._handshakes.size + self._messages.size + self._user_messages.size
        return len(self._by_address) + len(self._by_user) + buckets

    def _sweep(self) -> None:
        for buckets in (self._handshakes, self._messages, self._user_messages):
            buckets.sweep()


class _Store(MemoryStore):
    """The library's memory, with what it has no public way for: to drop buckets, and to count them."""

    @property
    def size(self) -> int:
        return len(self._backend.get_client())

    def drop(self, key: str) -> None:
        self._backend.delete(key)

    def sweep(self) -> None:
        """Drop buckets that are full, which the library only does when it is asked for one.

        They are in the order of their last use, and none takes longer to fill than an empty one: behind one that is
        not full there may be some that are, but not for long.
        """
        buckets = self._backend.get_client()
        for _ in range(SWEPT_AT_ONCE):
            oldest = next(iter(buckets), None)
            if oldest is None or not self._backend.has_expired(oldest):
                return
            self._backend.delete(oldest)


class _Buckets:
    """Token buckets of one kind, one per key. A full one takes no memory."""

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
        """Buckets that are not full, or have not been looked at since."""
        return self._store.size

    def take(self, key: str) -> None:
        """Take a token. Raises ``Refusal``, saying when there will be one; that costs nothing."""
        result = self._limiter.limit(key)
        if result.limited:
            # Half a millisecond to one and a half more, as the instant may be a rounding error away.
            raise Refusal("rate_limited", self._refusal, round(result.state.retry_after + 0.001, 3))

    def drop(self, key: str) -> None:
        """Forget a key, whose bucket is full then."""
        self._store.drop(self._key + key)

    def sweep(self) -> None:
        """Forget keys whose bucket has become full."""
        self._store.sweep()


def _require_room(counts: dict[str, int], key: str, most: int, whose: str) -> None:
    if counts.get(key, 0) >= most:
        text = f"{whose} has {most} connections, as many as it may have"
        raise Refusal("too_many_connections", text, RETRY_FULL_AFTER_S)


def _take_one_off(counts: dict[str, int], key: str) -> None:
    """Count down, and keep nothing of what is at zero."""
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
