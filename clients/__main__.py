"""``python -m clients``: see ``clients.cli``."""

from feed.console.command_line import run

run("clients.cli", prog_name="python -m clients")
