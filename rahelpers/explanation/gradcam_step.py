"""Step 04: heat maps of some test films by several methods, with baselines and sanity tests.

The scores are those of `rahelpers.explanation.scoreboard`, the tests those of
`rahelpers.explanation.sanity`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from rahelpers.core.progress import show_progress
from rahelpers.core.store import Run
from rahelpers.curation.cohort import Cohort, load_cohort
from rahelpers.data.counterfactual import redraw_film
from rahelpers.explanation.attributions import (
    compute_integrated_gradients,
    compute_occlusion,
    compute_smoothgrad,
    draw_centre,
    draw_edges,
    draw_random,
)
from rahelpers.explanation.baselines import choose_baseline, make_baseline
from rahelpers.explanation.films import choose_films, explain_each
from rahelpers.explanation.gradcam import METHODS, compute_gradcam
from rahelpers.explanation.regions import make_regions
from rahelpers.explanation.sanity import (
    Explainer,
    run_cascade,
    run_changes,
    run_counterfactuals,
    run_retrained,
    summarise_fall,
    summarise_sanity,
    targets_of,
)
from rahelpers.explanation.scoreboard import make_board, score_film, summarise_ranks
from rahelpers.network.backend import keras
from rahelpers.network.bundle import Bundle, load_bundle, predict_logits
from rahelpers.scores.intervals import mean_interval
from rahelpers.training.repeats import load_networks

BASELINE_MAPS = ("centre", "edges", "mean map", "random")
SAMPLES = 8  # gradients per film of SmoothGrad, and of integrated gradients in the sanity tests
PATCHES = 8  # squares of occlusion along each side
# left out of the sanity tests: 64 predictions per film, for every random network and change
SLOW = ("occlusion",)
MEAN_OF = 64  # training films in the mean map, at most
SANITY_FILMS = 8  # films of the sanity tests, at most
TABLES = ("maps", "ranks", "curves")


def make_explainers(
    layer_name: str, mean_map: np.ndarray, steps: int | None = None
) -> dict[str, Explainer]:
    """Make every method and baseline a function from network and films to heat.

    Heat is evidence for the positive class, at least 0.

    Parameters
    ----------
    layer_name : str
        Where the class activation maps are taken.
    mean_map : float array (S, S)
        The mean Grad-CAM of training films: what any hand gets.
    steps : int, optional
        Of integrated gradients, as `compute_integrated_gradients` takes them.

    Returns
    -------
    dict
        Name -> function of keras.Model and uint8 (n, S, S) that returns float (n, S, S).
    """

    def cam(method: str) -> Explainer:
        return lambda model, images: compute_gradcam(model, images, layer_name, method=method).maps

    def ignore_network(draw: Callable[[np.ndarray], np.ndarray]) -> Explainer:
        return lambda _, images: draw(images)

    explainers = {method: cam(method) for method in METHODS} | {
        "integrated gradients": lambda model, images: np.maximum(
            compute_integrated_gradients(model, images, steps), 0
        ),
        "SmoothGrad": lambda model, images: np.abs(compute_smoothgrad(model, images, SAMPLES)),
        "occlusion": lambda model, images: np.maximum(compute_occlusion(model, images, PATCHES), 0),
    }
    return explainers | {
        "centre": ignore_network(draw_centre),
        "edges": ignore_network(draw_edges),
        "random": ignore_network(draw_random),
        "mean map": lambda _, images: np.repeat(mean_map[None], len(images), axis=0),
    }


def compute_mean_map(model: keras.Model, cohort: Cohort, layer_name: str, seed: int) -> np.ndarray:
    """Compute the mean Grad-CAM of at most 64 training films, float (S, S)."""
    rows = np.random.default_rng(seed).permutation(cohort.split("train"))[:MEAN_OF]
    films = np.asarray(cohort.images[np.sort(rows)])
    return compute_gradcam(model, films, layer_name).maps.mean(axis=0)


def explain_gradcam(run: Run) -> dict[str, Any]:
    """Run step 04 on `n_explain` test films of each class.

    Returns
    -------
    dict
        The content of `scores.json`; `load_tables` and `load_maps` read the rest.

    Raises
    ------
    MissingArtefactError
        If step 01 or 02 has not been run, or the second part of step 02 (`repeat`) has not.

    Examples
    --------
    It takes about a minute, after the same for `rahelpers.training.repeat`.

    >>> from rahelpers import explain_gradcam
    >>> scores = explain_gradcam(run)  # doctest: +SKIP
    >>> scores["films"], scores["layer"]  # doctest: +SKIP
    (8, 'block5_relu2')
    """
    config = run.config
    step = run.step("gradcam", config.subset("seed", "n_explain", "shap_baseline"))
    if not step.is_done():
        # every method and baseline, on the network of step 02
        cohort = load_cohort(run)
        bundle = load_bundle(run.file("train", "bundle/bundle.json").parent)
        layer = bundle.info["gradcam_layer"]
        rows = choose_films(cohort.manifest, 2 * config.n_explain, config.seed)
        mean_map = compute_mean_map(bundle.model, cohort, layer, config.seed)
        explainers = make_explainers(layer, mean_map)

        # explain the films, or resume where a killed run stopped
        def explain_film(row: int) -> dict[str, np.ndarray]:
            image = np.asarray(cohort.images[row : row + 1])
            return {
                name: explain(bundle.model, image)[0].astype(np.float32)
                for name, explain in explainers.items()
            }

        heat = explain_each(rows, step.partial(), explain_film)
        maps: dict[str, Any] = {name: np.stack([h[name] for h in heat]) for name in explainers}

        # scores against lesions and signs, sanity tests, and summaries of both
        scored = score_films(run, cohort, bundle, rows, heat)
        board = make_board(scored["maps"], BASELINE_MAPS)
        films = cohort.manifest.iloc[rows][["image_id", "patient_id", "label", "condition"]]
        films = films.assign(row=rows, flat=[not h["gradcam"].any() for h in heat])
        ranks = summarise_ranks(scored["ranks"])
        # a rank correlation needs no integrated gradients that add up
        quick = make_explainers(layer, mean_map, steps=SAMPLES)
        quick = {name: explain for name, explain in quick.items() if name not in SLOW}
        checks = check_sanity(run, cohort, bundle, rows, quick)
        summary = {
            "title": config.title,
            "layer": layer,
            "films": len(rows),
            "flat": int(films["flat"].sum()),
        }

        # write everything
        step.write("maps.npz", partial(np.savez_compressed, **maps))
        tables = {"films": films, "board": board, "lesion_ranks": ranks} | checks
        tables |= {f"film_{name}": table for name, table in scored.items()}
        for name, table in tables.items():
            step.write(f"{name}.csv", partial(table.to_csv, index=False))
        found = _summarise_gradcam(board, scored["maps"])
        step.write_json("scores.json", summary | found)
        step.finish()
    return json.loads(run.file("gradcam", "scores.json").read_text())


def list_types(run: Run, cohort: Cohort, row: int) -> dict[str, np.ndarray]:
    """List the lesions of one film by type, as far as the source knows them.

    The phantom knows each finding, other sources at most one kind.

    Returns
    -------
    dict
        Type -> bool array (S, S). Types that the film does not have are left out.
    """
    if run.config.source == "phantom":
        types = redraw_film(run.config, cohort.manifest["image_id"].iloc[row]).masks
    else:
        types = {} if cohort.lesions is None else {"lesion": np.asarray(cohort.lesions[row])}
    return {name: mask for name, mask in types.items() if mask.any()}


def pixel_spacing(run: Run, cohort: Cohort, row: int) -> float | None:
    """Compute the side of a pixel of one network input, in mm.

    None for other sources than the phantom: the manifest has the spacing of the film as it was
    read, but not how far it was shrunk.

    Examples
    --------
    >>> from rahelpers import load_cohort
    >>> from rahelpers.explanation import pixel_spacing
    >>> side = 48 * pixel_spacing(run, load_cohort(run), 0)
    >>> 150 < side < 350  # mm: a hand fits
    True
    """
    if run.config.source != "phantom":
        return None
    return redraw_film(run.config, cohort.manifest["image_id"].iloc[row]).spacing_mm


def score_films(
    run: Run, cohort: Cohort, bundle: Bundle, rows: np.ndarray, heat: list[dict[str, np.ndarray]]
) -> dict[str, pd.DataFrame]:
    """Score the maps of the films of the positive class, for which the heat is evidence.

    Parameters
    ----------
    run : Run
    cohort : Cohort
    bundle : Bundle
    rows : int array (m,)
    heat : list of dict, length m
        Method -> float array (S, S), at least 0.

    Returns
    -------
    dict of DataFrame
        maps, ranks and curves, as `score_film` returns them, with image_id and patient_id.
    """
    scored: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    for row, maps in show_progress(zip(rows, heat, strict=True), "scoring maps", len(rows)):
        film = cohort.manifest.iloc[row]
        if film["label"] != 1:
            continue
        image, joints = np.asarray(cohort.images[row]), cohort.joints_of(row)
        patches = bundle.healthy_patches
        kind = choose_baseline(run.config.shap_baseline, joints, patches)
        hidden = make_baseline(image, kind, make_regions(image, joints), joints, patches)
        masks = {"lesions": cohort.lesions, "signs": cohort.signs}
        found = score_film(
            image,
            hidden,
            maps,
            {name: np.asarray(known[row]) for name, known in masks.items() if known is not None},
            list_types(run, cohort, row),
            joints,
            partial(predict_logits, bundle.fast),
            run.config.seed,
        )
        names = film[["image_id", "patient_id"]].to_dict()
        for name, table in found.items():
            scored[name].append(table.assign(**names))
    return {name: pd.concat(tables, ignore_index=True) for name, tables in scored.items()}


def check_sanity(
    run: Run, cohort: Cohort, bundle: Bundle, rows: np.ndarray, explainers: dict[str, Explainer]
) -> dict[str, pd.DataFrame]:
    """Run the sanity tests on at most eight films of the positive class.

    Parameters
    ----------
    run : Run
    cohort : Cohort
    bundle : Bundle
    rows : int array (m,)
    explainers : dict
        Method -> function, as `make_explainers` returns them.

    Returns
    -------
    dict of DataFrame
        sanity and fall (summaries); cascade, retrained, changes, counterfactuals (film by film).
    """
    # the films; only the phantom can draw them again without the disease
    config, manifest = run.config, cohort.manifest
    rows = np.sort([r for r in rows if manifest["label"].iloc[r] == 1][:SANITY_FILMS])
    images, image_ids = np.asarray(cohort.images[rows]), manifest["image_id"].iloc[rows]
    phantom = config.source == "phantom"
    redrawn = [redraw_film(config, name) for name in image_ids] if phantom else []

    # the tests; `film` is the number of a film among these
    cascade = run_cascade(bundle.model, images, explainers, config.seed)
    retrained = run_retrained(bundle.model, load_networks(run), images, explainers)
    changes = run_changes(bundle.model, images, explainers)
    known = [i for i, film in enumerate(redrawn) if targets_of(film.masks)["signs"].any()]
    removed = run_counterfactuals(bundle.model, [redrawn[i] for i in known], explainers)
    removed["film"] = [known[i] for i in removed["film"]]

    # summaries with intervals over patients
    patients = manifest["patient_id"].to_numpy()[rows]
    sanity = summarise_sanity(cascade, retrained, changes, removed, patients)
    fall = pd.DataFrame([summarise_fall(removed, patients)] if len(removed) else [])
    fall = fall.reindex(columns=["value", "low", "high", "films", "patients"])

    # film by film, with names
    tables = {"cascade": cascade, "retrained": retrained, "changes": changes}
    tables |= {"counterfactuals": removed}
    names = dict(enumerate(image_ids))
    films = {name: t.assign(image_id=t["film"].map(names)) for name, t in tables.items()}
    return {"sanity": sanity, "fall": fall} | films


def _summarise_gradcam(board: pd.DataFrame, maps: pd.DataFrame) -> dict[str, Any]:
    """What the report says about Grad-CAM: films, hit rate, energy and the chance of both.

    Against lesions and against signs; None where the source knows none.
    """
    found: dict[str, Any] = {"lesions": None, "signs": None}
    for target in found:
        part = board[(board["target"] == target) & (board["method"] == "gradcam")]
        part = part.set_index("score")
        if len(part):
            of_target = maps[(maps["target"] == target) & (maps["method"] == "gradcam")]
            films = of_target[of_target["score"] == "hit"]
            inside = of_target[of_target["score"] == "energy"]
            rows = {"hit_rate": part.loc["hit"], "energy": part.loc["energy"]} | {
                name: mean_interval(table["chance"], table["patient_id"])
                for name, table in (("chance", inside), ("chance_of_hit", films))
            }
            found[target] = {
                name: {k: float(row[k]) for k in ("value", "low", "high")}
                for name, row in rows.items()
            } | {"films": len(films)}
    return found
