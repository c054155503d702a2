"""Figures of the evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from rahelpers.display.colours import SPLIT_STYLE
from rahelpers.display.figures import say_in_figure
from rahelpers.display.style import plain_style
from rahelpers.scores.intervals import interval_text


@plain_style()
def plot_roc(predictions: pd.DataFrame, metrics: dict[str, Any]) -> Figure:
    """Plot the ROC curves of train and test, with the operating point on test.

    The legend has AUC, interval and counts.

    Parameters
    ----------
    predictions : DataFrame
        Columns split, label, probability.
    metrics : dict
        As `rahelpers.evaluation.step.evaluate` returns it.
    """
    figure = Figure(figsize=(4.8, 4.6), layout="constrained")
    axis = figure.subplots()
    for split in ("train", "test"):
        part, scores = predictions[predictions["split"] == split], metrics["splits"][split]
        fpr, tpr, _ = roc_curve(part["label"], part["probability"])
        auc, counts = scores["auc"], scores["counts"]
        shown = "too few films for an AUC" if scores["few"] else f"AUC {interval_text(auc)}"
        label = (
            f"{split}: {shown},\n{counts['films_positive']} positive, {counts['films_negative']}"
            " negative films"
        )
        colour, dash = SPLIT_STYLE[split]
        axis.plot(fpr, tpr, color=colour, linestyle=dash, label=label)
    specificity, sensitivity = (
        metrics["splits"]["test"][name]["value"] for name in ("specificity", "sensitivity")
    )
    axis.plot(1 - specificity, sensitivity, "ko", label="operating point, on test")
    axis.plot([0, 1], [0, 1], color="lightgrey", zorder=0)
    axis.set(xlabel="1 − specificity", ylabel="sensitivity", title=metrics["title"], aspect="equal")
    axis.legend(frameon=False, fontsize=7, loc="lower right")
    sns.despine(figure)
    return figure


@plain_style()
def plot_calibration(calibration: pd.DataFrame, probability: np.ndarray, title: str) -> Figure:
    """Plot predicted probability against observed share, over a histogram of the predictions.

    Parameters
    ----------
    calibration : DataFrame
        As `compute_calibration` returns it. With a column `calibrator`, each calibrator is drawn;
        that of the network comes first.
    probability : float array (n,)
        From the network's own calibration.
    title : str
    """
    figure = Figure(figsize=(4.6, 5), layout="constrained")
    top, bottom = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    top.plot([0, 1], [0, 1], color="lightgrey")

    # one line per calibrator, each point with its interval and its number of films
    several = "calibrator" in calibration
    parts = calibration.groupby("calibrator", sort=False) if several else [("", calibration)]
    for (name, part), split, marker in zip(parts, ("test", "validation"), ("o", "s"), strict=False):
        colour, dash = SPLIT_STYLE[split]
        top.vlines(part["predicted"], part["low"], part["high"], color=colour, linewidth=1.2)
        top.plot("predicted", "observed", marker + dash, data=part, label=name, color=colour)
        for row in part.itertuples():
            _note(top, f"{row.films}", (row.predicted, row.observed), (5, 4), color=colour)
    if several:
        top.legend(fontsize=8, frameon=False)

    sns.histplot(x=probability, bins=20, binrange=(0, 1), color="#7f7f7f", ax=bottom)
    top.set(ylabel="observed share of positives", ylim=(-0.03, 1.03), title=title)
    bottom.set(xlabel="predicted probability", ylabel="films", xlim=(0, 1))
    sns.despine(figure)
    return figure


@plain_style()
def plot_confusion(confusion: dict[str, int], class_names: list[str], title: str) -> Figure:
    """Plot the confusion matrix, with counts of films.

    Parameters
    ----------
    confusion : dict
        tn, fp, fn, tp.
    class_names : [negative, positive]
    title : str
    """
    figure = Figure(figsize=(3.8, 3.2), layout="constrained")
    axis = figure.subplots()
    counts = [[confusion["tn"], confusion["fp"]], [confusion["fn"], confusion["tp"]]]
    table = pd.DataFrame(counts, index=class_names, columns=class_names)
    sns.heatmap(table, annot=True, fmt="d", cmap="Greys", cbar=False, linewidths=1, ax=axis)
    axis.set(xlabel="classified as", ylabel="truth", title=title)
    return figure


@plain_style()
def plot_scores_by_split(metrics: dict[str, Any]) -> Figure:
    """Plot AUC, sensitivity and specificity of every split side by side, with intervals.

    There is no AUC if a class has few films.

    Parameters
    ----------
    metrics : dict
        As `rahelpers.evaluation.step.evaluate` returns it.
    """
    figure = Figure(figsize=(6, 2.8), layout="constrained")
    axis = figure.subplots()
    names = ("auc", "sensitivity", "specificity")
    for k, split in enumerate(split for split in SPLIT_STYLE if split in metrics["splits"]):
        scores, marker, colour = metrics["splits"][split], "os^D"[k], SPLIT_STYLE[split][0]
        axis.plot([], [], marker=marker, color=colour, label=split)
        for i, name in enumerate(names):
            score, x = scores[name], i + 0.22 * (k - 1)
            if score is None or (name == "auc" and scores["few"]):
                words = f"{split}: too few films"
                axis.annotate(words, (x, 0.02), rotation=90, fontsize=7, ha="center", va="bottom")
                continue
            axis.plot([x, x], [score["low"], score["high"]], color=colour, linewidth=2)
            axis.plot(x, score["value"], marker=marker, color=colour)
    axis.set_xticks(range(3), ["AUC", "sensitivity", "specificity"])
    axis.set(ylim=(0, 1.03), title=metrics["title"], ylabel="95 % interval")
    axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    sns.despine(figure)
    return figure


@plain_style()
def plot_net_benefit(curve: pd.DataFrame, prevalence: float, title: str) -> Figure:
    """Plot the decision curve: net benefit of the network, of treating everyone, and of no one.

    Parameters
    ----------
    curve : DataFrame
        As `compute_net_benefit` returns it.
    prevalence : float
    title : str
    """
    figure = Figure(figsize=(5.4, 3.4), layout="constrained")
    axis = figure.subplots()
    shown = curve[curve["threshold"] <= min(max(3 * prevalence, 0.5), 0.99)]
    _band(axis, shown["threshold"], shown, SPLIT_STYLE["test"][0])
    for name, words, dash, colour in (
        ("network", "act on the network (band: 95 %)", "-", SPLIT_STYLE["test"][0]),
        ("treat_all", "treat everyone", "--", "#b58900"),
        ("treat_none", "treat no one", ":", "black"),
    ):
        axis.plot(shown["threshold"], shown[name], color=colour, linestyle=dash, label=words)
    axis.set(
        xlabel="threshold: probability from which one would act",
        ylabel="net benefit, true positives per person",
        ylim=(-0.5 * prevalence, 1.1 * prevalence),
    )
    axis.set_title(f"{title}, prevalence {prevalence:g}", fontsize=10)
    axis.legend(frameon=False, fontsize=8, loc="upper right")
    sns.despine(figure)
    return figure


@plain_style()
def plot_forest(subgroups: pd.DataFrame, title: str, score: str = "sensitivity") -> Figure:
    """Plot one score of every subgroup with interval and counts.

    The mark is hollow if there are few films; words replace it if nothing is known.

    Parameters
    ----------
    subgroups : DataFrame
        As `compute_subgroups` returns it.
    title : str
    score : {'auc', 'sensitivity', 'specificity'}
    """
    rows = subgroups.iloc[::-1].reset_index(drop=True)
    figure = Figure(figsize=(6.6, 0.3 * len(rows) + 1.2), layout="constrained")
    axis = figure.subplots()
    names, colour = [], SPLIT_STYLE["test"][0]
    outside: dict[str, Any] = {"annotation_clip": False}  # words may be outside the axes
    for y, row in enumerate(rows.to_dict("records")):
        names.append(row["value"] if row["group"] == "all" else f"{row['group']}: {row['value']}")

        # the score, as far as it is known
        value, ends = row[score], [row[f"{score}_low"], row[f"{score}_high"]]
        if pd.isna(value):
            words = row["warning"] or "no film of the class"
            axis.annotate(words, (0.5, y), fontsize=7, ha="center", va="center")
        else:
            few = bool(row["warning"])
            if pd.notna(ends).all():  # a value from very few patients has no interval
                axis.plot(ends, [y, y], color=colour, linestyle=":" if few else "-")
            axis.plot(value, y, "o", color=colour, markerfacecolor="white" if few else colour)

        # the counts, in a column on the right
        counts = f"{row['films_positive']} / {row['films_negative']}"
        axis.annotate(counts, (1.04, y), fontsize=8, va="center", **outside)
    heading = "positive /\nnegative films"
    axis.annotate(heading, (1.04, len(rows) - 0.3), fontsize=7, va="bottom", **outside)
    axis.set_yticks(range(len(rows)), names)
    axis.set(
        xlim=(-0.02, 1.02),
        ylim=(-0.6, len(rows) - 0.4),
        xlabel={"auc": "AUC"}.get(score, score) + ", 95 % interval (hollow: few films)",
    )
    axis.set_title(title, fontsize=10)
    for value in rows[score].iloc[-1:].dropna():  # the last row is that of all films
        axis.axvline(value, color="lightgrey", zorder=0)
    sns.despine(figure, left=True)
    return figure


@plain_style()
def plot_abstention(curve: pd.DataFrame, title: str) -> Figure:
    """Plot the accuracy on the rest of the films, against the share that goes to a person.

    The least certain films go first, or the strangest ones.

    Parameters
    ----------
    curve : DataFrame
        As `compute_abstention_curve` returns it.
    title : str
    """
    figure = Figure(figsize=(5.4, 3.2), layout="constrained")
    axis = figure.subplots()
    styles = {
        "certainty": (*SPLIT_STYLE["test"], "o", "least certain first (band: 95 %)"),
        "distance": (*SPLIT_STYLE["validation"], "s", "strangest first"),
    }
    for by, part in curve.groupby("by", sort=False):
        colour, dash, marker, words = styles[by]
        axis.plot(
            "abstained", "accuracy", marker + dash, data=part, label=words, color=colour, ms=4
        )
        if by == "certainty":
            _band(axis, part["abstained"], part, colour)
            for row in part.itertuples():
                _note(axis, f"{row.films}", (row.abstained, row.accuracy), (0, 6), ha="center")
    axis.set(
        xlabel="share of films that go to a person", ylabel="accuracy on the rest", ylim=(0, 1.08)
    )
    axis.legend(frameon=False, fontsize=8, loc="lower left")
    axis.set_title(f"{title}; small numbers: remaining films", fontsize=9)
    sns.despine(figure)
    return figure


@plain_style()
def plot_probes(probes: pd.DataFrame, title: str) -> Figure:
    """Plot what each edit costs: AUC before minus AUC after, with its interval.

    If there are too few films for an AUC: the share of films whose decision changes.

    Parameters
    ----------
    probes : DataFrame
        As `rahelpers.evaluation.probes.compute_probes` returns it.
    title : str
    """
    if probes.empty:
        return say_in_figure("no film could be taken apart", title)
    few = bool(probes["few"].iloc[0])
    names = ("changed", "changed_low", "changed_high") if few else ("less", "low", "high")
    figure = Figure(figsize=(6, 0.32 * len(probes) + 1.1), layout="constrained")
    axis = figure.subplots()
    rows = probes.iloc[::-1]
    for y, (value, low, high) in enumerate(rows[list(names)].to_numpy()):
        axis.plot([low, high], [y, y], color=SPLIT_STYLE["test"][0])
        axis.plot(value, y, "o", color=SPLIT_STYLE["test"][0])
    axis.axvline(0, color="lightgrey", zorder=0)
    axis.set_yticks(range(len(rows)), rows["part"] + " " + rows["done"])
    axis.set_xlabel(
        f"share of films whose decision changes ({probes['few'].iloc[0]}: no AUC)"
        if few
        else "AUC before minus AUC after; 95 % interval"
    )
    axis.set_title(f"{title}, {probes['films'].iloc[0]} films", fontsize=10)
    sns.despine(figure, left=True)
    return figure


@plain_style()
def plot_strange(strange: pd.DataFrame, title: str) -> Figure:
    """Plot how well each score separates pictures that do not belong from films that do.

    Parameters
    ----------
    strange : DataFrame
        As `rahelpers.evaluation.strange_films.compute_strange` returns it.
    title : str
    """
    kinds = list(dict.fromkeys(strange["kind"]))
    figure = Figure(figsize=(6.6, 0.36 * len(kinds) + 1.4), layout="constrained")
    axis = figure.subplots()
    styles = {
        "distance": ("#00204d", "o", "distance (used)"),
        "neighbours": ("#b58900", "s", "nearest neighbours"),
        "certainty": ("#7f7f7f", "x", "lack of certainty"),
    }
    for k, (score, (colour, marker, words)) in enumerate(styles.items()):
        part = strange[strange["score"] == score].set_index("kind").loc[kinds[::-1]]
        y = np.arange(len(kinds)) + 0.22 * (1 - k)
        axis.hlines(y, part["low"], part["high"], color=colour, linewidth=1)
        axis.plot(part["auc"], y, marker, color=colour, label=words, markersize=5)
    axis.axvline(0.5, color="lightgrey", zorder=0)
    axis.set_yticks(range(len(kinds)), kinds[::-1])
    axis.set(
        xlim=(-0.02, 1.02),
        xlabel=(
            "AUC against test films, 95 % interval; below 0.5: the picture seems to belong more"
            " than a film"
        ),
    )
    axis.set_title(title, fontsize=10)
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    sns.despine(figure, left=True)
    return figure


@plain_style()
def plot_probability_by_condition(predictions: pd.DataFrame, title: str) -> Figure:
    """Plot the predicted probability of each test film, by condition of the patient.

    Parameters
    ----------
    predictions : DataFrame
        Columns split, label, condition, probability.
    title : str
    """
    test = predictions[predictions["split"] == "test"]
    by = test["condition"].where(
        test["condition"].notna() & (test["condition"] != ""), "label " + test["label"].astype(str)
    )
    figure = Figure(figsize=(6, 2.8), layout="constrained")
    axis = figure.subplots()
    sns.stripplot(
        x=test["probability"], y=by, color=SPLIT_STYLE["test"][0], alpha=0.6, size=4, ax=axis
    )
    axis.set(xlabel="predicted probability", ylabel="", xlim=(-0.02, 1.02), title=title)
    sns.despine(figure)
    return figure


def _band(axis: Any, x: pd.Series, table: pd.DataFrame, colour: str) -> None:
    """Shade the interval of a line, from the columns `low` and `high`."""
    axis.fill_between(x, table["low"], table["high"], color=colour, alpha=0.15, linewidth=0)


def _note(
    axis: Any, words: str, point: tuple[float, float], offset: tuple[int, int], **style: Any
) -> None:
    """Write small words next to a point, `offset` points away."""
    axis.annotate(words, point, offset, textcoords="offset points", fontsize=7, **style)
