"""``python -m servers``: see ``servers.cli``."""

from feed.console.command_line import run

run("servers.cli", prog_name="python -m servers")
