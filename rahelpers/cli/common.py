"""What all commands share: how they end, and finding a run or a bundle by its name."""

from __future__ import annotations

import errno
import sys
import warnings
from pathlib import Path
from typing import Any, NoReturn

import click

from rahelpers.core.config import near_match, project_root
from rahelpers.core.store import DamagedArtefactError, MissingArtefactError, Run, open_run

# what to do about an answer of the system
ADVICE = {
    errno.EACCES: "choose a place that you may read and write, or ask for the right to",
    errno.EPERM: "choose a place that you may read and write, or ask for the right to",
    errno.EROFS: "choose a place that can be written",
    errno.ENOSPC: "make room on the disk, or choose another one",
    errno.EDQUOT: "make room in your quota, or choose another place",
    errno.EFBIG: "this place takes no file of that size: choose another one",
    errno.EMFILE: "close other programs, or raise the limit of open files (ulimit -n)",
}
_HOW_TO_MAKE_ONE = "; make one with: rahelpers run"


class Commands(click.Group):
    """Commands that end in words: what the system refuses, and Ctrl-C, are no tracebacks.

    A terminal that lacks a letter shows `?` in its place. Warnings that a person has turned into
    errors for other work (PYTHONWARNINGS=error) stay warnings.
    """

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run a command."""
        for stream in filter(None, (sys.stdout, sys.stderr)):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")
        if sys.warnoptions:
            warnings.resetwarnings()
            for unasked in (DeprecationWarning, PendingDeprecationWarning, ImportWarning):
                warnings.simplefilter("ignore", unasked)
        return super().main(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Call a command; what the system refuses becomes one line and exit code 1."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("\nstopped", err=True)
            sys.exit(130)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # click ends quietly where the next program reads no further
            fail(say_refusal(error), 1)
        except DamagedArtefactError as error:
            fail(error, 1)


def say_refusal(error: OSError) -> str:
    """What the system refused, in one line: the file, the reason, and what to do."""
    if error.strerror is None:
        return str(error)  # raised by this package, in words
    place = f"{error.filename}: " if error.filename else ""
    advice = f"; {ADVICE[error.errno]}" if error.errno in ADVICE else ""
    return f"{place}{error.strerror}{advice}"


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
