"""The scoreboard: how well heat maps find the lesions, next to baselines that know no network.

First come the scores of one map, then those of a film, then the tables over all films.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape

import cv2
import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score

from rahelpers.films.normalisation import foreground
from rahelpers.films.sites import NOWHERE, PLACES, name_site
from rahelpers.scores.intervals import interval_text, mean_interval, share_interval

TIE = 1e-6  # as a share of the peak: what rounding may do to equally hot points
IOU_THRESHOLD = 0.5  # share of the peak of a map: hotter pixels count as marked
RANK_COLUMNS = ["type", "site", "area", "rank"]
STEPS = 10  # in which deletion and insertion change a film
SIZES = (
    (0.0, 0.002, "small, below 0.2 % of the hand"),
    (0.002, 0.01, "medium, 0.2 to 1 %"),
    (0.01, 1.01, "large, over 1 %"),
)
# score -> what it is, which direction is better
# what a score of a map, and a rank, can be
BOUNDS = (0.0, 1.0)
SCORES = {
    "hit": ("hottest point inside, mean over films", "higher"),
    "energy": ("share of the heat inside", "higher"),
    "iou": (f"IoU of what is hotter than {IOU_THRESHOLD:.0%} of the peak", "higher"),
    "ap": ("average precision of the pixels of the hand", "higher"),
    "deletion": ("mean probability, hottest pixels hidden first", "lower"),
    "insertion": ("mean probability, hottest pixels shown first", "higher"),
}


def _as_map(heatmap: np.ndarray, lesion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Check a heat map and a lesion mask, and make the mask bool (255 is inside, like 1).

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
            " least 0; set negative values (evidence against the class) to 0"
        )
    return heatmap, lesion


def pointing_hit(heatmap: np.ndarray, lesion: np.ndarray) -> float:
    """Say whether the hottest point is in a lesion: 1 or 0; 0 for a map without heat.

    Where many points are equally hot, such as the square of an occlusion map, it is the share of
    them that is in a lesion: what a hottest point picked at random would get.

    References
    ----------
    Zhang et al., Top-down neural attention by excitation backprop, ECCV 2016 (arXiv 1608.00507):
    the pointing game.
    """
    heatmap, lesion = _as_map(heatmap, lesion)
    if not heatmap.any():
        return 0.0
    peak = heatmap.max()
    return float(lesion[heatmap >= peak - TIE * peak].mean())


def energy_inside(heatmap: np.ndarray, lesion: np.ndarray) -> float:
    """Compute the share of the heat that is in a lesion; NaN for a flat map.

    References
    ----------
    Wang et al., Score-CAM, CVPR workshops 2020 (arXiv 1910.01279): the energy-based pointing game.
    """
    heatmap, lesion = _as_map(heatmap, lesion)
    total = float(heatmap.sum())
    return float(heatmap[lesion].sum()) / total if total > 0 else float("nan")


def overlap(heatmap: np.ndarray, lesion: np.ndarray, threshold: float = IOU_THRESHOLD) -> float:
    """Compute the intersection over union of a lesion and the hottest pixels; 0 for a flat map.

    Pixels count where their heat is at least `threshold` times the peak.

    Raises
    ------
    ValueError
        If the sizes differ, or the heat is negative or not finite (as for every score of a map).
    """
    heatmap, lesion = _as_map(heatmap, lesion)
    peak = float(heatmap.max())
    hot = heatmap >= threshold * peak if peak > 0 else np.zeros(heatmap.shape, bool)
    either = int((hot | lesion).sum())
    return float((hot & lesion).sum() / either) if either else 0.0


def score_map(heatmap: np.ndarray, target: np.ndarray, hand: np.ndarray) -> dict[str, float]:
    """Compute the scores of one heat map against one target.

    Parameters
    ----------
    heatmap : float array (S, S), at least 0
    target : bool array (S, S)
        Not empty.
    hand : bool array (S, S)
        Where heat counts. Only `hit` looks at the entire film: a hottest point next to the hand is
        a miss.

    Returns
    -------
    dict
        hit, energy, iou and ap; and what a map that knows nothing gets: chance, the target's share
        of the hand, for energy and ap; chance_of_hit, its share of the film, for hit.

    Examples
    --------
    >>> from rahelpers.explanation import score_map
    >>> heat = np.array([[1.0, 0.6], [0.4, 0.0]])
    >>> target = np.array([[True, False], [True, False]])
    >>> scores = score_map(heat, target, hand=np.array([[True, True], [True, False]]))
    >>> {name: round(value, 2) for name, value in scores.items()}
    {'hit': 1.0, 'energy': 0.7, 'iou': 0.33, 'ap': 0.83, 'chance': 0.67, 'chance_of_hit': 0.5}
    """
    heatmap, target = _as_map(heatmap, target)
    hand = np.asarray(hand).astype(bool) | target
    inside = np.where(hand, heatmap, 0)
    return {
        "hit": pointing_hit(heatmap, target),
        "energy": energy_inside(inside, target),
        "iou": overlap(inside, target),
        "ap": float(average_precision_score(target[hand], heatmap[hand])),
        "chance": float(target.sum() / hand.sum()),
        "chance_of_hit": float(target.mean()),
    }


def rank_lesions(
    heatmap: np.ndarray, masks: Mapping[str, np.ndarray], hand: np.ndarray, joints: pd.DataFrame
) -> pd.DataFrame:
    """Rank the heat of each single lesion among the pixels of the hand, whatever its size.

    Parameters
    ----------
    heatmap : float array (S, S)
    masks : mapping
        Type of lesion -> bool array (S, S).
    hand : bool array (S, S)
    joints : DataFrame
        Joint table of the film, as `name_site` takes it.

    Returns
    -------
    DataFrame
        One row per connected lesion: type, site, area (share of the hand) and rank, the mean share
        of the pixels of the hand that are colder. 0.5 is chance, 1 the hottest of all; a flat map
        gives 0.5.
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
    hidden: np.ndarray,
    heatmap: np.ndarray,
    seed: int,
    steps: int = STEPS,
) -> pd.DataFrame:
    """Compute deletion and insertion curves: a film is hidden, or shown, hottest pixels first.

    Parameters
    ----------
    predict : callable
        uint8 (n, S, S) -> logits, float (n,).
    image : uint8 array (S, S)
    hidden : uint8 array (S, S)
        What a hidden pixel shows, as `make_baseline` returns it.
    heatmap : float array (S, S)
        Equally hot pixels are taken in random order.
    seed : int
        Of the random order.
    steps : int

    Returns
    -------
    DataFrame
        changed (share of the pixels, from 0 to 1), deletion and insertion (sigmoid of the logit).
        The area under each curve, by trapezoids, is its score.

    References
    ----------
    Petsiuk et al., RISE, BMVC 2018 (arXiv 1806.07421), sec. 4.2. There, deletion covers pixels with
    grey, and insertion starts from the blurred film; here, both use the same baseline.
    """
    # the place of each pixel in the order of heat, as a share
    order = np.lexsort((np.random.default_rng(seed).random(heatmap.size), -heatmap.ravel()))
    place = np.empty(heatmap.size)
    place[order] = np.arange(heatmap.size) / heatmap.size

    # the films of both curves in one call
    changed = np.linspace(0, 1, steps + 1)
    first = place.reshape(heatmap.shape)[None] < changed[:, None, None]
    films = np.concatenate([np.where(first, hidden, image), np.where(first, image, hidden)])
    logits = predict(films.astype(np.uint8))
    deletion, insertion = np.split(1 / (1 + np.exp(-np.clip(logits, -60, 60))), 2)
    return pd.DataFrame({"changed": changed, "deletion": deletion, "insertion": insertion})


