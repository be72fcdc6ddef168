"""What transports can and cannot do, as tried on real servers. Reads ``capabilities.json``."""

from typing import Final

from bench.results.capabilities import CapabilityCheck, CapabilityResults
from bench.results.files import CAPABILITIES_FILE
from feed.transports import TRANSPORTS
from reports.formats import NOT_MEASURED
from reports.layout import Section, Table
from reports.style import LOOKS
from reports.table.run import RunFolder

QUESTIONS: Final = {
    "sends_where_it_receives": "sends on the connection that it receives on (full duplex)",
    "passes_a_plain_proxy": "works through a proxy that forwards no Upgrade",
    "waits_for_data": "a request is held until there is data",
    "asks_on_a_clock": "asks again though nothing happens",
    "opens_connections": "opens a connection for every event",
    "reconnects_in_a_browser": "a browser reconnects by itself",
}
"""Check -> the question in words."""
ANSWERS: Final = {True: "yes", False: "no", None: "not tried"}


def build(run: RunFolder) -> list[Section]:
    """A table of answers, and one of the evidence."""
    results = run.read(CAPABILITIES_FILE, CapabilityResults)
    return [] if results is None else [capability_section(results)]


def capability_section(results: CapabilityResults) -> Section:
    """The same from results that were read."""
    names = [name for name in TRANSPORTS if any(of.transport == name for of in results.checks)]
    asked = dict.fromkeys(of.check for of in results.checks)
    answers = [[_question(probe), *(_answer(results, probe, name) for name in names)] for probe in asked]
    evidence = [
        [_question(of.check), LOOKS[of.transport].name, ANSWERS[of.holds], of.evidence] for of in results.checks
    ]
    note = f"{NOT_MEASURED}: the question makes no sense there."
    tables = [
        Table("Yes or no", ["", *(LOOKS[name].name for name in names)], answers, [note]),
        Table("What happened", ["", "Transport", "Answer", "Evidence"], evidence, [], on_terminal=False),
    ]
    title = "Tried on real servers, real sockets and a real browser"
    return Section("What transports can and cannot do", title, [], tables)


def _question(probe: str) -> str:
    return QUESTIONS.get(probe, probe)


def _answer(results: CapabilityResults, probe: str, transport: str) -> str:
    found: CapabilityCheck | None = next(
        (of for of in results.checks if (of.transport, of.check) == (transport, probe)), None
    )
    return NOT_MEASURED if found is None else ANSWERS[found.holds]
