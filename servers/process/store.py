"""``python -m servers store``: looking after the file that a server keeps things in."""

import json
from contextlib import closing
from pathlib import Path

import click

from feed.console.terminal import echo
from servers.store.contract import StoreError
from servers.store.file import StoreFile, read_only

FILE = click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))


@click.group()
def store() -> None:
    """Look after the file of --store: write it out, make it smaller, check it."""


@store.command()
@FILE
@click.option("--log", "prefix", default="", help="Only logs whose names begin so, such as /chat/tea.")
def export(file: Path, prefix: str) -> None:
    """Print every record as a line of JSON. A server may be using the file."""
    try:
        with closing(read_only(file)) as records:
            for log, seq, key, author, at_ms, data in records:
                if log.startswith(prefix):
                    text = bytes(data).decode(errors="backslashreplace")
                    row = {"log": log, "seq": seq, "key": key, "author": author, "at_ms": at_ms, "data": text}
                    echo(json.dumps(row, ensure_ascii=False))
    except StoreError as error:
        raise click.ClickException(str(error)) from error


@store.command()
@FILE
def vacuum(file: Path) -> None:
    """Give the space of dropped records back. No server may be using the file."""
    try:
        with closing(StoreFile(file)) as opened:
            before, after = opened.vacuum()
    except StoreError as error:
        raise click.ClickException(str(error)) from error
    echo(f"{file}: {before:,} bytes before, {after:,} bytes now")


@store.command()
@FILE
def check(file: Path) -> None:
    """Check the file, and count what is in it. No server may be using it. Exit code 1: it is damaged."""
    try:
        with closing(StoreFile(file)) as opened:
            logs, records, faults = opened.check()
    except StoreError as error:
        raise click.ClickException(str(error)) from error
    if faults:
        raise click.ClickException(f"{file} is damaged: {'; '.join(faults)}")
    echo(f"{file}: {records:,} records in {logs:,} logs, no fault found")
