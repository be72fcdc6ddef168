"""Mutants that no test kills, against the list of those that are explained: ``python -m tests.helpers.survivors``.

Run after ``mutmut run`` has ended. The exit code is 1 if a mutant was not run, if one survives that
``tests/data/survivors.toml`` does not explain, or if that file explains one that does not survive (any more).
``--write`` adds what is missing, with an empty ``why``, and removes what is gone.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

EXPLAINED: Final = Path(__file__).parents[1] / "data" / "survivors.toml"
KILLED: Final = ("killed", "timeout", "segfault")
"""A mutant that never ends or crashes is noticed as well."""
NOT_RUN: Final = ("not checked", "check was interrupted by user")
_LINE: Final = re.compile(r"^\s+(\S+): (.+)$", re.MULTILINE)


class Survivor(NamedTuple):
    """A change that no test notices."""

    function: str
    was: str
    now: str


def survivors(results: dict[str, str]) -> Iterator[Survivor]:
    """Those among the mutants of the last run of mutmut in this folder, which are given with their status."""
    for name, status in results.items():
        if status not in (*KILLED, *NOT_RUN):
            diff = _mutmut("show", name)
            yield Survivor(function_of(name), lines_of(diff, "-"), lines_of(diff, "+"))


def lines_of(diff: str, sign: str) -> str:
    """The lines with this sign, without indentation. The two lines that name the file are none of them."""
    found = [line for line in diff.splitlines() if line.startswith(sign) and not line.startswith(3 * sign)]
    return "\n".join(line[1:].strip() for line in found)


def function_of(mutant: str) -> str:
    """``a.b.xǁCǁf__mutmut_3`` or ``a.b.x_f__mutmut_3``: the function that was changed."""
    module, _, mangled = mutant.partition("__mutmut_")[0].rpartition(".")
    return f"{module}.{mangled.removeprefix('x_').removeprefix('xǁ').replace('ǁ', '.')}"


def explained(text: str) -> dict[Survivor, str]:
    """Why each is no gap in the tests."""
    rows = tomllib.loads(text).get("survivor", [])
    return {Survivor(row["function"], row["was"], row["now"]): row["why"] for row in rows}


def written(reasons: dict[Survivor, str]) -> str:
    """The file of these."""
    rows = [
        "\n".join(f"{name} = {_quoted(value)}" for name, value in [*of._asdict().items(), ("why", why)])
        for of, why in sorted(reasons.items())
    ]
    return "# Mutants that no test kills, and why: see tests/helpers/survivors.py.\n" + "".join(
        f"\n[[survivor]]\n{row}\n" for row in rows
    )


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _mutmut(*arguments: str) -> str:
    command = [str(Path(sys.executable).parent / "mutmut"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def main() -> int:
    reasons = explained(EXPLAINED.read_text() if EXPLAINED.exists() else "")
    results = dict(_LINE.findall(_mutmut("results")))
    not_run = sum(status in NOT_RUN for status in results.values())
    alive = list(survivors(results))
    if "--write" in sys.argv[1:]:
        EXPLAINED.write_text(written({of: reasons.get(of, "") for of in alive}))
    unexplained = [of for of in alive if not reasons.get(of)]
    gone = [of for of in reasons if of not in alive]
    for title, found in (
        ("No test notices, and nothing explains:", unexplained),
        ("Explained, but noticed now:", gone),
    ):
        for of in found:
            print(f"{title} {of.function}\n  - {of.was}\n  + {of.now}")
    print(
        f"{len(alive)} mutants survive, {len(unexplained)} of them unexplained; {len(gone)} explanations are outdated."
    )
    if not_run:
        print(f"{not_run} mutants were not run: mutmut run was interrupted, and goes on where it stopped.")
    return 1 if unexplained or gone or not_run else 0


if __name__ == "__main__":
    sys.exit(main())
