"""The typed configuration of a run: a profile's sizes, the source, and the user's own values."""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

Profile = Literal["smoke", "quick", "full"]
Source = Literal["phantom", "folder", "ram-h1200", "ram-w600", "rsna-bone-age"]
PROFILES: tuple[str, ...] = get_args(Profile)
SOURCES: tuple[str, ...] = get_args(Source)
# The task of a public source where the user names none: label column, rule, and the names of
# classes 0 and 1. It is never RA, because no public label is RA against non-RA.
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


def _refuse_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("true and false are not numbers")
    return value


Whole = Annotated[int, BeforeValidator(_refuse_bool)]
Number = Annotated[float, BeforeValidator(_refuse_bool)]
Text = Annotated[str, BeforeValidator(str)]  # a label may be the number 1, a folder a Path
EXPECTED: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false"}


class RunConfig(BaseModel):
    """Every value that shapes a run.

    `rahelpers run -p KEY=VALUE` sets any of them. Text, as it comes from the command line, is
    converted to the declared type.

    Raises
    ------
    ValueError
        If a key is unknown, or a value has the wrong type or is out of range. The message has one
        sentence per fault: key, value received, and what is expected.

    Examples
    --------
    >>> from rahelpers import RunConfig
    >>> config = RunConfig(epochs="3", seed=1)
    >>> config.epochs, config.seed, config.source
    (3, 1, 'phantom')
    >>> RunConfig(epochs=0)
    Traceback (most recent call last):
    ...
    ValueError: epochs=0 is out of range: expected 1 to 10000
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    profile: Profile = Field(default="smoke", description="sizes: smoke, quick or full")
    source: Source = Field(
        default="phantom",
        description="where the radiographs come from: phantom, folder, ram-h1200, ram-w600 or"
        " rsna-bone-age",
    )
    seed: Whole = Field(default=7, ge=0, le=2**32 - 1, description="seed of every random draw")
    run_dir: Text = Field(
        default="runs/smoke",
        description="folder of the run; a relative path starts at the project's root",
    )

    # cohort
    n_patients: Whole = Field(
        default=40,
        ge=12,
        le=1_000_000,
        description="phantom only: number of patients, two hands each",
    )
    spectrum: Literal["healthy", "mixed", "early"] = Field(
        default="mixed",
        description="phantom only: who is compared: healthy (established RA against healthy),"
        " mixed, or early (the first years of RA)",
    )
    image_size: Whole = Field(
        default=96, ge=32, le=512, description="side of the square network input, pixels, 32 to 512"
    )
    task: Text = Field(
        default="",
        description="name of the prediction task, used in every title; empty: RA (phantom), the"
        " default label (public datasets) or the label rule",
    )
    test_fraction: Number = Field(
        default=0.25,
        ge=0.05,
        le=0.6,
        description="share of the patients held out for the test split",
    )
    validation_fraction: Number = Field(
        default=0.2, ge=0.05, le=0.6, description="share of the patients in the validation split"
    )

    # source = folder or a public dataset
    images: Text = Field(
        default="",
        description="folder that holds the films; for a public dataset its root folder, empty:"
        " data/NAME, or RAHELPERS_DATA/NAME",
    )
    table: Text = Field(default="", description="folder only: CSV with one row per film")
    id_column: Text = Field(
        default="image_id", description="folder only: column with a unique name for each film"
    )
    file_column: Text = Field(
        default="",
        description="folder only: column with the film's path below `images`; empty: found by its"
        " id",
    )
    patient_column: Text = Field(
        default="",
        description="folder only: column that identifies the patient; required, because all films"
        " of a patient go into the same split",
    )
    label_column: Text = Field(
        default="",
        description="column that the label is made from; required for folder, while public"
        " datasets have a default",
    )
    positive: Text = Field(
        default="",
        description='which values are positive: a value ("M") or a threshold (">=120"); required'
        " together with label_column",
    )
    laterality_column: Text = Field(
        default="",
        description="folder only: column with L or R (or left, links, …); empty: unknown, and"
        " nothing is mirrored",
    )
    age_column: Text = Field(
        default="",
        description="folder only: column with the age in years; empty: the column named age, if"
        " there is one",
    )
    sex_column: Text = Field(
        default="",
        description="folder only: column with F or M; empty: the column named sex, if there is one",
    )
    centre_column: Text = Field(
        default="", description="folder only: column that identifies the hospital; empty: unknown"
    )
    external_centre: Text = Field(
        default="", description="hospital to hold out as the split `external`; empty: none"
    )
    stratify_centre: bool = Field(
        default=False,
        description="give each split the same share of every hospital, not only of every label",
    )
    dask: Text = Field(
        default="",
        description="address of a Dask scheduler that curates the films, such as"
        " tcp://10.0.0.5:8786; empty: this machine's cores",
    )
    boxes: Text = Field(
        default="",
        description="folder only: CSV of joint boxes, `image_id, joint, x0, y0, x1, y1` as"
        " fractions of the film",
    )
    max_films: Whole = Field(
        default=0,
        ge=0,
        le=10_000_000,
        description="use at most this many films, drawn at random by seed; 0: all; not for the"
        " phantom",
    )

    # network and training
    architecture: Literal["vgg_small", "vgg16", "vgg19"] = Field(
        default="vgg_small", description="vgg_small, vgg16 or vgg19"
    )
    weights: Text = Field(
        default="none",
        description="initial weights of vgg16 and vgg19: imagenet (downloaded by Keras), none, or"
        " the path of a .weights.h5 file",
    )
    train_from: Literal["block1", "block2", "block3", "block4", "block5", "head"] = Field(
        default="block5",
        description="first block of vgg16 and vgg19 that is trained: block1 to block5, or head",
    )
    frozen_copies: Whole = Field(
        default=4,
        ge=1,
        le=100,
        description="pretrained only: versions of each film, the film itself and augmented copies,"
        " that pass once through the frozen layers",
    )
    epochs: Whole = Field(
        default=4, ge=1, le=10_000, description="at most this many passes over the training split"
    )
    patience: Whole = Field(
        default=10,
        ge=1,
        le=10_000,
        description="epochs without a better validation AUC before training stops",
    )
    batch_size: Whole = Field(
        default=16, ge=1, le=4096, description="number of films in a training step"
    )
    learning_rate: Number = Field(
        default=1e-3,
        ge=1e-7,
        le=1.0,
        description="Adam's largest step size, reached after a tenth of the steps",
    )
    augment: bool = Field(
        default=True,
        description="small random rotations, shifts, scalings and exposure changes in training",
    )
    mirror: bool = Field(
        default=False,
        description="also mirror at random in training; only where laterality was normalised",
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="float32",
        description="number format of the training: float32, bfloat16, float16, or auto (what is"
        " fast on this machine)",
    )
    deterministic: bool = Field(
        default=False,
        description="training that is bit-identical on the same machine, at about half the speed",
    )
    tensorboard: bool = Field(
        default=False,
        description="also write TensorBoard logs of the training into the run's folder; needs the"
        " package tensorboard",
    )

    # training again: was it luck?
    folds: Whole = Field(
        default=0,
        ge=0,
        le=100,
        description="cross-validation by patient: every film is scored by a network that saw none"
        " of the patients of its fold; 0: none",
    )
    seeds: Whole = Field(
        default=1,
        ge=1,
        le=1000,
        description="number of trainings with different seeds on the same patients",
    )
    learning_curve: Text = Field(
        default="",
        description="shares of the training patients, such as 0.25,0.5: how does the score grow"
        " with more patients?",
    )
    resolutions: Text = Field(
        default="",
        description="sides of the network input, such as 64,128; those below image_size are used:"
        " what does resolution bring?",
    )
    shuffled_labels: bool = Field(
        default=False,
        description="train once on labels that are shuffled among the patients: a score that is"
        " above chance for seed after seed would reveal a leak",
    )

    # evaluation and explanation
    n_bootstrap: Whole = Field(
        default=200,
        ge=50,
        le=1_000_000,
        description="number of bootstrap resamples of the patients: average precision, Brier score,"
        " calibration error, probes, permutations",
    )
    operating_rule: Literal["youden", "sensitivity", "cost"] = Field(
        default="youden",
        description="how the operating point is chosen on validation data: youden, sensitivity or"
        " cost",
    )
    target_sensitivity: Number = Field(
        default=0.9,
        ge=0.01,
        le=1.0,
        description="operating_rule=sensitivity: the sensitivity to reach",
    )
    cost_ratio: Number = Field(
        default=5.0,
        ge=0.001,
        le=1000.0,
        description="operating_rule=cost: how many false alarms weigh as much as one missed"
        " positive",
    )
    prevalence: Number = Field(
        default=0.1,
        ge=0.0001,
        le=0.9999,
        description="share of positives in the population of intended use: for PPV, NPV, net"
        " benefit and operating_rule=cost",
    )
    n_explain: Whole = Field(
        default=6,
        ge=1,
        le=100_000,
        description="number of test films that are explained; step 04 takes this many of each"
        " class",
    )
    shap_evaluations: Whole = Field(
        default=128, ge=16, le=1_000_000, description="network evaluations per film for region SHAP"
    )
    shap_baseline: Literal["healthy", "inpaint", "blur", "mean", "black"] = Field(
        default="healthy",
        description="what replaces a hidden region: healthy (the mean of healthy hands; inpaint on"
        " films without joints), inpaint, blur, mean or black",
    )

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as faults:
            raise ValueError("\n".join(_explain(one) for one in faults.errors())) from None

    def __setattr__(self, key: str, value: Any) -> None:
        raise AttributeError(f"{key} cannot be set: make another config, config.replace({key}=...)")

    @model_validator(mode="before")
    @classmethod
    def _add_the_default_task(cls, values: dict[str, Any]) -> dict[str, Any]:
        """The label column and rule of a public source, where the user gave none or the same."""
        column, rule, _ = DEFAULT_TASKS.get(str(values.get("source")), ("", "", None))
        if values.get("label_column", "") in ("", column):
            given = {k: values[k] for k in ("label_column", "positive") if values.get(k, "") != ""}
            values = values | {"label_column": column, "positive": rule} | given
        return values

    @model_validator(mode="after")
    def _check_what_belongs_together(self) -> RunConfig:
        self.number_list("learning_curve", float, 0.01, 1.0)
        self.number_list("resolutions", int, 32, 512)
        if not self.run_dir.strip():
            raise ValueError("run_dir='' names no folder: expected one such as runs/mine")
        if self.weights != "none" and self.architecture == "vgg_small":
            raise ValueError(
                f"weights={self.weights}: vgg_small has no pretrained weights; use weights=none, or"
                " architecture=vgg16 or vgg19"
            )
        if self.folds == 1:
            raise ValueError("folds=1 holds no patient out: expected 0 (none) or at least 2")
        held_out = self.test_fraction + self.validation_fraction
        if held_out > 0.8:
            raise ValueError(
                f"test_fraction + validation_fraction = {held_out:g} is out of range: expected at"
                " most 0.8, so that 0.2 of the patients are left for training"
            )
        needed = ("images", "table", "patient_column", "label_column", "positive")
        missing = [key for key in needed if not getattr(self, key)]
        if self.source == "folder" and missing:
            raise ValueError(
                f"source=folder needs {', '.join(missing)}; see 'Your own films' in README.md"
            )
        if self.source in DEFAULT_TASKS and not self.positive:
            raise ValueError(
                f"label_column={self.label_column!r} needs positive: which values are positive,"
                " such as '1' or '>=10'"
            )
        return self

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
        """Task and source, for every title.

        No figure of the phantom may look clinical, and none of bone age may look like RA.

        Examples
        --------
        >>> from rahelpers import make_config
        >>> make_config().title, make_config(source="ram-w600").title
        ('RA (phantom)', 'erosive wrist (RAM-W600)')
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
        if self.source == "phantom" and not self.task:
            return "non-RA", "RA"
        positive = self.task or self.title.rsplit(" (", 1)[0]
        return f"not {positive}", positive

    @property
    def path(self) -> Path:
        """Absolute folder of the run."""
        return project_root() / self.run_dir

    def number_list(self, key: str, kind: type, low: float, high: float) -> tuple[Any, ...]:
        """The numbers of a value such as '0.25,0.5', in increasing order.

        Raises
        ------
        ValueError
            If a part is not a number, or not between low and high.
        """
        text = getattr(self, key)
        try:
            numbers = tuple(sorted({kind(part) for part in text.split(",") if part.strip()}))
        except ValueError:
            raise ValueError(
                f"{key}={text!r} is not valid: expected numbers separated by commas"
            ) from None
        if not all(low <= number <= high for number in numbers):
            raise ValueError(f"{key}={text!r} is out of range: expected {low:g} to {high:g}")
        return numbers

    def subset(self, *keys: str) -> dict[str, Any]:
        """The named values, as a plain dict."""
        return {k: getattr(self, k) for k in keys}

    def replace(self, **changes: Any) -> RunConfig:
        """A copy with other values, checked like any other (pydantic's `model_copy` checks none).

        Examples
        --------
        >>> from rahelpers import make_config
        >>> make_config(seed=1).replace(folds="4").subset("seed", "folds")
        {'seed': 1, 'folds': 4}
        """
        return RunConfig(**self.model_dump() | changes)


