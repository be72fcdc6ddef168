"""``python -m bench``: see ``bench.cli``."""

import sys

try:
    from bench.cli import main

    main(prog_name="python -m bench")
except KeyboardInterrupt:  # while that is being imported, which takes a while
    sys.exit(130)
