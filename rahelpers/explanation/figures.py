"""Figures of explanations: maps side by side, the scoreboard, curves, and one figure fit for a
paper. Every `plot_*` returns a Figure.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from rahelpers.core.store import write_atomically
from rahelpers.display.colours import AGAINST, FOR, LINES
from rahelpers.explanation.scoreboard import SCORES, score_map
from rahelpers.films.normalisation import foreground

LINE = "#00204d"
STYLES = [
    ("#00204d", "-", "o"),
    ("#7f7f7f", "--", "s"),
    ("#b58900", "-.", "^"),
    ("#005f73", ":", "D"),
    ("black", (0, (6, 2)), "x"),
    ("#7f7f7f", "-", "v"),
    ("#b58900", "--", "P"),
    ("#00204d", ":", "*"),
]  # colour, dash, mark: never colour alone
# letters of 7 points beside each other above a film of a gallery: classes of a researcher's own
# have long names
TITLE_WIDTH = 34
BAR_LENGTHS_MM = (5, 10, 20, 50, 100)


def _overlay(
    axis: Axes,
    image: np.ndarray,
    heatmap: np.ndarray,
    lesion: np.ndarray | None,
    opacity: float = 0.5,
) -> object:
    peak = float(heatmap.max())
    share = np.clip(heatmap / peak if peak > 0 else heatmap, 0, 1)
    axis.imshow(image, cmap="gray", vmin=0, vmax=255)
    shown = axis.imshow(share, cmap="cividis", vmin=0, vmax=1, alpha=0.05 + opacity * share)
    if lesion is not None and lesion.any():
        axis.contour(lesion, levels=[0.5], colors="white", linewidths=0.6)
    return shown


def plot_heatmaps(
    image: np.ndarray,
    heatmaps: Mapping[str, np.ndarray],
    title: str,
    lesion: np.ndarray | None = None,
    columns: int = 5,
) -> Figure:
    """One film, bare and under each of several heat maps, with the outline of its lesions; a map
    without heat says so.

    Parameters
    ----------
    image : uint8 array (S, S)
    heatmaps : mapping
        Name -> float array (S, S), at least 0; each is scaled to its own peak.
    title : str
    lesion : bool array (S, S), optional
    columns : int
    """
    rows = -(-(len(heatmaps) + 1) // columns)
    figure = Figure(figsize=(1.9 * columns, 2.15 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    axes[0].imshow(image, cmap="gray", vmin=0, vmax=255)
    axes[0].set_title("film", fontsize=8)
    for axis, (name, heatmap) in zip(axes[1:], heatmaps.items(), strict=False):
        _overlay(axis, image, heatmap, lesion)
        axis.set_title(name if heatmap.any() else f"{name}: flat", fontsize=8)
    figure.suptitle(title, fontsize=9)
    return figure


def plot_bare_maps(
    heatmaps: Mapping[str, np.ndarray],
    title: str,
    lesion: np.ndarray | None = None,
    columns: int = 4,
) -> Figure:
    """Heat maps without the film below, for maps whose heat stands in single pixels; what is hotter
    than 99.5 % of a map is as bright as its peak.

    Parameters
    ----------
    heatmaps : mapping
        Name -> float array (S, S), at least 0.
    title : str
    lesion : bool array (S, S), optional
    columns : int
    """
    rows = -(-len(heatmaps) // columns)
    figure = Figure(figsize=(1.6 * columns, 1.9 * rows), layout="constrained")
    for axis in (axes := figure.subplots(rows, columns, squeeze=False).ravel()):
        axis.set_axis_off()
    for axis, (name, heatmap) in zip(axes, heatmaps.items(), strict=False):
        axis.imshow(
            heatmap, cmap="cividis", vmin=0, vmax=max(float(np.percentile(heatmap, 99.5)), 1e-12)
        )
        if lesion is not None and lesion.any():
            axis.contour(lesion, levels=[0.5], colors="white", linewidths=0.6)
        axis.set_title(name, fontsize=8)
    figure.suptitle(title, fontsize=9)
    return figure


def plot_gallery_of_maps(
    images: np.ndarray,
    heatmaps: np.ndarray,
    names: list[str],
    title: str,
    lesions: np.ndarray | None = None,
) -> Figure:
    """Several films, each under its own heat map, with the outline of its lesions and its hottest
    point as a cross.

    Parameters
    ----------
    images : uint8 array (n, S, S)
    heatmaps : float array (n, S, S), at least 0
    names : list of str, length n
    title : str
    lesions : bool array (n, S, S), optional
    """
    columns = min(4, len(images))
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(2.3 * columns, 2.7 * rows), layout="constrained")
    for i, axis in enumerate(figure.subplots(rows, columns, squeeze=False).ravel()):
        axis.set_axis_off()
        if i < len(images):
            _overlay(axis, images[i], heatmaps[i], None if lesions is None else lesions[i])
            y, x = np.unravel_index(int(np.argmax(heatmaps[i])), heatmaps[i].shape)
            if heatmaps[i].any():
                axis.plot(x, y, "x", color="white", markersize=7, markeredgewidth=1.6)
            lines = [
                textwrap.fill(line, TITLE_WIDTH, break_long_words=False, break_on_hyphens=False)
                for line in names[i].split("\n")
            ]
            axis.set_title("\n".join(lines), fontsize=7)
    figure.suptitle(title, fontsize=9)
    return figure


def plot_board(board: pd.DataFrame, target: str, scores: tuple[str, ...], title: str) -> Figure:
    """Scores of every method with intervals: methods as dots, baselines as hollow squares, chance
    as a line where it is known.

    Parameters
    ----------
    board : DataFrame
        Of `rahelpers.explanation.scoreboard.make_board`.
    target : str
    scores : tuple of str
    title : str
    """
    part = board[board["target"] == target].sort_values("is_baseline", kind="stable")
    methods = part["method"].unique()
    figure = Figure(
        figsize=(2.6 * len(scores) + 1.4, 0.27 * len(methods) + 1.3), layout="constrained"
    )
    for axis, score in zip(
        figure.subplots(1, len(scores), sharey=True, squeeze=False)[0], scores, strict=True
    ):
        rows = part[part["score"] == score].set_index("method").reindex(methods)
        for y, row in enumerate(rows.itertuples()):
            axis.plot(
                [row.low, row.high],
                [y, y],
                color=LINE if not row.is_baseline else "#7f7f7f",
                linewidth=1.4,
            )
            axis.plot(
                row.value,
                y,
                marker="s" if row.is_baseline else "o",
                color=LINE,
                markerfacecolor="white" if row.is_baseline else LINE,
                markersize=5,
            )
        if np.isfinite(rows["chance"].iloc[0]):
            axis.axvline(rows["chance"].iloc[0], color="black", linestyle=":", linewidth=0.9)
        what, better = SCORES[score]
        axis.set_title(f"{score}\n{what}", fontsize=7)
        axis.set_xlabel(f"{better} is better", fontsize=7)
        axis.tick_params(labelsize=7)
    figure.axes[0].set_yticks(range(len(methods)), methods)
    figure.axes[0].invert_yaxis()
    sns.despine(figure)
    figure.suptitle(
        f"{title} · {target} · {part['films'].max()} films of {part['patients'].max()} patients",
        fontsize=9,
    )
    return figure


def plot_cascade(cascade: pd.DataFrame, methods: list[str], title: str) -> Figure:
    """How alike a map stays while the network forgets block after block.

    Parameters
    ----------
    cascade : DataFrame
        Of `rahelpers.explanation.sanity.run_cascade`.
    methods : list of str
    title : str
    """
    figure = Figure(figsize=(8.6, 2.9), layout="constrained")
    blocks = cascade.drop_duplicates("depth").sort_values("depth")["block"].tolist()
    for axis, (column, words) in zip(
        figure.subplots(1, 2, sharex=True),
        (("rank_correlation", "rank correlation"), ("ssim", "SSIM")),
        strict=True,
    ):
        for (colour, dash, mark), method in zip(STYLES, methods, strict=False):
            means = cascade[cascade["method"] == method].groupby("depth")[column].mean()
            axis.plot(
                [0, *means.index],
                [1, *means],
                color=colour,
                linestyle=dash,
                marker=mark,
                markersize=4,
                label=method,
            )
        axis.set_xticks(range(len(blocks) + 1), ["trained", *blocks], fontsize=7, rotation=30)
        axis.set_ylabel(f"{words} with the trained map", fontsize=8)
        axis.set_xlabel("random from the logit down to this block", fontsize=8)
        axis.set_ylim(min(-0.1, axis.get_ylim()[0]), 1.05)
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(),
        loc="outside right upper",
        frameon=False,
        fontsize=7,
    )
    sns.despine(figure)
    figure.suptitle(
        f"{title} · {cascade['film'].nunique()} films; at the end {cascade['draw'].nunique()}"
        " random networks",
        fontsize=9,
    )
    return figure


def plot_explanation(
    image: np.ndarray,
    heatmap: np.ndarray,
    title: str,
    lesion: np.ndarray | None = None,
    spacing_mm: float | None = None,
    method: str = "Grad-CAM",
) -> Figure:
    """A figure for a paper: the film with a scale bar, and beside it the film under its heat map,
    with lesion outlines and a colour bar.

    Parameters
    ----------
    image : uint8 array (S, S)
    heatmap : float array (S, S), at least 0
    title : str
        Task and source: a phantom figure must say so.
    lesion : bool array (S, S), optional
    spacing_mm : float, optional
        Side of a pixel of `image`, mm; no scale bar where it is not known.
    method : str
    """
    figure = Figure(figsize=(6.8, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.imshow(image, cmap="gray", vmin=0, vmax=255)
    shown = _overlay(right, image, heatmap, lesion)
    for axis, letter in ((left, "a"), (right, "b")):
        axis.set_axis_off()
        axis.set_title(letter, loc="left", fontsize=10, fontweight="bold")
    if lesion is not None and lesion.any():
        left.contour(lesion, levels=[0.5], colors="white", linewidths=0.6)
    if spacing_mm:
        _draw_scale_bar(left, image.shape[0], spacing_mm)
    figure.colorbar(shown, ax=right, shrink=0.8, label=f"{method}, share of its peak")
    figure.suptitle(title, fontsize=9)
    return figure


def _draw_scale_bar(axis: Axes, side: int, spacing_mm: float) -> None:
    """The longest round length that takes at most a third of the picture, in the lower left."""
    fitting = [mm for mm in BAR_LENGTHS_MM if mm / spacing_mm <= side / 3]
    if not fitting:
        return
    length = fitting[-1] / spacing_mm
    x, y = 0.05 * side, 0.95 * side
    axis.plot([x, x + length], [y, y], color="white", linewidth=2.5, solid_capstyle="butt")
    axis.text(
        x + length / 2,
        y - 0.02 * side,
        f"{fitting[-1]} mm",
        color="white",
        ha="center",
        va="bottom",
        fontsize=7,
    )


def describe_map(
    image: np.ndarray, heatmap: np.ndarray, lesion: np.ndarray | None, method: str = "Grad-CAM"
) -> str:
    """What a figure of one map shows, as alt text that states the finding and not only the kind of
    picture.

    Parameters
    ----------
    image : uint8 array (S, S)
    heatmap : float array (S, S), at least 0
    lesion : bool array (S, S) or None
    method : str
    """
    if not heatmap.any():
        return f"A hand film beside its {method} map, which is flat: no place speaks for the class"
    y, x = np.unravel_index(int(np.argmax(heatmap)), heatmap.shape)
    thirds = (
        ("upper", "middle", "lower")[3 * y // heatmap.shape[0]],
        ("left", "middle", "right")[3 * x // heatmap.shape[1]],
    )
    place = "middle" if thirds == ("middle", "middle") else " ".join(dict.fromkeys(thirds))
    words = (
        f"A hand film beside its {method} map. The hottest point lies in the {place} of the film"
    )
    if lesion is None or not lesion.any():
        return f"{words}; the source knows no lesion on it"
    found = score_map(heatmap, lesion, foreground(image))
    return (
        f"{words}, {'inside' if found['hit'] else 'outside'} the outlined lesions. They hold"
        f" {found['energy']:.1%} of the hand's heat and are {found['chance']:.1%} of its area"
    )


def save_figure(figure: Figure, path: Path, alt: str) -> list[Path]:
    """Save as PNG (300 dpi) and SVG; the alt text goes into the files, and into a text file beside
    them.

    Parameters
    ----------
    figure : Figure
    path : Path
        Without suffix.
    alt : str
        Must not be empty.

    Returns
    -------
    list of Path
        PNG, SVG, TXT.
    """
    if not alt.strip():
        raise ValueError("alt is empty: expected a sentence that says what the figure shows")
    path = Path(path)
    files = [path.with_name(f"{path.name}{suffix}") for suffix in (".png", ".svg", ".txt")]
    write_atomically(files[0], lambda p: figure.savefig(p, dpi=300, metadata={"Description": alt}))
    write_atomically(
        files[1], lambda p: figure.savefig(p, metadata={"Description": alt, "Date": None})
    )
    write_atomically(files[2], lambda p: p.write_text(alt + "\n", encoding="utf-8"))
    return files


EXACT = 1e-6  # an error below this share is rounding


def plot_region_shap(names: list[str], values: np.ndarray, title: str, most: int = 12) -> Figure:
    """Bars of the regions with the largest Shapley values; the sign is written beside the bar.

    Parameters
    ----------
    names : list of str
    values : float array (p,)
        Logits.
    title : str
    most : int
    """
    order = np.argsort(-np.abs(values))[:most][::-1]
    figure = Figure(figsize=(5, 0.28 * len(order) + 1.1), layout="constrained")
    axis = figure.subplots()
    colours = [to_hex(np.divide(FOR if values[i] > 0 else AGAINST, 255)) for i in order]
    bars = axis.barh([names[i] for i in order], values[order], color=colours)
    axis.bar_label(bars, [f"{values[i]:+.2g}" for i in order], fontsize=7, padding=2)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.margins(x=0.15)
    axis.set(xlabel="Shapley value, logits (+ speaks for the positive class)")
    axis.set_title(title, fontsize=9)
    sns.despine(figure)
    return figure


def plot_estimator_errors(errors: pd.DataFrame, title: str) -> Figure:
    """Error of each estimator of Shapley values by number of evaluations, both on logarithmic
    scales.

    Parameters
    ----------
    errors : DataFrame
        As `rahelpers.explanation.shapley.compare_estimators` returns it. An error of 0 is left out: it
        has no logarithm.
    title : str
    """
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axis = figure.subplots()
    for name, (mark, dash, colour) in zip(errors["estimator"].unique(), LINES, strict=False):
        line = errors[(errors["estimator"] == name) & (errors["error"] > EXACT)]
        axis.plot(
            line["evaluations"],
            line["error"],
            marker=mark,
            linestyle=dash,
            color=colour,
            label=name,
        )
    axis.set(
        xscale="log",
        yscale="log",
        xlabel="evaluations of the network",
        ylabel="error, share of the values' size",
    )
    axis.set_xticks(
        sorted(errors["evaluations"].unique()),
        [str(n) for n in sorted(errors["evaluations"].unique())],
    )
    axis.minorticks_off()
    axis.legend(frameon=False, fontsize=8)
    axis.set_title(title, fontsize=9)
    sns.despine(figure)
    return figure
