"""A run of the course: papermill over the notebooks, into `runs/<name>/`."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import re
import shutil
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat
from filelock import FileLock, Timeout

from rahelpers.core.config import RunConfig
from rahelpers.core.kernel import SHOW_SECONDS, this_python_kernel
from rahelpers.core.store import (
    NO_LOCKS,
    NOTEBOOK_OF,
    STEPS,
    DamagedArtefactError,
    Run,
    code_hash,
    library_versions,
    sha256_of,
    weights_fingerprint,
    write_atomically,
    write_json,
)
from rahelpers.curation.splits import check_plan
from rahelpers.data.sources.registry import check_source, source_fingerprint

STEPS_OF = {
    notebook: [step for step, of in NOTEBOOK_OF.items() if of == notebook]
    for notebook in NOTEBOOK_OF.values()
}
HDF5 = b"\x89HDF\r\n\x1a\n"  # how such a file begins


class NotebookError(RuntimeError):
    """A notebook stopped with an error; the message has three lines: notebook, cell, error."""


class RunBusyError(RuntimeError):
    """Another process is writing into this run."""


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """One process per run; the lock goes with the process, also when it is killed.

    A network drive may know no locks: then the run goes on without one, and says so.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(FileLock(folder / ".lock").acquire(blocking=False))
        except Timeout:
            raise RunBusyError(
                f"run '{folder.name}' is being written by another process; wait for it, or choose"
                " another --name"
            ) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            print(
                f"this drive knows no locks ({error.strerror}): do not start run '{folder.name}'"
                " twice at the same time",
                flush=True,
            )
        yield


