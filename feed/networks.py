"""The networks that the relay models, as plain numbers. Their sources are in docs/method.md, "Network". Pure."""

from typing import Final

import msgspec

CUSTOM: Final = "custom"
"""Name of a network that is no preset."""

RANGES: Final[dict[str, tuple[float, float]]] = {
    "rtt_ms": (0, 10_000),
    "jitter_ms": (0, 1000),
    "bandwidth_mbit_s": (0, 100_000),
    "loss": (0, 0.1),
}
"""Allowed values. A network that loses more than 10 % is broken, not slow."""

MIN_VARIANCE_TERM_MS: Final = 200.0
"""Smallest term that Linux adds to the smoothed round trip (TCP_RTO_MIN, include/net/tcp.h)."""


class NetworkError(ValueError):
    """The network cannot be modelled; the message names the number and what is allowed."""


class Network(msgspec.Struct, frozen=True):
    """The network between client and server; the same in both directions."""

    name: str
    rtt_ms: float
    """Shortest round trip, half of it each way: the time that distance alone takes."""
    jitter_ms: float = 0.0
    """Largest extra delay of a segment, uniformly distributed, in each direction."""
    bandwidth_mbit_s: float = 0.0
    """Limit of each connection and direction; 0: no limit."""
    loss: float = 0.0
    """Share of segments that are lost, 0 to 0.1."""

    @property
    def is_plain(self) -> bool:
        """Is it only a constant delay?"""
        return not (self.jitter_ms or self.bandwidth_mbit_s or self.loss)

    @property
    def retransmission_timeout_ms(self) -> float:
        """Time until TCP sends an unacknowledged segment again (RFC 6298, section 2).

        ``SRTT + max(200 ms, 4 RTTVAR)``: Linux has these 200 ms, the RFC a floor of 1 s on the sum. Jitter adds
        ``J`` to the average round trip, ``J/2`` each way; the mean deviation of two such delays is ``J/3``.
        """
        return self.rtt_ms + self.jitter_ms + max(MIN_VARIANCE_TERM_MS, 4 * self.jitter_ms / 3)

    @property
    def words(self) -> str:
        """The network in words: ``120 ms round trip, up to 20 ms jitter each way``."""
        found = [f"{self.rtt_ms:g} ms round trip" if self.rtt_ms else "no network delay"]
        found += [f"up to {self.jitter_ms:g} ms jitter each way"] if self.jitter_ms else []
        found += [f"{self.bandwidth_mbit_s:g} Mbit/s"] if self.bandwidth_mbit_s else []
        found += [f"{100 * self.loss:g} % loss (modelled)"] if self.loss else []
        return ", ".join(found)


PRESETS: Final[dict[str, Network]] = {
    network.name: network
    for network in (
        Network("loopback", 0.0),
        Network("lan", 1.0),
        # Between WebPageTest's Cable (28 ms) and DSL (50 ms). Bandwidth has no limit: the benchmark's subscribers move
        # kilobytes a second, and older runs, which had this one network, stay comparable.
        Network("broadband", 40.0),
        # Between WebPageTest's LTE (70 ms) and 4G (170 ms), with the bandwidth of its 4G. The jitter is our choice.
        Network("mobile", 120.0, jitter_ms=20.0, bandwidth_mbit_s=9.0),
    )
}
"""WebPageTest: https://github.com/WPO-Foundation/webpagetest, www/settings/connectivity.ini.sample."""


def make_network(
    preset: str = "broadband",
    *,
    rtt_ms: float | None = None,
    jitter_ms: float | None = None,
    bandwidth_mbit_s: float | None = None,
    loss: float | None = None,
) -> Network:
    """A preset, with the given numbers instead of its own (``None``: its own). Raises ``NetworkError``.

    A network with the numbers of a preset has that preset's name, even if all of them were given one by one.
    """
    if preset not in PRESETS:
        raise NetworkError(f"network {preset!r}: allowed are {', '.join(PRESETS)}")
    numbers = {"rtt_ms": rtt_ms, "jitter_ms": jitter_ms, "bandwidth_mbit_s": bandwidth_mbit_s, "loss": loss}
    given = {name: value for name, value in numbers.items() if value is not None}
    for name, value in given.items():
        low, high = RANGES[name]
        if not low <= value <= high:
            raise NetworkError(f"{name} {value}: allowed are {low:g} to {high:g}")
    wanted = msgspec.structs.replace(PRESETS[preset], name=CUSTOM, **given)
    same = (known for known in PRESETS.values() if msgspec.structs.replace(known, name=CUSTOM) == wanted)
    return next(same, wanted)
