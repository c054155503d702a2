"""Tests that an explanation can fail: a random network, another exposure, a shifted film, a film
without its lesions.
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
from rahelpers.films.normalisation import foreground
from rahelpers.network.backend import keras
from rahelpers.network.bundle import predict_logits
from rahelpers.network.graph import flatten_network
from rahelpers.scores.intervals import Resampling, interval_text, mean_interval

Explainer = Callable[
    [keras.Model, np.ndarray], np.ndarray
]  # network, uint8 (n, S, S) -> heat, float (n, S, S), at least 0
# rank correlation: below, a map has become another one; above, it is still the same. A choice, the
# same for every method
ALIKE = 0.5
FEWEST_PATIENTS = 5
RETRAINED_COLUMNS = ["film", "method", "kind", "value", "flat", "rank_correlation", "ssim"]
COUNTERFACTUAL_COLUMNS = ["film", "method", "target", "energy_with", "energy_without", "fall"]


def list_blocks(model: keras.Model) -> list[tuple[str, list[str]]]:
    """Blocks of a network with weights, from the logit down to the film: (block, names of its
    layers).

    A block is what stands before the first underscore of a layer's name, such as `block5`.
    """
    blocks: dict[str, list[str]] = {}
    for layer in reversed(flatten_network(model).layers):
        if layer.weights:
            blocks.setdefault(layer.name.split("_")[0], []).append(layer.name)
    return list(blocks.items())


def randomise_layer(layer: keras.layers.Layer, rng: np.random.Generator) -> None:
    """Shuffle each array of a layer's weights: what was learned is gone, their distribution stays."""
    layer.set_weights([rng.permutation(w.ravel()).reshape(w.shape) for w in layer.get_weights()])


def compare_maps(first: np.ndarray, second: np.ndarray, where: np.ndarray) -> tuple[float, float]:
    """Spearman's rank correlation over the pixels of `where`, and SSIM of the whole maps, each
    scaled to a peak of 1.

    A map that is even (flat) has no ranks: it is alike to another even map (1), and to no other
    (0).

    Parameters
    ----------
    first, second : float array (S, S), at least 0
    where : bool array (S, S)

    References
    ----------
    Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018 (arXiv 1810.03292), sec. 4. Wang
    et al., IEEE Trans Image Process 2004;13:600.
    """
    a, b = scale_maps(np.stack([first, second]), first.shape[0])
    even = [float(np.ptp(m[where])) == 0 for m in (a, b)]
    ranks = float(all(even)) if any(even) else float(spearmanr(a[where], b[where]).statistic)
    return ranks, float(structural_similarity(a, b, data_range=1.0))


def run_cascade(
    model: keras.Model,
    images: np.ndarray,
    explainers: Mapping[str, Explainer],
    seed: int,
    draws: int = 2,
) -> pd.DataFrame:
    """Cascading model randomisation: blocks lose what they learned one after another, from the
    logit down; does the map notice?

    The network itself is left as it is: a copy is randomised.

    Parameters
    ----------
    model : keras.Model
    images : uint8 array (n, S, S)
    explainers : mapping
        Method -> function.
    seed : int
    draws : int
        Random networks. The first is looked at after each block, the others where nothing is left
        of what was learned: that is what the verdict is about.

    Returns
    -------
    DataFrame
        film (0 to n - 1), method, draw, block (the last one randomised), depth (blocks randomised
        so far), flat (the map has no heat), and rank_correlation and ssim with the map of the
        trained network.

    References
    ----------
    Adebayo et al., NeurIPS 2018 (arXiv 1810.03292), sec. 3.1.
    """
    flat = flatten_network(model)
    hands, rows = [foreground(image) for image in images], []
    trained = {name: explain(model, images) for name, explain in explainers.items()}
    networks = _randomise_block_by_block(flat, seed, draws)
    for network, draw, block, depth in show_progress(
        networks, "random networks", len(list_blocks(flat)) + draws - 1
    ):
        for name, explain in explainers.items():
            for film, (before, after) in enumerate(
                zip(trained[name], explain(network, images), strict=True)
            ):
                ranks, ssim = compare_maps(before, after, hands[film])
                rows.append(
                    {
                        "film": film,
                        "method": name,
                        "draw": draw,
                        "block": block,
                        "depth": depth,
                        "flat": not after.any(),
                        "rank_correlation": ranks,
                        "ssim": ssim,
                    }
                )
    return pd.DataFrame(rows)


