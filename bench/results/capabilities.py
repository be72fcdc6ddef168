"""The results of the yes/no capability checks (docs/results-format.md). Pure."""

import msgspec

from bench.results.provenance import Provenance


class CapabilityCheck(msgspec.Struct, frozen=True):
    """One yes/no question to one transport: yes, no, or ``None`` where it could not be tried; and the evidence."""

    transport: str
    check: str
    holds: bool | None
    evidence: str


class CapabilityResults(Provenance):
    """One run of ``python -m bench capabilities``."""

    checks: list[CapabilityCheck]
