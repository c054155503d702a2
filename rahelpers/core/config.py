"""The typed configuration of a run: a profile's sizes, the source, and whatever the user overrides."""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import tomllib
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

PROFILES = ("smoke", "quick", "full")
SOURCES = ("phantom", "folder", "ram-h1200", "ram-w600", "rsna-bone-age")
# What a public source is asked where the user asks nothing: label column, rule, names of class 0
# and 1. Never RA: no default label is one.
DEFAULT_TASKS = {
    "ram-h1200": ("erosive", "1", ("hand without erosions", "erosive hand")),
    "ram-w600": ("erosive", "1", ("wrist without erosions", "erosive wrist")),
    "rsna-bone-age": (
        "bone_age_months",
        ">=120",
        ("bone age under 120 months", "bone age of 120 months or more"),
    ),
}
PUBLIC_NAMES = {"ram-h1200": "RAM-H1200", "ram-w600": "RAM-W600", "rsna-bone-age": "RSNA Bone Age"}
SPECTRA = ("healthy", "mixed", "early")
ARCHITECTURES = ("vgg_small", "vgg16", "vgg19")


def _value(default: Any, doc: str) -> Any:
    return field(default=default, metadata={"doc": doc})


@dataclass(frozen=True)
class RunConfig:
    """Every value that shapes a run. `rahelpers run -p KEY=VALUE` sets any of them.

    Raises
    ------
    ValueError
        If a value has the wrong type or lies outside its range; the message names key, value and
        what is expected.
    """

    profile: str = _value("smoke", "which sizes: smoke, quick or full")
    source: str = _value(
        "phantom",
        "where the radiographs come from: phantom, folder, ram-h1200, ram-w600 or rsna-bone-age",
    )
    seed: int = _value(7, "seed of every random draw")
    run_dir: str = _value(
        "runs/smoke", "folder of the run; a relative path starts at the project's root"
    )

    # cohort
    n_patients: int = _value(40, "phantom only: how many patients, two hands each")
    spectrum: str = _value(
        "mixed",
        "phantom only: who is compared: healthy (established RA against healthy), mixed, or early"
        " (the first years of RA)",
    )
    image_size: int = _value(96, "side of the square network input, pixels, 32 to 512")
    task: str = _value(
        "",
        "name of the prediction task in every title; empty: RA (phantom), the default label (public"
        " datasets) or the label rule",
    )
    test_fraction: float = _value(0.25, "share of the patients held out for the test split")
    validation_fraction: float = _value(0.2, "share of the patients in the validation split")

    # source = folder or a public dataset
    images: str = _value(
        "",
        "the folder that holds the films; for a public dataset its root, empty: data/NAME, or"
        " RAHELPERS_DATA/NAME",
    )
    table: str = _value("", "folder only: CSV with one row a film")
    id_column: str = _value("image_id", "folder only: column with a unique name of the film")
    file_column: str = _value(
        "", "folder only: column with the file's path under `images`; empty: found by id"
    )
    patient_column: str = _value(
        "",
        "folder only: column that names the patient; required, films of one patient stay in one"
        " split",
    )
    label_column: str = _value(
        "",
        "column that the label is made from; required for folder, public datasets have a default",
    )
    positive: str = _value(
        "",
        'which values are positive: a value ("M") or a threshold (">=120"); required where'
        " label_column is",
    )
    laterality_column: str = _value(
        "",
        "folder only: column with L or R (or left, links, …); empty: not known, nothing is"
        " mirrored",
    )
    age_column: str = _value(
        "", "folder only: column with the age in years; empty: a column called age, if there is one"
    )
    sex_column: str = _value(
        "", "folder only: column with F or M; empty: a column called sex, if there is one"
    )
    centre_column: str = _value("", "folder only: column that names the hospital; empty: not known")
    external_centre: str = _value("", "hold this hospital out as the split `external`; empty: none")
    stratify_centre: bool = _value(
        False, "share every hospital evenly among the splits, not labels alone"
    )
    dask: str = _value(
        "",
        "address of a Dask scheduler that curates the films, such as tcp://10.0.0.5:8786; empty:"
        " this machine's cores",
    )
    boxes: str = _value(
        "", "folder only: CSV of joint boxes, `image_id, joint, x0, y0, x1, y1` as fractions"
    )
    max_films: int = _value(
        0, "use at most so many films, drawn by seed; 0: all; not for the phantom"
    )

    # network and training
    architecture: str = _value("vgg_small", "vgg_small, vgg16 or vgg19")
    weights: str = _value(
        "none",
        "start of vgg16 and vgg19: imagenet (Keras's download), none, or a path to a .weights.h5"
        " file",
    )
    train_from: str = _value(
        "block5", "first block of vgg16 and vgg19 that learns: block1 to block5, or head"
    )
    frozen_copies: int = _value(
        4,
        "pretrained only: the film and so many less one augmented copies, seen once by the layers"
        " that never change",
    )
    epochs: int = _value(4, "at most so many passes over the training split")
    patience: int = _value(10, "epochs without a better validation AUC before training stops")
    batch_size: int = _value(16, "films in a training step")
    learning_rate: float = _value(
        1e-3, "Adam's largest step size, reached after a tenth of the steps"
    )
    augment: bool = _value(True, "small random rotation, shift, scale and exposure while training")
    mirror: bool = _value(
        False, "also mirror at random while training; only where laterality was normalised"
    )
    precision: str = _value(
        "float32",
        "what training computes in: float32, bfloat16, float16, or auto (what is fast on this"
        " machine)",
    )
    deterministic: bool = _value(
        False, "bit-equal training on the same machine, at about half the speed"
    )

    tensorboard: bool = _value(
        False,
        "also write TensorBoard's logs of the training into the run's folder; needs the package"
        " tensorboard",
    )

    # training again: is it luck?
    folds: int = _value(
        0,
        "cross-validation by patient: every film is scored by a network that saw nobody of its"
        " fold; 0: none",
    )
    seeds: int = _value(1, "train so many times with other seeds on the same patients")
    learning_curve: str = _value(
        "",
        "shares of the training patients, such as 0.25,0.5: how does the score grow with patients?",
    )
    resolutions: str = _value(
        "",
        "sides of the network input, such as 64,128, those below image_size count: what does"
        " resolution bring?",
    )
    shuffled_labels: bool = _value(
        False,
        "train once on labels dealt out anew among the patients: a score above chance, seed after"
        " seed, would be a leak",
    )

    # evaluation and explanation
    n_bootstrap: int = _value(200, "patient-bootstrap resamples behind each interval")
    operating_rule: str = _value(
        "youden",
        "how the operating point is chosen on validation data: youden, sensitivity or cost",
    )
    target_sensitivity: float = _value(
        0.9, "the sensitivity that operating_rule=sensitivity asks for"
    )
    cost_ratio: float = _value(
        5.0, "operating_rule=cost: how many false alarms weigh as much as one missed positive"
    )
    prevalence: float = _value(
        0.1,
        "share of positives among those for whom it would be used: for PPV, NPV, net benefit and"
        " operating_rule=cost",
    )
    n_explain: int = _value(6, "test films that are explained; step 04 takes so many of each class")
    shap_evaluations: int = _value(128, "network evaluations a film for region SHAP")
    shap_baseline: str = _value(
        "blur", "what stands in for a hidden region: blur, mean, black or inpaint"
    )

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            object.__setattr__(self, f.name, _as_type(f.name, getattr(self, f.name), f.type))
        _one_of("profile", self.profile, PROFILES)
        _one_of("source", self.source, SOURCES)
        _one_of("spectrum", self.spectrum, SPECTRA)
        _one_of("architecture", self.architecture, ARCHITECTURES)
        _one_of("operating_rule", self.operating_rule, ("youden", "sensitivity", "cost"))
        _one_of("shap_baseline", self.shap_baseline, ("blur", "mean", "black", "inpaint"))
        _one_of("precision", self.precision, ("auto", "float32", "bfloat16", "float16"))
        _one_of(
            "train_from",
            self.train_from,
            ("block1", "block2", "block3", "block4", "block5", "head"),
        )
        for key, low, high in (
            ("n_patients", 12, 1_000_000),
            ("image_size", 32, 512),
            ("frozen_copies", 1, 100),
            ("epochs", 1, 10_000),
            ("patience", 1, 10_000),
            ("batch_size", 1, 4096),
            ("learning_rate", 1e-7, 1.0),
            ("n_bootstrap", 50, 1_000_000),
            ("n_explain", 1, 100_000),
            ("shap_evaluations", 16, 1_000_000),
            ("test_fraction", 0.05, 0.6),
            ("validation_fraction", 0.05, 0.6),
            ("target_sensitivity", 0.01, 1.0),
            ("cost_ratio", 0.001, 1000.0),
            ("prevalence", 0.0001, 0.9999),
            ("folds", 0, 100),
            ("seeds", 1, 1000),
            ("seed", 0, 2**32 - 1),
            ("max_films", 0, 10_000_000),
        ):
            value = getattr(self, key)
            if not low <= value <= high:
                raise ValueError(f"{key}={value} is out of range: expected {low} to {high}")
        self.number_list("learning_curve", float, 0.01, 1.0)
        self.number_list("resolutions", int, 32, 512)
        if self.folds == 1:
            raise ValueError("folds=1 holds nobody out: expected 0 (none) or at least 2")
        if self.test_fraction + self.validation_fraction > 0.8:
            raise ValueError(
                "test_fraction + validation_fraction must leave at least 0.2 of the patients for"
                " training"
            )
        if self.source == "folder":
            missing = [
                k
                for k in ("images", "table", "patient_column", "label_column", "positive")
                if not getattr(self, k)
            ]
            if missing:
                raise ValueError(
                    f"source=folder needs {', '.join(missing)}; see 'Your own films' in README.md"
                )
        if self.source in DEFAULT_TASKS:
            column, rule, _ = DEFAULT_TASKS[self.source]
            if self.label_column not in ("", column) and not self.positive:
                raise ValueError(
                    f"label_column={self.label_column!r} needs positive: which values are positive,"
                    " such as '1' or '>=10'"
                )
            object.__setattr__(self, "label_column", self.label_column or column)
            object.__setattr__(self, "positive", self.positive or rule)

    @property
    def _default_names(self) -> tuple[str, str] | None:
        """Names of the classes where the label is the public dataset's default one."""
        column, rule, names = DEFAULT_TASKS.get(self.source, ("", "", None))
        return (
            names
            if not self.task and (self.label_column, self.positive) == (column, rule)
            else None
        )

    @property
    def title(self) -> str:
        """Task and source, for every title: no phantom figure may look clinical, no bone-age figure
        may look like RA.
        """
        if self.source == "phantom":
            return f"{self.task or 'RA'} (phantom)"
        rule = self.positive if self.positive[:1] in "<>=" else f"= {self.positive}"
        task = self.task or (
            self._default_names[1] if self._default_names else f"{self.label_column} {rule}"
        )
        if self.source in PUBLIC_NAMES:
            return f"{task} ({PUBLIC_NAMES[self.source]})"
        folder = "/".join(Path(self.images).parts[-2:])
        return f"{task} (folder {folder})"

    @property
    def class_names(self) -> tuple[str, str]:
        """Names of label 0 and label 1."""
        if self._default_names:
            return self._default_names
        positive = self.task or (
            "RA" if self.source == "phantom" else self.title.rsplit(" (", 1)[0]
        )
        return f"not {positive}" if self.source != "phantom" or self.task else "non-RA", positive

    @property
    def path(self) -> Path:
        """Absolute folder of the run."""
        return project_root() / self.run_dir

    def number_list(self, key: str, kind: type, low: float, high: float) -> tuple[Any, ...]:
        """The numbers of a value such as '0.25,0.5', in increasing order.

        Raises
        ------
        ValueError
            Where one is no number, or outside low to high.
        """
        text = getattr(self, key)
        try:
            numbers = tuple(sorted({kind(part) for part in text.split(",") if part.strip()}))
        except ValueError:
            raise ValueError(
                f"{key}={text!r} is not valid: expected numbers with commas between them"
            ) from None
        if not all(low <= number <= high for number in numbers):
            raise ValueError(f"{key}={text!r} is out of range: expected {low:g} to {high:g}")
        return numbers

    def subset(self, *keys: str) -> dict[str, Any]:
        """The named values, as a plain dict."""
        return {k: getattr(self, k) for k in keys}