def _randomise_block_by_block(
    flat: keras.Model, seed: int, draws: int
) -> Iterator[tuple[keras.Model, int, str, int]]:
    """One copy of the network, as it is at each stage that `run_cascade` looks at: network, draw,
    last block randomised, blocks randomised so far.
    """
    copy, blocks, rng = (
        keras.models.clone_model(flat),
        list_blocks(flat),
        np.random.default_rng(seed),
    )
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
    """The same network trained again, on the same labels with another seed or on labels dealt out
    anew: is the map another one?

    Parameters
    ----------
    model : keras.Model
    others : mapping
        `rahelpers.training.repeats.Job` (its kind is `seed` or `shuffled`) -> network of the same
        architecture.
    images : uint8 array (n, S, S)
    explainers : mapping

    Returns
    -------
    DataFrame
        film, method, kind, value, flat (the other network's map has no heat), rank_correlation and
        ssim of both networks' maps.

    References
    ----------
    Adebayo et al., NeurIPS 2018 (arXiv 1810.03292), sec. 3.2: data randomisation. Arun et al.,
    Radiology: AI 2021;3(6):e200267: repeatability of saliency maps over networks that were trained
    again.
    """
    hands, rows = [foreground(image) for image in images], []
    first = {name: explain(model, images) for name, explain in explainers.items()}
    for job, other in show_progress(others.items(), "networks trained again", len(others)):
        for name, explain in explainers.items():
            for film, (before, after) in enumerate(
                zip(first[name], explain(other, images), strict=True)
            ):
                ranks, ssim = compare_maps(before, after, hands[film])
                rows.append(
                    {
                        "film": film,
                        "method": name,
                        "kind": job.kind,
                        "value": job.value,
                        "flat": not after.any(),
                        "rank_correlation": ranks,
                        "ssim": ssim,
                    }
                )
    return pd.DataFrame(rows, columns=RETRAINED_COLUMNS)


def change_exposure(images: np.ndarray, gamma: float) -> np.ndarray:
    """Films with another characteristic curve, uint8 (n, S, S): below 1 brighter, above 1 darker."""
    return np.rint(255 * (images / 255.0) ** gamma).astype(np.uint8)


def shift_films(films: np.ndarray, right: int, down: int) -> np.ndarray:
    """Films or maps (n, S, S), moved by whole pixels; the edge is repeated."""
    height, width = films.shape[1:]
    rows, columns = (
        np.clip(np.arange(height) - down, 0, height - 1),
        np.clip(np.arange(width) - right, 0, width - 1),
    )
    return films[:, rows[:, None], columns[None]]


def run_changes(
    model: keras.Model, images: np.ndarray, explainers: Mapping[str, Explainer]
) -> pd.DataFrame:
    """Small changes that leave the disease as it is: another exposure, a shift by 2 % of the side.
    Does the map stay?

    Parameters
    ----------
    model : keras.Model
    images : uint8 array (n, S, S)
    explainers : mapping

    Returns
    -------
    DataFrame
        film, method, change, rank_correlation and ssim with the map of the unchanged film (a
        shifted film's map is moved back first), and
        logit_change.
    """
    step = max(1, round(0.02 * images.shape[1]))
    changes: dict[str, tuple[np.ndarray, tuple[int, int]]] = {
        "brighter (gamma 0.8)": (change_exposure(images, 0.8), (0, 0)),
        "darker (gamma 1.25)": (change_exposure(images, 1.25), (0, 0)),
        f"{step} px right": (shift_films(images, step, 0), (step, 0)),
        f"{step} px down": (shift_films(images, 0, step), (0, step)),
    }
    hands, logits, rows = [foreground(image) for image in images], predict_logits(model, images), []
    first = {name: explain(model, images) for name, explain in explainers.items()}
    for change, (changed, (right, down)) in show_progress(
        changes.items(), "small changes", len(changes)
    ):
        moved = predict_logits(model, changed) - logits
        for name, explain in explainers.items():
            back = shift_films(explain(model, changed), -right, -down)
            for film, (before, after) in enumerate(zip(first[name], back, strict=True)):
                ranks, ssim = compare_maps(before, after, hands[film])
                rows.append(
                    {
                        "film": film,
                        "method": name,
                        "change": change,
                        "rank_correlation": ranks,
                        "ssim": ssim,
                        "logit_change": float(moved[film]),
                    }
                )
    return pd.DataFrame(rows)


