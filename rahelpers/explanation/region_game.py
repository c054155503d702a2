"""The game of region SHAP: its players are the regions of a film, its worth is the logit.

Here are the masker, which puts together the film of a coalition, and the game, which asks the
network for its logit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from rahelpers.explanation.regions import Regions
from rahelpers.network.backend import keras, tf


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
