"""Figures. Every `plot_*` returns a Figure; `show` puts it into a notebook with alt text and a caption."""

from __future__ import annotations

import base64
import html
import io
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import HTML, display
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from rahelpers.metrics import interval_text

SPLIT_STYLE = {"train": ("#7f7f7f", ":"), "validation": ("#b58900", "--"), "test": ("#00204d", "-"),
               "external": ("#005f73", "-.")}  # fmt: skip # shade and dash: never colour alone
FOR, AGAINST = (240, 150, 40), (70, 150, 235)  # RGB of what speaks for the positive class, and against it; the sign is always written too
LINES = (("o", "-", "#00204d"), ("s", "--", "#7c7b78"), ("^", ":", "#8a6d1b"))  # mark, dash and colour of each line of a figure
EXACT = 1e-6  # an error below this share is rounding


def picture_html(png: bytes, alt: str, caption: str, max_width: str = "100%") -> str:
    """An image with alt text and caption, with no outside address.

    Parameters
    ----------
    png : bytes
    alt : str
        What the picture shows, for somebody who cannot see it. Must not be empty.
    caption : str
        What to look for.
    max_width : str
        CSS width.
    """
    if not alt.strip():
        raise ValueError("alt is empty: expected a sentence that says what the picture shows")
    data = base64.b64encode(png).decode()
    return (f'<figure style="margin:0"><img style="max-width:min(100%, {max_width})" alt="{html.escape(alt, quote=True)}" '
            f'src="data:image/png;base64,{data}"><figcaption>{html.escape(caption)}</figcaption></figure>')  # fmt: skip


