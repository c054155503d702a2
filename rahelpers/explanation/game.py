"""The game of region SHAP: its players are the regions of a film, its worth is the logit.

Here are the baselines, which say what a hidden region shows, the masker that puts together the film
of a coalition, and the game, which asks the network for its logit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import pandas as pd

from rahelpers.explanation.regions import BACKGROUND, BONE, SOFT, Regions
from rahelpers.films.normalisation import foreground
from rahelpers.network.backend import keras, tf

SHAP_BASELINES = ("blur", "mean", "black", "inpaint")
PATCH = 24  # pixels: side of the mean patch of a site


def make_baseline(image: np.ndarray, kind: str, regions: Regions | None = None) -> np.ndarray:
    """Make the baseline: the film that shows through where a region is hidden.

    Parameters
    ----------
    image : uint8 array (S, S)
    kind : {'blur', 'mean', 'black', 'inpaint'}
        'blur': the film without detail. 'mean': the mean grey of the hand. 'black': nothing.
        'inpaint': each region is filled from its rim (Telea 2004), the background with air.
        `make_healthy_baseline` makes a fifth kind.
    regions : Regions, optional
        Needed only for 'inpaint'.

    Returns
    -------
    uint8 array (S, S)

    Raises
    ------
    ValueError
        If the kind is unknown, the regions are missing, or the film is not uint8 (OpenCV would
        truncate values in [0, 1] to 0: a black film, and no error).

    Examples
    --------
    >>> from rahelpers.explanation import make_baseline
    >>> film = np.zeros((32, 32), np.uint8)
    >>> film[8:24, 8:24] = 200
    >>> {kind: int(make_baseline(film, kind)[8, 8]) for kind in ("blur", "black")}
    {'blur': 72, 'black': 0}
    """
    if image.dtype != np.uint8:
        raise ValueError(f"image is {image.dtype}: expected uint8, 0 to 255")
    if kind == "blur":
        return cv2.GaussianBlur(image, (0, 0), image.shape[0] / 16)
    if kind == "mean":
        return np.full_like(image, int(image[foreground(image)].mean()))
    if kind == "black":
        return np.zeros_like(image)
    if kind != "inpaint":
        raise ValueError(f"baseline={kind!r}: expected {', '.join(SHAP_BASELINES)}")
    if regions is None:
        raise ValueError("regions=None: baseline='inpaint' needs the regions that it fills")
    hidden = cv2.GaussianBlur(image, (0, 0), image.shape[0] / 16)
    for k, name in enumerate(regions.names):
        inside = regions.labels == k
        if name == BACKGROUND:
            hidden[inside] = np.median(image[inside])
        elif name not in (BONE, SOFT):
            filled = cv2.inpaint(image, inside.astype(np.uint8), 3, cv2.INPAINT_TELEA)
            hidden[inside] = filled[inside]
    return hidden


def compute_healthy_patches(
    images: np.ndarray, joints: Sequence[pd.DataFrame]
) -> dict[str, np.ndarray]:
    """Compute the mean patch of each site over healthy hands.

    Parameters
    ----------
    images : uint8 array (n, S, S)
        Training films of label 0.
    joints : sequence of DataFrame, length n
        The joint table of each film.

    Returns
    -------
    dict
        Site -> float32 array (24, 24), grey from 0 to 255. Empty where no film has joints.

    Examples
    --------
    >>> from rahelpers.explanation import compute_healthy_patches
    >>> films = np.stack([np.full((48, 48), grey, np.uint8) for grey in (100, 140)])
    >>> box = pd.DataFrame({"site": ["MCP2"], "x0": [0.2], "y0": [0.2], "x1": [0.8], "y1": [0.8]})
    >>> patches = compute_healthy_patches(films, [box, box])
    >>> patches["MCP2"].shape, float(patches["MCP2"].mean())
    ((24, 24), 120.0)
    """
    patches: dict[str, list[np.ndarray]] = {}
    for image, table in zip(images, joints, strict=True):
        for joint in table.itertuples():
            seen = image[_box(joint, image.shape[0])].astype(np.float32)
            patch = cv2.resize(seen, (PATCH, PATCH), interpolation=cv2.INTER_AREA)
            patches.setdefault(joint.site, []).append(patch)
    return {site: np.mean(found, axis=0) for site, found in patches.items()}


def make_healthy_baseline(
    image: np.ndarray, joints: pd.DataFrame, patches: dict[str, np.ndarray]
) -> np.ndarray:
    """Make a baseline in which every site looks as it does on average in healthy hands.

    The sites are on the grey scale of this film; elsewhere the baseline is the blurred film.

    Parameters
    ----------
    image : uint8 array (S, S)
    joints : DataFrame
        Joint table of this film.
    patches : dict
        As `compute_healthy_patches` returns them.

    Returns
    -------
    uint8 array (S, S)

    Raises
    ------
    ValueError
        If the patches know none of the sites of this film.

    Examples
    --------
    >>> from rahelpers.explanation import make_healthy_baseline
    >>> box = pd.DataFrame({"site": ["MCP2"], "x0": [0.2], "y0": [0.2], "x1": [0.8], "y1": [0.8]})
    >>> narrowed = np.full((48, 48), 200, np.uint8)
    >>> gap = np.full((24, 24), 120, np.float32)
    >>> gap[11:13] -= 60  # the joint space of a healthy joint
    >>> hidden = make_healthy_baseline(narrowed, box, {"MCP2": gap})
    >>> hidden[[12, 23], 24].tolist()
    [205, 145]
    """
    known = [joint for joint in joints.itertuples() if joint.site in patches]
    if not known:
        raise ValueError(
            f"no site of this film ({', '.join(joints['site']) or 'it has no joints'}) is known"
            f" from healthy hands ({', '.join(patches) or 'their films have no joints'}): expected"
            " films with joints for both"
        )
    hidden = make_baseline(image, "blur")
    for joint in known:
        place = _box(joint, image.shape[0])
        height, width = image[place].shape
        patch = cv2.resize(patches[joint.site], (width, height), interpolation=cv2.INTER_LINEAR)
        # only the pattern is replaced: a different exposure is not a disease
        scaled = (patch - patch.mean()) + image[place].mean()
        hidden[place] = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return hidden


def _box(joint: Any, side: int) -> tuple[slice, slice]:
    """The pixels of the box of a joint (a row of the joint table), at least two along each side."""

    def pixels(start: float, stop: float) -> slice:
        first = int(np.clip(start * side, 0, side - 2))
        return slice(first, max(round(stop * side), first + 2))

    return pixels(joint.y0, joint.y1), pixels(joint.x0, joint.x1)


class RegionMasker:
    """A masker for the library `shap`: players are regions, a hidden one shows the baseline.

    `shap.PartitionExplainer(predict, masker)` gives Owen values in the anatomical hierarchy.
    `shap.PermutationExplainer(predict, masker)` gives Shapley values of the same game, but only if
    the masker has no hierarchy: with one, it silently draws only orders that keep groups together,
    and then the values are not Shapley values. `predict` takes uint8 films (n, S, S), and the
    explainer is called on `image[None]`.

    Parameters
    ----------
    regions : Regions
    hidden : uint8 array (S, S)
        The baseline, as `make_baseline` returns it.
    hierarchy : bool
        Whether shap gets the tree of the regions.

    Examples
    --------
    >>> from rahelpers.explanation import RegionMasker
    >>> from rahelpers.explanation.regions import Regions
    >>> halves = Regions(["left", "right"], np.repeat([[0, 0, 1, 1]], 2, axis=0))
    >>> masker = RegionMasker(halves, np.zeros((2, 4), np.uint8))
    >>> masker.compose(np.array([[True, False]]), np.full((2, 4), 9, np.uint8)).tolist()
    [[[9, 9, 0, 0], [9, 9, 0, 0]]]
    """

    def __init__(self, regions: Regions, hidden: np.ndarray, hierarchy: bool = True) -> None:
        if hidden.dtype != np.uint8 or hidden.shape != regions.labels.shape:
            raise ValueError(
                f"the baseline is {hidden.dtype} {hidden.shape}: expected uint8"
                f" {regions.labels.shape}, as the regions"
            )
        self.regions, self.hidden = regions, hidden
        self.clustering = regions.tree if hierarchy else None
        self.shape = (1, len(regions.names))

    def __call__(self, mask: np.ndarray, image: np.ndarray) -> tuple[np.ndarray]:
        """Compose the film of one mask, bool (p,): uint8 (1, S, S)."""
        return (self.compose(np.atleast_2d(mask), image),)

    def compose(self, coalitions: np.ndarray, image: np.ndarray) -> np.ndarray:
        """Compose the films of coalitions, bool (n, p): uint8 (n, S, S)."""
        shown = np.asarray(coalitions, dtype=bool)[:, self.regions.labels]
        return np.where(shown, image, self.hidden)

    def mask_shapes(self, _: np.ndarray) -> list[tuple[int]]:
        """Shape of a mask, in the form in which shap asks for it."""
        return [(self.shape[1],)]

    def feature_names(self, _: np.ndarray) -> list[list[str]]:
        """Names of the players, in the form in which shap asks for them."""
        return [self.regions.names]


class RegionGame:
    """The game that region SHAP explains: coalitions of regions -> logits of their films.

    Logits are remembered: a coalition is never computed twice.

    Parameters
    ----------
    model : keras.Model
        Ends in one logit.
    image : uint8 array (S, S)
    masker : RegionMasker
    batch_size : int
    fast : keras.Model, optional
        The same network in a shorter number format, for all coalitions except the empty and the
        full one: the total of the values stays exact.
    on_batch : callable, optional
        Called before each batch with its number of films; an exception that it raises stops the
        game.

    Examples
    --------
    A network whose logit is the mean of the film: four pixels, of which two are bright.

    >>> from rahelpers.explanation import RegionGame, RegionMasker
    >>> from rahelpers.explanation.regions import Regions
    >>> film = keras.Input((2, 2, 1))
    >>> model = keras.Sequential([film, keras.layers.Flatten(), keras.layers.Dense(1)])
    >>> model.layers[-1].set_weights([np.full((4, 1), 0.25), np.zeros(1)])
    >>> image = np.array([[255, 255], [0, 0]], np.uint8)
    >>> rows = Regions(["upper", "lower"], np.array([[0, 0], [1, 1]]))
    >>> game = RegionGame(model, image, RegionMasker(rows, np.zeros_like(image)))
    >>> game(np.array([[False, False], [True, False], [True, True], [True, False]])).tolist()
    [0.0, 0.5, 0.5, 0.5]
    >>> game.evaluations
    3
    """

    def __init__(
        self,
        model: keras.Model,
        image: np.ndarray,
        masker: RegionMasker,
        batch_size: int = 32,
        fast: keras.Model | None = None,
        on_batch: Callable[[int], None] = lambda films: None,
    ) -> None:
        self.model, self.image, self.masker, self.batch_size = model, image, masker, batch_size
        self.fast, self._on_batch = fast or model, on_batch
        self.players = len(masker.regions.names)
        self._pictures = tuple(
            map(tf.constant, (masker.regions.labels.astype(np.int64), image, masker.hidden))
        )
        self._known: dict[bytes, float] = {}

    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        """Logits, float64 (n,), of coalitions, bool (n, p): True is shown."""
        # only coalitions that were not asked for before
        coalitions = np.asarray(coalitions, dtype=bool)
        keys = [row.tobytes() for row in np.packbits(coalitions, axis=1)]
        new = {key: k for k, key in enumerate(keys) if key not in self._known}
        rows = coalitions[list(new.values())]

        # the empty and the full coalition by the exact network, the others by the fast one
        ends = rows.all(axis=1) | ~rows.any(axis=1)
        logits = np.empty(len(rows))
        for network, chosen in ((self.model, ends), (self.fast, ~ends)):
            asked = np.flatnonzero(chosen)
            for start in range(0, len(asked), self.batch_size):
                batch = asked[start : start + self.batch_size]
                self._on_batch(len(batch))
                logits[batch] = _trace_game(network)(rows[batch], *self._pictures).numpy()
        self._known |= dict(zip(new, logits.tolist(), strict=True))
        return np.array([self._known[key] for key in keys], dtype=np.float64)

    @property
    def evaluations(self) -> int:
        """Number of distinct coalitions that the network has seen."""
        return len(self._known)


@lru_cache(maxsize=8)
def _trace_game(network: keras.Model) -> tf.types.experimental.PolymorphicFunction:
    """Trace one graph from coalitions to logits, for every film and batch size.

    The films of the coalitions are composed inside the graph, where they are needed.
    """
    picture = tf.TensorSpec((None, None), tf.uint8)

    @tf.function(
        autograph=False,
        input_signature=(
            tf.TensorSpec((None, None), tf.bool),
            tf.TensorSpec((None, None), tf.int64),
            picture,
            picture,
        ),
    )
    def play(
        coalitions: tf.Tensor, labels: tf.Tensor, image: tf.Tensor, hidden: tf.Tensor
    ) -> tf.Tensor:
        shown = tf.gather(coalitions, labels, axis=1)
        films = tf.where(
            shown, tf.cast(image, tf.float32) / 255.0, tf.cast(hidden, tf.float32) / 255.0
        )
        return tf.reshape(network(films[..., None], training=False), (-1,))

    return play
