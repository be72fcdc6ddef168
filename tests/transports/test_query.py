"""The tuned polls cut queries by hand: they must understand what any client sends as Starlette does."""

import http.client
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from feed.transports import TRANSPORTS
from servers.gate.errors import Refusal
from servers.gate.query import number, parameters
from tests.conftest import SERVED, Start

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


@pytest.mark.parametrize("text", ("1_0", "\uff11", " 1", "1 ", "0x1", "1e", ".", "+-1", "infinity", "1e9999"))
def test_what_only_python_takes_for_a_number_is_none(text: str) -> None:
    with pytest.raises(Refusal, match="expected a number"):
        number({"hold_s": text}, "hold_s", 25, 0, 55)


@pytest.mark.parametrize(
    ("text", "value"), (("1", 1), ("1.", 1), (".5", 0.5), ("+1", 1), ("1e1", 10), ("2.5E-1", 0.25))
)
def test_numbers_are_read(text: str, value: float) -> None:
    assert number({"hold_s": text}, "hold_s", 25, 0, 55) == value


@pytest.mark.parametrize("served", [name for name in SERVED if TRANSPORTS[name.partition(":")[0]].is_poll])
def test_head_is_answered_and_what_follows_is_not_shifted(share: Start, served: str) -> None:
    """The answer to HEAD has no body; a variant that waited for one would never send the head."""
    server = share(served, "--source", "none")
    path = TRANSPORTS[served.partition(":")[0]].path
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    for method in ("HEAD", "GET", "HEAD", "GET"):
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200 and int(answer.headers["content-length"]) > 0
        assert bool(body) == (method == "GET")
    connection.close()


@pytest.mark.parametrize("served", [name for name in SERVED if not name.startswith(("websocket", "socketio", "raw"))])
def test_a_wrong_method_is_refused(share: Start, served: str) -> None:
    server = share(served, "--source", "none")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request("POST", TRANSPORTS[served.partition(":")[0]].path, body=b"x")
    assert connection.getresponse().status == 405
    connection.close()
