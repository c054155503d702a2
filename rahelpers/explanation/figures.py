"""Figures of steps 04 and 05: heat maps, the scoreboard, sanity curves and Shapley values.

Every `plot_*` returns a Figure. `describe_map` writes the alt text of a figure, and `save_figure`
saves both for a paper.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from rahelpers.core.store import write_atomically
from rahelpers.display.colours import AGAINST, FOR, LINES
from rahelpers.display.figures import say_in_figure
from rahelpers.display.style import plain_style
from rahelpers.explanation.scoreboard import SCORES, score_map
from rahelpers.films.normalisation import foreground

METHOD, BASELINE = "#00204d", "#7f7f7f"
# colour, dash and marker of each method: never colour alone
STYLES: list[tuple[str, Any, str]] = [
    ("#00204d", "-", "o"),
    ("#7f7f7f", "--", "s"),
    ("#b58900", "-.", "^"),
    ("#005f73", ":", "D"),
    ("black", (0, (6, 2)), "x"),
    ("#7f7f7f", "-", "v"),
    ("#b58900", "--", "P"),
    ("#00204d", ":", "*"),
]
# characters of 7 points that fit above a film of a gallery; class names of other sources are long
TITLE_WIDTH = 34
SCALE_BAR_LENGTHS_MM = (5, 10, 20, 50, 100)
EXACT = 1e-6  # an error below this share is rounding

# --- step 04: heat maps ---


def _draw_overlay(
    axis: Axes, image: np.ndarray, heatmap: np.ndarray, lesion: np.ndarray | None
) -> AxesImage:
    """Draw a film under its heat map, with the outline of its lesions."""
    peak = float(heatmap.max())
    share = np.clip(heatmap / peak if peak > 0 else heatmap, 0, 1)
    axis.imshow(image, cmap="gray", vmin=0, vmax=255)
    shown = axis.imshow(share, cmap="cividis", vmin=0, vmax=1, alpha=0.05 + 0.5 * share)
    _outline(axis, lesion)
    return shown


def _outline(axis: Axes, lesion: np.ndarray | None) -> None:
    if lesion is not None and lesion.any():
        axis.contour(lesion, levels=[0.5], colors="white", linewidths=0.6)


@plain_style()
def plot_heatmaps(
    image: np.ndarray,
    heatmaps: Mapping[str, np.ndarray],
    title: str,
    lesion: np.ndarray | None = None,
    columns: int = 5,
) -> Figure:
    """Plot one film alone and under each of several heat maps, with its lesions outlined.

    The title of a flat map says that it is flat.

    Parameters
    ----------
    image : uint8 array (S, S)
    heatmaps : mapping
        Name -> float array (S, S), at least 0; each is scaled to its own peak.
    title : str
    lesion : bool array (S, S), optional
    columns : int

    Examples
    --------
    >>> from rahelpers.explanation.figures import plot_heatmaps
    >>> film, heat = np.full((8, 8), 90, np.uint8), np.eye(8)
    >>> figure = plot_heatmaps(film, {"diagonal": heat, "nothing": 0 * heat}, "an example")
    >>> [axis.get_title() for axis in figure.axes[:3]]
    ['film', 'diagonal', 'nothing: flat']
    """
    rows = -(-(len(heatmaps) + 1) // columns)
    figure = Figure(figsize=(1.9 * columns, 2.15 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    axes[0].imshow(image, cmap="gray", vmin=0, vmax=255)
    axes[0].set_title("film", fontsize=8)
    for axis, (name, heatmap) in zip(axes[1:], heatmaps.items(), strict=False):
        _draw_overlay(axis, image, heatmap, lesion)
        axis.set_title(name if heatmap.any() else f"{name}: flat", fontsize=8)
    figure.suptitle(title, fontsize=9)
    return figure


@plain_style()
def plot_bare_maps(
    heatmaps: Mapping[str, np.ndarray],
    title: str,
    lesion: np.ndarray | None = None,
    columns: int = 4,
) -> Figure:
    """Plot heat maps without the film underneath, for maps whose heat is in single pixels.

    Pixels hotter than 99.5 % of a map are as bright as its peak.

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
        brightest = max(float(np.percentile(heatmap, 99.5)), 1e-12)
        axis.imshow(heatmap, cmap="cividis", vmin=0, vmax=brightest)
        _outline(axis, lesion)
        axis.set_title(name, fontsize=8)
    figure.suptitle(title, fontsize=9)
    return figure


