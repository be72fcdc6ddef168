"""The tuned polls cut queries by hand: they must understand what any client sends as Starlette does."""

from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from servers.query import parameters

PURE = settings(deadline=None, derandomize=True, database=None)
TEXTS = st.text(max_size=12)


@PURE
@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=6), st.sampled_from([quote, quote_plus]))
def test_a_query_is_understood_as_starlette_does(pairs: list[tuple[str, str]], encode: object) -> None:
    assert callable(encode)
    query = "&".join(f"{encode(name)}={encode(value)}" for name, value in pairs).encode()
    assert parameters(query) == dict(QueryParams(query))


@pytest.mark.parametrize("query", (b"", b"&", b"a", b"a=", b"=b", b"a=b=c", b"a=1&a=2", b"a&b=&&c=3"))
def test_odd_queries(query: bytes) -> None:
    assert parameters(query) == dict(QueryParams(query))
