"""Step 05: SHAP over regions of the hand, of some test films."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rahelpers.core.store import Run, read_table
from rahelpers.curation.cohort import load_cohort
from rahelpers.explanation.films import choose_films, explain_each
from rahelpers.explanation.game import RegionGame, RegionMasker, make_baseline
from rahelpers.explanation.regions import Regions, make_regions
from rahelpers.explanation.shapley import estimate_values
from rahelpers.network.backend import keras
from rahelpers.network.bundle import load_bundle, predict_logits
from rahelpers.scores.intervals import Resampling, rate_interval

# of the logit's rise from the hidden film to the whole: a rounding that is larger is no detail
COARSE = 0.02


@dataclass(frozen=True)
class RegionShap:
    """Shapley and Owen values of a film's regions.

    Attributes
    ----------
    names : list of str
    values : float array (p,)
        Shapley values in logits; above 0 speaks for the positive class.
    base_value : float
        Logit of the film with every region hidden.
    logit : float
        Logit of the film itself.
    additivity_error : float
        |base_value + sum of values - logit|: the bookkeeping. It says nothing about how well the
        values are estimated.
    standard_error : float array (p,)
        Of each value: how far it would move with other coalitions. 0 where every coalition was
        tried.
    owen : float array (p,)
        Owen values in the hierarchy film, hand, ray, joint; they add up to the same.
    evaluations : int
        Coalitions that the network saw.
    """

    names: list[str]
    values: np.ndarray
    base_value: float
    logit: float
    additivity_error: float
    standard_error: np.ndarray
    owen: np.ndarray
    evaluations: int


def compute_region_shap(
    model: keras.Model,
    image: np.ndarray,
    regions: Regions,
    baseline: str | np.ndarray = "blur",
    evaluations: int = 256,
    seed: int = 0,
    fast: keras.Model | None = None,
    on_batch: Callable[[int], None] = lambda films: None,
) -> RegionShap:
    """Shapley and Owen values of the regions, from one set of coalitions.

    Parameters
    ----------
    model : keras.Model
        Ends in one logit.
    image : uint8 array (S, S)
    regions : Regions
    baseline : str or uint8 array (S, S)
        A kind that `make_baseline` knows, or what hidden regions show.
    evaluations : int
        Coalitions that the network is asked for, at most. Where all fit, the values are exact.
    seed : int
    fast : keras.Model, optional
        The same network in a shorter number format (`Bundle.fast`), for all coalitions but nobody
        and everybody. Not used where its rounding is more than 2 % of what the film is worth.
    on_batch : callable, optional
        Told how many films come before each batch; what it raises stops the work.

    Returns
    -------
    RegionShap

    References
    ----------
    See `rahelpers.explanation.shapley.estimate_values`.
    """
    hidden = make_baseline(image, baseline, regions) if isinstance(baseline, str) else baseline
    base, logit = predict_logits(
        model, np.stack([hidden, image])
    )  # of films, not of the game: an error in the game shows
    if fast is not None and np.abs(
        predict_logits(fast, np.stack([hidden, image])) - [base, logit]
    ).max() > COARSE * abs(logit - base):
        fast = None
    game = RegionGame(model, image, RegionMasker(regions, hidden), fast=fast, on_batch=on_batch)
    found = estimate_values(game, regions.tree, evaluations, np.random.default_rng(seed))
    error = abs(found.base_value + float(found.shapley.sum()) - float(logit))
    return RegionShap(
        regions.names,
        found.shapley,
        found.base_value,
        float(logit),
        error,
        found.standard_error,
        found.owen,
        game.evaluations,
    )


def explain_shap(run: Run) -> dict:
    """Step 05: region SHAP of some test films. Returns the content of `scores.json`."""
    config = run.config
    step = run.step(
        "shap",
        config.subset("seed", "n_explain", "n_bootstrap", "shap_evaluations", "shap_baseline"),
    )
    if not step.is_done():
        cohort, bundle = (
            load_cohort(run),
            load_bundle(run.file("train", "bundle/bundle.json").parent),
        )
        rows = choose_films(cohort.manifest, config.n_explain, config.seed)

        def one(row: int) -> dict[str, np.ndarray]:
            image = np.asarray(cohort.images[row])
            found = compute_region_shap(
                bundle.model,
                image,
                make_regions(image, cohort.joints_of(row)),
                config.shap_baseline,
                config.shap_evaluations,
                config.seed,
                bundle.fast,
            )
            return {
                "names": np.array(found.names),
                "values": found.values,
                "base": found.base_value,
                "logit": found.logit,
                "error": found.additivity_error,
                "standard_error": found.standard_error,
                "owen": found.owen,
            }

        results = explain_each(rows, step.partial(), one)
        names = cohort.manifest["image_id"].iloc[rows].to_numpy()
        values = pd.concat(
            [
                pd.DataFrame(
                    {
                        "image_id": image_id,
                        "region": r["names"],
                        "value": r["values"],
                        "standard_error": r["standard_error"],
                        "owen": r["owen"],
                    }
                )
                for image_id, r in zip(names, results, strict=True)
            ]
        )
        films = cohort.manifest.iloc[rows][["image_id", "patient_id", "label", "condition"]].assign(
            row=rows,
            base=[float(r["base"]) for r in results],
            logit=[float(r["logit"]) for r in results],
            error=[float(r["error"]) for r in results],
        )
        step.write("values.csv", lambda p: values.to_csv(p, index=False))
        step.write("films.csv", lambda p: films.to_csv(p, index=False))
        step.write_json(
            "scores.json",
            {"title": config.title}
            | _score(values, films, cohort.joints, Resampling(config.n_bootstrap, config.seed)),
        )
        step.finish()
    return json.loads(run.file("shap", "scores.json").read_text())


def load_values(run: Run) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What step 05 found.

    Returns
    -------
    films : DataFrame
        image_id, patient_id, label, condition, row, base, logit, error.
    values : DataFrame
        One region of one film a row: image_id, region, value, standard_error, owen.
    """
    return read_table(run.file("shap", "films.csv")), read_table(run.file("shap", "values.csv"))


