"""What TLS costs: the same load with and without TLS, side by side in each block. Pure."""

from typing import Final

from bench.results.catalogue import METRICS
from reports.formats import with_interval
from reports.layout import Table
from reports.sections.cost_trials import Valid
from reports.style import LOOKS

SECTION: Final = "tls"
COLUMNS: Final = (
    "server_cpu_us_per_event",
    "wire_bytes_per_event",
    "setup_bytes_per_connection",
    "handshake_ms_p50",
    "server_cpu_us_per_handshake",
)
SUFFIX: Final = "+tls"


def tls_table(valid: Valid) -> Table:
    """Three rows per transport: without TLS, with TLS, and their ratio."""
    rows = []
    for arm in valid.arms(SECTION):
        name = LOOKS[arm.removesuffix(SUFFIX)].name
        values = [with_interval(valid.estimate(SECTION, arm, metric)) for metric in COLUMNS]
        rows.append([f"{name}, TLS" if arm.endswith(SUFFIX) else name, *values])
        if arm.endswith(SUFFIX):
            plain = arm.removesuffix(SUFFIX)
            ratios = [with_interval(valid.ratio(SECTION, arm, metric, plain)) for metric in COLUMNS]
            rows.append(["  with / without", *ratios])
    notes = [
        "TLS 1.3, ECDSA P-256, no resumed session, no compression. Handshake: a new connection on loopback, from "
        "connecting until it could carry a request; it carries none, and its server CPU includes closing it.",
    ]
    return Table("What TLS costs", ["", *(METRICS[name].title for name in COLUMNS)], rows, notes)