def notebook_key(notebook: Path, run: Run) -> str:
    """Hash of what a notebook depends on.

    That is its source, the config, the files that the run starts from and the records of the steps
    before it.
    """
    cells = [c.source for c in nbformat.read(notebook, as_version=4).cells]
    settings = {k: v for k, v in run.config.model_dump().items() if k != "run_dir"}
    before = {step: run.digest(step) for step, name in NOTEBOOK_OF.items() if name < notebook.stem}
    files = source_fingerprint(run.config) | weights_fingerprint(run.config)
    text = json.dumps([cells, settings, files, before, library_versions()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _is_finished(notebook: Path, run: Run) -> bool:
    """True if the executed notebook and its steps are intact and made from the same inputs.

    What is damaged is printed.
    """
    record_file = run.folder / "notebooks" / f"{notebook.stem}.json"
    executed = run.folder / "notebooks" / notebook.name
    if not (record_file.exists() and executed.exists()):
        return False
    try:
        record = json.loads(record_file.read_text(encoding="utf-8"))
        for step in STEPS_OF.get(notebook.stem, []):
            made_from = run.read_record(step, check_files=True)["made_from"]
            is_same_code = made_from["code"] == code_hash(STEPS[step].packages)
            if run.digest(step) != record["steps"][step] or not is_same_code:
                return False
        if sha256_of(executed) != record["sha256"]:
            raise DamagedArtefactError(
                f"notebooks/{notebook.name} is damaged (its SHA-256 is not the recorded one)"
            )
        return record["key"] == notebook_key(notebook, run)
    except (DamagedArtefactError, ValueError, KeyError, TypeError) as error:
        print(f"{error}. {notebook.stem} runs again.")
        return False
    except FileNotFoundError:
        return False  # an earlier step is missing; its own notebook says so


def check_run(config: RunConfig) -> None:
    """Refuse, before the first notebook runs, what would stop a later one.

    Raises
    ------
    ValueError
        If films, table, weights or TensorBoard are missing, or there are too few patients.

    Examples
    --------
    >>> from rahelpers import make_config
    >>> from rahelpers.course.notebooks import check_run
    >>> check_run(make_config(weights="nowhere.h5"))
    Traceback (most recent call last):
        ...
    ValueError: weights=nowhere.h5: there is no such file
    """
    if config.weights not in ("imagenet", "none"):
        file = Path(config.weights)
        if not file.is_file():
            raise ValueError(f"weights={file}: there is no such file")
        with open(file, "rb") as opened:
            is_hdf5 = opened.read(len(HDF5)) == HDF5
        if file.suffix == ".h5" and not is_hdf5:
            raise ValueError(
                f"weights={file}: this is not an HDF5 file; expected Keras weights of"
                f" {config.architecture} without its top layers"
            )
    if config.tensorboard and find_spec("tensorboard") is None:
        raise ValueError(
            "tensorboard=True: the package is not installed; pip install tensorboard, or leave"
            " tensorboard off"
        )
    check_source(config)
    check_plan(config)


def run_course(config: RunConfig, given: dict[str, Any], notebooks: Path, start: str = "") -> Run:
    """Execute the notebooks in order; reuse finished ones whose inputs have not changed.

    Parameters
    ----------
    config : RunConfig
    given : dict
        The values that the user set; each notebook gets them in upper case.
    notebooks : Path
        Folder with NN_*.ipynb.
    start : str
        Number of the first notebook that runs again whatever its state, for example '03'.

    Returns
    -------
    Run

    Raises
    ------
    NotebookError
        If a notebook stops with an error.
    RunBusyError
        If another process writes into this run.
    ValueError
        If there are no notebooks, or none with that number.

    Examples
    --------
    >>> from pathlib import Path
    >>> from rahelpers import course
    >>> course.run_course(run.config, {}, Path("no_such_folder"))
    Traceback (most recent call last):
        ...
    ValueError: no_such_folder has no notebooks; run this from a checkout of the project
    """
    files = sorted(notebooks.glob("[0-9][0-9]_*.ipynb"))
    if not files:
        raise ValueError(f"{notebooks} has no notebooks; run this from a checkout of the project")
    if start and not any(f.name.startswith(start) for f in files):
        raise ValueError(
            f"--from {start}: there is no such notebook; expected one of"
            f" {', '.join(f.name[:2] for f in files)}"
        )
    run, started = Run(config), time.monotonic()
    with _lock(run.folder), this_python_kernel() as kernel:
        run.save_config()
        seconds: dict[str, float] = {}
        for number, file in enumerate(files, start=1):
            label = f"[{number}/{len(files)}] {file.stem}"
            if start and file.name[:2] >= start:
                _forget(file, run)
            if _is_finished(file, run):
                print(f"{label}: reused, its inputs have not changed", flush=True)
                continue
            print(f"{label}: running …", flush=True)
            begun = time.monotonic()
            _execute(file, run, given, kernel)
            seconds[file.stem] = round(time.monotonic() - begun, 1)
            print(f"{label}: done in {seconds[file.stem]:.0f} s", flush=True)
        total = round(time.monotonic() - started, 1)
        write_json(
            run.folder / "provenance.json",
            {
                "config": config.model_dump(),
                "versions": library_versions(),
                "seconds": seconds,
                "total_seconds": total,
            },
        )
    return run


class _Echo:
    """Passes on a notebook's lines of progress to the terminal.

    These are epochs, progress bars of long loops, and what is reused.
    """

    PROGRESS = re.compile(r"Epoch \d+/\d+|\d+/\d+ - |\d+%\||continues after|reused from")

    def __init__(self) -> None:
        self._rest = ""

    def write(self, text: str) -> None:
        """Print each complete line of progress; a bar's carriage return ends a line too."""
        *lines, self._rest = (self._rest + text.replace("\r", "\n")).split("\n")
        for line in lines:
            if self.PROGRESS.search(line):
                print(f"      {line}", flush=True)

    def flush(self) -> None:
        """Do nothing: complete lines have been printed already."""


def _forget(notebook: Path, run: Run) -> None:
    """Delete the records of a notebook and its steps, so that they run again."""
    (run.folder / "notebooks" / f"{notebook.stem}.json").unlink(missing_ok=True)
    for step in STEPS_OF.get(notebook.stem, []):
        (run.folder / STEPS[step].folder / "record.json").unlink(missing_ok=True)


def _literal(path: Path) -> str:
    """A path for papermill, which fills in what stands between braces."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _execute(notebook: Path, run: Run, given: dict[str, Any], kernel: str) -> None:
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    # papermill warns about every value that is not in the parameters cell; rahelpers checks the
    # names itself
    logging.getLogger("papermill").setLevel(logging.ERROR)

    # what the user set, and what is the same for every notebook of the run
    config = run.config
    fixed = {
        "profile": config.profile,
        "source": config.source,
        "seed": config.seed,
        "run_dir": str(run.folder),
    }
    parameters = {k.upper(): v for k, v in (given | fixed).items()}

    # run a hidden copy: a file with the notebook's own name is always a finished one
    folder = run.folder / "notebooks"
    folder.mkdir(parents=True, exist_ok=True)
    working = folder / f".{notebook.name}"
    try:
        papermill.execute_notebook(
            _literal(notebook),
            _literal(working),
            parameters=parameters,
            kernel_name=kernel,
            cwd=str(notebook.parent),
            progress_bar=False,
            iopub_timeout=SHOW_SECONDS,
            stdout_file=_Echo(),
        )
    except DeadKernelError:
        raise NotebookError(
            f"notebook {notebook.name} failed\n"
            "  its Python process was ended from outside: most often the memory was full\n"
            "  close other programs, or choose a smaller profile or image_size"
        ) from None
    except PapermillExecutionError as error:
        failed = folder / f"{notebook.stem}_failed.ipynb"
        shutil.move(working, failed)
        line = next((s for s in error.source.splitlines() if s.strip()), "")
        message = " ".join(str(error.evalue).split())
        raise NotebookError(
            f"notebook {notebook.name} failed\n"
            f"  in cell {error.exec_count}: {line}\n"
            f"  {error.ename}: {message}"
        ) from None

    # the executed notebook opens with any Python kernel, not only with this run's
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
