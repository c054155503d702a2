"""Which films are explained, and how well an explanation finds the lesions, beside baselines that
know no network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score

from rahelpers.films.normalisation import foreground
from rahelpers.films.sites import NOWHERE, PLACES, name_site
from rahelpers.scores.intervals import Resampling, interval_text, mean_interval, rate_interval

MARKED = 0.5  # share of its peak above which a heat map counts as a mark: the threshold of the IoU
RANK_COLUMNS = ["type", "site", "area", "rank"]
STEPS = 10  # parts in which deletion and insertion change a film
SIZES = (
    (0.0, 0.002, "small, below 0.2 % of the hand"),
    (0.002, 0.01, "medium, 0.2 to 1 %"),
    (0.01, 1.01, "large, over 1 %"),
)
# score -> what it is, what is better
SCORES = {
    "hit": ("hottest point inside, share of films", "higher"),
    "energy": ("share of the heat inside", "higher"),
    "iou": (f"IoU of what is hotter than {MARKED:.0%} of the peak", "higher"),
    "ap": ("average precision of the hand's pixels", "higher"),
    "deletion": ("mean probability while the hottest is blurred first", "lower"),
    "insertion": ("mean probability while the hottest is shown first", "higher"),
}


def _as_map(heatmap: np.ndarray, lesion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A heat map and a lesion of one size, the lesion as bool (255 is inside, as 1 is).

    Raises
    ------
    ValueError
        If the sizes differ, or the heat is negative or not finite.
    """
    heatmap, lesion = np.asarray(heatmap), np.asarray(lesion).astype(bool)
    if heatmap.shape != lesion.shape:
        raise ValueError(
            f"a heat map of {heatmap.shape} and a mask of {lesion.shape}: expected the same size;"
            " enlarge the map first"
        )
    if not (np.isfinite(heatmap).all() and (heatmap >= 0).all()):
        raise ValueError(
            f"heat from {np.min(heatmap):g} to {np.max(heatmap):g}: expected finite numbers of at"
            " least 0; cut what speaks against the class"
        )
    return heatmap, lesion


def pointing_hit(heatmap: np.ndarray, lesion: np.ndarray) -> bool:
    """Does the hottest point lie in a lesion? A flat map points nowhere. (Zhang et al., pointing
    game, ECCV 2016, arXiv 1608.00507)
    """
    heatmap, lesion = _as_map(heatmap, lesion)
    return bool(heatmap.any() and lesion.ravel()[int(np.argmax(heatmap))])


def energy_inside(heatmap: np.ndarray, lesion: np.ndarray) -> float:
    """Share of the heat that lies in a lesion (Wang et al., Score-CAM, 2020, arXiv 1910.01279); NaN
    for a flat map.
    """
    heatmap, lesion = _as_map(heatmap, lesion)
    total = float(heatmap.sum())
    return float(heatmap[lesion].sum()) / total if total > 0 else float("nan")


def overlap(heatmap: np.ndarray, lesion: np.ndarray, marked: float = MARKED) -> float:
    """Intersection over union of a lesion and the places hotter than `marked` times the peak; 0 for
    a flat map.

    Raises
    ------
    ValueError
        As every score of a map here: if the sizes differ, or the heat is negative or not finite.
    """
    heatmap, lesion = _as_map(heatmap, lesion)
    peak = float(heatmap.max())
    mark = heatmap >= marked * peak if peak > 0 else np.zeros(heatmap.shape, bool)
    either = int((mark | lesion).sum())
    return float((mark & lesion).sum() / either) if either else 0.0


def score_map(heatmap: np.ndarray, target: np.ndarray, hand: np.ndarray) -> dict[str, float]:
    """The scores of one heat map against one target.

    Parameters
    ----------
    heatmap : float array (S, S), at least 0
    target : bool array (S, S)
        Not empty.
    hand : bool array (S, S)
        Where heat counts. Pointing looks at the whole film: a hottest point beside the hand is a
        miss.

    Returns
    -------
    dict
        hit, energy, iou, ap; and chance, the target's share of the hand: what hit, energy and ap
        are for a map that knows nothing.
    """
    heatmap, target = _as_map(heatmap, target)
    hand = np.asarray(hand).astype(bool) | target
    inside = np.where(hand, heatmap, 0)
    return {
        "hit": float(pointing_hit(heatmap, target)),
        "energy": energy_inside(inside, target),
        "iou": overlap(inside, target),
        "ap": float(average_precision_score(target[hand], heatmap[hand])),
        "chance": float(target.sum() / hand.sum()),
    }


