"""No pair is inverted: wherever a report puts a factor between two names, the numbers behind them give that factor."""

import html
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.machine.host import placement
from bench.plan.trials import Planned
from bench.results.files import AA_FILE, COST_FILE, save
from bench.results.run import Results
from bench.results.sweep import SweepResults, SweepTrial
from bench.sweeps.aa import aa_trials
from bench.sweeps.cost import PRESETS, TLS_PRESETS, cost_trials
from bench.sweeps.sweep import Sweep, new_sweep
from bench.trial.conduct import blank
from feed.console.terminal import new_console
from reports.blocks import PAIRED_METRICS, find
from reports.compare.runs import agreement, compare_cell, compare_point, table
from reports.figures.pairs import SHORT, draw
from reports.layout import Drawn
from reports.report import build
from reports.sections.aa import aa_section
from reports.sections.cost import summarize_cost
from reports.style import LOOKS
from reports.table.answer import WORDINGS, prose
from reports.table.run import RunFolder
from reports.table.summary import PAIR_TITLES, Summary, judge, summarize
from reports.writers import markdown, page
from reports.writers.terminal import show_section
from tests.conftest import invoke
from tests.helpers.fake_results import ALL, fake_results, fake_trial, put

LEVELS = {"polling": 800.0, "long_polling": 90.0, "sse": 31.0, "websocket": 23.0, "socketio": 47.0, "raw": 10.0}
"""Every metric of a transport, so that no two have the same ratio, or that of another pair turned round."""
NAMES = {LOOKS[name].name: name for name in ALL} | {prose(name): name for name in ALL} | {SHORT[n]: n for n in SHORT}
NAME = "|".join(re.escape(name) for name in sorted(NAMES, key=len, reverse=True))
FACTOR = r"([\d,]+\.?\d*)"


def measured(levels: dict[str, float] = LEVELS) -> Results:
    """FAKE: each metric is the transport's level, and a little more in later blocks."""
    results = fake_results()
    for trial in results.trials:
        if trial.status == "ok" and trial.purpose == "main":
            level = levels[trial.transport] * (1 + trial.block / 1000)
            put(trial, dict.fromkeys((*PAIRED_METRICS, "requests_per_event"), level))
    return results


def expect(a: str, b: str, factor: str, levels: dict[str, float] = LEVELS) -> None:
    assert float(factor.replace(",", "")) == pytest.approx(levels[NAMES[a]] / levels[NAMES[b]], rel=0.01), (a, b)


def factors(said: str) -> Iterator[tuple[str, str, str]]:
    """The larger, the smaller and the factor of every pair in a sentence of the answer."""
    leader = re.match(rf"({NAME})", said)
    assert leader
    shared = rf"({NAME}) \w+ {FACTOR} times as \w+ as ({NAME}) in the blocks that they share"
    for clause in re.split(r"[;.] ", said):
        if own := re.fullmatch(shared, clause.rstrip(".")):
            yield own[1], own[3], own[2]
        else:
            others = re.findall(rf"({NAME}) (?:\w+ )?{FACTOR} times", clause)
            yield from ((name, leader[1], factor) for name, factor in others)


