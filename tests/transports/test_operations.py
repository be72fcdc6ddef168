"""What whoever runs a server sees and uses: metrics, the log, the development mode, tokens, the client's command."""

import asyncio
import json
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import Running, Start, invoke, run, run_module
from tests.helpers.crew import Crew, token


def test_metrics_for_prometheus(start: Start, upstream: str) -> None:
    server = start(upstream, "--source", "none")

    async def body() -> None:
        async with Crew() as crew:
            one = await crew.join(server)
            await one.client.join("tea")
            found = await asyncio.to_thread(_metrics, server)
            assert found["pushmark_peers"] == 1 and found["pushmark_requests_acknowledged_total"] == 1
            assert found["pushmark_rooms"] == 2

    run(body())


def _metrics(server: Running) -> dict[str, float]:
    with urllib.request.urlopen(f"{server.ready['control_url']}/metrics", timeout=5) as response:
        families = text_string_to_metric_families(response.read().decode())
        return {sample.name: sample.value for family in families for sample in family.samples}


def test_the_log_names_clients_and_no_secrets(start: Start, upstream: str) -> None:
    server = start(upstream, "--source", "none", "--auth", "dev", "--log-level", "info")
    secret = token()

    async def body() -> str:
        async with Crew() as crew:
            one = await crew.join(server, token=secret)
            await one.client.join("tea")
            await one.client.request("publish", room="tea", data="do not log me")
            return one.client.id

    client = run(body())
    server.stop()
    text = server.log.read_text()
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert client in {line.get("client") for line in lines}, text
    assert secret not in text and "do not log me" not in text


def test_dev_mode_says_so_loudly(share: Start) -> None:
    server = share("sse", "--source", "none", "--auth", "dev")
    assert "DEV MODE" in server.log.read_text()


def test_the_token_command(start: Start) -> None:
    key = "k" * 40
    made = invoke("servers", "token", "--user", "ann", "--claim", "staff", PUSHMARK_JWT_KEY=key)
    assert made.returncode == 0 and made.stdout.count(".") == 2
    assert "'a b' is not a user name" in invoke("servers", "token", "--user", "a b", "--dev").stderr


def test_people_talk_from_the_command_line(share: Start, upstream: str) -> None:
    server = share(upstream, "--source", "none", "--auth", "dev")
    name = server.ready["transport"]
    words = ("clients", name, server.url, "--room", "talk", "--poll-interval-s", "0.05", "--json")
    said = ("--send", "hello", "--send", "how are you?", "--count", "2")
    done = run_module(*words, *said, PUSHMARK_TOKEN=token())
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    messages = [line["data"] for line in lines if line["type"] == "message"]
    assert [(one["user"], one["data"]) for one in messages] == [("ann", "hello"), ("ann", "how are you?")]
    assert {line["room"] for line in lines} == {"talk"}
    for bad, named in ((("--token", "nonsense"), "token_invalid"), (("--ca-file", "none.pem"), "none.pem")):
        refused = invoke(*words, *said, *bad)
        hidden = "401" if name == "websocket" and named == "token_invalid" else named
        assert refused.returncode != 0 and hidden in refused.stderr and "Traceback" not in refused.stderr