def _as_type(key: str, value: Any, type_name: str) -> Any:
    """Text from the command line or papermill as the declared type."""
    try:
        if type_name == "bool":
            if isinstance(value, str):
                return {
                    "true": True,
                    "1": True,
                    "yes": True,
                    "false": False,
                    "0": False,
                    "no": False,
                }[value.lower()]
            if isinstance(value, bool):
                return value
            raise ValueError
        if type_name == "int":
            if isinstance(value, bool) or (isinstance(value, float) and value != int(value)):
                raise ValueError
            return int(value)
        if type_name == "float":
            number = float(value)
            if number != number or isinstance(value, bool):
                raise ValueError
            return number
        return str(value)
    except (ValueError, TypeError, KeyError):
        raise ValueError(f"{key}={value!r} is not valid: expected {type_name}") from None


def near_match(word: str, known: tuple[str, ...] | list[str]) -> str:
    """A hint `; did you mean 'x'?`, or the whole list where nothing is near."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.55)
    return f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(known)}"


def _one_of(key: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{key}='{value}' is not known{near_match(value, known)}")


CONFIG_KEYS = tuple(f.name for f in dataclasses.fields(RunConfig))


def load_profile(name: str, pretrained: bool = False) -> dict[str, Any]:
    """Sizes of a profile from `profiles.toml`; those for a network that starts from pretrained
    weights where asked.
    """
    _one_of("profile", name, PROFILES)
    sizes = tomllib.loads(resources.files("rahelpers.core").joinpath("profiles.toml").read_text())[
        name
    ]
    fewer = sizes.pop("pretrained", {})
    return sizes | fewer if pretrained else sizes


def make_config(**values: Any) -> RunConfig:
    """Profile sizes, then the given values on top.

    Raises
    ------
    ValueError
        For a key that RunConfig does not have (with the near match) or a bad value.
    """
    for key in values:
        if key not in CONFIG_KEYS:
            raise ValueError(f"unknown parameter '{key}'{near_match(key, CONFIG_KEYS)}")
    pretrained = values.get("weights", "none") != "none"
    merged = load_profile(values.get("profile", "smoke"), pretrained) | values
    if pretrained and "architecture" not in values:
        merged["architecture"] = "vgg16"
    return RunConfig(**merged)


def config_from_notebook(namespace: dict[str, Any]) -> RunConfig:
    """The config of a notebook: its upper-case literals, as the parameters cell or papermill set
    them.

    `config_from_notebook(globals())` reads `PROFILE`, `SOURCE`, `SEED`, `RUN_DIR` and any other
    field of RunConfig in upper case. papermill only warns about a name that it does not know; here
    such a name is a ValueError.
    """
    literals = {
        k.lower(): v
        for k, v in namespace.items()
        if k.isupper() and not k.startswith("_") and isinstance(v, (str, int, float, bool))
    }
    return make_config(**literals)


def save_config(config: RunConfig) -> str:
    """The config as JSON text; `make_config(**json.loads(text))` gives it back."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def data_folder(name: str) -> Path:
    """Where a public dataset's files lie: RAHELPERS_DATA/NAME where that variable is set, else
    data/NAME in the project.

    A relative path starts at the project's root, because notebooks run in a folder of their own.
    """
    return project_root() / Path(os.environ.get("RAHELPERS_DATA") or "data").expanduser() / name


def dataset_folder(config: RunConfig) -> Path:
    """The root folder of the public dataset that a run reads."""
    return Path(config.images) if config.images else data_folder(config.source)


def project_root() -> Path:
    """The nearest folder at or above the working directory that holds `notebooks/`; else the
    working directory.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "notebooks" / "00_start_here.ipynb").exists() or (
            folder / "rahelpers" / "core" / "profiles.toml"
        ).exists():
            return folder
    return here
