"""Traces of concurrent editing that nobody has typed."""

import random

import msgspec

from bench.scenarios.trace import Edit, Replica, Trace, replay

LETTERS = "abc \u00e4\U0001f600"


def made_up(seed: int, writers: int, edits: int) -> Trace:
    """Each edit follows its writer's last one, and now and then what the others have until then."""
    draw = random.Random(seed)
    made: list[Edit] = []
    trace = Trace("concurrent", made, "", writers)
    replicas = [Replica(trace, writer) for writer in range(writers)]
    newest: dict[int, int] = {}
    updates: list[bytes] = []
    for index in range(edits):
        writer = draw.randrange(writers)
        parents = set(newest.values()) if draw.random() < 0.3 else {newest[writer]} if writer in newest else set()
        made.append(Edit(sorted(parents), writer, []))
        for other in replicas[writer].lacking(index):
            replicas[writer].take(other, updates[other])
        size = len(replicas[writer].text)
        place = draw.randint(0, size)
        deleted = draw.randint(0, min(2, size - place))
        inserted = "".join(draw.choices(LETTERS, k=draw.randint(0, 2)))
        made[index] = Edit(sorted(parents), writer, [(place, deleted, inserted)])
        updates.append(replicas[writer].edit(index))
        newest[writer] = index
    return msgspec.structs.replace(trace, text=replay(trace))
