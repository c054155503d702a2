"""What several commands share: errors, and finding a run or a bundle by its name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import click

from rahelpers.core.config import near_match, project_root
from rahelpers.core.store import MissingArtefactError, Run, open_run

_HOW_TO_MAKE_ONE = "; make one with: rahelpers run"


def fail(message: object, code: int = 2) -> NoReturn:
    """Print an error and exit: 2 for a wrong argument, 1 for what went wrong later."""
    click.echo(f"Error: {message}", err=True)
    sys.exit(code)


def find_folder(name: str) -> Path:
    """Absolute folder of a run under `runs/`, or else of the path `name`, which may not exist."""
    places = (project_root() / "runs" / name, Path(name))
    return next((place for place in places if place.exists()), Path(name)).resolve()


def find_run(name: str) -> Run:
    """The run with this name or folder; without a name, the newest run that has a bundle.

    Raises
    ------
    MissingArtefactError
        If there is no such run; the message names the nearest match.
    """
    runs = project_root() / "runs"
    known = [file.parent for file in runs.glob("*/config.json")]
    if name:
        folder = find_folder(name)
        if (folder / "config.json").exists():
            return open_run(folder)
        hint = near_match(name, [p.name for p in known]) if known else _HOW_TO_MAKE_ONE
        raise MissingArtefactError(f"there is no run '{name}'{hint}")
    trained = [folder for folder in known if (folder / "02_train" / "record.json").exists()]
    if not trained:
        raise MissingArtefactError(f"{runs} holds no finished run{_HOW_TO_MAKE_ONE}")
    return open_run(max(trained, key=lambda folder: folder.stat().st_mtime))