def figure_png(figure: Figure, dpi: int = 80) -> bytes:
    """A figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight")
    return buffer.getvalue()


def show(figure: Figure, alt: str, caption: str = "") -> None:
    """Display a figure as an image with alt text and a caption, as `picture_html` takes them."""
    display(HTML(picture_html(figure_png(figure), alt, caption)))


def _axes(n: int, columns: int, cell: float = 2.4) -> tuple[Figure, list[Any]]:
    rows = -(-n // columns)
    figure = Figure(figsize=(cell * columns, cell * 1.12 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axis in axes:
        axis.set_axis_off()
    return figure, axes


def plot_films(images: np.ndarray, titles: list[str], title: str, lesions: np.ndarray | None = None, columns: int = 4) -> Figure:
    """A sheet of films, with the outline of their lesions where given.

    Parameters
    ----------
    images : uint8 array (n, S, S)
    titles : list of str, length n
    title : str
        Of the whole sheet; names the source.
    lesions : bool array (n, S, S), optional
    columns : int
    """
    figure, axes = _axes(len(images), columns)
    for i, (image, name) in enumerate(zip(images, titles, strict=True)):
        axes[i].imshow(image, cmap="gray", vmin=0, vmax=255)
        axes[i].set_title(name, fontsize=8)
        if lesions is not None and lesions[i].any():
            axes[i].contour(lesions[i], levels=[0.5], colors="#ffd21f", linewidths=0.8)
    figure.suptitle(title, fontsize=10)
    return figure


def plot_gallery(pictures: np.ndarray, quality: pd.DataFrame, title: str, per_check: int = 2, columns: int = 4) -> Figure:
    """Films with a finding, as read: of each check those that cross its limit furthest.

    Parameters
    ----------
    pictures : uint8 array (k, T, T)
    quality : DataFrame
        Findings, whose column `picture` numbers the pictures (-1: none).
    title : str
    per_check : int
        Pictures of each check.
    columns : int
    """
    shown = quality[quality["picture"] >= 0].assign(beyond=lambda t: (t["value"] - t["limit"]).abs() / t["limit"].abs().clip(lower=1e-6))
    worst = shown.sort_values("beyond", ascending=False, kind="stable").groupby("check").head(per_check).sort_values("check", kind="stable")
    if worst.empty:
        return _say("no film has a finding", title)
    names = [f"{row.check}, {row.action}\n{row.image_id}" for row in worst.itertuples()]
    return plot_films(pictures[worst["picture"].to_numpy()], names, title, columns=columns)


def _say(words: str, title: str) -> Figure:
    """A figure that says in words that there is nothing to show."""
    figure = Figure(figsize=(4, 1), layout="constrained")
    figure.text(0.5, 0.5, words, ha="center", va="center")
    figure.suptitle(title, fontsize=10)
    return figure


def plot_pairs(images: np.ndarray, manifest: pd.DataFrame, pairs: pd.DataFrame, title: str, most: int = 4) -> Figure:
    """Pairs of films that show, or may show, one hand, side by side; the surest first.

    Parameters
    ----------
    images : uint8 array (n, S, S)
        In manifest order.
    manifest : DataFrame, n rows
    pairs : DataFrame
        As `find_same_hands` returns it.
    title : str
    most : int
        Pairs shown.
    """
    if set(manifest["source"]) == {"phantom"}:
        return _say("not looked for: every phantom patient is drawn anew", title)
    row_of = {name: row for row, name in enumerate(manifest["image_id"])}
    pairs = pairs[pairs["image_a"].isin(row_of) & pairs["image_b"].isin(row_of)]  # an exact copy is left out, and has no picture here
    if pairs.empty:
        return _say("no two patients' films look like one hand", title)
    rows, names = [], []
    for pair in pairs.head(most).itertuples():
        for name, patient in ((pair.image_a, pair.patient_a), (pair.image_b, pair.patient_b)):
            rows.append(row_of[name])
            names.append(f"{pair.verdict}: {pair.details} details alike\n{name}, patient {patient}")
    return plot_films(images[rows], names, title, columns=4)


def plot_normalised(film: np.ndarray, box: np.ndarray, network_input: np.ndarray, title: str) -> Figure:
    """A film with the outline of what is kept, and beside it the network's input.

    Parameters
    ----------
    film : float array (H, W) in [0, 1]
    box : float array (4,)
        x0, y0, x1, y1 of the square on the film, as fractions; may reach beyond it.
    network_input : uint8 array (S, S)
    title : str
    """
    figure, (left, right) = _axes(2, 2, cell=3.2)
    height, width = film.shape
    left.imshow(film, cmap="gray", vmin=0, vmax=1)
    x0, y0, x1, y1 = box * [width, height, width, height]
    left.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color="#ffd21f", linewidth=1.2, clip_on=False)
    left.set_title(f"film, {width} x {height} px", fontsize=8)
    right.imshow(network_input, cmap="gray", vmin=0, vmax=255)
    right.set_title(f"network input, {network_input.shape[1]} x {network_input.shape[0]} px", fontsize=8)
    figure.suptitle(title, fontsize=9)
    return figure


def plot_joints(image: np.ndarray, joints: pd.DataFrame, title: str) -> Figure:
    """One film with its joint boxes and their names; a site with a score has a thicker box.

    Parameters
    ----------
    image : uint8 array (S, S)
    joints : DataFrame
        Rows of the joint table of this film.
    title : str
    """
    figure, axes = _axes(1, 1, cell=5)
    size = image.shape[0]
    axes[0].imshow(image, cmap="gray", vmin=0, vmax=255, extent=(0, 1, 1, 0))
    for site in joints.itertuples():
        hit = bool((pd.notna(site.erosion) and site.erosion > 0) or (pd.notna(site.jsn) and site.jsn > 0))
        axes[0].plot([site.x0, site.x1, site.x1, site.x0, site.x0], [site.y0, site.y0, site.y1, site.y1, site.y0],
                     color="#ffd21f" if hit else "#9ecae1", linewidth=2 if hit else 0.8)  # fmt: skip
    # names stand beside the film, in the order of their boxes: the wrist's would lie on each other
    order = joints.assign(y=(joints["y0"] + joints["y1"]) / 2).sort_values("y")
    for place, site in zip(np.linspace(0.02, 0.98, len(order)), order.itertuples(), strict=True):
        axes[0].annotate(site.site, ((site.x0 + site.x1) / 2, site.y), xytext=(1.03, place), fontsize=7, va="center", annotation_clip=False,
                         arrowprops={"arrowstyle": "-", "color": "#7f7f7f", "linewidth": 0.4})  # fmt: skip
    axes[0].set_title(f"{title} · {size} px", fontsize=9)
    return figure


def plot_history(history: pd.DataFrame, title: str) -> Figure:
    """Loss and AUC of train and validation, and the epoch whose weights were kept.

    Parameters
    ----------
    history : DataFrame
        Columns epoch, train_loss, train_auc, validation_loss, validation_auc; with a column C (a head that was fitted exactly), a row is a
        strength of regularisation instead of an epoch; with a column member, several networks were trained.
    title : str
    """
    figure = Figure(figsize=(8, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    members = [part for _, part in history.groupby("member")] if "member" in history else [history]
    step, across = ("step", "step, from strong to weak regularisation") if "C" in history else ("epoch", "epoch")
    for split in ("train", "validation"):
        colour, dash = SPLIT_STYLE[split]
        for number, member in enumerate(members):
            for axis, name in ((left, "loss"), (right, "auc")):
                axis.plot(member["epoch"], member[f"{split}_{name}"], color=colour, linestyle=dash, label=None if number else split)
    for member in members:
        best = int(member.loc[member["validation_auc"].idxmax(), "epoch"])
        for axis, name in ((left, "loss"), (right, "AUC")):
            axis.axvline(best, color="black", linewidth=0.8)
            axis.set(xlabel=across, ylabel=name)
        if len(members) == 1:
            right.annotate(f"kept: {step} {best}", (best, right.get_ylim()[0]), xytext=(4, 4), textcoords="offset points", fontsize=8)
    left.legend(frameon=False)
    sns.despine(figure)
    figure.suptitle(title, fontsize=10)
    return figure


def plot_repeats(scores: pd.DataFrame, kind: str, title: str) -> Figure:
    """AUC of train, validation and test (with its interval) over the share of patients or the resolution; the run's own network stands last.

    Parameters
    ----------
    scores : DataFrame
        As `rahelpers.repeats.repeat` returns it.
    kind : {'share', 'resolution'}
    title : str
    """
    part = pd.concat([scores[scores["kind"] == kind], scores[scores["kind"] == "run"]])
    if len(part) < 2:
        return _say("not asked for: set learning_curve" if kind == "share" else "not asked for: set resolutions", title)
    if part["test_auc"].isna().all():
        return _say("too few test films for an AUC", title)
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axis = figure.subplots()
    x = part["patients"].to_numpy() if kind == "share" else np.arange(len(part))
    for split in ("train", "validation"):
        colour, dash = SPLIT_STYLE[split]
        axis.plot(x, part[f"{split}_auc"], color=colour, linestyle=dash, marker=".", label=split)
    error = [part["test_auc"] - part["test_low"], part["test_high"] - part["test_auc"]]
    axis.errorbar(x, part["test_auc"], error, color=SPLIT_STYLE["test"][0], marker="o", capsize=3, label="test, 95 % interval")
    if kind == "resolution":
        axis.set_xticks(x, [*(f"{value:.0f} px" for value in part["value"].iloc[:-1]), "as the run"])
    axis.set(xlabel="patients that train" if kind == "share" else "side of the input", ylabel="AUC")
    axis.legend(frameon=False, fontsize=8)
    counts = part.iloc[-1]
    axis.set_title(f"{title}; test: {counts['films_positive']} positive, {counts['films_negative']} negative films", fontsize=9)
    sns.despine(figure)
    return figure


def plot_roc(predictions: pd.DataFrame, metrics: dict[str, Any]) -> Figure:
    """ROC curves of train and test together, with AUC, interval and counts in the legend, and the operating point.

    Parameters
    ----------
    predictions : DataFrame
        Columns split, label, probability.
    metrics : dict
        As `rahelpers.evaluation.evaluate` returns it.
    """
    figure = Figure(figsize=(4.8, 4.6), layout="constrained")
    axis = figure.subplots()
    for split in ("train", "test"):
        part, scores = predictions[predictions["split"] == split], metrics["splits"][split]
        fpr, tpr, _ = roc_curve(part["label"], part["probability"])
        auc, counts = scores["auc"], scores["counts"]
        shown = "too few films for an AUC" if scores["few"] else f"AUC {interval_text(auc)}"
        label = f"{split}: {shown},\n{counts['films_positive']} positive, {counts['films_negative']} negative films"
        axis.plot(fpr, tpr, color=SPLIT_STYLE[split][0], linestyle=SPLIT_STYLE[split][1], label=label)
    test = metrics["splits"]["test"]
    axis.plot(1 - test["specificity"]["value"], test["sensitivity"]["value"], "ko", label="operating point, on test")
    axis.plot([0, 1], [0, 1], color="lightgrey", zorder=0)
    axis.set(xlabel="1 − specificity", ylabel="sensitivity", title=metrics["title"], aspect="equal")
    axis.legend(frameon=False, fontsize=7, loc="lower right")
    sns.despine(figure)
    return figure


def plot_calibration(calibration: pd.DataFrame, probability: np.ndarray, title: str) -> Figure:
    """Predicted probability against observed share with intervals, over a histogram of the predictions.

    Parameters
    ----------
    calibration : DataFrame
        As `compute_calibration` returns it; with a column `calibrator`, each is drawn, the network's own first.
    probability : float array (n,)
        The network's own.
    title : str
    """
    figure = Figure(figsize=(4.6, 5), layout="constrained")
    top, bottom = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    top.plot([0, 1], [0, 1], color="lightgrey")
    parts = calibration.groupby("calibrator", sort=False) if "calibrator" in calibration else [("", calibration)]
    for (name, part), split, marker in zip(parts, ("test", "validation"), ("o", "s"), strict=False):
        colour, dash = SPLIT_STYLE[split]
        top.vlines(part["predicted"], part["low"], part["high"], color=colour, linewidth=1.2)
        top.plot(part["predicted"], part["observed"], marker=marker, linestyle=dash, color=colour, label=name)
        for row in part.itertuples():
            top.annotate(f"{row.films}", (row.predicted, row.observed), xytext=(5, 4), textcoords="offset points", fontsize=7, color=colour)
    if "calibrator" in calibration:
        top.legend(fontsize=8, frameon=False)
    sns.histplot(x=probability, bins=20, binrange=(0, 1), color="#7f7f7f", ax=bottom)
    top.set(ylabel="observed share of positives", ylim=(-0.03, 1.03), title=title)
    bottom.set(xlabel="predicted probability", ylabel="films", xlim=(0, 1))
    sns.despine(figure)
    return figure


def plot_confusion(confusion: dict[str, int], class_names: list[str], title: str) -> Figure:
    """The confusion matrix, with counts of films.

    Parameters
    ----------
    confusion : dict
        tn, fp, fn, tp.
    class_names : [negative, positive]
    title : str
    """
    figure = Figure(figsize=(3.8, 3.2), layout="constrained")
    axis = figure.subplots()
    table = pd.DataFrame([[confusion["tn"], confusion["fp"]], [confusion["fn"], confusion["tp"]]], index=class_names, columns=class_names)
    sns.heatmap(table, annot=True, fmt="d", cmap="Greys", cbar=False, linewidths=1, ax=axis)
    axis.set(xlabel="called", ylabel="truth", title=title)
    return figure


def plot_scores_by_split(metrics: dict[str, Any]) -> Figure:
    """AUC, sensitivity and specificity of every split side by side, with intervals; no AUC where a class has few films.

    Parameters
    ----------
    metrics : dict
        As `rahelpers.evaluation.evaluate` returns it.
    """
    figure = Figure(figsize=(6, 2.8), layout="constrained")
    axis = figure.subplots()
    names = ("auc", "sensitivity", "specificity")
    for k, split in enumerate(split for split in SPLIT_STYLE if split in metrics["splits"]):
        axis.plot([], [], marker="os^D"[k], color=SPLIT_STYLE[split][0], label=split)
        for i, name in enumerate(names):
            score, x = metrics["splits"][split][name], i + 0.22 * (k - 1)
            if score is None or (name == "auc" and metrics["splits"][split]["few"]):
                axis.annotate(f"{split}: too few films", (x, 0.02), rotation=90, fontsize=7, ha="center", va="bottom")
                continue
            axis.plot([x, x], [score["low"], score["high"]], color=SPLIT_STYLE[split][0], linewidth=2)
            axis.plot(x, score["value"], marker="os^D"[k], color=SPLIT_STYLE[split][0])
    axis.set_xticks(range(3), ["AUC", "sensitivity", "specificity"])
    axis.set(ylim=(0, 1.03), title=metrics["title"], ylabel="95 % interval")
    axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    sns.despine(figure)
    return figure


def plot_net_benefit(curve: pd.DataFrame, prevalence: float, title: str) -> Figure:
    """Decision curve: net benefit of the network beside treating everybody and treating nobody.

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
    axis.fill_between(shown["threshold"], shown["low"], shown["high"], color=SPLIT_STYLE["test"][0], alpha=0.15, linewidth=0)
    for name, words, dash, colour in (("network", "act on the network (band: 95 %)", "-", SPLIT_STYLE["test"][0]),
                                      ("treat_all", "treat everybody", "--", "#b58900"), ("treat_none", "treat nobody", ":", "black")):  # fmt: skip
        axis.plot(shown["threshold"], shown[name], color=colour, linestyle=dash, label=words)
    axis.set(xlabel="threshold: probability from which one would act", ylabel="net benefit, true positives a person",
             ylim=(-0.5 * prevalence, 1.1 * prevalence))  # fmt: skip
    axis.set_title(f"{title}, prevalence {prevalence:g}", fontsize=10)
    axis.legend(frameon=False, fontsize=8, loc="upper right")
    sns.despine(figure)
    return figure


