"""Figures of the training."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from rahelpers.display.colours import SPLIT_STYLE
from rahelpers.display.figures import say_in_figure


def plot_history(history: pd.DataFrame, title: str) -> Figure:
    """Loss and AUC of train and validation, and the epoch whose weights were kept.

    Parameters
    ----------
    history : DataFrame
        Columns epoch, train_loss, train_auc, validation_loss, validation_auc; with a column C (a
        head that was fitted exactly), a row is a strength of regularisation instead of an epoch.
    title : str
    """
    figure = Figure(figsize=(8, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    step, across = (
        ("step", "step, from strong to weak regularisation")
        if "C" in history
        else ("epoch", "epoch")
    )
    for split in ("train", "validation"):
        colour, dash = SPLIT_STYLE[split]
        for axis, name in ((left, "loss"), (right, "auc")):
            axis.plot(
                history["epoch"],
                history[f"{split}_{name}"],
                color=colour,
                linestyle=dash,
                label=split,
            )
    best = int(history.loc[history["validation_auc"].idxmax(), "epoch"])
    for axis, name in ((left, "loss"), (right, "AUC")):
        axis.axvline(best, color="black", linewidth=0.8)
        axis.set(xlabel=across, ylabel=name)
    right.annotate(
        f"kept: {step} {best}",
        (best, right.get_ylim()[0]),
        xytext=(4, 4),
        textcoords="offset points",
        fontsize=8,
    )
    left.legend(frameon=False)
    sns.despine(figure)
    figure.suptitle(title, fontsize=10)
    return figure


def plot_repeats(scores: pd.DataFrame, kind: str, title: str) -> Figure:
    """AUC of train, validation and test (with its interval) over the share of patients or the
    resolution; the run's own network stands last.

    Parameters
    ----------
    scores : DataFrame
        As `rahelpers.training.repeats.repeat` returns it.
    kind : {'share', 'resolution'}
    title : str
    """
    part = pd.concat([scores[scores["kind"] == kind], scores[scores["kind"] == "run"]])
    if len(part) < 2:
        return say_in_figure(
            (
                "not asked for: set learning_curve"
                if kind == "share"
                else "not asked for: set resolutions"
            ),
            title,
        )
    if part["test_auc"].isna().all():
        return say_in_figure("too few test films for an AUC", title)
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axis = figure.subplots()
    x = part["patients"].to_numpy() if kind == "share" else np.arange(len(part))
    for split in ("train", "validation"):
        colour, dash = SPLIT_STYLE[split]
        axis.plot(x, part[f"{split}_auc"], color=colour, linestyle=dash, marker=".", label=split)
    error = [part["test_auc"] - part["test_low"], part["test_high"] - part["test_auc"]]
    axis.errorbar(
        x,
        part["test_auc"],
        error,
        color=SPLIT_STYLE["test"][0],
        marker="o",
        capsize=3,
        label="test, 95 % interval",
    )
    if kind == "resolution":
        axis.set_xticks(
            x, [*(f"{value:.0f} px" for value in part["value"].iloc[:-1]), "as the run"]
        )
    axis.set(xlabel="patients that train" if kind == "share" else "side of the input", ylabel="AUC")
    axis.legend(frameon=False, fontsize=8)
    counts = part.iloc[-1]
    axis.set_title(
        f"{title}; test: {counts['films_positive']} positive, {counts['films_negative']} negative"
        " films",
        fontsize=9,
    )
    sns.despine(figure)
    return figure