def _score(
    values: pd.DataFrame, films: pd.DataFrame, joints: pd.DataFrame, resampling: Resampling
) -> dict:
    """Additivity, and how often the strongest region is a site with a score, beside the share of
    such regions.
    """
    scale = max(
        float(np.ptp(films["logit"])), float((films["logit"] - films["base"]).abs().max()), 1e-6
    )
    scores = {
        "films": len(films),
        "largest_additivity_error": float(films["error"].max()),
        "logit_range": scale,
        "top_site_diseased": None,
        "chance": None,
        "films_with_scores": 0,
    }
    joints = joints.assign(
        diseased=joints[["erosion", "jsn"]]
        .apply(pd.to_numeric, errors="coerce")
        .fillna(0)
        .max(axis=1)
        > 0
    )
    merged = values.merge(
        joints[["image_id", "site", "diseased"]],
        left_on=["image_id", "region"],
        right_on=["image_id", "site"],
        how="left",
    )
    merged = merged.merge(films[["image_id", "patient_id", "label"]], on="image_id").query(
        "label == 1"
    )
    merged["diseased"] = merged["diseased"].eq(True)
    known = merged.groupby("image_id").filter(lambda g: g["diseased"].any())
    if len(known):
        top = (
            known.loc[known.groupby("image_id")["value"].idxmax()]
            if known.index.is_unique
            else known
        )
        scores |= {
            "top_site_diseased": rate_interval(top["diseased"], top["patient_id"], resampling),
            "chance": float(known.groupby("image_id")["diseased"].mean().mean()),
            "films_with_scores": int(len(top)),
        }
    return scores
