"""Folders of results: a new one, or that of an earlier run whose report gets more sections."""

from datetime import datetime
from pathlib import Path
from typing import Final

import click

from bench.machine.processes import ROOT
from bench.results.files import RUN_FILES, find, point_files

OUT_HELP: Final = (
    "Folder for the results; that of an earlier run adds a section to its report.  [default: results/<time>]"
)
NEW_OUT_HELP: Final = "Folder for the results, new or empty.  [default: results/<time>]"


def new_folder(out: Path | None) -> Path:
    """Create the folder of a run: ``out``, or ``results/<time>``. Raises ``FileExistsError`` if it is not empty."""
    if out is None:
        out = ROOT / "results" / datetime.now().strftime("%Y%m%d-%H%M%S")
        out.mkdir(parents=True)
        return out
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise FileExistsError(f"{out} is not empty: name a new folder; results are never mixed or overwritten")
    return out


def folder_for(out: Path | None, name: str) -> Path:
    """A new folder, or that of a run without the file ``name``. Raises ``UsageError``."""
    try:
        return _folder(out, name)
    except OSError as error:
        raise click.UsageError(str(error)) from error


def _folder(out: Path | None, name: str) -> Path:
    if out is None or not out.is_dir() or not any(out.iterdir()):
        return new_folder(out)
    if not holds_results(out):
        raise FileExistsError(f"{out} is not empty and holds no results: name a new folder, or that of a run")
    if found := find(out, name):
        raise FileExistsError(f"{found} exists: name a new folder; results are never mixed or overwritten")
    return out.resolve()


def holds_results(folder: Path) -> bool:
    """Does the folder hold the results of any benchmark?"""
    return any(find(folder, name) for name in RUN_FILES) or bool(point_files(folder))


def remove_if_empty(folder: Path) -> None:
    """Remove the folder if nothing is in it."""
    if not any(folder.iterdir()):
        folder.rmdir()


def point_latest_at(folder: Path) -> None:
    """Point the link ``latest`` next to a run's folder at it. Call it only for a run that has a table: readers of
    ``latest`` need one. A file or folder of that name is left alone."""
    latest = folder.parent / "latest"
    if latest.exists() and not latest.is_symlink():
        return
    latest.unlink(missing_ok=True)
    latest.symlink_to(folder.name)