def run_counterfactuals(
    model: keras.Model, films: list[Redrawn], explainers: Mapping[str, Explainer]
) -> pd.DataFrame:
    """The same film without its disease: does the heat leave the place where the lesions were, and
    how far does the logit fall?

    Parameters
    ----------
    model : keras.Model
    films : list of Redrawn
    explainers : mapping

    Returns
    -------
    DataFrame
        film, method, target (lesions: with an edge; signs: all), energy_with and energy_without:
        share of the hand's heat inside the target; a flat map has none (0). And fall: the logit's,
        from the film to the one without disease.
    """
    if not films:
        return pd.DataFrame(columns=COUNTERFACTUAL_COLUMNS)
    images, healthy = np.stack([f.image for f in films]), np.stack([f.healthy for f in films])
    falls, rows = predict_logits(model, images) - predict_logits(model, healthy), []
    for name, explain in explainers.items():
        for film, (redrawn, *pair) in enumerate(
            zip(films, explain(model, images), explain(model, healthy), strict=True)
        ):
            hand = foreground(redrawn.image)
            for target, mask in targets_of(redrawn.masks).items():
                if mask.any():
                    with_, without = (
                        np.nan_to_num(energy_inside(np.where(hand | mask, heat, 0), mask))
                        for heat in pair
                    )
                    rows.append(
                        {
                            "film": film,
                            "method": name,
                            "target": target,
                            "energy_with": float(with_),
                            "energy_without": float(without),
                            "fall": float(falls[film]),
                        }
                    )
    return pd.DataFrame(rows, columns=COUNTERFACTUAL_COLUMNS)


