"""The bundle, and predictions with it. The panel, the evaluation and the explanations all load the
model here.
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


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))
    )


FAMILIARITY_FILE = "familiarity.npz"  # of a bundle: its training films, as the network sees them
GREY_LEVELS_FROM = 16  # a float film with larger values was not brought to [0, 1]

# What every bundle.json holds, and what it must be.
NEEDED: dict[str, Callable[[Any], bool]] = {
    "files": (
        lambda v: (
            isinstance(v, dict)
            and {"model.keras", FAMILIARITY_FILE} <= set(v)
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
    "operating_point": (
        lambda v: (
            isinstance(v, dict) and _is_number(v.get("probability")) and 0 <= v["probability"] <= 1
        )
    ),
}


@dataclass(frozen=True)
class Bundle:
    """What the panel loads: the network and everything needed to use it.

    Attributes
    ----------
    model : keras.Model
        Input float32 (n, S, S, 1) in [0, 1]; output (n, 1), a logit.
    info : dict
        The content of `bundle.json`.
    folder : Path
    """

    model: keras.Model
    info: dict[str, Any]
    folder: Path

    @cached_property
    def fast(self) -> keras.Model:
        """The network for scoring many films: in the number format that it was trained in, where
        this machine is fast in that one.

        On another machine, or by `model`, a logit may differ in its third digit.
        """
        trained_in = self.info["precision"]
        return (
            change_precision(self.model, trained_in)
            if trained_in == choose_precision("auto")
            else self.model
        )

    def probability(self, logits: np.ndarray) -> np.ndarray:
        """Calibrated probability of the positive class, float64 (n,), of logits, float (n,)."""
        return calibrate(logits, self.info["temperature"], self.info["offset"])


def load_bundle(folder: Path) -> Bundle:
    """Load a bundle after checking the SHA-256 of its files; Keras loads it in safe mode.

    Raises
    ------
    MissingArtefactError
        If there is no bundle.
    DamagedArtefactError
        If a file is not the one that was written.
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
    """The content of a bundle's `bundle.json`, after checking that what every use of the network
    needs is there and can be.

    Raises
    ------
    MissingArtefactError
        If there is none.
    DamagedArtefactError
        If it is no JSON, or lacks something.
    """
    file = folder / "bundle.json"
    if not file.exists():
        raise MissingArtefactError(
            f"{folder}: holds no bundle (bundle.json is missing); notebooks/02_train_vgg.ipynb"
            " makes it"
        )
    try:
        info = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        raise DamagedArtefactError(
            f"{file} is damaged: it is no JSON text; take it from the run again, or make the run"
            " again"
        ) from None
    wrong = [
        key
        for key, is_right in NEEDED.items()
        if not (isinstance(info, dict) and key in info and is_right(info[key]))
    ]
    if wrong:
        raise DamagedArtefactError(
            f"{file} is damaged: {', '.join(wrong)} {'is' if len(wrong) == 1 else 'are'} missing or"
            " cannot be; take it from the run again"
        )
    return info


def as_batch(images: np.ndarray, model: keras.Model | None = None) -> np.ndarray:
    """Network inputs as the model takes them.

    Parameters
    ----------
    images : uint8 array (n, S, S), or float array (n, S, S) in [0, 1]
        A little outside is let through, as noise may be.
    model : keras.Model, optional
        The network that is to read them: its input must have their size.

    Returns
    -------
    float32 array (n, S, S, 1) in [0, 1]

    Raises
    ------
    ValueError
        If the films have another shape, size or kind of number, hold values that are not finite, or
        grey levels up to 255 as float.
    """
    images = np.asarray(images)
    if images.ndim != 3 or images.shape[1] != images.shape[2] or not images.size:
        raise ValueError(
            f"images have shape {images.shape}: expected (n, S, S), square films with at least one"
            " of them"
        )
    if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
        raise ValueError(f"images are {images.dtype}: expected uint8, or float in [0, 1]")
    films = (
        images.astype(np.float32) / 255.0 if images.dtype == np.uint8 else images.astype(np.float32)
    )[..., None]
    if model is not None and not _reads(model.input_shape[1:], films.shape[1:]):
        raise ValueError(
            f"films of {films.shape[1:]} for {model.name}, which reads"
            f" {tuple(model.input_shape[1:])}: expected films of the network's size"
        )
    if images.dtype != np.uint8:
        if not np.isfinite(films).all():
            raise ValueError(
                f"film {int(np.argmin(np.isfinite(films).all(axis=(1, 2, 3))))} of {len(films)}"
                " holds values that are not finite"
            )
        if (largest := float(np.abs(films).max())) > GREY_LEVELS_FROM:
            raise ValueError(
                f"float images hold {largest:g}: expected [0, 1]; divide grey levels by their"
                " largest possible value, or pass uint8"
            )
    return films


def _reads(needed: tuple, got: tuple[int, ...]) -> bool:
    return len(needed) == len(got) and all(n in (None, g) for n, g in zip(needed, got, strict=True))


def predict_logits(model: keras.Model, images: np.ndarray, batch_size: int = 32) -> np.ndarray:
    """Logits of the positive class.

    Parameters
    ----------
    model : keras.Model
    images : uint8 array (n, S, S), or float array (n, S, S) in [0, 1]
    batch_size : int

    Returns
    -------
    float64 array (n,)
    """
    parts = [images[i : i + batch_size] for i in range(0, len(images), batch_size)]
    # a network that lies on several devices gives the whole batch back once for each
    batches = [model.predict_on_batch(as_batch(part, model))[: len(part)] for part in parts]
    return np.concatenate(batches).astype(np.float64).ravel() if batches else np.empty(0)