def score_film(
    image: np.ndarray,
    hidden: np.ndarray,
    heatmaps: Mapping[str, np.ndarray],
    targets: Mapping[str, np.ndarray],
    types: Mapping[str, np.ndarray],
    joints: pd.DataFrame,
    predict: Callable[[np.ndarray], np.ndarray],
    seed: int,
) -> dict[str, pd.DataFrame]:
    """Compute every score of every heat map of one film.

    Parameters
    ----------
    image : uint8 array (S, S)
    hidden : uint8 array (S, S)
        Its baseline, as `make_baseline` returns it.
    heatmaps : mapping
        Method -> float array (S, S), at least 0.
    targets : mapping
        Name -> bool array (S, S), such as lesions and signs; an empty one is left out.
    types : mapping
        Type of lesion -> bool array (S, S).
    joints : DataFrame
        Joint table of the film, as `name_site` takes it.
    predict, seed
        As in `compute_deletion`.

    Returns
    -------
    dict of DataFrame
        `maps`: method, target, score, value, chance. As well as the given targets there are
        `network` (deletion and insertion) and `hand` (is the heat on the hand at all?), which need
        no masks. `ranks`: method and the columns of `rank_lesions`. `curves`: method and the
        columns of `compute_deletion`.
    """
    hand = foreground(image)
    found: dict[str, list[pd.DataFrame]] = {"maps": [], "ranks": [], "curves": []}
    for method, heatmap in heatmaps.items():
        # what needs no masks: the network's own answers, and whether the heat is on the hand
        curves = compute_deletion(predict, image, hidden, heatmap, seed)
        scored = [
            ("network", name, float(np.trapezoid(curves[name], curves["changed"])), np.nan)
            for name in ("deletion", "insertion")
        ]
        scored += [
            ("hand", "hit", pointing_hit(heatmap, hand), float(hand.mean())),
            ("hand", "energy", energy_inside(heatmap, hand), float(hand.mean())),
        ]

        # what needs a mask; the chance of the IoU is not known, it depends on how much is marked
        for target, mask in targets.items():
            if mask.any():
                scores = score_map(heatmap, mask, hand)
                share, of_hit = scores.pop("chance"), scores.pop("chance_of_hit")
                chance = {"hit": of_hit, "energy": share, "iou": np.nan, "ap": share}
                scored += [(target, name, scores[name], chance[name]) for name in scores]

        # one table of each kind per method
        table = pd.DataFrame(scored, columns=["target", "score", "value", "chance"])
        found["maps"].append(table.assign(method=method))
        found["curves"].append(curves.assign(method=method))
        if types:
            found["ranks"].append(rank_lesions(heatmap, types, hand, joints).assign(method=method))
    empty = pd.DataFrame(columns=[*RANK_COLUMNS, "method"])
    return {
        name: pd.concat(tables, ignore_index=True) if tables else empty
        for name, tables in found.items()
    }