CONFIG_KEYS = tuple(RunConfig.model_fields)


def _explain(fault: ErrorDetails) -> str:
    """One of pydantic's faults as a sentence: key, value received, and what is expected."""
    if not fault["loc"]:  # depends on several fields: the sentence is one of ours
        return str(fault["ctx"]["error"])
    key, value = str(fault["loc"][0]), fault["input"]
    if fault["type"] == "extra_forbidden":
        return f"unknown parameter '{key}'{near_match(key, CONFIG_KEYS)}"
    field = RunConfig.model_fields[key]
    if fault["type"] == "literal_error":
        return _not_known(key, value, get_args(field.annotation))
    if fault["type"] in ("greater_than_equal", "less_than_equal"):
        low = next(rule.ge for rule in field.metadata if hasattr(rule, "ge"))
        high = next(rule.le for rule in field.metadata if hasattr(rule, "le"))
        return f"{key}={value} is out of range: expected {low} to {high}"
    return f"{key}={value!r} is not valid: expected {EXPECTED.get(field.annotation, 'text')}"


def _not_known(key: str, value: Any, known: Sequence[str]) -> str:
    return f"{key}={value!r} is not known{near_match(str(value), known)}"


def near_match(word: str, known: Sequence[str]) -> str:
    """The hint `; did you mean 'x'?`, or the full list if nothing is similar.

    Examples
    --------
    >>> from rahelpers.core.config import near_match
    >>> near_match("quik", ("smoke", "quick", "full"))
    "; did you mean 'quick'?"
    """
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.55)
    return f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(known)}"