@plain_style()
def plot_gallery_of_maps(
    images: np.ndarray,
    heatmaps: np.ndarray,
    names: list[str],
    title: str,
    lesions: np.ndarray | None = None,
) -> Figure:
    """Plot several films, each under its own heat map.

    The lesions are outlined, and a cross marks the hottest point.

    Parameters
    ----------
    images : uint8 array (n, S, S)
    heatmaps : float array (n, S, S), at least 0
    names : list of str, length n
    title : str
    lesions : bool array (n, S, S), optional
    """
    if not len(images):
        return say_in_figure("no such film", title)
    columns = min(4, len(images))
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(2.3 * columns, 2.7 * rows), layout="constrained")
    for i, axis in enumerate(figure.subplots(rows, columns, squeeze=False).ravel()):
        axis.set_axis_off()
        if i >= len(images):  # an empty place in the last row
            continue
        _draw_overlay(axis, images[i], heatmaps[i], None if lesions is None else lesions[i])
        if heatmaps[i].any():
            y, x = np.unravel_index(int(np.argmax(heatmaps[i])), heatmaps[i].shape)
            axis.plot(x, y, "x", color="white", markersize=7, markeredgewidth=1.6)
        lines = [
            textwrap.fill(line, TITLE_WIDTH, break_long_words=False, break_on_hyphens=False)
            for line in names[i].split("\n")
        ]
        axis.set_title("\n".join(lines), fontsize=7)
    figure.suptitle(title, fontsize=9)
    return figure


@plain_style()
def plot_board(board: pd.DataFrame, target: str, scores: tuple[str, ...], title: str) -> Figure:
    """Plot the scores of every method with their intervals.

    Methods are dots, baselines hollow squares; a dotted line marks chance where it is known.

    Parameters
    ----------
    board : DataFrame
        As `rahelpers.explanation.scoreboard.make_board` returns it.
    target : str
    scores : tuple of str
    title : str
    """
    part = board[board["target"] == target].sort_values("is_baseline", kind="stable")
    methods = part["method"].unique()
    size = (2.6 * len(scores) + 1.4, 0.27 * len(methods) + 1.3)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, len(scores), sharey=True, squeeze=False)[0]
    for axis, score in zip(axes, scores, strict=True):
        rows = part[part["score"] == score].set_index("method").reindex(methods)
        for y, row in enumerate(rows.itertuples()):
            colour, marker, fill = (
                (BASELINE, "s", "white") if row.is_baseline else (METHOD, "o", METHOD)
            )
            axis.plot([row.low, row.high], [y, y], color=colour, linewidth=1.4)
            axis.plot(row.value, y, marker, color=METHOD, markerfacecolor=fill, markersize=5)
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


