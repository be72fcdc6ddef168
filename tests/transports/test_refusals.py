"""Every refusal on every way in: ``tests/helpers/refusals_table.py`` is gone through on all transports and variants.

What was answered in a cell must be the code of its row. A new code, route or request without a place in the table fails
a test.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, get_args
from unittest.mock import Mock, patch

import pytest
from starlette.routing import BaseRoute, Route, WebSocketRoute

from feed.requests import AnyRequest, Request
from feed.transports import TRANSPORTS
from servers.gate.errors import KINDS
from servers.gate.secrets import Secrets
from servers.platform.options import ServerOptions
from servers.process import app, control, relay
from servers.services.registry import SERVICES
from tests.conftest import SERVED, Running, Start, run
from tests.helpers.refusals_table import BASELINE_OPTIONS, MANY_ROOMS, NUMBERS, OPTIONS, TABLE, Cell
from tests.helpers.ways_in import Control, Guest, Sse, What
from tests.helpers.ways_in_by_sockets import guests_of


def cells_of(code: str, door: str, name: str) -> list[Cell]:
    """What is sent at a door of a transport to get a code."""
    return [cell for cell in TABLE[code].cells if door in cell.doors and (not cell.only or name in cell.only)]


def newcomer(kind: type[Guest], server: Running) -> Guest:
    """Somebody with an address and a user of his own."""
    number = next(NUMBERS)
    return kind(server, f"127.2.{number // 250}.{number % 250 + 1}", f"u{number}")


@pytest.fixture
def serving(share: Start) -> Callable[[str], Running]:
    """The server of what is served, or the relay: one for all tests."""
    special = {"raw": BASELINE_OPTIONS, "relay": ("--to", "127.0.0.1:9", "--rtt-ms", "0")}
    return lambda served: share(served, *special.get(served, OPTIONS))


PLACES: Final = [
    *((served, kind) for served in SERVED for kind in guests_of(served)),
    *((served, Control) for served in ("sse", "raw", "relay")),
]


@pytest.mark.parametrize("code", TABLE)
@pytest.mark.parametrize(("served", "kind"), PLACES)
def test_each_way_in_refuses(serving: Callable[[str], Running], served: str, kind: type[Guest], code: str) -> None:
    server = serving(served)

    async def body() -> None:
        for door in kind.doors:
            for cell in cells_of(code, door, str(server.ready["transport"])):
                async with newcomer(kind, server) as guest:
                    if cell.before is not None:
                        await cell.before(guest)
                    answer = await guest.knock(door, cell.what)
                assert answer.code == code, (door, cell, answer)

    run(body())


def test_every_code_has_a_row() -> None:
    assert set(TABLE) == set(KINDS)


def test_what_is_no_cell_has_a_reason_and_every_cell_has_a_door() -> None:
    doors = {(served.partition(":")[0], door) for served, kind in PLACES for door in kind.doors}
    for code, row in TABLE.items():
        cells = {(name, door) for name, door in doors if cells_of(code, door, name)}
        assert cells == doors or row.elsewhere, code
        assert all(any(door in cell.doors for _, door in cells) for cell in row.cells), code


def test_every_request_and_every_service_is_refused_somewhere() -> None:
    asked = [cell.what.body for row in TABLE.values() for cell in row.cells]
    bodies = [body("ann") if callable(body) else body for body in asked if body is not None]
    requests = [body for body in bodies if isinstance(body, Mapping)]
    assert {tag(request) for request in get_args(AnyRequest)} <= {request.get("type") for request in requests}
    named = {request["service"] for request in requests if request.get("type") == "call"}
    assert set(SERVICES) - {"connections"} <= named, "connections can only be refused for what every call is"


def tag(request: type[Request]) -> str:
    return str(request.__struct_config__.tag)


PLAIN_ROUTES: Final = {"/stats": "GET", "/stats/reset": "POST"}
ROUTES: Final[dict[str, dict[str, str]]] = {
    "polling": {"/poll": "GET", "/sessions": "POST DELETE", "/requests": "POST"},
    "long_polling": {"/long-poll": "GET", "/sessions": "POST DELETE", "/requests": "POST"},
    "sse": {"/sse": "GET", "/sessions": "DELETE", "/requests": "POST"},
    "websocket": {"/ws": "GET WEBSOCKET"},
    "socketio": {"/socket.io/": "ANY"},
    "control": {
        **PLAIN_ROUTES,
        **dict.fromkeys(("/metrics", "/healthz", "/feed/publications"), "GET"),
        **dict.fromkeys(("/feed/start", "/feed/stop"), "POST"),
    },
    "relay": PLAIN_ROUTES,
}
"""Every route there is beside ``GET /``; whoever adds one adds a door to ``helpers/ways_in.py``, or names it."""


def methods_of(routes: Sequence[BaseRoute], bypass: Iterable[str] = ()) -> dict[str, set[str]]:
    """Path -> methods; ``bypass`` goes past Starlette."""
    found: dict[str, set[str]] = {path: {"ANY"} for path in bypass}
    for route in routes:
        assert isinstance(route, Route | WebSocketRoute)
        methods = (route.methods or set()) - {"HEAD"} if isinstance(route, Route) else {"WEBSOCKET"}
        found.setdefault(route.path, set()).update(methods)
    return found


@pytest.mark.parametrize("served", [served for served in SERVED if served != "raw"])
def test_every_route_is_known(served: str) -> None:
    name, _, variant = served.partition(":")

    async def body() -> dict[str, set[str]]:
        context = app.make_context(ServerOptions(name, variant), Secrets())
        with patch(f"servers.{name}.HttpListener") as listener:
            app.build(context)
        context.timer.close()
        call = listener.call_args
        return methods_of(call.args[1], call.kwargs.get("bypass", ()))

    expected = {path: set(methods.split()) for path, methods in ROUTES[name].items()}
    if variant in ("plain", "tuned") and name != "websocket":
        expected[TRANSPORTS[name].path] = {"ANY"}
    assert run(body()) == expected


def test_every_route_of_the_control_listeners_is_known() -> None:
    for name, routes in (("control", control.routes(Mock(), Mock())), ("relay", relay.routes(Mock()))):
        assert methods_of(routes) == {path: set(methods.split()) for path, methods in ROUTES[name].items()}


def test_the_feed_has_the_rooms_it_began_with(serving: Callable[[str], Running]) -> None:
    """However many others have been joined since."""

    async def body() -> None:
        async with newcomer(Sse, serving("sse")) as guest, newcomer(Control, serving("sse")) as operator:
            assert not (await guest.ask("join", room="tea")).code
            answer = await operator.knock("control", What(path="/feed/start", body=MANY_ROOMS))
            assert answer.data["message"] == "rooms 3: this server has 2"

    run(body())
