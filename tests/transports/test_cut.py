"""Readers of token streams whose connections are all cut half-way: nothing is lost, nothing comes twice."""

import gc
from collections import Counter

from bench.generators.population import Population
from bench.generators.scripts.script import ScriptLoad
from bench.generators.scripts.tokens import TOKEN, Tokens
from bench.generators.spec import LoadSpec, Records
from feed.instruments.clock import now_ns
from tests.conftest import Start, run, until

READERS = 3
TOKENS = 60


def test_a_cut_answer_comes_whole_and_once(start: Start, upstream: str) -> None:
    server = start(upstream, "--source", "none")
    asked = {"tokens": TOKENS, "rate_hz": 60.0, "first_delay_s": 0.1, "batch_tokens": 1, "batch_s": 0.0}
    options = {**asked, "readers": READERS, "asked_within_s": 0.1, "cut_share": 0.4}
    script = ScriptLoad("tokens", options, end_s=2.0)
    spec = LoadSpec(upstream, subscribers=READERS, probes=READERS, poll_interval_s=0.1, script=script)

    async def body() -> tuple[Records, Tokens]:
        population = Population(spec)
        for index in range(READERS):
            population.add(index)
        population.connect(server.url)
        await until(lambda: population.opened == READERS, "readers")
        population.begin(now_ns())
        tokens = population._script
        assert isinstance(tokens, Tokens)
        await until(lambda: len(tokens.rows[TOKEN]) >= 4 * READERS * TOKENS, "all tokens", 30)
        await until(lambda: len(population._marks) == 2, "the end of the measured part")
        records = await population.finish()
        assert not population.failures
        return records, tokens

    try:
        records, tokens = run(body())
    finally:
        gc.unfreeze()
    rows = tokens.rows[TOKEN]
    came = Counter(zip(rows[::4], rows[1::4], strict=True))
    assert came == Counter({(reader, n): 1 for reader in range(READERS) for n in range(TOKENS)})
    assert records.counts["gaps"] == 0 and records.final.totals["opened"] >= 2 * READERS
