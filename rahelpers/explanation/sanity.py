"""Sanity tests, which an explanation can fail.

The network is randomised or trained again, the film gets another exposure or is shifted, or its
lesions are removed. `run_*` compares maps film by film, `summarise_sanity` gives the verdicts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity

from rahelpers.core.progress import show_progress
from rahelpers.data.counterfactual import Redrawn
from rahelpers.explanation.gradcam import scale_maps
from rahelpers.explanation.scoreboard import energy_inside
from rahelpers.explanation.tables import SIMILAR
from rahelpers.films.normalisation import foreground
from rahelpers.network.backend import keras
from rahelpers.network.bundle import predict_logits
from rahelpers.network.graph import flatten_network
from rahelpers.scores.intervals import mean_interval

# network, uint8 (n, S, S) -> heat, float (n, S, S), at least 0
Explainer = Callable[[keras.Model, np.ndarray], np.ndarray]
FEWEST_PATIENTS = 5
COMPARED = ["rank_correlation", "ssim"]
CASCADE_COLUMNS = ["film", "method", "draw", "block", "depth", "flat", *COMPARED]
RETRAINED_COLUMNS = ["film", "method", "kind", "value", "flat", *COMPARED]
CHANGE_COLUMNS = ["film", "method", "change", *COMPARED, "logit_change"]
COUNTERFACTUAL_COLUMNS = ["film", "method", "target", "energy_with", "energy_without", "fall"]


def list_blocks(model: keras.Model) -> list[tuple[str, list[str]]]:
    """List the blocks that have weights, from the logit down to the film: (block, layer names).

    The name of a block is the part of a layer's name before the first underscore, such as `block5`.
    """
    blocks: dict[str, list[str]] = {}
    for layer in reversed(flatten_network(model).layers):
        if layer.weights:
            blocks.setdefault(layer.name.split("_")[0], []).append(layer.name)
    return list(blocks.items())


def randomise_layer(layer: keras.layers.Layer, rng: np.random.Generator) -> None:
    """Shuffle each weight array of a layer: what was learned is lost, the distribution stays."""
    layer.set_weights([rng.permutation(w.ravel()).reshape(w.shape) for w in layer.get_weights()])


def compare_maps(first: np.ndarray, second: np.ndarray, where: np.ndarray) -> tuple[float, float]:
    """Compare two maps by Spearman's rank correlation and by SSIM, each scaled to a peak of 1.

    A uniform map has no ranks: it counts as equal to another uniform map (1), and as unrelated to
    any other (0).

    Parameters
    ----------
    first, second : float array (S, S), at least 0
    where : bool array (S, S)
        Pixels that the rank correlation is about; SSIM is about the entire maps.

    Returns
    -------
    rank_correlation, ssim : float

    References
    ----------
    Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018 (arXiv 1810.03292), sec. 4. Wang
    et al., IEEE Trans Image Process 2004;13:600.
    """
    a, b = scale_maps(np.stack([first, second]), first.shape[0])
    uniform = [float(np.ptp(m[where])) == 0 for m in (a, b)]
    ranks = float(all(uniform)) if any(uniform) else float(spearmanr(a[where], b[where]).statistic)
    return ranks, float(structural_similarity(a, b, data_range=1.0))


def _compare_films(
    first: np.ndarray, second: np.ndarray, hands: list[np.ndarray]
) -> Iterator[dict[str, Any]]:
    """Compare the maps of each film; `flat` says that the second has no heat."""
    for film, (before, after, hand) in enumerate(zip(first, second, hands, strict=True)):
        compared = dict(zip(COMPARED, compare_maps(before, after, hand), strict=True))
        yield {"film": film, "flat": not after.any()} | compared


def run_cascade(
    model: keras.Model,
    images: np.ndarray,
    explainers: Mapping[str, Explainer],
    seed: int,
    draws: int = 2,
) -> pd.DataFrame:
    """Randomise a network block by block from the logit down, and see how the map changes.

    Cascading model randomisation. A copy is randomised; the network itself stays as it is.

    Parameters
    ----------
    model : keras.Model
    images : uint8 array (n, S, S)
    explainers : mapping
        Method -> function.
    seed : int
    draws : int
        Random networks. The first is explained after each block, the others only where all blocks
        are random, which is what the verdict is about.

    Returns
    -------
    DataFrame
        film (0 to n - 1), method, draw, block (the last one randomised), depth (number of blocks
        randomised so far), flat (the map has no heat), and rank_correlation and ssim with the map
        of the trained network.

    References
    ----------
    Adebayo et al., NeurIPS 2018 (arXiv 1810.03292), sec. 3.1.
    """
    flat = flatten_network(model)
    hands, rows = [foreground(image) for image in images], []
    trained = {name: explain(model, images) for name, explain in explainers.items()}
    networks = _randomise_block_by_block(flat, seed, draws)
    stages = len(list_blocks(flat)) + draws - 1
    for network, draw, block, depth in show_progress(networks, "random networks", stages):
        stage = {"draw": draw, "block": block, "depth": depth}
        for name, explain in explainers.items():
            for row in _compare_films(trained[name], explain(network, images), hands):
                rows.append(row | stage | {"method": name})
    return pd.DataFrame(rows, columns=CASCADE_COLUMNS)


def _randomise_block_by_block(
    flat: keras.Model, seed: int, draws: int
) -> Iterator[tuple[keras.Model, int, str, int]]:
    """Yield one copy of the network at each stage that `run_cascade` explains.

    With it come the draw, the last block randomised and the number of blocks randomised so far.
    """
    copy, blocks = keras.models.clone_model(flat), list_blocks(flat)
    rng = np.random.default_rng(seed)
    for draw in range(draws):
        copy.set_weights(flat.get_weights())
        for depth, (block, layers) in enumerate(blocks, start=1):
            for layer in layers:
                randomise_layer(copy.get_layer(layer), rng)
            if draw == 0 or depth == len(blocks):
                yield copy, draw, block, depth


def run_retrained(
    model: keras.Model,
    others: Mapping[Any, keras.Model],
    images: np.ndarray,
    explainers: Mapping[str, Explainer],
) -> pd.DataFrame:
    """Compare with the maps of networks that were trained again.

    They were trained on the same labels with another seed, or on shuffled labels. The map should be
    similar in the first case and different in the second.

    Parameters
    ----------
    model : keras.Model
    others : mapping
        `rahelpers.training.repeats.RepeatJob` (its kind is `seed` or `shuffled`) -> network of the
        same architecture.
    images : uint8 array (n, S, S)
    explainers : mapping

    Returns
    -------
    DataFrame
        film, method, kind, value, flat (the map of the other network has no heat), and
        rank_correlation and ssim of the maps of both networks.

    References
    ----------
    Adebayo et al., NeurIPS 2018 (arXiv 1810.03292), sec. 3.2: data randomisation. Arun et al.,
    Radiology: AI 2021;3(6):e200267: repeatability of saliency maps across retrained networks.
    """
    hands, rows = [foreground(image) for image in images], []
    first = {name: explain(model, images) for name, explain in explainers.items()}
    for job, other in show_progress(others.items(), "networks trained again", len(others)):
        training = {"kind": job.kind, "value": job.value}
        for name, explain in explainers.items():
            for row in _compare_films(first[name], explain(other, images), hands):
                rows.append(row | training | {"method": name})
    return pd.DataFrame(rows, columns=RETRAINED_COLUMNS)


def change_exposure(images: np.ndarray, gamma: float) -> np.ndarray:
    """Change the exposure of films, uint8 (n, S, S): a gamma below 1 brightens, above 1 darkens."""
    return np.rint(255 * (images / 255.0) ** gamma).astype(np.uint8)


def shift_films(films: np.ndarray, right: int, down: int) -> np.ndarray:
    """Shift films or maps (n, S, S) by a number of pixels; the edge is repeated."""
    height, width = films.shape[1:]
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    columns = np.clip(np.arange(width) - right, 0, width - 1)
    return films[:, rows[:, None], columns[None]]


def run_changes(
    model: keras.Model, images: np.ndarray, explainers: Mapping[str, Explainer]
) -> pd.DataFrame:
    """Make small changes that leave the disease as it is, and see whether the map stays.

    The changes are another exposure, and a shift by 2 % of the side.

    Parameters
    ----------
    model : keras.Model
    images : uint8 array (n, S, S)
    explainers : mapping

    Returns
    -------
    DataFrame
        film, method, change, rank_correlation and ssim with the map of the unchanged film (the map
        of a shifted film is shifted back first), and logit_change.
    """
    # each change: the films, and by how much they were shifted (right, down)
    step = max(1, round(0.02 * images.shape[1]))
    changes: dict[str, tuple[np.ndarray, tuple[int, int]]] = {
        "brighter (gamma 0.8)": (change_exposure(images, 0.8), (0, 0)),
        "darker (gamma 1.25)": (change_exposure(images, 1.25), (0, 0)),
        f"{step} px right": (shift_films(images, step, 0), (step, 0)),
        f"{step} px down": (shift_films(images, 0, step), (0, step)),
    }

    # compare every method with its own map of the unchanged films
    hands, logits, rows = [foreground(image) for image in images], predict_logits(model, images), []
    first = {name: explain(model, images) for name, explain in explainers.items()}
    todo = show_progress(changes.items(), "small changes", len(changes))
    for change, (changed, (right, down)) in todo:
        moved = predict_logits(model, changed) - logits
        for name, explain in explainers.items():
            back = shift_films(explain(model, changed), -right, -down)
            for row in _compare_films(first[name], back, hands):
                logit_change = float(moved[row["film"]])
                rows.append(row | {"method": name, "change": change, "logit_change": logit_change})
    return pd.DataFrame(rows, columns=CHANGE_COLUMNS)


def run_counterfactuals(
    model: keras.Model, films: list[Redrawn], explainers: Mapping[str, Explainer]
) -> pd.DataFrame:
    """Remove the disease from films, and see whether the heat leaves the places of the lesions.

    Parameters
    ----------
    model : keras.Model
    films : list of Redrawn
    explainers : mapping

    Returns
    -------
    DataFrame
        film, method, target (lesions: those with an edge; signs: all), energy_with and
        energy_without (share of the heat of the hand that is inside the target; 0 for a flat map),
        and fall (of the logit, from the film to the one without disease).
    """
    if not films:
        return pd.DataFrame(columns=COUNTERFACTUAL_COLUMNS)
    images, healthy = np.stack([f.image for f in films]), np.stack([f.healthy for f in films])
    falls, rows = predict_logits(model, images) - predict_logits(model, healthy), []
    for name, explain in explainers.items():
        maps = zip(films, explain(model, images), explain(model, healthy), strict=True)
        for film, (redrawn, *pair) in enumerate(maps):
            hand = foreground(redrawn.image)
            for target, mask in targets_of(redrawn.masks).items():
                if mask.any():
                    energies = (
                        float(np.nan_to_num(energy_inside(np.where(hand | mask, heat, 0), mask)))
                        for heat in pair
                    )
                    rows.append((film, name, target, *energies, float(falls[film])))
    return pd.DataFrame(rows, columns=COUNTERFACTUAL_COLUMNS)


def targets_of(masks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Group the masks of all findings into lesions (with an edge) and signs (all), bool (S, S)."""
    return {
        "lesions": masks["erosion"] | masks["narrowing"] | masks["ankylosis"],
        "signs": np.logical_or.reduce(list(masks.values())),
    }