def load_profile(name: str, pretrained: bool = False) -> dict[str, Any]:
    """Sizes of a profile, from `profiles.toml`.

    Parameters
    ----------
    name : str
        'smoke', 'quick' or 'full'.
    pretrained : bool
        The sizes for a network that starts from pretrained weights.

    Raises
    ------
    ValueError
        If there is no such profile.

    Examples
    --------
    >>> from rahelpers.core import load_profile
    >>> load_profile("smoke")["n_patients"]
    40
    """
    if name not in PROFILES:
        raise ValueError(_not_known("profile", name, PROFILES))
    text = resources.files("rahelpers.core").joinpath("profiles.toml").read_text(encoding="utf-8")
    sizes = tomllib.loads(text)[name]
    changed = sizes.pop("pretrained", {})
    return sizes | changed if pretrained else sizes


def make_config(**values: Any) -> RunConfig:
    """The sizes of a profile, overridden by the given values.

    Raises
    ------
    ValueError
        For a key that RunConfig does not have (with the nearest match), or an invalid value.

    Examples
    --------
    >>> from rahelpers import make_config
    >>> make_config(profile="quick", epochs=2).subset("n_patients", "epochs")
    {'n_patients': 320, 'epochs': 2}
    >>> make_config(epoch=3)
    Traceback (most recent call last):
    ...
    ValueError: unknown parameter 'epoch'; did you mean 'epochs'?
    """
    pretrained = values.get("weights", "none") != "none"
    sizes = load_profile(values.get("profile", "smoke"), pretrained)
    if pretrained:
        sizes["architecture"] = "vgg16"  # the small network has no pretrained weights
    return RunConfig(**sizes | values)


