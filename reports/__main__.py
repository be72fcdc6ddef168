"""``python -m reports``: see ``reports.cli``."""

from feed.console.command_line import run

run("reports.cli", prog_name="python -m reports")
