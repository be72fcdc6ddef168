"""Tokens: what is accepted is what was signed with the key, and nothing else whatever it looks like."""

import base64
import json
import string
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.types import Scope

from feed.rooms import RoomNameError, check_room
from servers.gate import auth
from servers.gate.auth import (
    ANONYMOUS,
    DEV_KEY,
    Authenticator,
    AuthKeyError,
    Identity,
    find_token,
    load_key,
    may_enter,
    mint,
)
from servers.gate.errors import Refusal

PURE = settings(deadline=None, derandomize=True, database=None)
KEY = bytes(range(64))
NOW_S = 1_795_000_000.3
CODES = {"token_missing", "token_invalid", "token_expired", "token_too_long_lived"}
GOOD = {"sub": "ann", "exp": NOW_S + 30, "iat": NOW_S}

FIRST = string.ascii_letters + string.digits
USERS = st.builds(str.__add__, st.sampled_from(FIRST), st.text(FIRST + "_.:-", max_size=63))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
ANY_CLAIMS = st.fixed_dictionaries(
    {},
    optional={
        "sub": JSON | USERS,
        "exp": JSON | st.just(NOW_S + 1),
        "iat": JSON | st.just(NOW_S),
        "nbf": JSON | st.just(NOW_S),
        "aud": JSON,
        "iss": JSON,
        "jti": JSON,
    },
)


def at(now_s: float = NOW_S, key: bytes | None = KEY) -> Authenticator:
    return Authenticator(key, now_s=lambda: now_s)


def refusal_of(token: str, in_query: bool = False, now_s: float = NOW_S) -> Refusal:
    """How a token is refused: never with a part of it that could be used."""
    with pytest.raises(Refusal) as caught:
        at(now_s).identify(token, in_query)
    refusal = caught.value
    assert refusal.kind.status == 401
    assert not [part for part in (token, *token.split(".")) if len(part) > 12 and part in refusal.message]
    return refusal


def sign(payload: Any, key: bytes = KEY, algorithm: str = "HS256") -> str:
    """A token with a right signature, whatever is in it."""
    return jwt.api_jws.encode(json.dumps(payload).encode(), key, algorithm)


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@PURE
@given(USERS, st.integers(1, 10**6), st.dictionaries(st.text(max_size=8), JSON, max_size=3))
def test_a_token_says_who_holds_it_and_until_when(user: str, ttl_s: int, claims: dict[str, Any]) -> None:
    ours = {name: value for name, value in claims.items() if name not in ("aud", "iss", "jti", "nbf")}
    identity = at().identify(mint(KEY, user, ttl_s, NOW_S, ours))
    assert identity.user == user
    assert identity.expires_at_s == NOW_S + ttl_s
    assert {*identity.claims} == {*ours, "sub", "exp", "iat"}


def test_nobody_can_change_what_a_token_said() -> None:
    for claims in (at().identify(sign(GOOD)).claims, ANONYMOUS.claims):
        with pytest.raises(TypeError):
            claims["admin"] = True  # type: ignore[index]


def test_no_claim_of_the_caller_replaces_one_of_the_token() -> None:
    token = mint(KEY, "ann", 10, NOW_S, {"sub": "bob", "exp": NOW_S + 10**6, "iat": 0})
    assert at().identify(token)[::2] == ("ann", NOW_S + 10)


@PURE
@given(st.text(max_size=200) | st.text(string.ascii_letters + "-_.=", max_size=200))
@example("\ud800")
@example("..")
@example("\0" * 100)
def test_no_text_is_a_token(text: str) -> None:
    assert refusal_of(text).code == ("token_invalid" if text else "token_missing")


@PURE
@given(USERS, st.data())
def test_no_altered_token_is_accepted(user: str, data: st.DataObject) -> None:
    """Not even where the alteration leaves the bytes of the signature as they were."""
    token = mint(KEY, user, 60, NOW_S)
    place = data.draw(st.integers(0, len(token)) | st.integers(len(token) - 44, len(token)))
    cut = data.draw(st.integers(0, 2))
    put = data.draw(st.text(string.ascii_letters + string.digits + "-_.=!\n ", max_size=2) | st.text(max_size=2))
    altered = token[:place] + put + token[place + cut :]
    if altered != token:
        assert refusal_of(altered).code in ("token_invalid", "token_missing")


def test_the_spare_bits_of_a_signature_must_be_zero() -> None:
    token = sign(GOOD)
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    for spare in (1, 2, 3):
        altered = token[:-1] + alphabet[alphabet.index(token[-1]) + spare]
        assert refusal_of(altered).code == "token_invalid"


