"""Step 04: heat maps of some test films by several methods, scored beside baselines, and put
through tests that they can fail.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from rahelpers.core.progress import show_progress
from rahelpers.core.store import Run, read_table
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
from rahelpers.explanation.films import choose_films, explain_each
from rahelpers.explanation.gradcam import METHODS, compute_gradcam
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
from rahelpers.scores.intervals import Resampling, mean_interval
from rahelpers.training.repeats import load_networks

BASELINE_MAPS = ("centre", "edges", "mean map", "random")
SAMPLES = 8  # gradients behind integrated gradients and SmoothGrad
PATCHES = 8  # squares along a side that occlusion covers
# left out of the sanity tests: 64 predictions a film, for every random network and change
SLOW = ("occlusion",)
MEAN_OF = 64  # training films behind the mean map
SANITY_FILMS = 8
TABLES = ("maps", "ranks", "curves")


def make_explainers(layer_name: str, mean_map: np.ndarray) -> dict[str, Explainer]:
    """Every method and baseline as a function of network and films that gives heat: what speaks for
    the positive class, at least 0.

    Parameters
    ----------
    layer_name : str
        Where the class activation maps are taken.
    mean_map : float array (S, S)
        The mean Grad-CAM of training films: what any hand gets.

    Returns
    -------
    dict
        Name -> function of keras.Model and uint8 (n, S, S), giving float (n, S, S).
    """

    def cam(method: str) -> Explainer:
        return lambda model, images: compute_gradcam(model, images, layer_name, method=method).maps

    def only(draw: Any) -> Explainer:
        return lambda _, images: draw(images)

    explainers = {method: cam(method) for method in METHODS} | {
        "integrated gradients": lambda model, images: np.maximum(
            compute_integrated_gradients(model, images, SAMPLES), 0
        ),
        "SmoothGrad": lambda model, images: np.abs(compute_smoothgrad(model, images, SAMPLES)),
        "occlusion": lambda model, images: np.maximum(compute_occlusion(model, images, PATCHES), 0),
    }
    return explainers | {
        "centre": only(draw_centre),
        "edges": only(draw_edges),
        "random": only(draw_random),
        "mean map": lambda _, images: np.repeat(mean_map[None], len(images), axis=0),
    }


def compute_mean_map(model: keras.Model, cohort: Cohort, layer_name: str, seed: int) -> np.ndarray:
    """Mean Grad-CAM of at most 64 training films, float (S, S)."""
    rows = np.random.default_rng(seed).permutation(cohort.split("train"))[:MEAN_OF]
    return compute_gradcam(model, np.asarray(cohort.images[np.sort(rows)]), layer_name).maps.mean(
        axis=0
    )


def explain_gradcam(run: Run) -> dict[str, Any]:
    """Step 04, on `n_explain` test films of each class. Returns the content of `scores.json`;
    `load_tables` reads the rest.

    Raises
    ------
    MissingArtefactError
        If step 01 or 02 has not been run, or nothing was trained again in it.
    """
    config = run.config
    resampling = Resampling(config.n_bootstrap, config.seed)
    step = run.step("gradcam", config.subset("seed", "n_explain", "n_bootstrap"))
    if not step.is_done():
        cohort, bundle = (
            load_cohort(run),
            load_bundle(run.file("train", "bundle/bundle.json").parent),
        )
        layer = bundle.info["gradcam_layer"]
        rows = choose_films(cohort.manifest, 2 * config.n_explain, config.seed)
        mean_map = compute_mean_map(bundle.model, cohort, layer, config.seed)
        explainers = make_explainers(layer, mean_map)

        def one(row: int) -> dict[str, np.ndarray]:
            image = np.asarray(cohort.images[row : row + 1])
            return {
                name: explain(bundle.model, image)[0].astype(np.float32)
                for name, explain in explainers.items()
            }

        heat = explain_each(rows, step.partial(), one)
        tables = _score_films(run, cohort, bundle, rows, heat)
        board = make_board(tables["maps"], BASELINE_MAPS, resampling)
        films = cohort.manifest.iloc[rows][["image_id", "patient_id", "label", "condition"]].assign(
            row=rows, flat=[not h["gradcam"].any() for h in heat]
        )
        checks = _check_sanity(
            run,
            cohort,
            bundle,
            rows,
            {name: e for name, e in explainers.items() if name not in SLOW},
        )
        step.write(
            "maps.npz",
            lambda p: np.savez_compressed(
                p, **{name: np.stack([h[name] for h in heat]) for name in explainers}
            ),
        )
        named = {
            "films": films,
            "board": board,
            "lesion_ranks": summarise_ranks(tables["ranks"], resampling),
        }
        for name, table in (named | {f"film_{k}": t for k, t in tables.items()} | checks).items():
            step.write(f"{name}.csv", lambda p, t=table: t.to_csv(p, index=False))
        flat = {"films": len(rows), "flat": int(films["flat"].sum())}
        step.write_json(
            "scores.json",
            flat
            | _summarise_gradcam(board, tables["maps"], resampling)
            | {
                "title": config.title,
                "layer": layer,
            },
        )
        step.finish()
    return json.loads(run.file("gradcam", "scores.json").read_text())


def load_tables(run: Run) -> dict[str, pd.DataFrame]:
    """Tables of step 04 by name.

    films, board, lesion_ranks, sanity, fall (of the logit), cascade, retrained, changes,
    counterfactuals; film by film: film_maps, film_ranks, film_curves.
    """
    folder = run.file("gradcam", "scores.json").parent
    return {file.stem: read_table(file) for file in sorted(folder.glob("*.csv"))}


def load_maps(run: Run) -> dict[str, np.ndarray]:
    """Heat maps of step 04: method -> float32 (m, S, S), in the order of the table `films`."""
    with np.load(run.file("gradcam", "maps.npz")) as saved:
        return {name: saved[name] for name in saved.files}


def list_types(run: Run, cohort: Cohort, row: int) -> dict[str, np.ndarray]:
    """Lesions of one film by type, bool (S, S), as far as the source knows them: the phantom each
    finding, others one kind.

    Types that the film does not have are left out.
    """
    if run.config.source == "phantom":
        types = redraw_film(run.config, cohort.manifest["image_id"].iloc[row]).masks
    else:
        types = {} if cohort.lesions is None else {"lesion": np.asarray(cohort.lesions[row])}
    return {name: mask for name, mask in types.items() if mask.any()}


def pixel_spacing(run: Run, cohort: Cohort, row: int) -> float | None:
    """Side of a pixel of one network input, mm; None where it is not known: the manifest has the
    film's spacing, but not how far it was shrunk.
    """
    return (
        redraw_film(run.config, cohort.manifest["image_id"].iloc[row]).spacing_mm
        if run.config.source == "phantom"
        else None
    )


def _score_films(
    run: Run, cohort: Cohort, bundle: Bundle, rows: np.ndarray, heat: list[dict[str, np.ndarray]]
) -> dict[str, pd.DataFrame]:
    """The films of the positive class: the heat is evidence for it."""
    scored: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    for row, maps in show_progress(zip(rows, heat, strict=True), "scoring maps", len(rows)):
        film = cohort.manifest.iloc[row]
        if film["label"] != 1:
            continue
        targets = {
            name: np.asarray(masks[row])
            for name, masks in (("lesions", cohort.lesions), ("signs", cohort.signs))
            if masks is not None
        }
        joints = cohort.joints[cohort.joints["image_id"] == film["image_id"]]
        found = score_film(
            np.asarray(cohort.images[row]),
            maps,
            targets,
            list_types(run, cohort, row),
            joints,
            lambda images: predict_logits(bundle.fast, images),
            run.config.seed,
        )
        for name, table in found.items():
            scored[name].append(
                table.assign(image_id=film["image_id"], patient_id=film["patient_id"])
            )
    return {name: pd.concat(tables, ignore_index=True) for name, tables in scored.items()}


def _check_sanity(
    run: Run, cohort: Cohort, bundle: Bundle, rows: np.ndarray, explainers: dict[str, Explainer]
) -> dict[str, pd.DataFrame]:
    config, manifest = run.config, cohort.manifest
    rows = np.sort([r for r in rows if manifest["label"].iloc[r] == 1][:SANITY_FILMS])
    images = np.asarray(cohort.images[rows])
    redrawn = (
        [redraw_film(config, manifest["image_id"].iloc[r]) for r in rows]
        if config.source == "phantom"
        else []
    )
    cascade = run_cascade(bundle.model, images, explainers, config.seed)
    retrained = run_retrained(bundle.model, load_networks(run), images, explainers)
    changes = run_changes(bundle.model, images, explainers)
    known = [i for i, film in enumerate(redrawn) if targets_of(film.masks)["signs"].any()]
    removed = run_counterfactuals(bundle.model, [redrawn[i] for i in known], explainers)
    removed["film"] = [known[i] for i in removed["film"]]
    patients = manifest["patient_id"].to_numpy()[rows]
    names = dict(enumerate(manifest["image_id"].iloc[rows]))
    resampling = Resampling(config.n_bootstrap, config.seed)
    sanity = summarise_sanity(cascade, retrained, changes, removed, patients, resampling)
    films = {
        name: table.assign(image_id=table["film"].map(names))
        for name, table in {
            "cascade": cascade,
            "retrained": retrained,
            "changes": changes,
            "counterfactuals": removed,
        }.items()
    }
    fall = pd.DataFrame([summarise_fall(removed, patients, resampling)] if len(removed) else [])
    return {
        "sanity": sanity,
        "fall": fall.reindex(columns=["value", "low", "high", "films", "patients"]),
    } | films


def _summarise_gradcam(
    board: pd.DataFrame, maps: pd.DataFrame, resampling: Resampling
) -> dict[str, Any]:
    """What the report says of Grad-CAM: films, hit rate, chance and energy against lesions and
    signs; None where the source knows none.
    """
    found: dict[str, Any] = {"lesions": None, "signs": None}
    for target in found:
        part = board[(board["target"] == target) & (board["method"] == "gradcam")].set_index(
            "score"
        )
        if len(part):
            films = maps[
                (maps["target"] == target)
                & (maps["method"] == "gradcam")
                & (maps["score"] == "hit")
            ]
            chance = mean_interval(films["chance"], films["patient_id"], resampling)
            rows = {"hit_rate": part.loc["hit"], "energy": part.loc["energy"], "chance": chance}
            found[target] = {
                name: {k: float(row[k]) for k in ("value", "low", "high")}
                for name, row in rows.items()
            } | {"films": len(films)}
    return found
