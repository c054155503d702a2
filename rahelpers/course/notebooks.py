"""A run of the course: papermill over the notebooks, into `runs/<name>/`."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import logging
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat

from rahelpers.core.config import RunConfig
from rahelpers.core.kernel import SHOW_SECONDS, this_python_kernel
from rahelpers.core.store import (
    NOTEBOOK_OF,
    DamagedArtefactError,
    Run,
    library_versions,
    sha256_of,
    weights_fingerprint,
    write_atomically,
    write_json,
)
from rahelpers.data.sources.registry import source_fingerprint

STEPS_OF = {
    notebook: [step for step, of in NOTEBOOK_OF.items() if of == notebook]
    for notebook in NOTEBOOK_OF.values()
}


class NotebookError(RuntimeError):
    """A notebook stopped with an error; the message has three lines: notebook, cell, error."""


class RunBusyError(RuntimeError):
    """Another process is writing into this run."""


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """One process a run; the lock goes with the process, also when it is killed."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunBusyError(
                f"run '{folder.name}' is being written by another process; wait for it, or choose"
                " another --name"
            ) from None
        yield


def notebook_key(notebook: Path, run: Run) -> str:
    """Hash of a notebook's source, the config, the files that the run starts from and the records
    of the steps before it.
    """
    cells = [c.source for c in nbformat.read(notebook, as_version=4).cells]
    settings = {k: v for k, v in dataclasses.asdict(run.config).items() if k != "run_dir"}
    before = {step: run.digest(step) for step, name in NOTEBOOK_OF.items() if name < notebook.stem}
    files = source_fingerprint(run.config) | weights_fingerprint(run.config)
    text = json.dumps([cells, settings, files, before, library_versions()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _is_finished(notebook: Path, run: Run) -> bool:
    """True where the executed notebook and its steps are whole and made from the same inputs.
    Damage is named.
    """
    record_file = run.folder / "notebooks" / f"{notebook.stem}.json"
    executed = run.folder / "notebooks" / notebook.name
    if not (record_file.exists() and executed.exists()):
        return False
    try:
        record = json.loads(record_file.read_text())
        for step in STEPS_OF.get(notebook.stem, []):
            current = run.read_record(step, check_files=True)
            if run.digest(step) != record["steps"][step] or current["made_from"][
                "code"
            ] != _code_now(step):
                return False
        if sha256_of(executed) != record["sha256"]:
            raise DamagedArtefactError(
                f"notebooks/{notebook.name} is damaged (its SHA-256 is not the recorded one)"
            )
        return record["key"] == notebook_key(notebook, run)
    except (DamagedArtefactError, ValueError, KeyError) as error:
        print(f"{error}. {notebook.stem} runs again.")
        return False
    except FileNotFoundError:
        return False  # an earlier step is gone; its own notebook says so


def _code_now(step: str) -> str:
    from rahelpers.core.store import STEPS, code_hash

    return code_hash(STEPS[step][2])


def run_course(config: RunConfig, given: dict[str, Any], notebooks: Path, start: str = "") -> Run:
    """Execute the notebooks in order; finished ones whose inputs did not change are reused.

    Parameters
    ----------
    config : RunConfig
    given : dict
        The values that the user set; they go to each notebook in upper case.
    notebooks : Path
        Folder with NN_*.ipynb.
    start : str
        Number of the first notebook that is made again whatever its state, for example '03'.

    Raises
    ------
    NotebookError, RunBusyError
    ValueError
        If there are no notebooks, or none with that number.
    """
    files = sorted(notebooks.glob("[0-9][0-9]_*.ipynb"))
    if not files:
        raise ValueError(f"{notebooks} holds no notebooks; run from a checkout of the project")
    if start and not any(f.name.startswith(start) for f in files):
        raise ValueError(
            f"--from {start}: there is no such notebook; known:"
            f" {', '.join(f.name[:2] for f in files)}"
        )
    run, started = Run(config), time.monotonic()
    with _lock(run.folder), this_python_kernel(run.folder / "kernels") as kernel:
        run.save_config()
        seconds: dict[str, float] = {}
        for number, file in enumerate(files, start=1):
            if start and file.name[:2] >= start:
                _forget(file, run)
            if _is_finished(file, run):
                print(
                    f"[{number}/{len(files)}] {file.stem}: reused, its inputs have not changed",
                    flush=True,
                )
                continue
            print(f"[{number}/{len(files)}] {file.stem}: running …", flush=True)
            begun = time.monotonic()
            _execute(file, run, given, kernel)
            seconds[file.stem] = round(time.monotonic() - begun, 1)
            print(
                f"[{number}/{len(files)}] {file.stem}: done in {seconds[file.stem]:.0f} s",
                flush=True,
            )
        total = round(time.monotonic() - started, 1)
        write_json(
            run.folder / "provenance.json",
            {
                "config": dataclasses.asdict(config),
                "versions": library_versions(),
                "seconds": seconds,
                "total_seconds": total,
            },
        )
    return run


class _Echo:
    """Lines of progress that a notebook prints, passed on to the terminal: epochs, bars of long
    loops, what is reused.
    """

    PROGRESS = re.compile(r"Epoch \d+/\d+|\d+/\d+ - |\d+%\||continues after|reused from")

    def __init__(self) -> None:
        self._rest = ""

    def write(self, text: str) -> None:
        """Print every whole line of progress in `text`; a bar's carriage return ends a line too."""
        *lines, self._rest = (self._rest + text.replace("\r", "\n")).split("\n")
        for line in lines:
            if self.PROGRESS.search(line):
                print(f"      {line}", flush=True)

    def flush(self) -> None:
        """Nothing to do: whole lines are printed at once."""


def _forget(notebook: Path, run: Run) -> None:
    """Drop the records of a notebook and its steps, so that all are made again."""
    from rahelpers.core.store import STEPS

    (run.folder / "notebooks" / f"{notebook.stem}.json").unlink(missing_ok=True)
    for step in STEPS_OF.get(notebook.stem, []):
        (run.folder / STEPS[step][0] / "record.json").unlink(missing_ok=True)


def _execute(notebook: Path, run: Run, given: dict[str, Any], kernel: str) -> None:
    import papermill
    from papermill.exceptions import PapermillExecutionError

    # papermill warns of every value that stands outside the parameters cell; rahelpers checks the
    # names itself
    logging.getLogger("papermill").setLevel(logging.ERROR)
    config = run.config
    fixed = {
        "profile": config.profile,
        "source": config.source,
        "seed": config.seed,
        "run_dir": str(run.folder),
    }
    parameters = {k.upper(): v for k, v in (given | fixed).items()}
    folder = run.folder / "notebooks"
    folder.mkdir(parents=True, exist_ok=True)
    working = folder / f".{notebook.name}"
    try:
        papermill.execute_notebook(
            str(notebook),
            str(working),
            parameters=parameters,
            kernel_name=kernel,
            cwd=str(notebook.parent),
            progress_bar=False,
            iopub_timeout=SHOW_SECONDS,
            stdout_file=_Echo(),
        )
    except PapermillExecutionError as error:
        failed = folder / f"{notebook.stem}_failed.ipynb"
        shutil.move(working, failed)
        line = next((s for s in error.source.splitlines() if s.strip()), "")
        message = " ".join(str(error.evalue).split())
        raise NotebookError(
            f"notebook {notebook.name} failed\n  in cell {error.exec_count}: {line}\n "
            f" {error.ename}: {message}"
        ) from None
    book = nbformat.read(working, as_version=4)
    book.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    executed = folder / notebook.name
    write_atomically(executed, lambda p: nbformat.write(book, p))
    working.unlink()
    steps = {step: run.digest(step) for step in STEPS_OF.get(notebook.stem, [])}
    record = {"key": notebook_key(notebook, run), "sha256": sha256_of(executed), "steps": steps}
    write_json(folder / f"{notebook.stem}.json", record)
