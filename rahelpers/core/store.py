"""Artefacts of a run: written atomically, keyed by what they were made from, checked when read."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import secrets
from collections.abc import Callable, Iterable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rahelpers import __version__
from rahelpers.core.config import RunConfig, make_config, save_config

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


class StepPlan(NamedTuple):
    """Where a step writes, the earlier steps it reads, and the packages whose code makes it."""

    folder: str
    needs: tuple[str, ...]
    packages: tuple[str, ...]


NETWORK = ("scores", "network")  # packages behind every step that trains or uses the network
STEPS = {
    "curate": StepPlan("01_curate", (), ("phantom", "films", "data", "curation")),
    "train": StepPlan("02_train", ("curate",), (*NETWORK, "training")),
    "repeat": StepPlan("02_repeat", ("curate", "train"), (*NETWORK, "training")),
    "evaluate": StepPlan("03_evaluate", ("curate", "train"), (*NETWORK, "evaluation")),
    "gradcam": StepPlan("04_gradcam", ("curate", "train", "repeat"), (*NETWORK, "explanation")),
    "shap": StepPlan("05_shap", ("curate", "train"), (*NETWORK, "explanation")),
}
NOTEBOOK_OF = {
    "curate": "01_curate_data",
    "train": "02_train_vgg",
    "repeat": "02_train_vgg",
    "evaluate": "03_evaluate",
    "gradcam": "04_explain_gradcam",
    "shap": "05_explain_shap",
}
LIBRARIES = (
    "numpy",
    "pandas",
    "scikit-learn",
    "scikit-image",
    "opencv-python-headless",
    "tensorflow-cpu",
    "tensorflow",
    "keras",
    "shap",
    "tf-explain",
)
# What a drive without locks answers: NFS without its lock daemon, some FUSE and CIFS mounts. (Where
# another process holds the lock, the answer is EAGAIN.)
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class MissingArtefactError(FileNotFoundError):
    """An earlier step has not been run; the message says which notebook to run."""


class DamagedArtefactError(ValueError):
    """A file of a finished step is missing, or its SHA-256 is not the recorded one."""


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write(temporary_path)`, then move the result to `path`.

    A reader sees the old file or the new one, never half of it. The temporary name keeps the
    suffix, because Keras and NumPy choose the format by it. The mode is the one that `write` gives
    a new file, so it follows the umask, also on a drive that knows no chmod.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
    try:
        write(temporary)
        os.replace(temporary, path)
    except OSError as error:
        if str(error.filename) == str(temporary):
            error.filename = str(path)  # the name that a person knows
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_atomically(path, lambda p: p.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def read_arrays(file: Path) -> dict[str, np.ndarray] | None:
    """The arrays of an `.npz` file that a stopped run has left; None where it must be made again.

    A file that is empty, cut or changed is named: after a loss of power a file may have its name
    and not yet its content. The format has a checksum (CRC-32) of each array.

    Examples
    --------
    >>> import numpy as np
    >>> from tempfile import TemporaryDirectory
    >>> from rahelpers.core.store import read_arrays
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder) / "a.npz"
    ...     np.savez(file, grey=np.arange(3))
    ...     whole = read_arrays(file)
    ...     read_arrays(Path(folder) / "no.npz") is None, whole["grey"].tolist()
    (True, [0, 1, 2])
    """
    import zipfile
    import zlib

    import numpy as np

    try:
        with np.load(file) as kept:
            return dict(kept)
    except FileNotFoundError:
        return None
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError):
        print(f"{file} is damaged; it is made again")
        return None


def read_table(
    file: Path, text: Iterable[str] = ("image_id", "patient_id", "centre")
) -> pd.DataFrame:
    """A table that a step wrote.

    Columns in `text` hold text whatever it looks like: a film may be called 1377, a patient 007 or
    NA. Only an empty cell is a missing value.
    """
    import pandas as pd

    types = dict.fromkeys(text, str)
    return pd.read_csv(file, dtype=types, keep_default_na=False, na_values=[""])


def weights_fingerprint(config: RunConfig) -> dict[str, str]:
    """SHA-256 of the weights file that training starts from; empty where there is no such file."""
    path = Path(config.weights)
    return {"weights": sha256_of(path)} if path.is_file() else {}


@cache
def library_versions() -> dict[str, str]:
    """Python, rahelpers and the libraries that shape a result."""
    found = {"python": platform.python_version(), "rahelpers": __version__}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # only one of tensorflow and tensorflow-cpu is installed
    return found


@cache
def code_hash(places: tuple[str, ...]) -> str:
    """SHA-256 over the source of packages and modules: after a changed line, a step is rebuilt.

    Figures do not count, because how a result is drawn does not change it.

    Parameters
    ----------
    places : tuple of str
        Below `rahelpers/`: "films" is a package with all its modules, "curation/film" one module.
    """
    digest = hashlib.sha256()
    root = Path(__file__).parents[1]
    for place in places:
        is_package = (root / place).is_dir()
        for file in sorted((root / place).rglob("*")) if is_package else [root / f"{place}.py"]:
            if file.suffix in (".py", ".toml") and file.name != "figures.py":
                name = file.relative_to(root).as_posix()
                digest.update(name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


class Step:
    """One step's folder in a run, with its record `record.json`; `Run.step` makes it."""

    def __init__(
        self, run: Run, name: str, settings: dict[str, Any], inputs: dict[str, str] | None = None
    ) -> None:
        self.run, self.name = run, name
        plan = STEPS[name]
        self.folder = run.folder / plan.folder
        self.made_from = {
            "step": name,
            "config": settings,
            "inputs": {need: run.digest(need) for need in plan.needs} | (inputs or {}),
            "code": code_hash(plan.packages),
            "versions": library_versions(),
        }
        self.key = hashlib.sha256(json.dumps(self.made_from, sort_keys=True).encode()).hexdigest()

    def is_done(self) -> bool:
        """True if the step was finished from the same inputs and every file is intact.

        It prints what it found: that the step is reused, which file is damaged, or what changed.
        """
        record_file = self.folder / "record.json"
        if not record_file.exists():
            return False
        try:
            record = self.run.read_record(self.name, check_files=True)
        except DamagedArtefactError as error:
            print(f"{error}. It will be rebuilt.")
            record_file.unlink(missing_ok=True)
            return False
        if record["key"] != self.key:
            changed = [k for k in self.made_from if record["made_from"].get(k) != self.made_from[k]]
            print(f"{self.folder.name}: {', '.join(changed)} changed; it will be rebuilt.")
            return False
        print(f"{self.folder.name}: reused, its inputs have not changed.")
        return True

    def partial(self) -> Path:
        """A folder for work in progress, of exactly this key: a killed run resumes from it.

        It is removed when the step finishes.
        """
        folder = self.folder / f"partial-{self.key[:12]}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def write(self, name: str, write: Callable[[Path], object]) -> Path:
        """Write one file of the step atomically; `name` may contain folders."""
        write_atomically(self.folder / name, write)
        return self.folder / name

    def write_json(self, name: str, value: Any) -> Path:
        """Write one JSON file of the step."""
        write_json(self.folder / name, value)
        return self.folder / name

    def finish(self) -> None:
        """Record the key, what it was made from and the SHA-256 of every file.

        Work in progress is removed.
        """
        import shutil

        for old in self.folder.glob("partial-*"):
            shutil.rmtree(old)
        files = {
            p.relative_to(self.folder).as_posix(): sha256_of(p)
            for p in sorted(self.folder.rglob("*"))
            if p.is_file() and p.name != "record.json" and not p.name.startswith(".")
        }
        write_json(
            self.folder / "record.json",
            {"key": self.key, "made_from": self.made_from, "files": files},
        )


