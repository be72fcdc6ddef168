"""Standard streams that are closed, full or broken, or whose encoding is ASCII: one line at most, and an exit code."""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from bench.results.files import save
from feed.console.command_line import BROKEN_PIPE
from feed.transports import TRANSPORTS
from tests.conftest import ROOT, Start, run, run_module, until
from tests.helpers.fake_results import fake_results

MODULES = ("servers", "clients", "bench", "reports")
CLOSED = ("<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-")
SOUND = (*CLOSED, "2>/dev/full", "<&- 2>/dev/full")
"""What changes nothing in what a command does."""
FULL = "Error: cannot write to stdout: No space left on device"
BROKEN = "Error: cannot write to stdout: Broken pipe"
SERVERS = (("servers", "sse", "--port", "0"), ("servers", "relay", "--to", "127.0.0.1:9"))


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    error: str


def shell(arguments: Sequence[str], redirections: str = "") -> list[str]:
    """The command as a shell starts it with these redirections."""
    return ["sh", "-c", f'exec "$@" {redirections}', "sh", sys.executable, "-m", *arguments]


def ended(arguments: Sequence[str], redirections: str = "", stdout: Any = subprocess.PIPE, **environment: str) -> Done:
    """Run a command to its end; no stream may have a traceback, nor what the interpreter says when it ends badly."""
    done = subprocess.run(
        shell(arguments, redirections),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, **environment},
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, done.stderr
    return Done(done.returncode, done.stdout or "", done.stderr.strip())


def into_broken_pipe(arguments: Sequence[str], redirections: str = "") -> Done:
    """Run a command whose output has no reader any more, as in ``| true`` once that has ended."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return ended(arguments, redirections, stdout=writer)
    finally:
        os.close(writer)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small folder of results."""
    folder = tmp_path_factory.mktemp("results")
    save(fake_results(blocks=1), folder)
    return str(folder)


COMMANDS = (
    *(f"{module} --help" for module in MODULES),
    "servers --list",
    "servers token --user ann --dev",
    "clients sse {url} --count 1",
    "clients sse {url} --count 1 --json",
    "reports compare {folder} {folder}",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_ends_well_whatever_its_streams_are(share: Start, results: str, command: str) -> None:
    server = share("sse", "--rate-hz", "50")
    arguments = command.format(url=server.url, folder=results).split()
    for redirections in ("<&-", ">&-", "<&- >&- 2>&-", "2>/dev/full"):
        done = ended(arguments, redirections)
        assert done.code == 0, (redirections, done)
        assert bool(done.out) is (redirections in ("<&-", "2>/dev/full")), (redirections, done)
    done = ended(arguments, "<&- >/dev/full")
    assert (done.code, done.error.splitlines()[-1], done.error.count("Error")) == (1, FULL, 1), done
    assert ended(arguments, ">/dev/full 2>/dev/full").code == 1
    done = into_broken_pipe(arguments)
    assert (done.code, "Error" in done.error) == (BROKEN_PIPE, False), done


@pytest.mark.parametrize("arguments", SERVERS, ids=" ".join)
@pytest.mark.parametrize("redirections", SOUND)
def test_a_server_with_unsound_streams_serves_and_stops(arguments: tuple[str, ...], redirections: str) -> None:
    """SIGTERM ends it with 0: no socket of its has the number of a standard stream, on which libuv would abort."""
    with subprocess.Popen(
        shell(arguments, redirections), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        try:
            run(until(lambda: listens(process.pid, 2), "both listeners accept", timeout_s=30))
            assert all(connection.fd > 2 for connection in psutil.Process(process.pid).net_connections())
        finally:
            process.terminate()
        said = process.communicate(timeout=20)[1]
    assert (process.returncode, said) == (0, b"")


def listens(pid: int, count: int) -> bool:
    """Has the process that many listening sockets?"""
    found = psutil.Process(pid).net_connections()
    return sum(connection.status == psutil.CONN_LISTEN for connection in found) == count


@pytest.mark.parametrize("arguments", SERVERS, ids=" ".join)
def test_a_server_whose_ready_line_cannot_be_written_does_not_go_on_unseen(arguments: tuple[str, ...]) -> None:
    assert ended(arguments, ">/dev/full") == Done(1, "", FULL)
    assert ended(arguments, ">/dev/full 2>&-") == Done(1, "", "")
    assert into_broken_pipe(arguments) == Done(1, "", BROKEN)


def test_a_client_ends_quietly_once_its_reader_has_had_enough(start: Start) -> None:
    server = start("sse", "--rate-hz", "50")
    for more in ((), ("--json",)):
        with subprocess.Popen(
            shell(("clients", "sse", server.url, *more)), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None and process.stderr is not None
            process.stdout.readline()
            process.stdout.close()
            assert process.wait(20) == BROKEN_PIPE
            assert process.stderr.read().split() in ([], [b"connecting", b"open", b"closed"])


def test_an_output_that_is_open_for_reading_only_is_named() -> None:
    done = ended(("servers", "--list"), "1</dev/null")
    assert (done.code, done.error) == (1, "Error: cannot write to stdout: Bad file descriptor")


def test_an_output_that_others_made_non_blocking_is_waited_for() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(4096))
    with subprocess.Popen(
        shell(("servers", "--list")), cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True
    ) as process:
        os.close(writer)
        with os.fdopen(reader, encoding="utf-8") as pipe:
            assert pipe.read().strip("\0").split() == list(TRANSPORTS)
        said = process.communicate(timeout=20)[1]
    assert (process.returncode, said) == (0, "")


@pytest.mark.parametrize("redirections", (">/dev/full", "<&- >&- 2>&-"))
def test_a_benchmark_keeps_what_it_measured_although_nobody_reads_of_it(tmp_path: Path, redirections: str) -> None:
    folder = tmp_path / "run"
    soak = ("bench", "soak", "--duration-s", "5", "--transports", "raw", "--clients", "2", "--out", str(folder))
    done = ended(soak, redirections)
    assert done.error == (FULL if redirections == ">/dev/full" else ""), done
    assert done.code == (1 if redirections == ">/dev/full" else 0)
    assert {path.name for path in folder.iterdir()} >= {"soak.json", "index.html", "report.md"}


def test_a_report_is_made_although_nobody_can_read_its_tables(results: str, tmp_path: Path) -> None:
    assert ended(("reports", results, "--out", str(tmp_path)), ">/dev/full") == Done(1, "", FULL)
    assert (tmp_path / "index.html").exists()


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("encoding", ("ascii", "ascii:strict", "latin-1", "utf-8"))
def test_what_an_encoding_lacks_is_replaced(share: Start, results: str, encoding: str) -> None:
    server = share("sse", "--source", "none")
    said = ended(
        ("clients", "sse", server.url, "--room", "r", "--send", "a ☃", "--count", "1"), PYTHONIOENCODING=encoding
    )
    assert said.code == 0 and ("a ☃" if encoding == "utf-8" else "a ?") in said.out, said
    compared = run_module("reports", "compare", results, results, PYTHONIOENCODING="ascii")
    assert (compared.returncode, compared.stderr) == (0, "") and "?" in compared.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_a_locale_without_utf_8_is_enough(share: Start, results: str, command: str) -> None:
    server = share("sse", "--rate-hz", "50")
    assert ended(command.format(url=server.url, folder=results).split(), **ASCII).code == 0


@pytest.mark.parametrize("module", MODULES)
def test_an_argument_that_is_no_text_is_refused(module: str) -> None:
    done = ended((module, "☃"), **ASCII)
    assert done.code == 2 and done.error.endswith("is no text in this locale: allowed is ascii"), done
