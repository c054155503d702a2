"""Step 05: SHAP over the regions of the hand, for some test films."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from rahelpers.core.store import Run
from rahelpers.curation.cohort import load_cohort
from rahelpers.explanation.baselines import choose_baseline, make_baseline
from rahelpers.explanation.films import choose_films, explain_each
from rahelpers.explanation.region_game import RegionGame, RegionMasker
from rahelpers.explanation.regions import Regions, make_regions
from rahelpers.explanation.shapley import estimate_values
from rahelpers.network.backend import keras
from rahelpers.network.bundle import load_bundle, predict_logits
from rahelpers.scores.intervals import share_interval

# share of the rise of the logit from the hidden to the shown film: a larger rounding error matters
COARSE = 0.02


@dataclass(frozen=True, kw_only=True)
class RegionShap:
    """Shapley and Owen values of the regions of a film.

    Attributes
    ----------
    names : list of str
    values : float array (p,)
        Shapley values in logits; above 0 is evidence for the positive class.
    base_value : float
        Logit of the film with every region hidden.
    logit : float
        Logit of the film itself.
    additivity_error : float
        |base_value + sum of values - logit|, which checks the bookkeeping. It says nothing about
        how well the values are estimated.
    standard_error : float array (p,)
        Of each Shapley value: how far it would move with other coalitions. 0 where every coalition
        was tried.
    owen : float array (p,)
        Owen values in the hierarchy film, hand, ray, joint; they have the same sum.
    evaluations : int
        Number of coalitions that the network saw.
    fit : float
        How well the answers to coalitions are predicted from each other: leave-one-out R², at most
        1. A low one means that regions act together in ways that single values do not show.
    """

    names: list[str]
    values: np.ndarray
    base_value: float
    logit: float
    additivity_error: float
    standard_error: np.ndarray
    owen: np.ndarray
    evaluations: int
    fit: float


def compute_region_shap(
    model: keras.Model,
    image: np.ndarray,
    regions: Regions,
    baseline: str | np.ndarray = "inpaint",
    evaluations: int = 256,
    seed: int = 0,
    fast: keras.Model | None = None,
    on_batch: Callable[[int], None] = lambda films: None,
) -> RegionShap:
    """Compute Shapley and Owen values of the regions of a film, from one set of coalitions.

    Parameters
    ----------
    model : keras.Model
        Ends in one logit.
    image : uint8 array (S, S)
    regions : Regions
    baseline : str or uint8 array (S, S)
        The film that shows through where a region is hidden, as `make_baseline` returns it; or one
        of its kinds, except 'healthy'.
    evaluations : int
        Number of coalitions, at most. Where all coalitions fit, the values are exact.
    seed : int
    fast : keras.Model, optional
        The same network in a shorter number format (`Bundle.fast`), for all coalitions except the
        empty and the full one. It is not used where its rounding error is more than 2 % of the rise
        of the logit from the hidden to the shown film.
    on_batch : callable, optional
        Called before each batch with its number of films; an exception that it raises stops the
        work.

    Returns
    -------
    RegionShap

    References
    ----------
    See `rahelpers.explanation.shapley.estimate_values`.

    Examples
    --------
    >>> from rahelpers import compute_region_shap, load_bundle, load_cohort
    >>> from rahelpers.explanation import make_regions
    >>> bundle = load_bundle(run.file("train", "bundle/bundle.json").parent)
    >>> cohort = load_cohort(run)
    >>> image = np.asarray(cohort.images[0])
    >>> regions = make_regions(image, cohort.joints_of(0))
    >>> found = compute_region_shap(bundle.model, image, regions, evaluations=64)
    >>> len(found.values) == len(regions.names), found.evaluations <= 64
    (True, True)
    >>> bool(abs(found.base_value + found.values.sum() - found.logit) < 1e-4)
    True
    """
    # the logits of the films themselves, not of the game: an error in the game shows
    hidden = make_baseline(image, baseline, regions) if isinstance(baseline, str) else baseline
    ends = np.stack([hidden, image])
    base, logit = exact = predict_logits(model, ends)

    # the fast network, where it is precise enough
    if fast is not None:
        rounding = np.abs(predict_logits(fast, ends) - exact).max()
        fast = fast if rounding <= COARSE * abs(logit - base) else None

    # play the game
    game = RegionGame(model, image, RegionMasker(regions, hidden), fast=fast, on_batch=on_batch)
    found = estimate_values(game, regions.tree, evaluations, np.random.default_rng(seed))
    return RegionShap(
        names=regions.names,
        values=found.shapley,
        base_value=found.base_value,
        logit=float(logit),
        additivity_error=abs(found.base_value + float(found.shapley.sum()) - float(logit)),
        standard_error=found.standard_error,
        owen=found.owen,
        evaluations=game.evaluations,
        fit=found.fit,
    )


def explain_shap(run: Run) -> dict[str, Any]:
    """Run step 05: region SHAP of some test films.

    Returns
    -------
    dict
        The content of `scores.json`; `load_values` reads the rest.

    Raises
    ------
    MissingArtefactError
        If step 01 or 02 has not been run.

    Examples
    --------
    >>> from rahelpers import explain_shap
    >>> print("step 05"); scores = explain_shap(run)  # says so if an earlier result is reused
    step 05...
    >>> scores["films"], scores["largest_additivity_error"] < 1e-4
    (4, True)
    """
    config = run.config
    step = run.step(
        "shap",
        config.subset("seed", "n_explain", "shap_evaluations", "shap_baseline"),
    )
    if not step.is_done():
        # the network and the films
        cohort = load_cohort(run)
        bundle = load_bundle(run.file("train", "bundle/bundle.json").parent)
        rows = choose_films(cohort.manifest, config.n_explain, config.seed)

        # explain the films, or resume where a killed run stopped
        def explain(row: int) -> dict[str, Any]:
            image, joints = np.asarray(cohort.images[row]), cohort.joints_of(row)
            regions, patches = make_regions(image, joints), bundle.healthy_patches
            kind = choose_baseline(config.shap_baseline, joints, patches)
            found = compute_region_shap(
                bundle.model,
                image,
                regions,
                make_baseline(image, kind, regions, joints, patches),
                config.shap_evaluations,
                config.seed,
                bundle.fast,
            )
            return asdict(found) | {"baseline": kind}

        results = explain_each(rows, step.partial(), explain)

        # one table of films, and one of their regions
        films = cohort.manifest.iloc[rows][["image_id", "patient_id", "label", "condition"]]
        films = films.assign(
            row=rows,
            base=[float(found["base_value"]) for found in results],
            logit=[float(found["logit"]) for found in results],
            error=[float(found["additivity_error"]) for found in results],
            fit=[float(found["fit"]) for found in results],
            baseline=[str(found["baseline"]) for found in results],
        )
        # the answer for each film with every region hidden
        operating_point = bundle.info["operating_point"]["probability"]
        hidden = bundle.probability(films["base"].to_numpy())
        films = films.assign(base_positive=hidden >= operating_point)
        values = pd.concat(
            pd.DataFrame(
                {
                    "image_id": image_id,
                    "region": found["names"],
                    "value": found["values"],
                    "standard_error": found["standard_error"],
                    "owen": found["owen"],
                }
            )
            for image_id, found in zip(films["image_id"], results, strict=True)
        )

        # score and write everything
        scores = _score(values, films, cohort.joints)
        step.write("values.csv", partial(values.to_csv, index=False))
        step.write("films.csv", partial(films.to_csv, index=False))
        step.write_json("scores.json", {"title": config.title} | scores)
        step.finish()
    return json.loads(run.file("shap", "scores.json").read_text())


def _score(values: pd.DataFrame, films: pd.DataFrame, joints: pd.DataFrame) -> dict[str, Any]:
    """Score additivity and baselines, and how often the strongest site is a diseased one.

    Sites are compared with sites: the rest of the hand is twenty times as large as a joint, so a
    region of any kind would say more about area than about disease. Chance is the share of the
    sites that are diseased.
    """
    # additivity, and the scale to judge it by
    rise = (films["logit"] - films["base"]).abs().max()
    scale = max(float(np.ptp(films["logit"])), float(rise), 1e-6)
    scores: dict[str, Any] = {
        "films": len(films),
        "largest_additivity_error": float(films["error"].max()),
        "logit_range": scale,
        "baselines": {kind: int(n) for kind, n in films["baseline"].value_counts().items()},
        "positive_baselines": int(films["base_positive"].sum()),
        "lowest_fit": float(films["fit"].min()),
        "top_site_diseased": None,
        "chance": None,
        "films_with_scores": 0,
    }

    # which regions are sites with an erosion or a narrowed joint space
    grades = joints[["erosion", "jsn"]].apply(pd.to_numeric, errors="coerce").fillna(0)
    diseased = joints.loc[grades.max(axis=1) > 0, ["image_id", "site"]].assign(diseased=True)
    regions = values.rename(columns={"region": "site"})
    regions = regions.merge(diseased, on=["image_id", "site"], how="left")
    regions["diseased"] = regions["diseased"].eq(True)

    # the strongest site of each positive film that has such a site
    sites = regions[regions["site"].isin(set(joints["site"]))]
    sites = sites.merge(films[["image_id", "patient_id", "label"]], on="image_id")
    positive = sites[sites["label"] == 1]
    known = positive.groupby("image_id").filter(lambda film: film["diseased"].any())
    if len(known):
        top = known.loc[known.groupby("image_id")["value"].idxmax()]
        scores |= {
            "top_site_diseased": share_interval(top["diseased"], top["patient_id"]),
            "chance": float(known.groupby("image_id")["diseased"].mean().mean()),
            "films_with_scores": int(len(top)),
        }
    return scores
