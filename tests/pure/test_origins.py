"""Origins: a page is let in if it is the server's own or on the list, and no spelling of a name gets around that."""

import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.types import Scope

from servers.gate.errors import Refusal
from servers.gate.origins import OriginError, Origins

PURE = settings(deadline=None, derandomize=True, database=None)
HOST = "feed.example.org"
APP = "https://app.example.org"

LABELS = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=8)
NAMES = st.lists(LABELS, min_size=1, max_size=3).map(".".join) | st.sampled_from(
    ["[::1]", "[2001:DB8::5]", "127.0.0.1"]
)
SCHEMES = st.sampled_from(["http", "https", "HTTPS"])
PORTS = st.none() | st.integers(0, 65_535) | st.sampled_from([80, 443])
NEAR_ORIGINS = st.text("htps:/[]0123456789abc.@*#?% \0é\r\nK", max_size=30)


def page(origin: str | None, host: str = HOST, scheme: str = "http") -> Scope:
    """A request of a page."""
    headers = [(b"host", host.encode("latin-1"))]
    if origin is not None:
        headers.append((b"origin", origin.encode("latin-1")))
    return {"type": "http", "scheme": scheme, "headers": headers}


def spell(scheme: str, name: str, port: int | None) -> str:
    return f"{scheme}://{name}" if port is None else f"{scheme}://{name}:{port}"


def meaning(scheme: str, name: str, port: int | None) -> tuple[str, str, int]:
    """What RFC 6454 compares."""
    scheme = scheme.lower()
    return scheme, name.lower(), {"http": 80, "https": 443}[scheme] if port is None else port


def assert_refused(origins: Origins, scope: Scope) -> None:
    with pytest.raises(Refusal) as caught:
        origins.check(scope)
    assert caught.value.code == "origin_not_allowed" and caught.value.kind.status == 403
    assert len(caught.value.message) < 600


def test_who_is_no_browser_sends_no_origin() -> None:
    assert Origins().check(page(None)) is None
    assert Origins([APP]).check(page(None)) is None


@pytest.mark.parametrize(
    ("origin", "host"),
    (
        ("http://feed.example.org", "feed.example.org"),
        ("http://feed.example.org", "feed.example.org:80"),
        ("http://feed.example.org:80", "feed.example.org"),
        ("https://feed.example.org", "feed.example.org"),
        ("https://feed.example.org", "feed.example.org:443"),
        ("http://FEED.example.org", "feed.EXAMPLE.org"),
        ("http://localhost:8000", "localhost:8000"),
        ("http://[::1]:8000", "[::1]:8000"),
    ),
)
def test_the_servers_own_pages_are_let_in(origin: str, host: str) -> None:
    """Also behind a proxy that ends TLS, where the request has come by plain HTTP."""
    assert Origins().check(page(origin, host)) is None


@pytest.mark.parametrize(
    "origin",
    (
        "null",
        "",
        "*",
        "http://",
        "http://feed.example.org:8000",
        "http://feed.example.org:443",
        "https://feed.example.org:80",
        "http://example.org",
        "http://www.feed.example.org",
        "http://feed.example.org.evil.example",
        "http://evilfeed.example.org",
        "http://feed.example.org@evil.example",
        "http://evil.example#feed.example.org",
        "http://feed.example.org/",
        "http://feed.example.org:",
        "http://feed.example.org:65616",
        "http://feed.example.org ",
        "http://feed.example.org\n",
        "http://feed.example.org, http://evil.example",
        "ws://feed.example.org",
        "file://",
        "feed.example.org",
    ),
)
def test_others_are_not(origin: str) -> None:
    for origins in (Origins(), Origins([APP])):
        assert_refused(origins, page(origin))


def test_a_page_without_tls_is_another_origin_where_tls_ends_here() -> None:
    for scheme in ("https", "wss"):
        assert_refused(Origins(), page(f"http://{HOST}", scheme=scheme))
        assert Origins().check(page(f"https://{HOST}", scheme=scheme)) is None


def test_what_is_sent_twice_is_not_trusted() -> None:
    twice = page(f"http://{HOST}")
    twice["headers"].append((b"origin", f"http://{HOST}".encode()))
    assert_refused(Origins(), twice)
    two_hosts = page(f"http://{HOST}")
    two_hosts["headers"].append((b"host", HOST.encode()))
    assert_refused(Origins(), two_hosts)
    assert_refused(Origins(), {"type": "http", "headers": [(b"origin", b"http://feed.example.org")]})