@PURE
@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()), st.binary(max_size=60))
@example(b"[" * 2900, b"{}")
@example(b'{"alg":"HS256","a":' + b"[" * 2900, b"{}")
@example(b'{"alg":["HS256"]}', b"{}")
@example(b'{"alg":"HS256","b64":false}', b"{}")
@example(b'{"alg":"HS256","kid":5,"crit":["x"]}', b"{}")
def test_any_header_is_refused_before_the_signature_is_known(head: bytes, payload: bytes) -> None:
    token = ".".join((base64url(head) or "A", base64url(payload) or "A", base64url(bytes(32))))
    assert refusal_of(token).code == "token_invalid"


@PURE
@given(JSON | ANY_CLAIMS, st.booleans())
def test_whatever_was_signed_is_understood_or_refused(payload: Any, in_query: bool) -> None:
    try:
        identity = at().identify(sign(payload), in_query)
    except Refusal as refusal:
        assert refusal.code in CODES
        return
    assert check_room(identity.user) == payload["sub"]
    assert identity.expires_at_s > NOW_S
    assert not in_query or identity.expires_at_s <= payload["iat"] + 60.001


def test_a_payload_that_is_too_deep_is_refused() -> None:
    payload = json.dumps(GOOD).encode()[:-1] + b',"a":' + b"[" * 2850
    assert refusal_of(jwt.api_jws.encode(payload, KEY, "HS256")).code == "token_invalid"


def test_another_key_or_algorithm_is_refused() -> None:
    unsigned = jwt.encode(GOOD, "", "none")
    assert refusal_of(sign(GOOD, KEY[::-1])).message == "the signature of the token is wrong"
    assert refusal_of(unsigned).code == "token_invalid"
    for algorithm in ("HS384", "HS512"):
        assert refusal_of(sign(GOOD, KEY, algorithm)).code == "token_invalid"
    for algorithm in ("none", "None", "hs256", "HS512", "RS256", ""):
        head = base64url(json.dumps({"alg": algorithm, "typ": "JWT"}).encode())
        disguised = f"{head}.{sign(GOOD).partition('.')[2]}"
        assert refusal_of(disguised).message == "the token is not signed with HS256"


@pytest.mark.parametrize("name", ("sub", "exp"))
def test_a_token_must_say_who_and_until_when(name: str) -> None:
    without = {key: value for key, value in GOOD.items() if key != name}
    for payload in (without, {**without, name: None}):
        refusal = refusal_of(sign(payload))
        assert refusal.code == "token_invalid" and repr(name) in refusal.message


@pytest.mark.parametrize("sub", ("", "@ann", "an n", "ann\n", "x" * 65, "ä", 5, True, ["ann"], {}))
def test_a_user_has_a_name_like_a_room(sub: Any) -> None:
    refusal = refusal_of(sign({**GOOD, "sub": sub}))
    assert refusal.code == "token_invalid" and "'sub'" in refusal.message


@pytest.mark.parametrize("name", ("exp", "iat", "nbf"))
@pytest.mark.parametrize("instant", (True, "1895000000", [], {}, -1, 10**300, float("nan"), float("inf"), 1e300))
def test_an_instant_is_a_number_of_seconds(name: str, instant: Any) -> None:
    refusal = refusal_of(sign({**GOOD, name: instant}))
    assert refusal.code == "token_invalid" and repr(name) in refusal.message


def test_a_token_holds_until_the_instant_it_names_and_no_longer() -> None:
    token = sign({"sub": "ann", "exp": NOW_S + 30})
    assert at(NOW_S + 29.999).identify(token).user == "ann"
    assert refusal_of(token, now_s=NOW_S + 30).code == "token_expired"
    assert refusal_of(sign({**GOOD, "exp": NOW_S - 1}, KEY[::-1])).code == "token_invalid", "forged comes first"


@pytest.mark.parametrize("name", ("iat", "nbf"))
def test_a_token_of_the_future_is_refused(name: str) -> None:
    token = sign({**GOOD, name: NOW_S + 1})
    assert refusal_of(token).code == "token_invalid"
    assert at(NOW_S + 1).identify(token).user == "ann"


def test_a_token_for_another_audience_is_refused() -> None:
    assert "audience" in refusal_of(sign({**GOOD, "aud": "elsewhere"})).message


@PURE
@given(st.floats(0, 2**33), st.floats(0.001, 60))
def test_a_short_lived_token_may_come_in_a_url(now_s: float, ttl_s: float) -> None:
    assert at(now_s).identify(mint(KEY, "ann", ttl_s, now_s), in_query=True).user == "ann"


@pytest.mark.parametrize(
    "claims", ({"exp": NOW_S + 60.01, "iat": NOW_S}, {"exp": NOW_S + 1, "iat": NOW_S - 60}, {"exp": NOW_S + 1})
)
def test_a_long_lived_one_may_not(claims: dict[str, float]) -> None:
    token = sign({"sub": "ann", **claims})
    assert refusal_of(token, in_query=True).code == "token_too_long_lived"
    assert at().identify(token).user == "ann"


