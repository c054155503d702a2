"""What a hidden region shows, and what the network says of a coalition of regions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import cv2
import numpy as np
import pandas as pd

from rahelpers.explanation.regions import BACKGROUND, BONE, SOFT, Regions
from rahelpers.films.normalisation import foreground
from rahelpers.network.backend import keras, tf

SHAP_BASELINES = ("blur", "mean", "black", "inpaint")
PATCH = 24  # pixels: side of a site's mean patch


def make_baseline(image: np.ndarray, kind: str, regions: Regions | None = None) -> np.ndarray:
    """What a hidden region shows.

    Parameters
    ----------
    image : uint8 array (S, S)
    kind : {'blur', 'mean', 'black', 'inpaint'}
        'blur' the film without detail, 'mean' the hand's mean grey, 'black' nothing, 'inpaint' what
        its rim continues to: each region is filled from its surroundings (Telea 2004), the
        background by air. See `make_healthy_baseline` for a fifth.
    regions : Regions, optional
        For 'inpaint'.

    Returns
    -------
    uint8 array (S, S)

    Raises
    ------
    ValueError
        For another kind, a film that is not uint8 (OpenCV would cut values in [0, 1] to 0: a black
        film, and no error), or missing regions.
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
        raise ValueError("baseline='inpaint' needs the regions that are to be filled")
    hidden = cv2.GaussianBlur(image, (0, 0), image.shape[0] / 16)
    for k, name in enumerate(regions.names):
        inside = regions.labels == k
        if name == BACKGROUND:
            hidden[inside] = np.median(image[inside])
        elif name not in (BONE, SOFT):
            hidden[inside] = cv2.inpaint(image, inside.astype(np.uint8), 3, cv2.INPAINT_TELEA)[
                inside
            ]
    return hidden


def compute_healthy_patches(
    images: np.ndarray, joints: Sequence[pd.DataFrame]
) -> dict[str, np.ndarray]:
    """The mean picture of each site over healthy hands.

    Parameters
    ----------
    images : uint8 array (n, S, S)
        Training films of label 0.
    joints : sequence of DataFrame, length n
        The joint table of each film.

    Returns
    -------
    dict
        Site -> float32 array (24, 24), grey 0 to 255. Empty where no film has joints.
    """
    patches: dict[str, list[np.ndarray]] = {}
    for image, table in zip(images, joints, strict=True):
        for joint in table.itertuples():
            place = _box(joint, image.shape[0])
            patches.setdefault(joint.site, []).append(
                cv2.resize(
                    image[place].astype(np.float32), (PATCH, PATCH), interpolation=cv2.INTER_AREA
                )
            )
    return {site: np.mean(found, axis=0) for site, found in patches.items()}


def make_healthy_baseline(
    image: np.ndarray, joints: pd.DataFrame, patches: dict[str, np.ndarray]
) -> np.ndarray:
    """The film with every site as healthy hands have it on average, on this film's grey scale; the
    blurred film elsewhere.

    Parameters
    ----------
    image : uint8 array (S, S)
    joints : DataFrame
        Joint table of this film.
    patches : dict
        Of `compute_healthy_patches`.

    Returns
    -------
    uint8 array (S, S)

    Raises
    ------
    ValueError
        If the film has no site that healthy hands are known for.
    """
    known = [joint for joint in joints.itertuples() if joint.site in patches]
    if not known:
        raise ValueError(
            "no site of this film is known from healthy hands: expected a film with joints, and"
            " patches made from films with joints"
        )
    hidden = make_baseline(image, "blur")
    for joint in known:
        place = _box(joint, image.shape[0])
        height, width = image[place].shape
        patch = cv2.resize(patches[joint.site], (width, height), interpolation=cv2.INTER_LINEAR)
        scaled = (patch - patch.mean()) + image[place].mean()  # an exposure is no disease
        hidden[place] = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return hidden