def rank_lesions(
    heatmap: np.ndarray, masks: Mapping[str, np.ndarray], hand: np.ndarray, joints: pd.DataFrame
) -> pd.DataFrame:
    """How hot each single lesion is among the pixels of the hand, whatever its size.

    Parameters
    ----------
    heatmap : float array (S, S)
    masks : mapping
        Type of lesion -> bool array (S, S).
    hand : bool array (S, S)
    joints : DataFrame
        As `name_site` takes it.

    Returns
    -------
    DataFrame
        One connected lesion a row: type, site, area (share of the hand), rank: the mean share of
        the hand's pixels that are colder. 0.5 is chance, 1 the hottest of all; a flat map gives
        0.5.
    """
    hand = np.logical_or.reduce([hand, *masks.values()])
    colder = np.zeros(heatmap.shape)
    colder[hand] = (rankdata(heatmap[hand]) - 0.5) / hand.sum()
    rows = []
    for kind, mask in masks.items():
        count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        for lesion in (labels == k for k in range(1, count)):
            rows.append(
                {
                    "type": kind,
                    "site": name_site(lesion, joints),
                    "area": float(lesion.sum() / hand.sum()),
                    "rank": float(colder[lesion].mean()),
                }
            )
    return pd.DataFrame(rows, columns=RANK_COLUMNS)


def compute_deletion(
    predict: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    heatmap: np.ndarray,
    seed: int,
    steps: int = STEPS,
) -> pd.DataFrame:
    """What the network says while a film is blurred, or shown, hottest pixels first.

    Parameters
    ----------
    predict : callable
        uint8 (n, S, S) -> logits, float (n,).
    image : uint8 array (S, S)
    heatmap : float array (S, S)
        Equally hot pixels are taken in a random order.
    seed, steps : int

    Returns
    -------
    DataFrame
        changed (share of the pixels, 0 to 1), deletion and insertion: sigmoid of the logit. The
        area under each is its mean by trapezoids.

    References
    ----------
    Petsiuk et al., RISE, BMVC 2018 (arXiv 1806.07421), sec. 4.2; there deletion covers with grey,
    here with the blurred film too.
    """
    hidden = cv2.GaussianBlur(image, (0, 0), image.shape[0] / 16)
    order = np.lexsort((np.random.default_rng(seed).random(heatmap.size), -heatmap.ravel()))
    place = np.empty(heatmap.size)
    place[order] = np.arange(heatmap.size) / heatmap.size
    changed = np.linspace(0, 1, steps + 1)
    first = place.reshape(heatmap.shape)[None] < changed[:, None, None]
    logits = predict(
        np.concatenate([np.where(first, hidden, image), np.where(first, image, hidden)]).astype(
            np.uint8
        )
    )
    probability = 1 / (1 + np.exp(-np.clip(logits, -60, 60)))
    return pd.DataFrame(
        {
            "changed": changed,
            "deletion": probability[: steps + 1],
            "insertion": probability[steps + 1 :],
        }
    )


def score_film(
    image: np.ndarray,
    heatmaps: Mapping[str, np.ndarray],
    targets: Mapping[str, np.ndarray],
    types: Mapping[str, np.ndarray],
    joints: pd.DataFrame,
    predict: Callable[[np.ndarray], np.ndarray],
    seed: int,
) -> dict[str, pd.DataFrame]:
    """Every score of every heat map of one film.

    Parameters
    ----------
    image : uint8 array (S, S)
    heatmaps : mapping
        Method -> float array (S, S), at least 0.
    targets : mapping
        Name -> bool array (S, S), such as lesions and signs; an empty one is left out.
    types : mapping
        Type of lesion -> bool array (S, S).
    joints : DataFrame
        As `name_site` takes it.
    predict, seed
        As in `compute_deletion`.

    Returns
    -------
    dict of DataFrame
        `maps`: method, target, score, value, chance; beside the given targets, `network` (deletion
        and insertion) and `hand` (does the heat lie on the hand at all?), which need no masks.
        `ranks`: method and the columns of `rank_lesions`. `curves`: method and those of
        `compute_deletion`.
    """
    hand = foreground(image)
    found: dict[str, list[pd.DataFrame]] = {"maps": [], "ranks": [], "curves": []}
    for method, heatmap in heatmaps.items():
        curves = compute_deletion(predict, image, heatmap, seed)
        scored = [
            ("network", name, float(np.trapezoid(curves[name], curves["changed"])), np.nan)
            for name in ("deletion", "insertion")
        ]
        scored += [
            ("hand", "hit", float(pointing_hit(heatmap, hand)), float(hand.mean())),
            ("hand", "energy", energy_inside(heatmap, hand), float(hand.mean())),
        ]
        for target, mask in targets.items():
            if mask.any():
                scores = score_map(heatmap, mask, hand)
                chance = scores.pop("chance")
                scored += [
                    (target, name, value, np.nan if name == "iou" else chance)
                    for name, value in scores.items()
                ]
        found["maps"].append(
            pd.DataFrame(scored, columns=["target", "score", "value", "chance"]).assign(
                method=method
            )
        )
        found["curves"].append(curves.assign(method=method))
        if types:
            found["ranks"].append(rank_lesions(heatmap, types, hand, joints).assign(method=method))
    empty = pd.DataFrame(columns=[*RANK_COLUMNS, "method"])
    return {
        name: pd.concat(tables, ignore_index=True) if tables else empty
        for name, tables in found.items()
    }


