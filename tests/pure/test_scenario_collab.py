"""The metrics of collaborative editing: keys lost, refused or repeated, and documents apart."""

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.scenarios.collab import differing
from bench.scenarios.registry import SCENARIOS
from reports.table.suits import RULES
from tests.helpers.recorded import at, recorded


def final(writer: int, text: str) -> list[tuple[int, ...]]:
    return [(writer, at, ord(character)) for at, character in enumerate(text)]


def collab(rows: Mapping[str, Sequence[tuple[int, ...]]]) -> dict[str, float]:
    """Two documents of two."""
    return SCENARIOS["collab"].metrics(recorded("collab", rows, 4, writers=2))


KEYS = {
    "typed": [(0, 1, at(100), at(140)), (1, 2, at(200), at(241)), (2, 1, at(100), at(140))],
    "seen": [(1, 1, at(145)), (0, 2, at(246)), (3, 1, at(145))],
    "final": [row for writer, text in enumerate(("ab", "ab", "c", "c")) for row in final(writer, text)],
}


def test_documents_of_writers_who_have_all_keys() -> None:
    found = collab(KEYS)
    problems = (*RULES["collab"].never, "characters_apart")
    assert [found[name] for name in problems] == [0, 0, 0, 0, 0]
    assert found["wire_bytes_per_key"] == pytest.approx(1000 / 3)


@pytest.mark.parametrize(
    ("kind", "rows", "problem", "count"),
    [
        ("seen", KEYS["seen"][:-1], "keys_lost", 1),
        ("seen", [*KEYS["seen"], KEYS["seen"][0]], "keys_repeated", 1),
        ("final", [*KEYS["final"], (3, 1, ord("d"))], "documents_apart", 1),
        ("final", [*KEYS["final"], (3, 1, ord("d"))], "characters_apart", 1),
        ("final", KEYS["final"][:-1], "characters_apart", 1),
        ("final", [], "documents_apart", 2),
        ("typed", [*KEYS["typed"], (0, 0, at(100), 0)], "keys_unacknowledged", 1),
    ],
)
def test_what_is_wrong_with_documents_is_counted(
    kind: str, rows: list[tuple[int, ...]], problem: str, count: int
) -> None:
    assert collab({**KEYS, kind: rows})[problem] == count


@given(st.text("abc", max_size=30), st.text("abc", max_size=30))
def test_characters_apart_are_symmetric_in_size_and_none_between_equals(one: str, other: str) -> None:
    assert differing(one, one) == 0
    assert differing(one, other) >= abs(len(one) - len(other))
    assert differing(one, "") == len(one)
    assert (differing(one, other) == 0) == (one == other)