def targets_of(masks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Lesions with an edge and all signs, bool (S, S), of the masks of each finding."""
    return {
        "lesions": masks["erosion"] | masks["narrowing"] | masks["ankylosis"],
        "signs": np.logical_or.reduce(list(masks.values())),
    }


def judge(found: Mapping[str, float], limit: float, want: str) -> str:
    """A verdict: the whole interval must lie on one side of the limit.

    Parameters
    ----------
    found : mapping
        low, high and patients, as `mean_interval` gives them.
    limit : float
    want : {'above', 'below'}

    Returns
    -------
    str
        'passes', 'fails', 'cannot say' where the interval holds the limit, or 'too few patients':
        below five, a bootstrap's interval is too narrow.
    """
    if found["patients"] < FEWEST_PATIENTS:
        return "too few patients"
    if found["low"] <= limit <= found["high"]:
        return "cannot say"
    return "passes" if (found["low"] > limit) == (want == "above") else "fails"


def summarise_fall(
    counterfactuals: pd.DataFrame, patients: np.ndarray, resampling: Resampling
) -> dict[str, float]:
    """How far the logit falls when the disease is taken away: the mean over films with its
    interval, as `mean_interval` gives it.

    Parameters
    ----------
    counterfactuals : DataFrame
        Of `run_counterfactuals`.
    patients : array
        Patient of each film, by the films' numbers.
    resampling : Resampling
    """
    films = counterfactuals.drop_duplicates("film")
    return mean_interval(
        films["fall"].to_numpy(dtype=float),
        patients[films["film"].to_numpy(dtype=int)],
        resampling,
    )


def summarise_sanity(
    cascade: pd.DataFrame,
    retrained: pd.DataFrame,
    changes: pd.DataFrame,
    counterfactuals: pd.DataFrame,
    patients: np.ndarray,
    resampling: Resampling,
) -> pd.DataFrame:
    """One method and test a row, with interval, counts and a verdict.

    Parameters
    ----------
    cascade, retrained, changes, counterfactuals : DataFrame
        Of `run_cascade`, `run_retrained`, `run_changes`, `run_counterfactuals`; the second and the
        last may be empty.
    patients : array
        Patient of each film, by the films' numbers.
    resampling : Resampling

    Returns
    -------
    DataFrame
        method, test, value, low, high, films, patients, verdict. Tests:
        `random network`: rank correlation after all blocks are randomised, mean of the draws;
        passes below 0.5. `shuffled labels`: rank correlation with the map of a network trained on
        labels dealt out anew; passes below 0.5. `another seed`: rank correlation with the maps of
        networks trained again on the same labels, mean of the seeds; passes above 0.5. `small
        changes`: rank correlation, mean of the changes; passes above 0.5. `lesion removed`: fall of
        the share of heat inside the lesions; passes above 0. Where the logit itself does not fall,
        the network does not see the lesions, and no map can be blamed for it: 'network blind'.
    """
    last = cascade[cascade["depth"] == cascade["depth"].max()]
    lesions = counterfactuals[counterfactuals["target"] == "lesions"].assign(
        leaves=lambda t: t["energy_with"] - t["energy_without"]
    )
    kinds = {kind: retrained[retrained["kind"] == kind] for kind in ("shuffled", "seed")}
    tests = (
        ("random network", last, "rank_correlation", ALIKE, "below"),
        ("shuffled labels", kinds["shuffled"], "rank_correlation", ALIKE, "below"),
        ("another seed", kinds["seed"], "rank_correlation", ALIKE, "above"),
        ("small changes", changes, "rank_correlation", ALIKE, "above"),
        ("lesion removed", lesions, "leaves", 0.0, "above"),
    )
    blind = (
        len(lesions) > 0 and not summarise_fall(counterfactuals, patients, resampling)["low"] > 0
    )
    rows = []
    for test, table, column, limit, want in tests:
        for method, part in table.groupby("method", sort=False):
            means = part.groupby("film")[column].mean()
            found = mean_interval(means, patients[means.index.to_numpy(dtype=int)], resampling)
            verdict = judge(found, limit, want)
            rows.append(
                {"method": method, "test": test}
                | found
                | {"verdict": "network blind" if blind and test == "lesion removed" else verdict}
            )
    return pd.DataFrame(rows)


def show_sanity(summary: pd.DataFrame, title: str) -> pd.io.formats.style.Styler:
    """The sanity table for people: a method a row, a test a column, verdict and interval in each
    cell, counts in the caption.
    """
    digits = {"lesion removed": 3}
    text = summary.assign(
        text=summary.apply(
            lambda r: f"{r['verdict']}: {interval_text(r, digits=digits.get(r['test'], 2))}", axis=1
        )
    )
    tests = list(summary["test"].unique())
    wide = text.pivot(index="method", columns="test", values="text").reindex(
        index=summary["method"].unique(), columns=tests
    )
    limits = {
        "random network": f"rank correlation, passes below {ALIKE}",
        "shuffled labels": f"rank correlation, passes below {ALIKE}",
        "another seed": f"rank correlation, passes above {ALIKE}",
        "small changes": f"rank correlation, passes above {ALIKE}",
        "lesion removed": "heat that leaves the lesions, passes above 0",
    }
    wide.columns = [f"{t} ({limits[t]})" for t in tests]
    caption = (
        f"{title} · {summary['films'].max()} films of {summary['patients'].max()} patients · mean"
        " (95 % patient bootstrap)"
    )
    return (
        wide.rename_axis(index=None)
        .fillna("not known")
        .style.set_caption(caption)
        .set_uuid("sanity")
    )
