"""``python -m servers``: see ``servers.process.cli``."""

from feed.console.command_line import run

run("servers.process.cli", prog_name="python -m servers")