def make_board(maps: pd.DataFrame, baselines: tuple[str, ...]) -> pd.DataFrame:
    """Make the scoreboard: mean scores with intervals and counts, and the gain over baselines.

    Parameters
    ----------
    maps : DataFrame
        image_id, patient_id, method, target, score, value, chance: the `maps` of every film.
    baselines : tuple of str
        Methods that are not explanations.

    Returns
    -------
    DataFrame
        target, score, method, is_baseline, value, low, high, films, patients, chance;
        best_baseline, and gain, gain_low, gain_high: the mean over the same films of the score of
        the method minus that of the best baseline (the other way round where lower is better).
        Above 0 is better than the baseline.
    """
    rows = []
    for (target, score), part in maps.groupby(["target", "score"], sort=False):
        # films as rows, methods as columns
        wide = part.pivot(index="image_id", columns="method", values="value")
        patient_of = part.drop_duplicates("image_id").set_index("image_id")["patient_id"]
        patients = patient_of.reindex(wide.index).to_numpy()
        chance = float(part["chance"].astype(float).mean())

        # every method against the best baseline
        sign = -1.0 if SCORES[score][1] == "lower" else 1.0
        best = (sign * wide[[m for m in baselines if m in wide]].mean()).idxmax()
        for method in part["method"].unique():
            values = wide[method].to_numpy()
            found = mean_interval(values, patients, *BOUNDS)
            if score == "hit":
                found |= share_interval(values, patients)
            gain = mean_interval(sign * (values - wide[best].to_numpy()), patients)
            row = {
                "target": target,
                "score": score,
                "method": method,
                "is_baseline": method in baselines,
                **found,
                "chance": chance,
                "best_baseline": best,
                "gain": gain["value"],
                "gain_low": gain["low"],
                "gain_high": gain["high"],
            }
            rows.append(row)
    return pd.DataFrame(rows)


