"""SHAP over regions of the hand: the players are joints where the source knows them, superpixels where not."""

from __future__ import annotations

import json
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd
import shap
from skimage.segmentation import slic

from rahelpers.artifacts import Run
from rahelpers.curation import load_cohort
from rahelpers.inference import load_bundle, predict_logits
from rahelpers.metrics import rate_interval
from rahelpers.scoreboard import choose_films, explain_each, foreground
from rahelpers.tensorflow_quiet import keras


@dataclass(frozen=True)
class Regions:
    """A partition of a film: `labels` (S, S) int holds for each pixel the index of its region in `names`."""

    names: list[str]
    labels: np.ndarray


@dataclass(frozen=True)
class RegionShap:
    """Shapley values of a film's regions.

    Attributes
    ----------
    names : list of str
    values : float array (p,)
        In logits; above 0 speaks for the positive class.
    base_value : float
        Logit of the film with every region hidden.
    logit : float
        Logit of the film itself.
    additivity_error : float
        |base_value + sum of values - logit|: the bookkeeping. It says nothing about how well the values are estimated.
    standard_error : float array (p,)
        Of each value, over the sampled orders: how far it would move with other orders.
    """

    names: list[str]
    values: np.ndarray
    base_value: float
    logit: float
    additivity_error: float
    standard_error: np.ndarray


def make_regions(image: np.ndarray, joints: pd.DataFrame, n_superpixels: int = 20) -> Regions:
    """Joint boxes, the rest of the hand, and the background; superpixels of the hand where no joints are known.

    A pixel in two boxes goes to the nearer centre.

    Parameters
    ----------
    image : uint8 array (S, S)
    joints : DataFrame
        Joint table of this film: site, x0, y0, x1, y1 as fractions. May be empty.
    n_superpixels : int

    Returns
    -------
    Regions
    """
    hand, side = foreground(image), image.shape[0]
    if not len(joints):
        pieces = slic(image.astype(float) / 255, n_segments=n_superpixels, compactness=0.2, mask=hand, channel_axis=None, start_label=1)
        found, labels = np.unique(pieces, return_inverse=True)
        names = ["background" if f == 0 else f"region {f}" for f in found]
        return Regions(names, labels.reshape(image.shape))
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    nearest, owner = np.full(image.shape, np.inf), np.where(hand, len(joints), len(joints) + 1)
    for k, joint in enumerate(joints.itertuples()):
        inside = (x >= joint.x0) & (x <= joint.x1) & (y >= joint.y0) & (y <= joint.y1)
        distance = (x - (joint.x0 + joint.x1) / 2) ** 2 + (y - (joint.y0 + joint.y1) / 2) ** 2
        closer = inside & (distance < nearest)
        nearest[closer], owner[closer] = distance[closer], k
    names = [*joints["site"], "rest of hand", "background"]
    found, labels = np.unique(owner, return_inverse=True)
    return Regions([names[i] for i in found], labels.reshape(image.shape))


def make_baseline(image: np.ndarray, kind: str) -> np.ndarray:
    """What a hidden region shows: 'blur' the film without detail, 'mean' the hand's mean grey, 'black' nothing.

    Parameters
    ----------
    image : uint8 array (S, S)

    Returns
    -------
    uint8 array (S, S)
    """
    if kind == "blur":
        return cv2.GaussianBlur(image, (0, 0), image.shape[0] / 16)
    if kind == "mean":
        return np.full_like(image, int(image[foreground(image)].mean()))
    if kind == "black":
        return np.zeros_like(image)
    raise ValueError(f"baseline={kind!r}: expected blur, mean or black")