@plain_style()
def plot_cascade(cascade: pd.DataFrame, methods: list[str], title: str) -> Figure:
    """Plot how similar a map stays while the network is randomised block after block.

    Parameters
    ----------
    cascade : DataFrame
        As `rahelpers.explanation.sanity.run_cascade` returns it.
    methods : list of str
    title : str
    """
    if cascade.empty:
        return say_in_figure("no film of the positive class to test on", title)
    figure = Figure(figsize=(8.6, 2.9), layout="constrained")
    blocks = cascade.drop_duplicates("depth").sort_values("depth")["block"].tolist()
    measures = {"rank_correlation": "rank correlation", "ssim": "SSIM"}
    axes = figure.subplots(1, 2, sharex=True)
    for axis, (column, words) in zip(axes, measures.items(), strict=True):
        for (colour, dash, mark), method in zip(STYLES, methods, strict=False):
            means = cascade[cascade["method"] == method].groupby("depth")[column].mean()
            style = {"color": colour, "linestyle": dash, "marker": mark, "markersize": 4}
            axis.plot([0, *means.index], [1, *means], label=method, **style)
        axis.set_xticks(range(len(blocks) + 1), ["trained", *blocks], fontsize=7, rotation=30)
        axis.set_ylabel(f"{words} with the trained map", fontsize=8)
        axis.set_xlabel("random from the logit down to this block", fontsize=8)
        axis.set_ylim(min(-0.1, axis.get_ylim()[0]), 1.05)
    lines = figure.axes[0].get_legend_handles_labels()
    figure.legend(*lines, loc="outside right upper", frameon=False, fontsize=7)
    sns.despine(figure)
    figure.suptitle(
        f"{title} · {cascade['film'].nunique()} films; at the end {cascade['draw'].nunique()}"
        " random networks",
        fontsize=9,
    )
    return figure