def make_board(
    maps: pd.DataFrame, baselines: tuple[str, ...], resampling: Resampling
) -> pd.DataFrame:
    """The scoreboard: each method's mean score with interval and counts, and how far it stands
    above the best baseline.

    Parameters
    ----------
    maps : DataFrame
        image_id, patient_id, method, target, score, value, chance: the `maps` of every film.
    baselines : tuple of str
        Methods that are no explanations.
    resampling : Resampling

    Returns
    -------
    DataFrame
        target, score, method, is_baseline, value, low, high, films, patients, chance;
        best_baseline, and gain, gain_low, gain_high: the mean over the same films of the method's
        score minus the best baseline's (turned round where lower is better). Above 0 is better than
        the baseline.
    """
    rows = []
    for (target, score), part in maps.groupby(["target", "score"], sort=False):
        wide = part.pivot(index="image_id", columns="method", values="value")
        patients = (
            part.drop_duplicates("image_id")
            .set_index("image_id")["patient_id"]
            .reindex(wide.index)
            .to_numpy()
        )
        chance = float(part["chance"].astype(float).mean())
        sign = -1.0 if SCORES[score][1] == "lower" else 1.0
        best = (sign * wide[[m for m in baselines if m in wide]].mean()).idxmax()
        for method in part["method"].unique():
            values = wide[method].to_numpy()
            found = mean_interval(values, patients, resampling)
            if score == "hit":
                found |= rate_interval(values, patients, resampling)
            gain = mean_interval(sign * (values - wide[best].to_numpy()), patients, resampling)
            row = {
                "target": target,
                "score": score,
                "method": method,
                "is_baseline": method in baselines,
                **found,
                "chance": chance,
            }
            rows.append(
                row
                | {
                    "best_baseline": best,
                    "gain": gain["value"],
                    "gain_low": gain["low"],
                    "gain_high": gain["high"],
                }
            )
    return pd.DataFrame(rows)


def summarise_ranks(ranks: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Mean rank of single lesions, by type, size and site, with intervals over patients.

    Parameters
    ----------
    ranks : DataFrame
        image_id, patient_id, method, type, site, area, rank.

    Returns
    -------
    DataFrame
        method, by (type, size or site), group, lesions, films, patients, value, low, high. 0.5 is
        chance.
    """
    sizes = pd.cut(
        ranks["area"].astype(float),
        [SIZES[0][0], *(high for _, high, _ in SIZES)],
        labels=[words for _, _, words in SIZES],
    )
    sites = ranks["site"].map(
        lambda site: site if site == NOWHERE else PLACES.get(site.rstrip("12345"), "other joints")
    )
    rows = []
    for by, groups in (("type", ranks["type"]), ("size", sizes.astype(str)), ("site", sites)):
        for (method, group), part in ranks.groupby(["method", groups], sort=False):
            films = part["image_id"].nunique()
            found = mean_interval(part["rank"], part["patient_id"], resampling)
            rows.append(
                {"method": method, "by": by, "group": group}
                | found
                | {"lesions": len(part), "films": films}
            )
    return pd.DataFrame(
        rows,
        columns=["method", "by", "group", "lesions", "films", "patients", "value", "low", "high"],
    )


def show_board(board: pd.DataFrame, target: str, title: str) -> pd.io.formats.style.Styler:
    """One target's part of the scoreboard as a table for people: methods above, baselines below,
    interval beside each value, counts in the caption.

    Raises
    ------
    ValueError
        If nothing was scored against that target.
    """
    part = board[board["target"] == target]
    if part.empty:
        raise ValueError(
            f"target={target!r} was not scored: expected one of"
            f" {', '.join(board['target'].unique()) or 'none: the source knows no lesions'}"
        )
    text = part.assign(
        text=part.apply(interval_text, axis=1, digits=3 if target == "network" else 2)
    ).pivot(index="method", columns="score", values="text")
    scores, methods = (
        [s for s in SCORES if s in text],
        part.sort_values("is_baseline", kind="stable")["method"].unique(),
    )
    named = {
        m: f"baseline: {m}" if part.loc[part["method"] == m, "is_baseline"].any() else m
        for m in methods
    }
    text = text.reindex(index=methods, columns=scores).rename(index=named)
    text.columns = [f"{s} ({'↑' if SCORES[s][1] == 'higher' else '↓'})" for s in scores]
    caption = (
        f"{title} · {target} · {part['films'].max()} films of {part['patients'].max()} patients ·"
        " mean (95 % patient bootstrap)"
    )
    return (
        text.rename_axis(index=None)
        .fillna("–")
        .style.set_caption(caption)
        .set_uuid(f"board_{target}")
    )  # else a new one at every run