def compute_region_shap(model: keras.Model, image: np.ndarray, regions: Regions, baseline: str = "blur", evaluations: int = 256, seed: int = 0) -> RegionShap:
    """Shapley values of the regions by shap's permutation explainer, additive by construction.

    Parameters
    ----------
    model : keras.Model
        Ends in one logit.
    image : uint8 array (S, S)
    regions : Regions
    baseline : {'blur', 'mean', 'black'}
    evaluations : int
        Network evaluations; at least two full permutations are made.
    seed : int

    Returns
    -------
    RegionShap

    References
    ----------
    Lundberg & Lee, NeurIPS 2017 (arXiv 1705.07874); permutation sampling with antithetic pairs as in shap.PermutationExplainer.
    """
    hidden, players = make_baseline(image, baseline), len(regions.names)

    def logits_of(coalitions: np.ndarray) -> np.ndarray:
        shown = np.asarray(coalitions).astype(bool)[:, regions.labels]
        return predict_logits(model, np.where(shown, image, hidden).astype(np.uint8))

    everyone, nobody = np.ones((1, players)), np.zeros((1, players))
    explainer = shap.PermutationExplainer(logits_of, nobody, seed=seed)
    evaluations = max(evaluations, 2 * (2 * players + 1))
    found = explainer(everyone, max_evals=evaluations, silent=True, batch_size=64, error_bounds=True)
    orders = 2 * (evaluations // (2 * players + 1))  # each drawn order is walked both ways
    values, base = found.values[0].astype(np.float64), float(np.ravel(found.base_values)[0])
    logit = float(logits_of(everyone)[0])
    return RegionShap(regions.names, values, base, logit, abs(base + values.sum() - logit), found.error_std[0] / np.sqrt(orders))


def explain_shap(run: Run) -> dict:
    """Step 05: region SHAP of some test films. Returns the content of `scores.json`."""
    config = run.config
    step = run.step("shap", config.subset("seed", "n_explain", "n_bootstrap", "shap_evaluations", "shap_baseline"))
    if not step.is_done():
        cohort, bundle = load_cohort(run), load_bundle(run.file("train", "bundle/bundle.json").parent)
        rows = choose_films(cohort.manifest, config.n_explain, config.seed)

        def one(row: int) -> dict[str, np.ndarray]:
            image = np.asarray(cohort.images[row])
            found = compute_region_shap(bundle.model, image, make_regions(image, cohort.joints_of(row)), config.shap_baseline,
                                        config.shap_evaluations, config.seed)  # fmt: skip
            return {
                "names": np.array(found.names),
                "values": found.values,
                "base": found.base_value,
                "logit": found.logit,
                "error": found.additivity_error,
                "standard_error": found.standard_error,
            }

        results = explain_each(rows, step.partial(), one)
        names = cohort.manifest["image_id"].iloc[rows].to_numpy()
        values = pd.concat(
            [
                pd.DataFrame({"image_id": image_id, "region": r["names"], "value": r["values"], "standard_error": r["standard_error"]})
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
        step.write_json("scores.json", {"title": config.title} | _score(values, films, cohort.joints, config.n_bootstrap, config.seed))
        step.finish()
    return json.loads(run.file("shap", "scores.json").read_text())


def _score(values: pd.DataFrame, films: pd.DataFrame, joints: pd.DataFrame, n: int, seed: int) -> dict:
    """Additivity, and how often the strongest region is a site with a score, beside the share of such regions."""
    scale = max(float(np.ptp(films["logit"])), float((films["logit"] - films["base"]).abs().max()), 1e-6)
    scores = {"films": len(films), "largest_additivity_error": float(films["error"].max()), "logit_range": scale,
              "top_site_diseased": None, "chance": None, "films_with_scores": 0}  # fmt: skip
    joints = joints.assign(diseased=joints[["erosion", "jsn"]].apply(pd.to_numeric, errors="coerce").fillna(0).max(axis=1) > 0)
    merged = values.merge(joints[["image_id", "site", "diseased"]], left_on=["image_id", "region"], right_on=["image_id", "site"], how="left")
    merged = merged.merge(films[["image_id", "patient_id", "label"]], on="image_id").query("label == 1")
    merged["diseased"] = merged["diseased"].eq(True)
    known = merged.groupby("image_id").filter(lambda g: g["diseased"].any())
    if len(known):
        top = known.loc[known.groupby("image_id")["value"].idxmax()] if known.index.is_unique else known
        scores |= {"top_site_diseased": rate_interval(top["diseased"].to_numpy(), top["patient_id"].to_numpy(), n, seed),
                   "chance": float(known.groupby("image_id")["diseased"].mean().mean()), "films_with_scores": int(len(top))}  # fmt: skip
    return scores
