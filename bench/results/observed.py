"""What a trial observed on the wire, in /proc and in its own processes, next to what its plan says. Plain data.

``bench.trial.plausible`` and ``planned`` make each difference from the plan a reason why the trial is invalid.
"""

import msgspec


class SentRequest(msgspec.Struct, frozen=True):
    """The first request of a method and path, as it was sent."""

    names: list[str]
    """Names of its headers, sorted, in lower case."""
    header_bytes: int
    """Bytes of its header lines; the server's address in them counts as ``{host}``."""


class Process(msgspec.Struct, frozen=True):
    """A process whose CPU was read, from /proc at both ends of the measured part."""

    pid: int
    command: str


class Excess(msgspec.Struct, frozen=True):
    """Measured minus predicted, from before the first event until all were delivered: no edge cuts a delivery."""

    framing_bytes_per_event: float | None = None
    """Of a stream, heartbeats left out; of a poll's bodies. What an envelope's digits explain is within 2 bytes."""
    tcp_ip_share: float | None = None
    requests_share: float | None = None
    requests_chance: float = 0.0
    """What chance alone may add to that share, on either side: few pollers, few requests."""
    sent_bytes_per_request: float | None = None
    """Bytes that pollers sent for each request, beyond its line and the headers that they say they sent."""
    head_bytes_per_answer: float | None = None
    """Bytes of a poll's answer before its body, as they are: nothing is subtracted."""


class RelayCheck(msgspec.Struct):
    """Pings through a relay of its own, from outside."""

    when: str
    """``before the first trial`` or ``after the last``."""
    rtt_ms: float
    up_ms_min: float = 0.0
    up_ms_p50: float = 0.0
    """One way to the server ..."""
    down_ms_min: float = 0.0
    down_ms_p50: float = 0.0
    """... and one way back; 0 if there was no ping."""
    reasons: list[str] = []
    """Why the trials behind such a relay are invalid; empty if it does what is planned."""


class Observed(msgspec.Struct):
    """Facts of one trial. ``None``: this transport has no such thing, or the generator is not ours."""

    earliest_ms: float | None = None
    """The smallest latency; no delivery can take less than one transit."""
    impossible: int = 0
    """Deliveries that took less than that."""
    subscribers: int | None = None
    """How many there were, of which each had a number of its own."""
    stamp_after_kernel_ms: float | None = None
    """Median of the clients' receive stamps minus the kernel's, which are right to a tick, ..."""
    tick_ms: float | None = None
    """... and the length of one."""
    stamps_recorded: float | None = None
    """Share of newest stamps that are those of recorded deliveries: about 1 on a stream."""
    excess: Excess = Excess()
    codings: list[str] = []
    """Content codings and WebSocket extensions that answers named; empty: nothing was compressed."""
    requests: dict[str, SentRequest] = {}
    """Method and path -> its first request."""
    heartbeats_most: int | None = None
    heartbeats_least: int | None = None
    """Heartbeats of one stream during its life, at most and at least."""
    life_s: float | None = None
    """Since the first subscriber began to connect, until all was delivered."""
    heartbeat_period_s: float | None = None
    """Median over streams that had two or more."""
    poll_period_s: float | None = None
    """Median over pollers."""
    poll_kuiper: float | None = None
    """Kuiper's statistic of the polls' phases: how far they are from even."""
    holds_s: list[float] = []
    """Holds that long polls asked for."""
    empty_early_s: float | None = None
    """How much sooner than asked an empty answer ended a hold, at most."""
    generator_collects: bool | None = None
    """Was a generator's garbage collector on, or did it run, in the measured part?"""
    server_collector: dict[str, object] = {}
    """The server's garbage collector as it was, at the end."""
    server: Process | None = None
    relay: Process | None = None
    begin_pids: list[int] = []
    """The processes that were read as server and relay when the measured part began."""
    idle_pid: int | None = None
    """The process whose CPU was taken for that of the idle server ..."""
    idle_share: float | None = None
    """... and the share of a core that was subtracted."""