@plain_style()
def plot_explanation(
    image: np.ndarray,
    heatmap: np.ndarray,
    title: str,
    lesion: np.ndarray | None = None,
    spacing_mm: float | None = None,
    method: str = "Grad-CAM",
) -> Figure:
    """Plot a figure for a paper: the film with a scale bar, and the film under its heat map.

    The lesions are outlined; a colour bar explains the heat.

    Parameters
    ----------
    image : uint8 array (S, S)
    heatmap : float array (S, S), at least 0
    title : str
        Task and source: a phantom figure must say so.
    lesion : bool array (S, S), optional
    spacing_mm : float, optional
        Side of a pixel of `image`, in mm; without it there is no scale bar.
    method : str
    """
    figure = Figure(figsize=(6.8, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.imshow(image, cmap="gray", vmin=0, vmax=255)
    _outline(left, lesion)
    shown = _draw_overlay(right, image, heatmap, lesion)
    for axis, letter in ((left, "a"), (right, "b")):
        axis.set_axis_off()
        axis.set_title(letter, loc="left", fontsize=10, fontweight="bold")
    if spacing_mm:
        _draw_scale_bar(left, image.shape[0], spacing_mm)
    figure.colorbar(shown, ax=right, shrink=0.8, label=f"{method}, share of its peak")
    figure.suptitle(title, fontsize=9)
    return figure


def _draw_scale_bar(axis: Axes, side: int, spacing_mm: float) -> None:
    """Draw the longest round length that is at most a third of the picture, at the lower left."""
    fitting = [mm for mm in SCALE_BAR_LENGTHS_MM if mm / spacing_mm <= side / 3]
    if not fitting:
        return
    length = fitting[-1] / spacing_mm
    x, y = 0.05 * side, 0.95 * side
    axis.plot([x, x + length], [y, y], color="white", linewidth=2.5, solid_capstyle="butt")
    style: dict[str, Any] = {"color": "white", "ha": "center", "va": "bottom", "fontsize": 7}
    axis.text(x + length / 2, y - 0.02 * side, f"{fitting[-1]} mm", **style)


def describe_map(
    image: np.ndarray, heatmap: np.ndarray, lesion: np.ndarray | None, method: str = "Grad-CAM"
) -> str:
    """Describe a figure of one map as alt text that states the finding, not only the picture.

    Parameters
    ----------
    image : uint8 array (S, S)
    heatmap : float array (S, S), at least 0
    lesion : bool array (S, S) or None
    method : str

    Examples
    --------
    >>> from rahelpers.explanation.figures import describe_map
    >>> heat = np.zeros((48, 48))
    >>> heat[4, 40] = 1
    >>> describe_map(np.full((48, 48), 90, np.uint8), heat, None)
    'A hand film next to its Grad-CAM map. The hottest point is in the upper right of the film; the
    source knows no lesion on it'
    """
    start = f"A hand film next to its {method} map"
    if not heatmap.any():
        return f"{start}, which is flat: no place holds evidence for the class"
    y, x = np.unravel_index(int(np.argmax(heatmap)), heatmap.shape)
    thirds = (
        ("upper", "middle", "lower")[3 * y // heatmap.shape[0]],
        ("left", "middle", "right")[3 * x // heatmap.shape[1]],
    )
    place = "middle" if thirds == ("middle", "middle") else " ".join(dict.fromkeys(thirds))
    words = f"{start}. The hottest point is in the {place} of the film"
    if lesion is None or not lesion.any():
        return f"{words}; the source knows no lesion on it"
    found = score_map(heatmap, lesion, foreground(image))
    where = "inside" if found["hit"] else "outside"
    return (
        f"{words}, {where} the outlined lesions. They hold"
        f" {found['energy']:.1%} of the hand's heat and are {found['chance']:.1%} of its area"
    )


@plain_style()
def save_figure(figure: Figure, path: Path, alt: str) -> list[Path]:
    """Save a figure as PNG (300 dpi) and SVG, with its alt text in both and in a text file.

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

    Raises
    ------
    ValueError
        If the alt text is empty.
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


# --- step 05: Shapley values ---


@plain_style()
def plot_region_shap(names: list[str], values: np.ndarray, title: str, most: int = 12) -> Figure:
    """Plot the regions with the largest Shapley values as bars, with the signs written.

    Parameters
    ----------
    names : list of str
    values : float array (p,)
        In logits.
    title : str
    most : int
        Number of bars, at most.

    Examples
    --------
    >>> from rahelpers.explanation.figures import plot_region_shap
    >>> values = np.array([0.31, -1.2, 0.02])
    >>> figure = plot_region_shap(["MCP2", "Lunate", "marker"], values, "an example", most=2)
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['+0.31', '-1.2']
    """
    order = np.argsort(-np.abs(values))[:most][::-1]
    figure = Figure(figsize=(5, 0.28 * len(order) + 1.1), layout="constrained")
    axis = figure.subplots()
    colours = ["#{:02x}{:02x}{:02x}".format(*(FOR if values[i] > 0 else AGAINST)) for i in order]
    bars = axis.barh([names[i] for i in order], values[order], color=colours)
    axis.bar_label(bars, [f"{values[i]:+.2g}" for i in order], fontsize=7, padding=2)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.margins(x=0.2)
    axis.set(xlabel="Shapley value in logits (+: for the positive class)")
    axis.set_title(title, fontsize=9)
    sns.despine(figure)
    return figure


@plain_style()
def plot_estimator_errors(errors: pd.DataFrame, title: str) -> Figure:
    """Plot the error of each estimator of Shapley values against the evaluations that it used.

    Both axes are logarithmic. An error of 0 has no logarithm and is left out.

    Parameters
    ----------
    errors : DataFrame
        As `rahelpers.explanation.shapley.compare_estimators` returns it.
    title : str
    """
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axis = figure.subplots()
    for name, (mark, dash, colour) in zip(errors["estimator"].unique(), LINES, strict=False):
        line = errors[(errors["estimator"] == name) & (errors["error"] > EXACT)]
        axis.plot(line["evaluations"], line["error"], mark + dash, color=colour, label=name)
    axis.set(xscale="log", yscale="log")
    axis.yaxis.set_major_formatter("{x:g}")
    axis.set(xlabel="evaluations of the network", ylabel="error, as a share of the values")
    budgets = sorted(errors["budget"].unique())
    axis.set_xticks(budgets, [str(n) for n in budgets])
    axis.minorticks_off()
    axis.legend(frameon=False, fontsize=8)
    axis.set_title(title, fontsize=9)
    sns.despine(figure)
    return figure
