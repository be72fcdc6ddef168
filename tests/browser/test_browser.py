"""A real browser: EventSource and WebSocket against our servers, its headers, and the report's page."""

import shutil
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from bench.results.files import save
from clients.http.headers import header_set
from servers.gate.auth import DEV_KEY, mint
from tests.conftest import Start, run_module
from tests.helpers.fake_results import fake_results

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is missing: apt-get install chromium")
OWN_HEADERS = {"host", "connection", "upgrade"}
"""Written by every client library itself, as is Sec-WebSocket-*."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        one = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield one
        one.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


def test_event_source_receives_and_reconnects_by_itself(start: Start, page: Page) -> None:
    """The relay in between is killed and started again: the browser resumes with Last-Event-ID, nothing is missing."""
    server = start("sse", "--source", "synthetic", "--rate-hz", "50", "--history", "100000")
    relay = start("relay", "--to", f"127.0.0.1:{server.port}", "--rtt-ms", "0")
    page.goto(f"http://127.0.0.1:{relay.port}/")
    page.evaluate(
        """() => {
          window.ids = []; window.resumes = [];
          const source = new EventSource('/sse');
          source.onmessage = (message) => {
            const envelope = JSON.parse(message.data);
            if (envelope.type === 'welcome') window.resumes.push(envelope.data.resume);
            else window.ids.push(Number(envelope.id.split('-')[1]));
          };
        }"""
    )
    page.wait_for_function("() => window.ids.length > 5")
    relay.process.kill()
    relay.process.wait()
    start("relay", "--to", f"127.0.0.1:{server.port}", "--rtt-ms", "0", "--port", str(relay.port), free_port=False)
    page.wait_for_function("() => window.resumes.length > 1 && window.ids.length > 60")
    ids = page.evaluate("() => window.ids")
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert page.evaluate("() => window.resumes") == ["new", "resumed"]


def test_websocket_in_a_browser(start: Start, page: Page) -> None:
    server = start("websocket", "--source", "synthetic", "--rate-hz", "50")
    page.goto(f"http://127.0.0.1:{server.port}/")
    page.evaluate(
        """() => {
          window.types = [];
          const socket = new WebSocket(`ws://${location.host}/ws`);
          socket.onmessage = (message) => window.types.push(JSON.parse(message.data).type);
          window.extensions = () => socket.extensions;
        }"""
    )
    page.wait_for_function("() => window.types.length > 5")
    types = page.evaluate("() => window.types")
    assert types[0] == "welcome" and set(types[1:]) == {"event"}
    assert page.evaluate("() => window.extensions()") == "", "compression is an axis of its own, off here"


def test_fetch_polls_in_a_browser(start: Start, page: Page) -> None:
    server = start("long_polling", "--source", "synthetic", "--rate-hz", "20")
    page.goto(f"http://127.0.0.1:{server.port}/")
    got = page.evaluate(
        """async () => {
          const first = await (await fetch('/long-poll')).json();
          const second = await (await fetch(`/long-poll?since=${first.id}`)).json();
          return [first.data.resume, second.data.resume, second.data.events.length];
        }"""
    )
    assert got[:2] == ["new", "resumed"] and got[2] >= 1


def token(user: str = "ann") -> str:
    return mint(DEV_KEY, user, 30.0, time.time())


def test_event_source_with_a_token_in_the_query_or_a_cookie(start: Start, page: Page) -> None:
    """Without one it is closed for good; with one it receives, and its requests are answered."""
    server = start("sse", "--source", "none", "--auth", "dev")
    page.goto(f"{server.url}/")
    opened = """(url) => new Promise((resolve) => {
      const source = new EventSource(url);
      source.onmessage = (message) => resolve([JSON.parse(message.data).type, source.readyState]);
      source.onerror = () => resolve(['error', source.readyState]);
    })"""
    assert page.evaluate(opened, "/sse") == ["error", 2]
    assert page.evaluate(opened, f"/sse?token={token()}") == ["welcome", 1]
    page.context.add_cookies([{"name": "pushmark_token", "value": token(), "url": server.url}])
    answers = page.evaluate(
        """() => new Promise((resolve) => {
          const said = [];
          let message = null;
          const finish = () => said.length === 2 && message && resolve([...said, message.user, message.data]);
          const source = new EventSource('/sse');
          const ask = (session, body) => fetch('/requests', {
            method: 'POST', headers: {'pushmark-session': session}, body: JSON.stringify(body),
          }).then((response) => response.json());
          source.onmessage = async (received) => {
            const envelope = JSON.parse(received.data);
            if (envelope.type === 'message') { message = envelope.data; return finish(); }
            if (envelope.type !== 'welcome' || !envelope.data.session) return;
            const session = envelope.data.session;
            said.push((await ask(session, {type: 'join', id: '1', room: 'tea'})).type);
            said.push((await ask(session, {type: 'publish', id: '2', room: 'tea', data: 'hi'})).type);
            finish();
          };
        })"""
    )
    assert answers == ["ack", "ack", "ann", "hi"]


def test_websocket_with_a_token_in_the_query(start: Start, page: Page) -> None:
    server = start("websocket", "--source", "none", "--auth", "dev")
    page.goto(server.url.replace("ws://", "http://"))
    talk = """(query) => new Promise((resolve) => {
      const socket = new WebSocket(`ws://${location.host}/ws${query}`);
      socket.onclose = (event) => resolve(['closed', event.code]);
      socket.onmessage = (message) => {
        const envelope = JSON.parse(message.data);
        if (envelope.type === 'ack') resolve([envelope.id, envelope.data]);
        if (envelope.data.client) socket.send(JSON.stringify({type: 'call', id: '7', service: 'echo', data: [1, 2]}));
      };
    })"""
    assert page.evaluate(talk, "") == ["closed", 1006]
    assert page.evaluate(talk, f"?token={token()}") == ["7", [1, 2]]


def test_a_page_of_another_site_cannot_use_a_visitors_login(start: Start, page: Page) -> None:
    """Cross-site WebSocket hijacking: the cookie goes along, the origin is refused; one on the list is let in."""
    site = start("sse", "--source", "none")
    server = start("websocket", "--source", "none", "--auth", "dev")
    friendly = start("websocket", "--source", "none", "--auth", "dev", "--allow-origin", site.url)
    page.goto(f"{site.url}/")
    for one in (server, friendly):
        page.context.add_cookies(
            [{"name": "pushmark_token", "value": token(), "url": one.url.replace("ws://", "http://")}]
        )
    hijack = """(url) => new Promise((resolve) => {
      const socket = new WebSocket(url);
      socket.onmessage = (message) => resolve(JSON.parse(message.data).type);
      socket.onclose = () => resolve('refused');
    })"""
    assert page.evaluate(hijack, f"{server.url}/ws") == "refused"
    assert page.evaluate(hijack, f"{friendly.url}/ws") == "welcome"


@contextmanager
def recording_server() -> Iterator[tuple[int, dict[str, str]]]:
    """Answers a page to everything and keeps the head of each request by its path."""
    heads: dict[str, str] = {}

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            head = b""
            while b"\r\n\r\n" not in head:
                piece = self.request.recv(65_536)
                if not piece:
                    return
                head += piece
            text = head.decode()
            heads[text.split()[1]] = text
            body = b"<!doctype html><title>x</title>"
            reply = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
            self.request.sendall(reply % (len(body), body))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], heads
        server.shutdown()


def test_the_committed_headers_are_what_the_browser_sends(page: Page) -> None:
    """Names and, but for the version of the browser, values."""
    with recording_server() as (port, heads):
        base = f"http://127.0.0.1:{port}"
        page.goto(f"{base}/")
        page.evaluate(
            """() => {
              fetch('/fetch'); new EventSource('/eventsource'); new WebSocket(`ws://${location.host}/websocket`);
            }"""
        )
        kinds = ("fetch", "eventsource", "websocket")
        page.wait_for_timeout(100)
        for _ in range(100):
            if all(f"/{kind}" in heads for kind in kinds):
                break
            page.wait_for_timeout(50)
    for kind in kinds:
        lines = [line.partition(": ") for line in heads[f"/{kind}"].split("\r\n")[1:] if line]
        sent = {name.lower(): value for name, _, value in lines}
        mine = header_set("browser", kind, base)
        extra = {name for name in sent if name not in OWN_HEADERS and not name.startswith("sec-websocket-")}
        assert extra == mine.keys(), kind
        for name in extra - {"user-agent", "sec-ch-ua", "sec-ch-ua-platform"}:
            assert mine[name] == sent[name], (kind, name)


def test_the_report_opens_from_disk_without_a_network(page: Page, tmp_path: Path) -> None:
    save(fake_results(), tmp_path)
    assert run_module("reports", str(tmp_path)).returncode == 0
    requested: list[str] = []
    problems: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    for width in (1280, 400):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto((tmp_path / "index.html").as_uri())
        assert page.locator("table").count() >= 1 and "WebSocket" in page.inner_text("body")
        overflow = page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, f"the page scrolls sideways at {width} pixels"
    assert problems == [] and all(url.startswith(("file:", "data:")) for url in requested)