def judge(found: Mapping[str, float], limit: float, want: str) -> str:
    """Give a verdict: the entire interval must be on one side of the limit.

    Parameters
    ----------
    found : mapping
        low, high and patients, as `mean_interval` returns them.
    limit : float
    want : {'above', 'below'}

    Returns
    -------
    str
        'passes', 'fails', 'cannot say' where the interval includes the limit, or 'too few patients'
        below five, where an interval says little.
    """
    if found["patients"] < FEWEST_PATIENTS:
        return "too few patients"
    if found["low"] <= limit <= found["high"]:
        return "cannot say"
    return "passes" if (found["low"] > limit) == (want == "above") else "fails"


def summarise_fall(counterfactuals: pd.DataFrame, patients: np.ndarray) -> dict[str, float]:
    """Summarise how far the logit falls without the disease: the mean over films.

    Parameters
    ----------
    counterfactuals : DataFrame
        As `run_counterfactuals` returns it.
    patients : array
        Patient of each film, by the number of the film.

    Returns
    -------
    dict
        As `mean_interval` returns it.
    """
    films = counterfactuals.drop_duplicates("film")
    of_films = patients[films["film"].to_numpy(dtype=int)]
    return mean_interval(films["fall"].to_numpy(dtype=float), of_films)


def summarise_sanity(
    cascade: pd.DataFrame,
    retrained: pd.DataFrame,
    changes: pd.DataFrame,
    counterfactuals: pd.DataFrame,
    patients: np.ndarray,
) -> pd.DataFrame:
    """Summarise the sanity tests: one row per method and test, with interval, counts and verdict.

    Parameters
    ----------
    cascade, retrained, changes, counterfactuals : DataFrame
        As `run_cascade`, `run_retrained`, `run_changes` and `run_counterfactuals` return them; the
        second and the last may be empty.
    patients : array
        Patient of each film, by the number of the film.

    Returns
    -------
    DataFrame
        method, test, value, low, high, films, patients, verdict. The tests are:

        - `random network`: rank correlation after all blocks are randomised, mean of the draws;
          passes below 0.5.
        - `shuffled labels`: rank correlation with the map of a network trained on shuffled labels;
          passes below 0.5.
        - `another seed`: rank correlation with the maps of networks trained again on the same
          labels, mean of the seeds; passes above 0.5.
        - `small changes`: rank correlation, mean of the changes; passes above 0.5.
        - `lesion removed`: fall of the share of heat inside the lesions; passes above 0. Where the
          logit itself does not fall, the network does not see the lesions, and no map is to blame:
          the verdict is 'network blind'.
    """
    # which table, column and limit each test is about
    last = cascade[cascade["depth"] == cascade["depth"].max()]
    lesions = counterfactuals[counterfactuals["target"] == "lesions"].assign(
        leaves=lambda t: t["energy_with"] - t["energy_without"]
    )
    kinds = {kind: retrained[retrained["kind"] == kind] for kind in ("shuffled", "seed")}
    tests = (
        ("random network", last, "rank_correlation", SIMILAR, "below"),
        ("shuffled labels", kinds["shuffled"], "rank_correlation", SIMILAR, "below"),
        ("another seed", kinds["seed"], "rank_correlation", SIMILAR, "above"),
        ("small changes", changes, "rank_correlation", SIMILAR, "above"),
        ("lesion removed", lesions, "leaves", 0.0, "above"),
    )

    # a network that does not see the lesions: its logit does not fall without them
    fall = summarise_fall(counterfactuals, patients) if len(lesions) else None
    blind = fall is not None and not fall["low"] > 0

    # one row per test and method; a mean per film first: draws, seeds and changes are not films
    rows = []
    for test, table, column, limit, want in tests:
        for method, part in table.groupby("method", sort=False):
            means = part.groupby("film")[column].mean()
            found = mean_interval(means, patients[means.index.to_numpy(dtype=int)])
            verdict = judge(found, limit, want)
            if blind and test == "lesion removed":
                verdict = "network blind"
            rows.append({"method": method, "test": test} | found | {"verdict": verdict})
    return pd.DataFrame(rows)