def plot_forest(subgroups: pd.DataFrame, title: str, score: str = "sensitivity") -> Figure:
    """One score of every subgroup with interval and counts; hollow where films are few, a cross of words where nothing is known.

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
    for y, row in enumerate(rows.to_dict("records")):
        value = pd.to_numeric(row[score], errors="coerce")
        if pd.isna(value):
            axis.annotate(row["warning"] or "no film of the class", (0.5, y), fontsize=7, ha="center", va="center")
        else:
            few = bool(row["warning"])
            axis.plot([float(row[f"{score}_low"]), float(row[f"{score}_high"])], [y, y], color=SPLIT_STYLE["test"][0], linestyle=":" if few else "-")
            axis.plot(value, y, "o", color=SPLIT_STYLE["test"][0], markerfacecolor="white" if few else SPLIT_STYLE["test"][0])
        axis.annotate(f"{row['films_positive']} / {row['films_negative']}", (1.04, y), fontsize=8, va="center", annotation_clip=False)
    axis.annotate("positive /\nnegative films", (1.04, len(rows) - 0.3), fontsize=7, va="bottom", annotation_clip=False)
    names = [r["value"] if r["group"] == "all" else f"{r['group']}: {r['value']}" for r in rows.to_dict("records")]
    axis.set_yticks(range(len(rows)), names)
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.6, len(rows) - 0.4), xlabel={"auc": "AUC"}.get(score, score) + ", 95 % interval (hollow: few films)")
    axis.set_title(title, fontsize=10)
    if not rows.empty and not pd.isna(overall := pd.to_numeric(rows[score].iloc[-1], errors="coerce")):
        axis.axvline(overall, color="lightgrey", zorder=0)
    sns.despine(figure, left=True)
    return figure


def plot_abstention(curve: pd.DataFrame, title: str) -> Figure:
    """Accuracy on the films that are left, against the share that goes to a person: the least certain first, or the strangest first.

    Parameters
    ----------
    curve : DataFrame
        As `compute_abstention_curve` returns it.
    title : str
    """
    figure = Figure(figsize=(5.4, 3.2), layout="constrained")
    axis = figure.subplots()
    styles = {"certainty": (*SPLIT_STYLE["test"], "o", "least certain first (band: 95 %)"), "distance": (*SPLIT_STYLE["validation"], "s", "strangest first")}
    for by, part in curve.groupby("by", sort=False):
        colour, dash, marker, words = styles[by]
        axis.plot(part["abstained"], part["accuracy"], color=colour, linestyle=dash, marker=marker, markersize=4, label=words)
        if by == "certainty":
            axis.fill_between(part["abstained"], part["low"], part["high"], color=colour, alpha=0.15, linewidth=0)
            for row in part.itertuples():
                axis.annotate(f"{row.films}", (row.abstained, row.accuracy), xytext=(0, 6), textcoords="offset points", fontsize=7, ha="center")
    axis.set(xlabel="share of films that go to a person", ylabel="accuracy on the rest", ylim=(0, 1.08))
    axis.legend(frameon=False, fontsize=8, loc="lower left")
    axis.set_title(f"{title}; small numbers: films left", fontsize=9)
    sns.despine(figure)
    return figure


def plot_probes(probes: pd.DataFrame, title: str) -> Figure:
    """What each edit costs: AUC before less after with its interval, or the share of changed calls where films are too few for an AUC.

    Parameters
    ----------
    probes : DataFrame
        As `rahelpers.probes.compute_probes` returns it.
    title : str
    """
    if probes.empty:
        return _say("no film could be taken apart", title)
    few = bool(probes["few"].iloc[0])
    names = ("changed", "changed_low", "changed_high") if few else ("less", "low", "high")
    figure = Figure(figsize=(6, 0.32 * len(probes) + 1.1), layout="constrained")
    axis = figure.subplots()
    for y, row in enumerate(probes.iloc[::-1].to_dict("records")):
        value, low, high = (row[n] for n in names)
        axis.plot([low, high], [y, y], color=SPLIT_STYLE["test"][0])
        axis.plot(value, y, "o", color=SPLIT_STYLE["test"][0])
    axis.axvline(0, color="lightgrey", zorder=0)
    axis.set_yticks(range(len(probes)), [f"{row.part} {row.done}" for row in probes.iloc[::-1].itertuples()])
    axis.set_xlabel(f"share of calls that change ({probes['few'].iloc[0]}: no AUC)" if few else "AUC as it is, less AUC after; 95 % interval")
    axis.set_title(f"{title}, {probes['films'].iloc[0]} films", fontsize=10)
    sns.despine(figure, left=True)
    return figure


def plot_strange(strange: pd.DataFrame, title: str) -> Figure:
    """How well each score tells pictures that do not belong from films that do.

    Parameters
    ----------
    strange : DataFrame
        As `rahelpers.evaluation.compute_strange` returns it.
    title : str
    """
    kinds = list(dict.fromkeys(strange["kind"]))
    figure = Figure(figsize=(6.6, 0.36 * len(kinds) + 1.4), layout="constrained")
    axis = figure.subplots()
    styles = {"distance": ("#00204d", "o", "distance (used)"), "neighbours": ("#b58900", "s", "nearest neighbours"),
              "certainty": ("#7f7f7f", "x", "lack of certainty")}  # fmt: skip
    for k, (score, (colour, marker, words)) in enumerate(styles.items()):
        part = strange[strange["score"] == score].set_index("kind").loc[kinds[::-1]]
        y = np.arange(len(kinds)) + 0.22 * (1 - k)
        axis.hlines(y, part["low"], part["high"], color=colour, linewidth=1)
        axis.plot(part["auc"], y, marker, color=colour, label=words, markersize=5)
    axis.axvline(0.5, color="lightgrey", zorder=0)
    axis.set_yticks(range(len(kinds)), kinds[::-1])
    axis.set(xlim=(-0.02, 1.02), xlabel="AUC against test films, 95 % interval; below 0.5: the picture seems to belong better than a film")
    axis.set_title(title, fontsize=10)
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    sns.despine(figure, left=True)
    return figure


def plot_probability_by_condition(predictions: pd.DataFrame, title: str) -> Figure:
    """Predicted probability of each test film, by what the patient has.

    Parameters
    ----------
    predictions : DataFrame
        Columns split, label, condition, probability.
    title : str
    """
    test = predictions[predictions["split"] == "test"]
    by = test["condition"].where(test["condition"].notna() & (test["condition"] != ""), "label " + test["label"].astype(str))
    figure = Figure(figsize=(6, 2.8), layout="constrained")
    axis = figure.subplots()
    sns.stripplot(x=test["probability"], y=by, color=SPLIT_STYLE["test"][0], alpha=0.6, size=4, ax=axis)
    axis.set(xlabel="predicted probability", ylabel="", xlim=(-0.02, 1.02), title=title)
    sns.despine(figure)
    return figure


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
    colours = ["#00204d" if values[i] > 0 else "#bfa95f" for i in order]
    bars = axis.barh([names[i] for i in order], values[order], color=colours)
    axis.bar_label(bars, [f"{values[i]:+.2g}" for i in order], fontsize=7, padding=2)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.margins(x=0.15)
    axis.set(xlabel="Shapley value, logits (+ speaks for the positive class)")
    axis.set_title(title, fontsize=9)
    sns.despine(figure)
    return figure


def plot_estimator_errors(errors: pd.DataFrame, title: str) -> Figure:
    """Error of each estimator of Shapley values by number of evaluations, both on logarithmic scales.

    Parameters
    ----------
    errors : DataFrame
        As `rahelpers.shap_estimators.compare_estimators` returns it. An error of 0 is left out: it has no logarithm.
    title : str
    """
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axis = figure.subplots()
    for name, (mark, dash, colour) in zip(errors["estimator"].unique(), LINES, strict=False):
        line = errors[(errors["estimator"] == name) & (errors["error"] > EXACT)]
        axis.plot(line["evaluations"], line["error"], marker=mark, linestyle=dash, color=colour, label=name)
    axis.set(xscale="log", yscale="log", xlabel="evaluations of the network", ylabel="error, share of the values' size")
    axis.set_xticks(sorted(errors["evaluations"].unique()), [str(n) for n in sorted(errors["evaluations"].unique())])
    axis.minorticks_off()
    axis.legend(frameon=False, fontsize=8)
    axis.set_title(title, fontsize=9)
    sns.despine(figure)
    return figure
