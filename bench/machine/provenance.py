"""Provenance of results: the command, the machine and the options in force, as in every results file."""

from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import msgspec

from bench.machine.host import Placement, facts, versions
from bench.results.provenance import SCHEMA_VERSION
from clients.core.options import ClientOptions
from feed.instruments.tcp import CONGESTION_CONTROL, MAX_SEGMENT_BYTES


def provenance(command: list[str], placement: Placement) -> dict[str, Any]:
    """The fields that all results have, for a run that has not measured anything yet."""
    return {
        "schema_version": SCHEMA_VERSION,
        "pushmark_version": _pushmark_version(),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "finished": False,
        "command": command,
        "host": facts(),
        "versions": versions(),
        "options": _options_in_force(placement),
    }


def _options_in_force(placement: Placement) -> dict[str, object]:
    """Options that can move a number and are neither the plan's nor in a ready line."""
    return {
        "placement": placement._asdict(),
        "client": msgspec.to_builtins(ClientOptions()),
        "congestion_control_asked_for": CONGESTION_CONTROL,
        "max_segment_bytes": MAX_SEGMENT_BYTES,
        "generator_gc": "collected, frozen and off after the ramp",
        "server_gc": "Python's default; tuned in trials that say so",
    }


def _pushmark_version() -> str:
    """Version of this checkout as it was set up."""
    try:
        return metadata.version("pushmark")
    except metadata.PackageNotFoundError:  # run without `make setup`
        return "unknown"
