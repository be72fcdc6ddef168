"""The networks that the relay can stand for, as plain numbers. Their sources are in docs/method.md, "Network". Pure."""

from typing import Final

import msgspec

CUSTOM: Final = "custom"
"""The name of a network that is none of the presets."""

RANGES: Final[dict[str, tuple[float, float]]] = {
    "rtt_ms": (0, 10_000),
    "jitter_ms": (0, 1000),
    "bandwidth_mbit_s": (0, 100_000),
    "loss": (0, 0.1),
}
"""What is allowed. More loss than 10 % no longer is a slow network but a broken one."""

MIN_VARIANCE_TERM_MS: Final = 200.0
"""Linux never lets what it adds to the smoothed round trip become less (TCP_RTO_MIN, include/net/tcp.h)."""


class NetworkError(ValueError):
    """A network that cannot be modelled; the message names the number and what is allowed."""


class Network(msgspec.Struct, frozen=True):
    """What lies between client and server; the same in both directions."""

    name: str
    rtt_ms: float
    """The shortest round trip, in milliseconds: what distance alone takes, half of it each way."""
    jitter_ms: float = 0.0
    """Each segment is delayed by up to so much more, evenly distributed, in each direction."""
    bandwidth_mbit_s: float = 0.0
    """Megabits per second of each connection and direction; 0: no limit."""
    loss: float = 0.0
    """Share of the segments that are lost, 0 to 0.1."""

    @property
    def is_plain(self) -> bool:
        """Nothing but a constant delay?"""
        return not (self.jitter_ms or self.bandwidth_mbit_s or self.loss)

    @property
    def retransmission_timeout_ms(self) -> float:
        """How long TCP waits for an acknowledgement before it sends again, in milliseconds (RFC 6298, section 2).

        ``SRTT + max(200 ms, 4 RTTVAR)``: Linux has 200 ms where the RFC has a floor of 1 s on the whole. Jitter adds
        ``J`` to the average round trip, ``J/2`` each way; the mean deviation of two such delays is ``J/3``.
        """
        return self.rtt_ms + self.jitter_ms + max(MIN_VARIANCE_TERM_MS, 4 * self.jitter_ms / 3)

    @property
    def words(self) -> str:
        """For people: ``120 ms round trip, up to 20 ms jitter each way``."""
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
        # Between WebPageTest's Cable (28 ms) and DSL (50 ms). No limit of bandwidth: the benchmark's subscribers move
        # kilobytes a second, and runs stay comparable with those from before there were networks to choose from.
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
    """A preset with what was given instead of its own numbers (``None``: not given). Raises ``NetworkError``.

    It has the name of the preset whose numbers it has, whichever way it came to them.
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
