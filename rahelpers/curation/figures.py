"""Figures of the curation: notebook 01."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rahelpers.display.figures import make_axes, plot_films, say_in_figure
from rahelpers.display.style import plain_style


@plain_style()
def plot_gallery(
    pictures: np.ndarray, quality: pd.DataFrame, title: str, per_check: int = 2, columns: int = 4
) -> Figure:
    """Plot films with a finding, as read: for each check those furthest beyond its limit.

    Parameters
    ----------
    pictures : uint8 array (k, T, T)
        The cohort's gallery.
    quality : DataFrame
        The cohort's findings; the column `picture` refers to the pictures by number (-1: none).
    title : str
    per_check : int
        Number of pictures per check.
    columns : int
        Of the sheet.
    """
    shown = quality[quality["picture"] >= 0].assign(
        beyond=lambda t: (t["value"] - t["limit"]).abs() / t["limit"].abs().clip(lower=1e-6)
    )
    worst = (
        shown.sort_values("beyond", ascending=False, kind="stable")
        .groupby("check")
        .head(per_check)
        .sort_values("check", kind="stable")
    )
    if worst.empty:
        return say_in_figure("no film has a finding", title)
    names = [f"{row.check}, {row.action}\n{row.image_id}" for row in worst.itertuples()]
    return plot_films(pictures[worst["picture"].to_numpy()], names, title, columns=columns)


@plain_style()
def plot_pairs(
    images: np.ndarray, manifest: pd.DataFrame, pairs: pd.DataFrame, title: str, most: int = 4
) -> Figure:
    """Plot pairs of films that show, or may show, one hand, side by side; the surest first.

    Parameters
    ----------
    images : uint8 array (n, S, S)
        In the order of the manifest.
    manifest : DataFrame, n rows
    pairs : DataFrame
        As `find_same_hands` returns it.
    title : str
    most : int
        Number of pairs to show.
    """
    if set(manifest["source"]) == {"phantom"}:
        return say_in_figure("no search: every phantom patient is a new hand", title)
    row_of = {name: row for row, name in enumerate(manifest["image_id"])}
    # an exact copy of a file is left out of the manifest, so it has no picture here
    pairs = pairs[pairs["image_a"].isin(row_of) & pairs["image_b"].isin(row_of)]
    if pairs.empty:
        return say_in_figure("no films of two patients look like one hand", title)
    rows, names = [], []
    for pair in pairs.head(most).itertuples():
        for name, patient in ((pair.image_a, pair.patient_a), (pair.image_b, pair.patient_b)):
            rows.append(row_of[name])
            names.append(
                f"{pair.verdict}: {pair.details} shared details\n{name}, patient {patient}"
            )
    return plot_films(images[rows], names, title, columns=4)


@plain_style()
def plot_normalised(
    film: np.ndarray, box: np.ndarray, network_input: np.ndarray, title: str
) -> Figure:
    """Plot a film with the outline of the part that is kept, next to the network's input.

    Parameters
    ----------
    film : float array (H, W) in [0, 1]
    box : float array (4,)
        x0, y0, x1, y1 of the square on the film, as fractions; may extend beyond it.
    network_input : uint8 array (S, S)
    title : str
    """
    figure, (left, right) = make_axes(2, 2, cell=3.2)
    height, width = film.shape
    left.imshow(film, cmap="gray", vmin=0, vmax=1)
    x0, y0, x1, y1 = box * [width, height, width, height]
    _plot_box(left, x0, y0, x1, y1, color="#ffd21f", linewidth=1.2, clip_on=False)
    left.set_title(f"film, {width} x {height} px", fontsize=8)
    right.imshow(network_input, cmap="gray", vmin=0, vmax=255)
    size = network_input.shape[0]
    right.set_title(f"network input, {size} x {size} px", fontsize=8)
    figure.suptitle(title, fontsize=9)
    return figure


@plain_style()
def plot_joints(image: np.ndarray, joints: pd.DataFrame, title: str) -> Figure:
    """Plot one film with its joint boxes and their names; sites scored above 0 have thick boxes.

    Parameters
    ----------
    image : uint8 array (S, S)
    joints : DataFrame
        Rows of the joint table of this film.
    title : str
    """
    figure, axes = make_axes(1, 1, cell=5)
    size = image.shape[0]
    axes[0].imshow(image, cmap="gray", vmin=0, vmax=255, extent=(0, 1, 1, 0))
    for site in joints.itertuples():
        hit = site.erosion > 0 or site.jsn > 0
        style = (
            {"color": "#ffd21f", "linewidth": 2} if hit else {"color": "#9ecae1", "linewidth": 0.8}
        )
        _plot_box(axes[0], site.x0, site.y0, site.x1, site.y1, **style)

    # names next to the film, in the order of their boxes: on it, those of the wrist would overlap
    order = joints.assign(y=(joints["y0"] + joints["y1"]) / 2).sort_values("y")
    for place, site in zip(np.linspace(0.02, 0.98, len(order)), order.itertuples(), strict=True):
        axes[0].annotate(
            site.site,
            ((site.x0 + site.x1) / 2, site.y),
            xytext=(1.03, place),
            fontsize=7,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": "#7f7f7f", "linewidth": 0.4},
        )
    axes[0].set_title(f"{title} · {size} px", fontsize=9)
    return figure


def _plot_box(axis: Any, x0: float, y0: float, x1: float, y1: float, **style: Any) -> None:
    axis.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], **style)