def config_from_notebook(namespace: dict[str, Any]) -> RunConfig:
    """The config of a notebook, from the upper-case values of its parameters cell.

    `config_from_notebook(globals())` reads `PROFILE`, `SOURCE`, `SEED`, `RUN_DIR` and any other
    field of RunConfig in upper case, as the cell or papermill set them. papermill only warns about
    a name that it does not know; here such a name is a ValueError.

    Examples
    --------
    >>> from rahelpers import config_from_notebook
    >>> config_from_notebook({"PROFILE": "smoke", "SEED": 9, "other": 1}).seed
    9
    """
    literals = {
        k.lower(): v
        for k, v in namespace.items()
        if k.isupper() and not k.startswith("_") and isinstance(v, (str, int, float, bool))
    }
    return make_config(**literals)


def save_config(config: RunConfig) -> str:
    """The config as JSON text; `make_config(**json.loads(text))` restores it."""
    return json.dumps(config.model_dump(), indent=2) + "\n"


def data_folder(name: str) -> Path:
    """Folder of a public dataset's files: `data/NAME` in the project, or `RAHELPERS_DATA/NAME`.

    If that variable is a relative path, it starts at the project's root, because notebooks run in
    a folder of their own.
    """
    return project_root() / Path(os.environ.get("RAHELPERS_DATA") or "data").expanduser() / name


def dataset_folder(config: RunConfig) -> Path:
    """The root folder of the public dataset that a run reads."""
    return Path(config.images) if config.images else data_folder(config.source)


def project_root() -> Path:
    """The project's folder, at or above the working directory.

    Outside the project, it is the working directory itself.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "notebooks" / "00_start_here.ipynb").exists() or (
            folder / "rahelpers" / "core" / "profiles.toml"
        ).exists():
            return folder
    return here
