"""The bundle, and predictions with it.

The panel, the evaluation and the explanations all load the network from here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rahelpers.core.store import DamagedArtefactError, MissingArtefactError, sha256_of
from rahelpers.network.backend import keras
from rahelpers.network.precision import POLICIES, choose_precision
from rahelpers.network.vgg import change_precision
from rahelpers.scores.calibration import calibrate

FAMILIARITY_FILE = "familiarity.npz"  # the training films of a bundle, as its network sees them
HEALTHY_FILE = "healthy_patches.npz"  # mean patches of its training hands of the negative class
GREY_LEVELS_FROM = 16  # a float film with larger values was not scaled to [0, 1]


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and bool(np.isfinite(value))


def _is_probability(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


# What every bundle.json holds, and how it is checked.
NEEDED: dict[str, Callable[[Any], bool]] = {
    "files": (
        lambda v: (
            isinstance(v, dict)
            and {"model.keras", FAMILIARITY_FILE, HEALTHY_FILE} <= set(v)
            and all(isinstance(digest, str) for digest in v.values())
        )
    ),
    "title": lambda v: isinstance(v, str),
    "image_size": lambda v: isinstance(v, int) and 32 <= v <= 512,
    "class_names": (
        lambda v: isinstance(v, list) and len(v) == 2 and all(isinstance(name, str) for name in v)
    ),
    "temperature": lambda v: _is_number(v) and v > 0,
    "offset": _is_number,
    "precision": lambda v: v in POLICIES,
    "gradcam_layer": lambda v: isinstance(v, str),
    "conformal": lambda v: isinstance(v, dict) and _is_number(v.get("alpha")),
    "validation": lambda v: isinstance(v, dict) and all(isinstance(n, int) for n in v.values()),
    "operating_point": lambda v: isinstance(v, dict) and _is_probability(v.get("probability")),
}


@dataclass(frozen=True)
class Bundle:
    """The network, and everything needed to use it.

    Attributes
    ----------
    model : keras.Model
        Input float32 (n, S, S, 1) in [0, 1]; output (n, 1), a logit.
    info : dict
        The content of `bundle.json`.
    folder : Path

    Examples
    --------
    >>> from rahelpers import load_bundle
    >>> bundle = load_bundle(run.file("train", "bundle"))
    >>> bundle.info["class_names"]
    ['non-RA', 'RA']
    >>> low, high = bundle.probability([-5.0, 5.0])  # calibrated
    >>> bool(low < high)
    True
    """

    model: keras.Model
    info: dict[str, Any]
    folder: Path

    @cached_property
    def fast(self) -> keras.Model:
        """The network for scoring many films.

        It uses the number format that it was trained in, if that is the fastest on this machine. On
        another machine, or with `model`, a logit may differ in its third digit.
        """
        trained_in = self.info["precision"]
        is_fastest = trained_in == choose_precision("auto")
        return change_precision(self.model, trained_in) if is_fastest else self.model

    @cached_property
    def healthy_patches(self) -> dict[str, np.ndarray]:
        """Mean patches of the negative training films, by site (`compute_mean_patches`).

        Empty where none of them has joints.
        """
        with np.load(self.folder / HEALTHY_FILE) as saved:
            return {site: saved[site] for site in saved.files}

    def probability(self, logits: np.ndarray) -> np.ndarray:
        """Turn logits, float (n,), into calibrated probabilities of the positive class."""
        return calibrate(logits, self.info["temperature"], self.info["offset"])


def load_bundle(folder: Path) -> Bundle:
    """Load a bundle after checking the SHA-256 of its files; Keras loads it in safe mode.

    Raises
    ------
    MissingArtefactError
        If there is no bundle.
    DamagedArtefactError
        If a file is not the one that was written.

    Examples
    --------
    >>> from rahelpers import load_bundle
    >>> bundle = load_bundle(run.file("train", "bundle"))
    >>> bundle.info["architecture"], bundle.model.input_shape
    ('vgg_small', (None, 48, 48, 1))
    """
    folder = Path(folder)
    info = read_info(folder)
    for name, expected in info["files"].items():
        if not (folder / name).exists() or sha256_of(folder / name) != expected:
            raise DamagedArtefactError(
                f"{folder.name}/{name} is missing or damaged (its SHA-256 is not the recorded one)"
            )
    model = keras.models.load_model(folder / "model.keras", compile=False, safe_mode=True)
    return Bundle(model, info, folder)


def read_info(folder: Path) -> dict[str, Any]:
    """Read a bundle's `bundle.json`, and check what every use of the network needs.

    Raises
    ------
    MissingArtefactError
        If there is none.
    DamagedArtefactError
        If it is not JSON, or if something is missing or has an impossible value.
    """
    file = folder / "bundle.json"
    if not file.exists():
        raise MissingArtefactError(
            f"{folder} holds no bundle (bundle.json is missing): notebooks/02_train_vgg.ipynb"
            " makes one"
        )
    try:
        info = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        raise DamagedArtefactError(
            f"{file} is damaged: it is not JSON. Copy the bundle from its run again, or repeat the"
            " run"
        ) from None
    wrong = [
        key
        for key, is_right in NEEDED.items()
        if not (isinstance(info, dict) and key in info and is_right(info[key]))
    ]
    if wrong:
        raise DamagedArtefactError(
            f"{file} is damaged: {', '.join(wrong)} {'is' if len(wrong) == 1 else 'are'} missing or"
            " invalid. Copy the bundle from its run again"
        )
    return info


def as_batch(images: np.ndarray, model: keras.Model | None = None) -> np.ndarray:
    """Turn films into a batch that a network takes.

    Parameters
    ----------
    images : uint8 array (n, S, S), or float array (n, S, S) in [0, 1]
        Values a little outside are accepted, as noise may cause them.
    model : keras.Model, optional
        The network that will read them: its input must have their size.

    Returns
    -------
    float32 array (n, S, S, 1) in [0, 1]

    Raises
    ------
    ValueError
        If the films have another shape, size or dtype, or hold values that are not finite, or grey
        levels up to 255 as float.

    Examples
    --------
    >>> import numpy as np
    >>> from rahelpers.network import as_batch
    >>> batch = as_batch(np.full((2, 48, 48), 255, np.uint8))
    >>> batch.shape, batch.dtype, float(batch.max())
    ((2, 48, 48, 1), dtype('float32'), 1.0)
    """
    images = np.asarray(images)
    if images.ndim != 3 or images.shape[1] != images.shape[2] or not images.size:
        raise ValueError(
            f"images have shape {images.shape}: expected (n, S, S), at least one film, all of them"
            " square"
        )
    if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
        raise ValueError(f"images are {images.dtype}: expected uint8, or float in [0, 1]")
    films = images.astype(np.float32)[..., None]
    if images.dtype == np.uint8:
        films /= np.float32(255.0)
    if model is not None and not _reads(model.input_shape[1:], films.shape[1:]):
        raise ValueError(
            f"films have shape {films.shape[1:]}: expected {tuple(model.input_shape[1:])}, the"
            f" input of {model.name}"
        )
    if images.dtype != np.uint8:
        finite = np.isfinite(films).all(axis=(1, 2, 3))
        if not finite.all():
            raise ValueError(
                f"film {int(np.argmin(finite))} of {len(films)} holds values that are not finite"
            )
        if (largest := float(np.abs(films).max())) > GREY_LEVELS_FROM:
            raise ValueError(
                f"float images hold {largest:g}: expected values in [0, 1]; divide grey levels by"
                " their largest possible value, or pass uint8"
            )
    return films


def _reads(needed: tuple, got: tuple[int, ...]) -> bool:
    return len(needed) == len(got) and all(n in (None, g) for n, g in zip(needed, got, strict=True))


def predict_logits(model: keras.Model, images: np.ndarray, batch_size: int = 32) -> np.ndarray:
    """Compute logits of the positive class.

    Parameters
    ----------
    model : keras.Model
    images : uint8 array (n, S, S), or float array (n, S, S) in [0, 1]
    batch_size : int

    Returns
    -------
    float64 array (n,)

    Examples
    --------
    >>> import numpy as np
    >>> from rahelpers import load_bundle, predict_logits
    >>> bundle = load_bundle(run.file("train", "bundle"))
    >>> predict_logits(bundle.model, np.zeros((3, 48, 48))).shape
    (3,)
    """
    parts = [images[i : i + batch_size] for i in range(0, len(images), batch_size)]
    # a network that is spread over several devices returns the whole batch once for each device
    batches = [model.predict_on_batch(as_batch(part, model))[: len(part)] for part in parts]
    return np.concatenate(batches).astype(np.float64).ravel() if batches else np.empty(0)