def summarise_ranks(ranks: pd.DataFrame) -> pd.DataFrame:
    """Summarise the ranks of single lesions by type, size and site, with intervals over patients.

    Parameters
    ----------
    ranks : DataFrame
        image_id, patient_id, method, type, site, area, rank.

    Returns
    -------
    DataFrame
        method, by (type, size or site), group, lesions, films, patients, and the mean rank as
        value, low, high. 0.5 is chance.
    """
    # the groups of size and site
    sizes = pd.cut(
        ranks["area"].astype(float),
        [SIZES[0][0], *(high for _, high, _ in SIZES)],
        labels=[words for _, _, words in SIZES],
    )
    sites = ranks["site"].map(
        lambda site: site if site == NOWHERE else PLACES.get(site.rstrip("12345"), "other joints")
    )

    # one row per method and group
    rows = []
    for by, groups in (("type", ranks["type"]), ("size", sizes.astype(str)), ("site", sites)):
        for (method, group), part in ranks.groupby(["method", groups], sort=False):
            found = mean_interval(part["rank"], part["patient_id"], *BOUNDS)
            counts = {"lesions": len(part), "films": part["image_id"].nunique()}
            rows.append({"method": method, "by": by, "group": group} | found | counts)
    columns = ["method", "by", "group", "lesions", "films", "patients", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def show_board(board: pd.DataFrame, target: str, title: str) -> pd.io.formats.style.Styler:
    """Show the part of the scoreboard that is about one target as a table for people.

    Methods are above, baselines below; each value has its interval, and the caption the counts.

    Parameters
    ----------
    board : DataFrame
        As `make_board` returns it.
    target : str
        network, hand, lesions or signs, as far as the board has them.
    title : str
        Task and source.

    Returns
    -------
    pandas.io.formats.style.Styler

    Raises
    ------
    ValueError
        If nothing was scored against that target.

    Examples
    --------
    >>> from rahelpers.explanation import show_board
    >>> from rahelpers.explanation.scoreboard import make_board
    >>> films = [(f"film {k}", f"patient {k}") for k in range(6)]
    >>> rows = [
    ...     (*film, method, "lesions", "energy", value, 0.03)
    ...     for film in films for method, value in (("gradcam", 0.25), ("centre", 0.125))
    ... ]
    >>> names = ["image_id", "patient_id", "method", "target", "score", "value", "chance"]
    >>> board = make_board(pd.DataFrame(rows, columns=names), ("centre",))
    >>> show_board(board, "lesions", "an example").data
                      energy (↑)
    gradcam           0.25 (0.25 to 0.25)
    baseline: centre  0.12 (0.12 to 0.12)
    """
    part = board[board["target"] == target]
    if part.empty:
        raise ValueError(
            f"target={target!r} was not scored: expected one of"
            f" {', '.join(board['target'].unique()) or 'none: the source knows no lesions'}"
        )

    # a row per method, a column per score, each value as text with its interval
    digits = 3 if target == "network" else 2
    text = part.assign(text=part.apply(interval_text, axis=1, digits=digits))
    text = text.pivot(index="method", columns="score", values="text")
    scores = [score for score in SCORES if score in text]
    methods = part.sort_values("is_baseline", kind="stable").drop_duplicates("method")
    text = text.reindex(index=methods["method"], columns=scores)

    # names that say which methods are baselines, and which direction is better
    text.index = [
        f"baseline: {row.method}" if row.is_baseline else row.method for row in methods.itertuples()
    ]
    text.columns = [f"{s} ({'↑' if SCORES[s][1] == 'higher' else '↓'})" for s in scores]

    # a fixed uuid: pandas would draw a new one at every run
    caption = (
        f"{escape(title)} · {target} · {part['films'].max()} films of {part['patients'].max()}"
        " patients · mean over patients (95 %)"
    )
    return text.fillna("–").style.set_caption(caption).set_uuid(f"board_{target}")