def _box(joint: object, side: int) -> tuple[slice, slice]:
    """The pixels of a joint's box, at least two a side."""
    x0, y0 = int(np.clip(joint.x0 * side, 0, side - 2)), int(np.clip(joint.y0 * side, 0, side - 2))
    return slice(y0, max(round(joint.y1 * side), y0 + 2)), slice(
        x0, max(round(joint.x1 * side), x0 + 2)
    )


class RegionMasker:
    """A masker of the library `shap`: players are regions of the film, a hidden one shows the
    baseline.

    `shap.PartitionExplainer(predict, masker)` gives Owen values in the anatomical hierarchy,
    `shap.PermutationExplainer(predict, masker)` Shapley values of the same game, if the masker has
    no hierarchy: with one, it silently draws only orders that keep groups together, which are not
    Shapley's. `predict` takes uint8 films (n, S, S), and the explainer is called on `image[None]`.

    Parameters
    ----------
    regions : Regions
    hidden : uint8 array (S, S)
        As `make_baseline` returns it.
    hierarchy : bool
        Whether shap is told of the regions' tree.
    """

    def __init__(self, regions: Regions, hidden: np.ndarray, hierarchy: bool = True) -> None:
        if hidden.dtype != np.uint8 or hidden.shape != regions.labels.shape:
            raise ValueError(
                f"baseline is {hidden.dtype} {hidden.shape}: expected uint8 {regions.labels.shape}"
            )
        self.regions, self.hidden = regions, hidden
        self.clustering = regions.tree if hierarchy else None
        self.shape = (1, len(regions.names))

    def __call__(self, mask: np.ndarray, image: np.ndarray) -> tuple[np.ndarray]:
        """The film with some regions hidden, uint8 (1, S, S), for a mask bool (p,)."""
        return (self.compose(np.atleast_2d(mask), image),)

    def compose(self, coalitions: np.ndarray, image: np.ndarray) -> np.ndarray:
        """Films of many coalitions, uint8 (n, S, S), for coalitions bool (n, p)."""
        return np.where(
            np.asarray(coalitions, dtype=bool)[:, self.regions.labels], image, self.hidden
        )

    def mask_shapes(self, _: np.ndarray) -> list[tuple[int]]:
        """The shape of a mask, as shap asks for it."""
        return [(self.shape[1],)]

    def feature_names(self, _: np.ndarray) -> list[list[str]]:
        """The players' names, as shap asks for them."""
        return [self.regions.names]


class RegionGame:
    """What the network says of a film of which only some regions are shown. A coalition that was
    asked for before is not computed again.

    Parameters
    ----------
    model : keras.Model
        Ends in one logit.
    image : uint8 array (S, S)
    masker : RegionMasker
    batch_size : int
    fast : keras.Model, optional
        The same network in a shorter number format, for all coalitions but nobody and everybody:
        what values add up to stays exact.
    on_batch : callable, optional
        Told how many films come before each batch; what it raises stops the game.
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
        """Logits, float64 (n,), of coalitions bool (n, p): True is shown."""
        coalitions = np.asarray(coalitions, dtype=bool)
        keys = [row.tobytes() for row in np.packbits(coalitions, axis=1)]
        new = {key: k for k, key in enumerate(keys) if key not in self._known}
        rows = coalitions[list(new.values())]
        ends = rows.all(axis=1) | ~rows.any(axis=1)
        logits = np.empty(len(rows))
        for network, asked in (
            (self.model, np.flatnonzero(ends)),
            (self.fast, np.flatnonzero(~ends)),
        ):
            for start in range(0, len(asked), self.batch_size):
                batch = asked[start : start + self.batch_size]
                self._on_batch(len(batch))
                logits[batch] = _trace_game(network)(rows[batch], *self._pictures).numpy()
        self._known |= dict(zip(new, logits.tolist(), strict=True))
        return np.array([self._known[key] for key in keys], dtype=np.float64)

    @property
    def evaluations(self) -> int:
        """Distinct coalitions that the network has seen."""
        return len(self._known)


@lru_cache(maxsize=8)
def _trace_game(network: keras.Model) -> tf.types.experimental.PolymorphicFunction:
    """Coalitions to logits in one graph: films are put together where they are needed, and no
    second film or batch size is traced again.
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
