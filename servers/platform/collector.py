"""Python's garbage collector as a server with thousands of connections may set it (decision 0008).

A fan-out allocates objects by the thousand before it frees any. Python's thresholds take that for garbage and walk
through everything that lives, which grows with the number of connections.
"""

import gc
from typing import Final

TUNED: Final = "tuned"
GC_MODES: Final = ("default", TUNED)
THRESHOLDS: Final = (50_000, 10, 10)


def tune_collector() -> None:
    """Collect once, never look again at what the start has left, and collect less often. Call it after the start."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


def collector_in_force() -> dict[str, object]:
    """The collector as it is, for the record, whatever was asked for."""
    return {"enabled": gc.isenabled(), "thresholds": gc.get_threshold(), "frozen_objects": gc.get_freeze_count()}