def test_a_token_has_a_bound() -> None:
    longest = max((sign({**GOOD, "pad": "x" * length}) for length in range(2900, 3000)), key=_length_within_the_bound)
    assert auth.MAX_TOKEN_CHARACTERS - 2 <= len(longest) <= auth.MAX_TOKEN_CHARACTERS
    assert at().identify(longest).user == "ann"
    assert "4096" in refusal_of(sign({**GOOD, "pad": "x" * 3000})).message
    assert refusal_of("x" * 10**6).code == "token_invalid"


def _length_within_the_bound(token: str) -> int:
    return len(token) if len(token) <= auth.MAX_TOKEN_CHARACTERS else 0


@pytest.mark.parametrize("token", ("", "nonsense", sign(GOOD)))
def test_without_a_key_everybody_is_anonymous(token: str) -> None:
    assert at(key=None).identify(token, in_query=True) is ANONYMOUS
    assert Identity("", {}, float("inf")) == ANONYMOUS


@pytest.mark.parametrize(
    ("value", "held"), ((True, True), (1, True), (["a"], True), (False, False), ("", False), (None, False))
)
def test_a_claim_opens_a_room_if_it_is_true(value: Any, held: bool) -> None:
    identity = Identity("ann", {"staff": value, "rooms": ["ops"]})
    assert may_enter(identity, "staff") is held
    assert not may_enter(identity, "ops")
    assert not may_enter(ANONYMOUS, "staff")


def _scope(query: str = "", **headers: str) -> Scope:
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "http", "headers": pairs, "query_string": query.encode()}


def test_a_token_is_found_in_the_header_then_the_cookie_then_the_query() -> None:
    cookie = "a=b; pushmark_token=from.the.cookie; c=d"
    query = "room=feed&token=from.the.query"
    assert find_token(_scope(query, authorization="Bearer from.the.header", cookie=cookie)) == (
        "from.the.header",
        False,
    )
    assert find_token(_scope(query, authorization="bearer  from.the.header ")) == ("from.the.header", False)
    assert find_token(_scope(query, authorization="Basic YTpi", cookie=cookie)) == ("from.the.cookie", False)
    assert find_token(_scope(query, authorization="Bearer ", cookie="pushmark_token=")) == ("from.the.query", True)
    assert find_token(_scope("token=", cookie="other=x; =; ;token=y")) == ("", False)
    assert find_token(_scope()) == ("", False)


@PURE
@given(st.text(max_size=40), st.text(st.characters(max_codepoint=255), max_size=40))
def test_whatever_a_request_has_for_a_token_is_text(query: str, value: str) -> None:
    for headers in ({"authorization": value}, {"cookie": value}, {"cookie": f"pushmark_token={value}"}):
        token, in_query = find_token(_scope(query, **headers))
        assert token or not in_query


def test_a_key_comes_from_a_file_or_from_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(KEY + b"\r\n")
    text = "k" * auth.MIN_KEY_BYTES
    assert load_key({}, path) == KEY
    assert load_key({auth.KEY_VARIABLE: ""}, path) == KEY
    assert load_key({auth.KEY_VARIABLE: text}, None) == text.encode()
    assert len(DEV_KEY) >= auth.MIN_KEY_BYTES


@pytest.mark.parametrize(
    ("variable", "content", "said"),
    (
        ("", None, "needs a key"),
        ("s3cret" * 9, b"s3cret" * 9, "two keys"),
        ("s3cret", None, "6 bytes"),
        ("", b"s3cret\n", "6 bytes"),
        ("", b"", "0 bytes"),
        ("", b"-----BEGIN PUBLIC KEY-----\ns3crets3crets3cret\n-----END PUBLIC KEY-----\n", "no secret"),
    ),
)
def test_a_bad_key_is_named_but_not_shown(tmp_path: Path, variable: str, content: bytes | None, said: str) -> None:
    path = None
    if content is not None:
        path = tmp_path / "key"
        path.write_bytes(content)
    with pytest.raises(AuthKeyError, match=said) as caught:
        load_key({auth.KEY_VARIABLE: variable}, path)
    assert "s3cret" not in str(caught.value)


def test_a_key_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(AuthKeyError, match=str(path)):
            load_key({}, path)


@PURE
@given(st.text(max_size=70))
def test_only_names_of_users_come_through(user: str) -> None:
    token = mint(KEY, user, 10, NOW_S)
    try:
        check_room(user)
    except RoomNameError:
        assert refusal_of(token).code == "token_invalid"
    else:
        assert at().identify(token).user == user
