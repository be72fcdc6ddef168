"""What one trial of ``python -m bench faults`` is to do. Pure."""

from typing import NamedTuple


class PlannedFault(NamedTuple):
    """One trial to come: a fault, or an attack by hostile clients."""

    transport: str
    kind: str
    """One of ``FAULTS`` or ``ATTACKS`` of ``bench.results.reliability``."""
    repeat: int

    @property
    def id(self) -> str:
        """The trial's name in the progress and in the names of log files."""
        return f"{self.transport}-{self.kind}-{self.repeat}"