def test_what_is_on_the_list_is_let_in_and_named_in_the_answer() -> None:
    origins = Origins(["HTTPS://App.example.org:443", "http://localhost:8080"])
    assert origins.check(page(APP)) == APP
    assert origins.check(page("http://localhost:8080")) == "http://localhost:8080"
    for other in ("http://app.example.org", f"{APP}:8443", "http://localhost", "https://localhost:8080"):
        assert_refused(origins, page(other))
    assert origins.check(page(APP, host="app.example.org")) is None, "its own page needs no leave"


@pytest.mark.parametrize(
    "text", ("*", "", "null", "app.example.org", f"{APP}/", f"{APP}/path", "wss://app.example.org", APP + ":x")
)
def test_what_is_no_origin_cannot_be_on_the_list(text: str) -> None:
    with pytest.raises(OriginError) as caught:
        Origins([APP, text])
    assert repr(text) in str(caught.value)
    assert "each origin" in str(caught.value) if text == "*" else "https://app.example.org" in str(caught.value)


@PURE
@given(SCHEMES, NAMES, PORTS, SCHEMES, NAMES, PORTS)
def test_one_origin_opens_for_itself_only(
    scheme: str, name: str, port: int | None, other_scheme: str, other_name: str, other_port: int | None
) -> None:
    origins = Origins([spell(scheme, name, port)])
    for ours in (meaning(scheme, name, port), meaning(other_scheme, other_name, other_port)):
        text = spell(*ours)
        if ours == meaning(scheme, name, port):
            browser = text.removesuffix({"http": ":80", "https": ":443"}[ours[0]])
            assert origins.check(page(text)) == origins.check(page(browser)) == browser
        else:
            assert_refused(origins, page(text))


@PURE
@given(NAMES, PORTS, SCHEMES, NAMES, PORTS)
def test_a_page_is_the_servers_own_if_host_and_port_are(
    host: str, host_port: int | None, scheme: str, name: str, port: int | None
) -> None:
    scope = page(spell(scheme, name, port), host if host_port is None else f"{host}:{host_port}")
    if meaning(scheme, host, host_port) == meaning(scheme, name, port):
        assert Origins().check(scope) is None
    else:
        assert_refused(Origins(), scope)


@PURE
@given(
    st.binary(max_size=40) | NEAR_ORIGINS.map(lambda text: text.encode("latin-1", "replace")), st.binary(max_size=40)
)
@example(b"http://" + b"[" * 1000, b"[")
@example(b"https://" + b"9" * 10_000, b":" * 1000)
@example("http://\u00b2".encode("latin-1"), b"\xb2")
def test_any_header_is_refused_or_understood(origin: bytes, host: bytes) -> None:
    scope: Scope = {"type": "websocket", "headers": [(b"host", host), (b"origin", origin)]}
    try:
        assert Origins([APP]).check(scope) in (None, APP)
    except Refusal as refusal:
        assert refusal.code == "origin_not_allowed"


@PURE
@given(st.text(max_size=40) | NEAR_ORIGINS)
@example("http://\u212aelvin")
@example("http\u017f://example.org")
@example("http://example.org:\u0663")
def test_any_text_for_the_list_is_refused_or_understood(text: str) -> None:
    try:
        origins = Origins([text])
    except OriginError:
        return
    assert text.isascii()
    assert origins.check(page(text, host="elsewhere.example")) is not None


def test_an_answer_names_the_origin_and_is_cached_for_it_alone() -> None:
    origins = Origins([APP])
    answer = dict(origins.response_headers(APP))
    assert answer == {
        b"access-control-allow-origin": APP.encode(),
        b"access-control-allow-credentials": b"true",
        b"vary": b"Origin",
    }
    preflight = dict(origins.preflight_headers(APP))
    assert preflight.items() >= answer.items()
    assert preflight[b"access-control-allow-methods"] == b"GET, POST, DELETE"
    assert preflight[b"access-control-allow-headers"] == b"authorization, content-type, last-event-id, pushmark-session"
    assert preflight[b"access-control-max-age"] == b"600"