@pytest.fixture(scope="module")
def summary() -> Summary:
    return summarize(measured())


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The report as page, Markdown and terminal show it, in plain words."""
    folder = tmp_path_factory.mktemp("report")
    save(measured(), folder)
    sections = build(RunFolder(folder))
    shown = io.StringIO()
    for section in sections:
        show_section(section, new_console(file=shown, width=400))
    drawn = [Drawn(section) for section in sections]  # without figures, which take long and have a test of their own
    plain_page = re.sub(r"<[^>]+>", " ", page.render(drawn))
    texts = {"terminal": shown.getvalue(), "markdown": markdown.render(drawn), "page": html.unescape(plain_page)}
    return {name: " ".join(re.sub(r"[│┃|]", " | ", text).split()) for name, text in texts.items()}


def test_every_sentence_names_the_one_that_has_more(summary: Summary, outputs: dict[str, str]) -> None:
    said = {part.label: part.text for part in summary.answer}
    for wording in WORDINGS:
        found = list(factors(said[wording.label]))
        assert {(NAMES[a], NAMES[b]) for a, b, _ in found} == {
            (name, "websocket") for name in ALL if name not in ("raw", "websocket")
        }
        for pair in found:
            expect(*pair)
        for name, text in outputs.items():
            assert said[wording.label].replace("’", "'") in text, (name, wording.label)


def test_no_sentence_has_a_factor_below_one() -> None:
    """Even if the leader leads by blocks that the other one lacks: WebSocket has more than SSE where both count."""
    results = measured(LEVELS | {"websocket": 33.0})
    for block in (6, 7):
        spare = fake_trial("websocket", block)
        put(spare, dict.fromkeys(PAIRED_METRICS, 8.0))
        results.trials.append(spare)
    said = {part.label: part.text for part in summarize(results).answer}
    assert said["Bytes"].startswith("WebSocket moves the fewest bytes as measured, 22.")
    assert "; WebSocket moves 1.06 times as many as SSE in the blocks that they share." in said["Bytes"]
    assert {(a, b) for a, b, _ in factors(said["Bytes"])} >= {("WebSocket", "SSE"), ("polling", "WebSocket")}
    assert all(float(factor.replace(",", "")) >= 1 for part in said.values() for _, _, factor in _all(part))


def test_what_is_not_settled_names_the_one_that_measured_more() -> None:
    results = measured(LEVELS | {"websocket": 30.0})
    for trial in results.trials:
        if (trial.transport, trial.status, trial.purpose) == ("sse", "ok", "main"):
            put(trial, {"wire_bytes_per_event": 28.0 + (trial.block % 2) * 4})
    spare = fake_trial("websocket", 6)
    put(spare, {"wire_bytes_per_event": 20.0})
    results.trials.append(spare)
    said = {part.label: part.text for part in summarize(results).answer}["Not settled"]
    assert re.match(r"Whether SSE differs from WebSocket in bytes \((1\.\d+) times", said), said
    for trial in results.trials:
        if (trial.transport, trial.status, trial.purpose) == ("sse", "ok", "main"):
            put(trial, {"wire_bytes_per_event": trial.values["wire_bytes_per_event"] * 0.97})
    said = {part.label: part.text for part in summarize(results).answer}["Not settled"]
    assert re.match(r"Whether SSE differs from WebSocket in bytes \(WebSocket (1\.\d+) times", said), said


def _all(said: str) -> list[tuple[str, str, str]]:
    return list(factors(said)) if re.match(NAME, said) else []


def test_a_comparison_is_found_either_way_round(summary: Summary) -> None:
    for of in summary.comparisons["wire_bytes_per_event"]:
        found = summary.comparisons["wire_bytes_per_event"]
        there, back = find(found, of.a, of.b), find(found, of.b, of.a)
        assert there and back and (there.a, there.b, back.a, back.b) == (of.a, of.b, of.b, of.a)
        expect(prose(there.a), prose(there.b), f"{there.factor}")
        expect(prose(back.a), prose(back.b), f"{back.factor}")
        assert min(there.larger().factor, back.larger().factor) > 1


def test_every_pair_of_the_table_is_the_first_over_the_second(summary: Summary, outputs: dict[str, str]) -> None:
    for line in summary.pairs:
        for cell in line.cells:
            assert cell is not None
            expect(line.a, line.b, cell.text.split()[0])
            assert cell.word == ("better" if LEVELS[NAMES[line.a]] < LEVELS[NAMES[line.b]] else "worse")
            for name in ("markdown", "page"):
                assert re.search(rf"{re.escape(f'{line.a} / {line.b}')} .{{0,40}}{re.escape(cell.text)}", outputs[name])
    found = re.findall(rf"({NAME}) / ({NAME}) (?:\| )?\**{FACTOR} ", outputs["markdown"])
    for of in found:
        expect(*of)
    assert len(found) == len(summary.pairs) == 15


def test_the_matrix_of_pairs_is_the_row_over_the_column(summary: Summary) -> None:
    figure = draw(summary)
    assert figure is not None
    panels = [axes for axes in figure.axes if axes.get_title() in PAIR_TITLES.values()]
    assert len(panels) == 4
    for axes in panels:
        columns, rows = ([of.get_text() for of in ticks] for ticks in (axes.get_xticklabels(), axes.get_yticklabels()))
        colours: dict[object, set[bool]] = {}
        for of, patch in zip(axes.texts, axes.patches, strict=True):
            a, b = rows[int(of.get_position()[1])], columns[int(of.get_position()[0])]
            expect(a, b, of.get_text().split()[0])
            colours.setdefault(patch.get_facecolor(), set()).add(LEVELS[NAMES[a]] > LEVELS[NAMES[b]])
        assert sorted(map(sorted, colours.values())) == [[False], [True]], "a colour for more, another for less"


def test_ratios_to_the_baseline_are_to_the_baseline(summary: Summary) -> None:
    (line,) = [line for group in summary.details for line in group.lines if line.label == "ratio to the baseline"]
    for name, cell in zip(summary.blocks.trials, line.cells, strict=True):
        if name != "raw":
            expect(LOOKS[name].name, LOOKS["raw"].name, cell.split()[0])


def test_the_evidence_of_a_claim_names_the_larger_one_first(outputs: dict[str, str]) -> None:
    lines = judge([summarize(measured())], None)
    said = {line.claim.words: line.points["sparse"] for line in lines if line.points}
    evidence = said["fewer requests than polling"].evidence, said["high resource use"].evidence
    found = [pair for text in evidence for pair in re.findall(rf"({NAME}) {FACTOR}(?: \[.+?\])? × ({NAME})", text)]
    assert len(found) == 4
    for a, factor, b in found:
        expect(a, b, factor)
        assert float(factor) > 1
    for name in ("markdown", "page"):
        assert all(text in outputs[name] for text in evidence)
    assert said["fewer requests than polling"].word == said["high resource use"].word == "holds"


@pytest.mark.parametrize(("factor", "word"), [(2.0, "worse"), (0.5, "better")])
def test_a_comparison_of_runs_is_b_over_a(factor: float, word: str, tmp_path: Path) -> None:
    before, after = measured(), measured({name: level * factor for name, level in LEVELS.items()})
    for row in table(compare_point(before, after)).rows:
        assert row[4] == "1.00 ×" or float(str(row[4]).split()[0]) == pytest.approx(factor), row
        assert row[4] == "1.00 ×" or str(row[5]).startswith(word)
    said = agreement(compare_cell(before, after, "sse", "latency_ms_p50"))
    found = re.search(rf"Published {FACTOR} .*measured again {FACTOR} .*: {FACTOR} ", said)
    assert found and float(found[2]) / float(found[1]) == pytest.approx(factor, rel=0.01) == float(found[3])
    folders = []
    for name, of in (("a", before), ("b", after)):
        (tmp_path / name).mkdir()
        save(of, tmp_path / name)
        folders.append(str(tmp_path / name))
    done = invoke("reports", "compare", *folders, "--markdown", str(tmp_path / "c.md"))
    for text in (done.stdout, (tmp_path / "c.md").read_text()):
        plain = " ".join(re.sub(r"\[[^]]*\]|[|\\]", " ", text.replace("\\", "")).split())
        shown = re.findall(rf"latency_ms_p50 \(ms\) {FACTOR} {FACTOR} {FACTOR} ×", plain)
        assert len(shown) == len(ALL)
        numbers = [[float(x.replace(",", "")) for x in of] for of in shown]
        assert all(b / a == pytest.approx(size, rel=0.01) for a, b, size in numbers)


def _sweep(name: str, planned: list[Planned], level: Callable[[Planned], float]) -> SweepResults:
    results = new_sweep(Sweep(name, "default", 1, planned), ["a", "test"], placement([0, 1]))
    for one in planned:
        trial = blank(one.plan, one.trial, 1, "2026-01-01T00:00:00+00:00")
        value = level(one) * (1 + trial.block / 1000)
        put(trial, dict.fromkeys((*PAIRED_METRICS, "server_cpu_us_per_request"), value))
        results.trials.append(SweepTrial(one.section, one.load, trial))
    return results


def test_costs_are_multiples_of_the_baseline_and_tls_of_plain() -> None:
    planned = cost_trials({"main": PRESETS["default"]["main"]}, 1) + cost_trials(TLS_PRESETS["default"], 1)

    def level(one: Planned) -> float:
        return LEVELS[one.trial.transport] * (3 if one.trial.tls else 1) * (1.5 if one.trial.variant else 1)

    tables = {of.title: of for of in summarize_cost(_sweep(COST_FILE, planned, level)).tables}
    (per_event,) = [of for title, of in tables.items() if "20,000" in title]
    for head, base in (("× baseline", 10.0), ("× floor", 15.0)):  # the floor is a variant of the baseline
        place = per_event.head.index(head)
        found = [(str(row[0]), str(row[place])) for row in per_event.rows if str(row[place]) != "–"]
        assert len(found) == 7
        for name, factor in found:
            plain, _, variant = name.partition(", ")
            own = LEVELS[NAMES[plain]] * (1.5 if variant else 1) if plain in NAMES else 15.0
            assert float(factor.split()[0]) == pytest.approx(own / base, rel=0.01), (head, name)
    tls = [str(cell) for of in tables.values() if "TLS" in of.title for row in of.rows for cell in row]
    assert [cell for cell in tls if cell.startswith("3.00")] and not [cell for cell in tls if cell.startswith("0.33")]


def test_a_against_b_is_a_over_b() -> None:
    planned = aa_trials("default", "websocket", 1)
    section = aa_section(_sweep(AA_FILE, planned, lambda one: 20.0 if one.load == "A" else 10.0))
    pooled, each = section.tables
    assert {str(row[-1]) for row in pooled.rows} == {"2.00"} and {str(row[2]) for row in each.rows} == {"2.00"}
