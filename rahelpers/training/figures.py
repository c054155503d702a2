"""Figures of step 02."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rahelpers.display.colours import SPLIT_STYLE
from rahelpers.display.figures import say_in_figure
from rahelpers.display.style import plain_style


@plain_style()
def plot_history(history: pd.DataFrame, title: str) -> Figure:
    """Plot loss and AUC of train and validation, and mark the epoch whose weights were kept.

    Parameters
    ----------
    history : DataFrame
        Columns epoch, train_loss, train_auc, validation_loss, validation_auc, kept. If there is a
        column C (only a head was fitted), rows are strengths of regularisation instead of epochs.
    title : str
    """
    figure = Figure(figsize=(8, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    step = "step" if "C" in history else "epoch"
    across = "step, from strong to weak regularisation" if "C" in history else "epoch"
    for split in ("train", "validation"):
        colour, dash = SPLIT_STYLE[split]
        for axis, name in ((left, "loss"), (right, "auc")):
            values = history[f"{split}_{name}"]
            axis.plot(history["epoch"], values, color=colour, linestyle=dash, label=split)

    best = int(history.loc[history["kept"], "epoch"].iloc[0])
    for axis, name in ((left, "loss"), (right, "AUC")):
        axis.axvline(best, color="black", linewidth=0.8)
        axis.set(xlabel=across, ylabel=name)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    # beside the line, on the side where there is room
    side = 1 if best < history["epoch"].mean() else -1
    right.annotate(
        f"kept: {step} {best}",
        (best, right.get_ylim()[0]),
        xytext=(4 * side, 4),
        textcoords="offset points",
        ha="left" if side > 0 else "right",
        fontsize=8,
    )
    left.legend(frameon=False)
    sns.despine(figure)
    figure.suptitle(title, fontsize=10)
    return figure


@plain_style()
def plot_repeats(scores: pd.DataFrame, kind: str, title: str) -> Figure:
    """Plot the AUC of train, validation and test over the share of patients or the resolution.

    The run's own network comes last.

    Parameters
    ----------
    scores : DataFrame
        From `rahelpers.training.repeats.repeat`.
    kind : {'share', 'resolution'}
    title : str
    """
    part = pd.concat([scores[scores["kind"] == kind], scores[scores["kind"] == "run"]])
    if len(part) < 2:
        key = "learning_curve" if kind == "share" else "resolutions"
        return say_in_figure(f"not asked for: set {key}", title)
    if part["test_auc"].isna().all():
        return say_in_figure("too few test films for an AUC", title)
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axis = figure.subplots()
    x = part["patients"].to_numpy() if kind == "share" else np.arange(len(part))
    for split in ("train", "validation"):
        colour, dash = SPLIT_STYLE[split]
        axis.plot(x, part[f"{split}_auc"], color=colour, linestyle=dash, marker=".", label=split)

    # test with its interval
    error = [part["test_auc"] - part["test_low"], part["test_high"] - part["test_auc"]]
    label, colour = "test, 95 % interval", SPLIT_STYLE["test"][0]
    axis.errorbar(x, part["test_auc"], error, color=colour, marker="o", capsize=3, label=label)

    if kind == "resolution":
        sides = [f"{value:.0f} px" for value in part["value"].iloc[:-1]]
        axis.set_xticks(x, [*sides, "as the run"])
    across = "training patients" if kind == "share" else "side of the input"
    axis.set(xlabel=across, ylabel="AUC")
    axis.legend(frameon=False, fontsize=8)
    counts = part.iloc[-1]
    axis.set_title(
        f"{title}; test: {counts['films_positive']} positive, {counts['films_negative']} negative"
        " films",
        fontsize=9,
    )
    sns.despine(figure)
    return figure
