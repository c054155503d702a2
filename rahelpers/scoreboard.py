"""Which films are explained, and how well an explanation finds the lesions, beside chance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from rahelpers.artifacts import write_atomically
from rahelpers.curation import Cohort
from rahelpers.evaluation import bootstrap_interval, rate_interval
from rahelpers.normalisation import find_hand
from rahelpers.progress import show_progress


def choose_films(manifest: pd.DataFrame, n: int, seed: int) -> np.ndarray:
    """Test films to explain: both classes in turn, every patient once before any twice.

    Parameters
    ----------
    manifest : DataFrame
    n, seed : int

    Returns
    -------
    int array, at most n row indices
    """
    test = manifest[manifest["split"] == "test"].sample(frac=1, random_state=seed)
    order = test.assign(again=test.groupby("patient_id").cumcount()).sort_values("again", kind="stable")
    order = order.assign(turn=order.groupby("label").cumcount()).sort_values(["turn", "label"], ascending=[True, False], kind="stable")
    return order.index.to_numpy()[:n]


def explain_each(rows: np.ndarray, folder: Path, explain: Callable[[int], dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    """Explain films one by one; each result is kept in `folder`, so that a killed run goes on where it stopped."""
    results, reused = [], 0
    for row in show_progress(rows, "explaining films"):
        file = folder / f"{row}.npz"
        if file.exists():
            reused += 1
        else:
            result = explain(int(row))
            write_atomically(file, lambda p, r=result: np.savez(p, **r))
        with np.load(file) as saved:
            results.append({k: saved[k] for k in saved.files})
    if reused:
        print(f"{reused} of {len(rows)} films reused from the run that was stopped")
    return results


def foreground(image: np.ndarray) -> np.ndarray:
    """The hand in a network input; everything where none is found.

    Parameters
    ----------
    image : uint8 array (S, S)

    Returns
    -------
    bool array (S, S)
    """
    mask = find_hand(image.astype(np.float32) / 255).mask
    side = image.shape[0]
    return cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA) >= 0.5 if mask.any() else np.ones(image.shape, bool)


def pointing_hit(heatmap: np.ndarray, lesion: np.ndarray) -> bool:
    """Does the hottest point lie in a lesion? (Zhang et al., pointing game, ECCV 2016, arXiv 1608.00507)"""
    return bool(lesion.ravel()[int(np.argmax(heatmap))])


def energy_inside(heatmap: np.ndarray, lesion: np.ndarray) -> float:
    """Share of the heat that lies in a lesion (Wang et al., Score-CAM, 2020, arXiv 1910.01279); NaN for a flat map."""
    total = float(heatmap.sum())
    return float(heatmap[lesion].sum()) / total if total > 0 else float("nan")


def score_maps(cohort: Cohort, rows: np.ndarray, maps: np.ndarray, flat: np.ndarray, n: int, seed: int) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Score heat maps against what the source knows: lesions with an edge, and all signs of the disease.

    Only films that have such a place can hit. A flat map counts as a miss. Chance is the share of the hand that is such a place: what a
    random point in the hand would hit.

    Parameters
    ----------
    cohort : Cohort
    rows : int array (m,)
        Manifest rows of the films.
    maps : float array (m, S, S)
    flat : bool array (m,)
    n, seed : int
        Bootstrap resamples and seed.

    Returns
    -------
    table : DataFrame
        One film a row; for lesion and sign: hit, chance and energy (share of the hand's heat), missing where the film has no such place.
    scores : dict
        films, flat, and for `lesions` and `signs`: films, hit_rate, chance and energy with intervals, or None where the source knows none.
    """
    table = cohort.manifest.iloc[rows][["image_id", "patient_id", "label", "condition"]].assign(row=rows, flat=flat)
    scores: dict[str, Any] = {"films": len(table), "flat": int(flat.sum())}
    for name, masks in (("lesions", cohort.lesions), ("signs", cohort.signs)):
        found = [_score_map(cohort.images[r], m, None if masks is None else np.asarray(masks[r])) for r, m in zip(rows, maps, strict=True)]
        columns = pd.DataFrame(found, columns=["hit", "chance", "energy"], index=table.index)
        table = table.join(columns.add_suffix(f"_{name}"))
        known = columns["hit"].notna().to_numpy()
        scores[name] = _summarise(columns[known], table["patient_id"].to_numpy()[known], n, seed) if known.any() else None
    return table, scores


def _score_map(image: np.ndarray, heatmap: np.ndarray, target: np.ndarray | None) -> tuple[float, float, float]:
    """Hit, chance and energy of one film; NaN where there is nothing to hit."""
    if target is None or not target.any():
        return (np.nan, np.nan, np.nan)
    hand = foreground(image) | target
    hit = float(heatmap.any() and pointing_hit(heatmap, target))
    return hit, float(target.sum() / hand.sum()), energy_inside(np.where(hand, heatmap, 0), target)


def _summarise(columns: pd.DataFrame, patients: np.ndarray, n: int, seed: int) -> dict[str, Any]:
    """Rates over films, with patient-bootstrap intervals."""
    found: dict[str, Any] = {"films": len(columns), "hit_rate": rate_interval(columns["hit"].to_numpy(), patients, n, seed)}
    for name in ("chance", "energy"):
        values = columns[name].to_numpy()
        low, high = bootstrap_interval(lambda _, v: float(np.nanmean(v)), np.ones(len(values)), values, patients, n, seed)
        found[name] = {"value": float(np.nanmean(values)), "low": low, "high": high}
    return found
