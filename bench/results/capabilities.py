"""The results of the yes/no questions that are tried out (docs/results-format.md). Pure."""

import msgspec

from bench.results.provenance import Provenance


class Probe(msgspec.Struct, frozen=True):
    """One functional question to one transport: yes, no, or ``None`` where it could not be tried; and the evidence."""

    transport: str
    probe: str
    holds: bool | None
    evidence: str


class ProbeResults(Provenance):
    """One run of ``python -m bench probes``."""

    probes: list[Probe]
