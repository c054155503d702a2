"""Artefacts of a run: written atomically, keyed by what they were made from, checked when read."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Callable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rahelpers import __version__
from rahelpers.core.config import RunConfig, save_config

if TYPE_CHECKING:
    import pandas as pd

# Step name -> (folder, steps it reads, packages whose code makes it). One direction: a step reads
# only earlier ones.
STEPS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "curate": ("01_curate", (), ("phantom", "films", "data", "curation")),
    "train": ("02_train", ("curate",), ("scores", "network", "training")),
    "repeat": ("02_repeat", ("curate", "train"), ("scores", "network", "training")),
    "evaluate": ("03_evaluate", ("curate", "train"), ("scores", "network", "evaluation")),
    "gradcam": ("04_gradcam", ("curate", "train", "repeat"), ("scores", "network", "explanation")),
    "shap": ("05_shap", ("curate", "train"), ("scores", "network", "explanation")),
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


class MissingArtefactError(FileNotFoundError):
    """An earlier step has not been run; the message says which notebook makes it."""


class DamagedArtefactError(ValueError):
    """A file of a finished step is missing or does not have its recorded SHA-256."""


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write(temporary_path)`, then move the result to `path`: a reader sees the old file or
    the new, never half.

    The temporary name keeps the suffix, because Keras and NumPy choose the format by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_atomically(path, lambda p: p.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def read_table(file: Path) -> pd.DataFrame:
    """A table that a step wrote. Names stay text: a film may be called 1377, a patient 007."""
    import pandas as pd

    return pd.read_csv(file, dtype=dict.fromkeys(("image_id", "patient_id", "centre"), str))


def weights_fingerprint(config: RunConfig) -> dict[str, str]:
    """SHA-256 of the weights file that training starts from; empty where it starts from no file."""
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
            continue  # tensorflow or tensorflow-cpu: one of the two is installed
    return found


@cache
def code_hash(places: tuple[str, ...]) -> str:
    """SHA-256 over the source of the named packages and modules: a changed line makes the step
    again.

    Figures do not count: how a result is drawn changes no result.

    Parameters
    ----------
    places : tuple of str
        Below `rahelpers/`: "films" is all of a package, "curation/film" one module.
    """
    digest = hashlib.sha256()
    root = Path(__file__).parents[1]
    for place in places:
        files = (
            sorted((root / place).rglob("*")) if (root / place).is_dir() else [root / f"{place}.py"]
        )
        for file in files:
            if file.suffix in (".py", ".toml") and file.name != "figures.py":
                digest.update(
                    file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes()
                )
    return digest.hexdigest()


class Step:
    """One step's folder in a run, with its record `record.json`.

    Usage
    -----
    >>> step = Run(config).step("evaluate", config.subset("n_bootstrap"))   # doctest: +SKIP
    >>> if not step.is_done():                                              # doctest: +SKIP
    ...     step.write("metrics.json", lambda p: p.write_text("{}"))
    ...     step.finish()
    """

    def __init__(
        self, run: Run, name: str, settings: dict[str, Any], inputs: dict[str, str] | None = None
    ) -> None:
        self.run, self.name = run, name
        folder, needs, modules = STEPS[name]
        self.folder = run.folder / folder
        self.made_from = {
            "step": name,
            "config": settings,
            "inputs": {need: run.digest(need) for need in needs} | (inputs or {}),
            "code": code_hash(modules),
            "versions": library_versions(),
        }
        self.key = hashlib.sha256(json.dumps(self.made_from, sort_keys=True).encode()).hexdigest()

    def is_done(self) -> bool:
        """True where the step was finished from the same inputs and every file is intact; prints
        what it found.

        A damaged file is named and the step is made again; other inputs make it again without a
        word of damage.
        """
        record_file = self.folder / "record.json"
        if not record_file.exists():
            return False
        try:
            record = self.run.read_record(self.name, check_files=True)
        except DamagedArtefactError as error:
            print(f"{error}. It will be made again.")
            record_file.unlink(missing_ok=True)
            return False
        if record["key"] != self.key:
            changed = [k for k in self.made_from if record["made_from"].get(k) != self.made_from[k]]
            print(
                f"{self.folder.name}: made from other {', '.join(changed)}; it will be made again."
            )
            return False
        print(f"{self.folder.name}: reused, its inputs have not changed.")
        return True

    def partial(self) -> Path:
        """A folder for work in progress of exactly this key; gone when the step finishes. A killed
        run resumes from it.
        """
        folder = self.folder / f"partial-{self.key[:12]}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def write(self, name: str, write: Callable[[Path], object]) -> Path:
        """Write one file of the step atomically; `name` may hold folders."""
        write_atomically(self.folder / name, write)
        return self.folder / name

    def write_json(self, name: str, value: Any) -> Path:
        """Write one JSON file of the step."""
        write_json(self.folder / name, value)
        return self.folder / name

    def finish(self) -> None:
        """Record key, what it was made from and the SHA-256 of every file; drop the partial work."""
        import shutil

        for old in self.folder.glob("partial-*"):
            shutil.rmtree(old)
        files = {
            str(p.relative_to(self.folder)): sha256_of(p)
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
        """The step `name`, keyed by `settings`, what the steps that it reads wrote, and further
        `inputs` (name -> hash).
        """
        return Step(self, name, settings, inputs)

    def file(self, step: str, name: str) -> Path:
        """Path of a finished step's file.

        Raises
        ------
        MissingArtefactError
            Where the step has not been run, naming the notebook that makes it.
        """
        path = self.folder / STEPS[step][0] / name
        self.read_record(step)
        if not path.exists():
            raise DamagedArtefactError(
                f"{path.relative_to(self.folder)} is missing from run {self.folder.name}"
            )
        return path

    def digest(self, step: str) -> str:
        """SHA-256 over what a finished step was made from and the files that came out: what later
        steps are keyed by.

        The files count too, because training again from the same inputs gives another network
        unless it is deterministic.
        """
        record = self.read_record(step)
        return hashlib.sha256(
            json.dumps([record["key"], record["files"]], sort_keys=True).encode()
        ).hexdigest()

    def read_record(self, step: str, check_files: bool = False) -> dict[str, Any]:
        """The record of a finished step; with `check_files`, every file is compared with its
        SHA-256.
        """
        folder = self.folder / STEPS[step][0]
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
        except (ValueError, KeyError):
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
    """The run that lies in `folder`, from its `config.json`.

    Raises
    ------
    MissingArtefactError
        If the folder holds no run.
    """
    from rahelpers.core.config import make_config

    file = Path(folder) / "config.json"
    if not file.exists():
        raise MissingArtefactError(
            f"{folder} holds no run (config.json is missing); make one with: rahelpers run"
        )
    return Run(
        make_config(**json.loads(file.read_text()) | {"run_dir": str(Path(folder).resolve())})
    )