class Run:
    """A run's folder: config, one folder per step, executed notebooks, report.

    Parameters
    ----------
    config : RunConfig

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from rahelpers import Run, make_config
    >>> folder = TemporaryDirectory()
    >>> fresh = Run(make_config(run_dir=folder.name))
    >>> step = fresh.step("curate", {"seed": 7})
    >>> step.is_done()
    False
    >>> file = step.write("films.txt", lambda path: path.write_text("one film"))
    >>> step.finish()
    >>> fresh.step("curate", {"seed": 7}).is_done()
    01_curate: reused, its inputs have not changed.
    True
    >>> fresh.step("curate", {"seed": 8}).is_done()
    01_curate: config changed; it will be rebuilt.
    False
    >>> fresh.file("curate", "films.txt").read_text()
    'one film'
    """

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self.folder = config.path

    def save_config(self) -> None:
        """Write `config.json`."""
        write_text(self.folder / "config.json", save_config(self.config))

    def step(
        self, name: str, settings: dict[str, Any], inputs: dict[str, str] | None = None
    ) -> Step:
        """A step, keyed by its settings and by what it reads.

        Parameters
        ----------
        name : str
            One of `STEPS`.
        settings : dict
            The values of the config that shape its result.
        inputs : dict, optional
            Name -> hash of what it reads apart from earlier steps.

        Raises
        ------
        MissingArtefactError
            If an earlier step that it reads has not been run.
        """
        return Step(self, name, settings, inputs)

    def file(self, step: str, name: str) -> Path:
        """Path of a finished step's file.

        Raises
        ------
        MissingArtefactError
            If the step has not been run; the message names the notebook to run.
        DamagedArtefactError
            If the file is missing all the same.
        """
        path = self.folder / STEPS[step].folder / name
        self.read_record(step)
        if not path.exists():
            raise DamagedArtefactError(
                f"{path.relative_to(self.folder)} is missing from run {self.folder.name}"
            )
        return path

    def digest(self, step: str) -> str:
        """SHA-256 over what a finished step was made from and what it wrote; it keys later steps.

        The files count too, because training again from the same inputs gives a different network
        unless it is deterministic.
        """
        record = self.read_record(step)
        text = json.dumps([record["key"], record["files"]], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def read_record(self, step: str, check_files: bool = False) -> dict[str, Any]:
        """The record of a finished step.

        Parameters
        ----------
        step : str
        check_files : bool
            Compare every file with its recorded SHA-256.

        Raises
        ------
        MissingArtefactError, DamagedArtefactError
        """
        folder = self.folder / STEPS[step].folder
        record_file = folder / "record.json"
        if not record_file.exists():
            notebook = NOTEBOOK_OF[step]
            raise MissingArtefactError(
                f"{folder.name}/record.json is missing from run '{self.folder.name}': run"
                f" notebooks/{notebook}.ipynb first (or: rahelpers run --profile"
                f" {self.config.profile} --name {self.folder.name})"
            )
        try:
            record = json.loads(record_file.read_text(encoding="utf-8"))
            files = record["files"]
        except (ValueError, KeyError, TypeError):
            raise DamagedArtefactError(f"{folder.name}/record.json is damaged") from None
        if check_files:
            for name, expected in files.items():
                path = folder / name
                if not path.exists():
                    raise DamagedArtefactError(f"{folder.name}/{name} is missing")
                if sha256_of(path) != expected:
                    raise DamagedArtefactError(
                        f"{folder.name}/{name} is damaged (its SHA-256 is not the recorded one)"
                    )
        return record


def open_run(folder: Path) -> Run:
    """The run in a folder, from its `config.json`.

    Raises
    ------
    MissingArtefactError
        If the folder holds no run.
    DamagedArtefactError
        If its `config.json` is empty or cut.

    Examples
    --------
    >>> from rahelpers import open_run
    >>> open_run(run.folder).config.n_patients
    40
    """
    file = Path(folder) / "config.json"
    if not file.exists():
        raise MissingArtefactError(
            f"{folder} holds no run (config.json is missing); make one with: rahelpers run"
        )
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        values |= {"run_dir": str(Path(folder).resolve())}
    except (ValueError, TypeError):
        raise DamagedArtefactError(
            f"{file} is damaged; the same rahelpers run command that made the run writes it again"
        ) from None
    return Run(make_config(**values))
