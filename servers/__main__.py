"""``python -m servers``: see ``servers.cli``."""

from servers.cli import main

main(prog_name="python -m servers")
