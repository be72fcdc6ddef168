"""What moves the cost of a delivery: the same arms under several loads, with the shares that may explain it. Pure."""

from reports.formats import NOT_MEASURED, number, with_interval
from reports.layout import Table
from reports.sections.cost_trials import PER_EVENT, RATES, Bar, Valid, arm_name, size_of

HEAD = [
    "Load",
    "",
    "deliveries/s",
    "Server CPU per event, µs",
    "user, µs",
    "system, µs",
    "× baseline",
    "× floor",
    "segments per event",
    "server, of a core",
    "generator, of a core",
]
METRICS = ("segments_per_event", "server_cpu_share", "generator_cpu_share")


def load_table(valid: Valid, sweep: str, quantity: str) -> Table:
    """A row per load and arm, the smallest load first. ``quantity`` labels the loads."""
    places = [
        (load, sweep, load)
        for load in dict.fromkeys(one.load for arm in valid.arms(sweep) for one in valid.of(sweep, arm))
    ]
    if sweep == "rate":
        places += [(rate, section, "") for section, rate in RATES.items()]
    rows = []
    for label, section, load in sorted(places, key=lambda place: size_of(place[0])):
        for arm in valid.arms(section):
            bar = valid.bar(section, arm, PER_EVENT, load)
            if bar is not None:
                received, *shares = (
                    valid.estimate(section, arm, metric, load) for metric in ("received_events_per_s", *METRICS)
                )
                each_s = number(received.value) if received else NOT_MEASURED
                cost = [with_interval(bar.total), *split(bar), with_interval(bar.ratio), with_interval(bar.of_floor)]
                rows.append([label, arm_name(arm), each_s, *cost, *map(with_interval, shares)])
    notes = [
        "Segments: TCP segments that clients received per event; below 1, events shared a segment, and so a write of "
        "the kernel. The less of a core the server uses, the more often it wakes from idle with cold caches."
    ]
    return Table(f"What moves the cost over {quantity}", HEAD, rows, notes, on_terminal=False)


def split(bar: Bar) -> list[str]:
    """The part of a cost in user mode, and the kernel's."""
    if bar.user is None:
        return [NOT_MEASURED, NOT_MEASURED]
    return [number(bar.user), number(bar.total.value - bar.user)]
