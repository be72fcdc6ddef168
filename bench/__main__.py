"""``python -m bench``: see ``bench.cli``. What it measures is worth more than its output: it goes on without that."""

from feed.console.command_line import run

run("bench.cli", prog_name="python -m bench", outlives_output=True)
