"""``python -m clients``: see ``clients.cli``."""

from clients.cli import main

main(prog_name="python -m clients")
