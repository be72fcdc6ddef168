"""How long a client is: what counts as a line, and that every transport of the table has an example."""

from hypothesis import given
from hypothesis import strategies as st

from reports.table.clients import client_lines, lines_of_code
from reports.table.ratings import ARTICLE

STATEMENTS = st.lists(st.sampled_from(["a = 1", "b = [1,\n 2]", "def f():\n    return 1", 'c = """x\ny"""']))
SILENT = st.lists(st.sampled_from(["", "# a comment", "    # another", "\n\n"]), min_size=1)


@given(STATEMENTS, SILENT)
def test_comments_and_blank_lines_do_not_count(statements: list[str], silent: list[str]) -> None:
    plain = "\n".join(statements) + "\n"
    spread = "\n".join([*silent, *(line for one in statements for line in (one, *silent))]) + "\n"
    assert lines_of_code(plain) == lines_of_code(spread) == sum(one.count("\n") + 1 for one in statements)


def test_docstrings_do_not_count() -> None:
    assert lines_of_code('"""About\nit."""\n\n\ndef f():\n    """What it does."""\n    return "no docstring"\n') == 2


def test_every_transport_of_the_table_has_a_client() -> None:
    assert {name for name in ARTICLE if client_lines(name) is None} == {"raw"}
