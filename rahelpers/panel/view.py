"""From state to what is seen: pure functions that return HTML. No widget, no network, no file."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

import cv2
import numpy as np

from rahelpers.display.colours import AGAINST, FOR
from rahelpers.display.html import picture_html
from rahelpers.films.gate import Refusal
from rahelpers.films.sites import find_joint
from rahelpers.panel.markup import (
    bar_cell,
    facts,
    number_cell,
    percent,
    percent_interval,
    row_head,
    section,
    table,
)
from rahelpers.panel.state import METHOD_NAMES, SIDES, HandState, Picture, StudyState
from rahelpers.scores.calibration import adjust_prevalence
from rahelpers.scores.conformal import predict_sets
from rahelpers.scores.metrics import predictive_values, say_few_validation

STRONGEST = 5  # regions that get a number on the film
MOST_BARS = 12  # regions in the table
FAINT = 0.03  # regions with less than this share of the strongest value stay clear
MOST_SITES = 6  # sites in the table of left against right
THIRDS = (
    ("upper left", "upper middle", "upper right"),
    ("middle left", "middle", "middle right"),
    ("lower left", "lower middle", "lower right"),
)


# --- small pieces ---


def grey_png(image: np.ndarray) -> bytes:
    """A grey picture, uint8 (h, w), as PNG."""
    return cv2.imencode(".png", image)[1].tobytes()


def positive_name(info: dict[str, Any]) -> str:
    """Name of the positive class."""
    return info["class_names"][1]


def as_sentence(words: str) -> str:
    """The words with a capital letter and without a full stop."""
    return (words[:1].upper() + words[1:]).rstrip(".")


def describe_place(x: float, y: float, size: float, hand: HandState) -> str:
    """Where a point of the network's square is.

    At or near a joint if joints are known, otherwise in one of nine parts of the picture.
    """
    joints = hand.picture.joints
    if len(joints):
        site, inside = find_joint(x / size, y / size, joints)
        return f"{'at' if inside else 'near'} {site}"
    row, column = min(int(3 * y / size), 2), min(int(3 * x / size), 2)
    return f"in the {THIRDS[row][column]} of the picture"


# --- the film ---


def view_alt(hand: HandState) -> str:
    """A text summary of the film and of the explanations over it."""
    picture = hand.picture
    shown = f"a {SIDES[picture.laterality]} hand" if picture.laterality else "one hand"
    words = [f"Radiograph of {shown}, {picture.width} by {picture.height} pixels"]
    if hand.heat is not None:
        words.append(summarise_heat(hand))
    if hand.shap is not None:
        order = np.argsort(-np.abs(hand.shap.values))[:3]
        listed = ", ".join(f"{hand.shap.names[i]} {hand.shap.values[i]:+.2g}" for i in order)
        words.append(f"Strongest regions, Shapley values in logits: {listed}")
    return ". ".join(words) + "."


def summarise_heat(hand: HandState) -> str:
    """The heat map in words."""
    heat = hand.heat
    if heat is None or heat.flat:
        return "The heat map is flat: no place holds evidence for the positive class"
    y, x = divmod(int(np.argmax(heat.values)), heat.values.shape[1])
    covered = float((heat.values >= 128).mean())
    return (
        f"The heat map is warmest {describe_place(x, y, len(heat.values), hand)}; values of at"
        f" least half its peak cover {percent(covered)} of the picture"
    )


def view_caption(hand: HandState, title: str) -> str:
    """What the film shows and where the map comes from, in one line."""
    words = [f"{hand.picture.name}. {title}"]
    if hand.heat is not None:
        words.append(
            f"{METHOD_NAMES[hand.heat.method]} at layer {hand.heat.layer}. It shows what raised the"
            " logit, not where there is disease"
        )
    return ". ".join(words) + "."


def view_facts(picture: Picture, info: dict[str, Any]) -> str:
    """The film as read: pixels, spacing, side, and what is unusual about it."""
    pixels = f"{picture.width} × {picture.height} pixels"
    spacing = "not known: nothing can be measured in mm"
    if mm := picture.spacing_mm:
        pixels += f" ({picture.width * mm:.0f} × {picture.height * mm:.0f} mm)"
        spacing = f"{mm:.3g} mm per pixel"
    side = SIDES[picture.laterality]
    if picture.side_from:
        side += f", according to {picture.side_from}"
    rows = [
        ("Film", pixels),
        ("Spacing", spacing),
        ("Hand", side),
        ("The network sees it at", f"{info['image_size']} × {info['image_size']} pixels"),
    ]
    notes = "".join(f"<li>{escape(as_sentence(note))}.</li>" for note in picture.hand.notes)
    noted = "<p>Quality control found nothing unusual.</p>"
    if notes:
        noted = f"<h3>Check this film</h3><ul class='ra-notes'>{notes}</ul>"
    return section("The film as read", "<h2>The film</h2>", facts(rows), noted)


def film_traits(hand: HandState | None, info: dict[str, Any]) -> dict[str, Any]:
    """What the film viewer shows of a hand: values of its traits."""
    if hand is None:
        return {
            "pixels": b"",
            "width": 0,
            "height": 0,
            "heat": b"",
            "labels": b"",
            "alt": "No film is open",
            "caption": "",
        }
    picture = hand.picture
    (a, c, e), (b, d, f) = picture.matrix.tolist()
    colours, marks = colour_regions(hand)
    return {
        "pixels": picture.shown.astype("<u2").tobytes(),
        "height": picture.shown.shape[0],
        "width": picture.shown.shape[1],
        "spacing_mm": picture.shown_spacing_mm or 0.0,
        "side": picture.image.shape[0],
        "matrix": [a, b, c, d, e, f],
        "heat": b"" if hand.heat is None else hand.heat.values.tobytes(),
        "labels": b"" if hand.regions is None else hand.regions.labels.astype(np.uint8).tobytes(),
        "region_colours": colours,
        "region_marks": marks,
        "alt": view_alt(hand),
        "caption": view_caption(hand, info["title"]),
    }


# --- the answer ---


def view_answer(
    hand: HandState, info: dict[str, Any], performance: dict[str, Any], prevalence: float
) -> str:
    """The answer for one film, to be read in ten seconds."""
    if hand.picture.refusal:
        return view_refusal(hand.picture.refusal)
    if not hand.answered:
        return section("Result", "<p class='ra-verdict'>Reading …</p>", css="ra-answer")
    if hand.unlike:
        return view_unlike(hand, info)
    verdict, why = conclude(hand.probability, info)
    return section(
        "Result",
        f"<p class='ra-verdict'>{escape(verdict)}</p>",
        view_probability(hand, info),
        f"<p>{escape(why)}</p>",
        view_values(hand, info, performance, prevalence),
        css="ra-answer",
    )


def view_answer_short(hand: HandState, info: dict[str, Any]) -> str:
    """Only the probability and the class, or why there are none."""
    if hand.picture.refusal:
        return view_refusal(hand.picture.refusal)
    warning = f"<p>{escape(as_sentence(hand.distance_words))}.</p>" if hand.unlike else ""
    return section("Result", view_probability(hand, info), warning, css="ra-answer")


def view_unlike(hand: HandState, info: dict[str, Any]) -> str:
    """Why a film unlike the training films gets no answer; the number only if asked for."""
    return section(
        "Result",
        "<p class='ra-verdict'>No answer: unlike the training films</p>",
        f"<p>{escape(as_sentence(hand.distance_words))}. What the network says about such a film"
        " has never been tested.</p>",
        "<p><b>What to do:</b> check that this is a plain PA film of a hand. If it is, the network"
        " does not know films like yours.</p>",
        "<details><summary>Show the number anyway</summary>",
        f"{view_probability(hand, info)}</details>",
        css="ra-answer ra-abstains",
    )


def view_probability(hand: HandState, info: dict[str, Any]) -> str:
    """The probability beside the operating point: as a number, as a meter, and as a class."""
    name, point = positive_name(info), info["operating_point"]["probability"]
    found, limit = percent(hand.probability), percent(point)
    side = "at or above" if hand.positive else "below"
    words = f"Probability of {name} {found}; the operating point is {limit}"
    return (
        f"<p class='ra-number'>Probability of {escape(name)}: <strong>{found}</strong></p>"
        f"<div class='ra-meter' role='img' aria-label='{escape(words)}'>"
        f"<span style='width:{100 * hand.probability:.1f}%'></span>"
        f"<i style='left:{100 * point:.1f}%'></i></div>"
        f"<p>This is {side} the operating point of {limit} (the mark), so the model classifies the"
        f" film as <b>{escape(info['class_names'][hand.positive])}</b>.</p>"
    )


def conclude(probability: float, info: dict[str, Any]) -> tuple[str, str]:
    """The conformal answer and its reason, in words."""
    conformal, (negative, positive) = info["conformal"], info["class_names"]
    promise = (
        f"Among films like those of the validation split, at most {percent(conformal['alpha'])} of"
        " each class get a wrong answer"
    )
    people = (
        f"judged by the validation films of {conformal['patients_negative']} {negative} and"
        f" {conformal['patients_positive']} {positive} patients"
    )
    fits_negative, fits_positive = predict_sets(np.array([probability]), conformal)[0].tolist()
    if fits_negative and fits_positive:
        why = f"Both {negative} and {positive} fit this film, {people}."
        return "The model does not know", why
    if not fits_negative and not fits_positive:
        why = f"Neither {negative} nor {positive} fits this film, {people}."
        return "The model does not know", why
    name, other = (positive, negative) if fits_positive else (negative, positive)
    return name, f"The class {other} does not fit this film. {promise}, {people}."


def view_values(
    hand: HandState, info: dict[str, Any], performance: dict[str, Any], prevalence: float
) -> str:
    """What the class at the operating point means at a stated prevalence."""
    name, point = positive_name(info), info["operating_point"]
    sens, spec = performance["sensitivity"], performance["specificity"]
    low, value, high = (
        predictive_values(sens[k], spec[k], prevalence)[0 if hand.positive else 1]
        for k in ("low", "value", "high")
    )
    given = escape(info["class_names"][hand.positive])
    have = "have" if hand.positive else "do not have"
    if np.isnan(value):
        means = f"at its operating point the model never classifies anyone as {given}."
    else:
        means = (
            f"of 100 people whom the model classifies as {given}, about <b>{100 * value:.0f}</b>"
            f" {have} {escape(name)} ({'PPV' if hand.positive else 'NPV'} {percent(value)},"
            f" {percent(low)} to {percent(high)})."
        )
    share = point["films_positive"] / (point["films_positive"] + point["films_negative"])
    moved = float(adjust_prevalence(np.array([hand.probability]), share, prevalence)[0])
    return (
        f"<p>Where <b>{percent(prevalence)}</b> of people have {escape(name)}: {means} This film's"
        f" probability becomes <b>{percent(moved)}</b>.</p>"
        f"<p class='ra-small'>Sensitivity {percent_interval(sens)},"
        f" {performance['films_positive']} films; specificity {percent_interval(spec)},"
        f" {performance['films_negative']} films; {performance['where']}. 95 % intervals.</p>"
    )


def view_refusal(refusal: Refusal) -> str:
    """Why there is no answer, and what to do."""
    return (
        "<section class='ra-answer ra-abstains' role='alert' aria-label='No answer'>"
        "<p class='ra-verdict'>No answer</p>"
        f"<p><b>{escape(refusal.name)}</b>: {escape(refusal.reason).rstrip('.')}.</p>"
        f"<p><b>What to do:</b> {escape(refusal.advice)}</p></section>"
    )


def view_refused(refused: Iterable[Refusal]) -> str:
    """Every file that could not be read."""
    return "".join(view_refusal(refusal) for refusal in refused)


def view_truth(state: StudyState, info: dict[str, Any]) -> str:
    """The true labels of the samples on the page, if asked for."""
    if not state.revealed:
        return ""
    rows = "".join(
        f"<li>{escape(h.picture.name)}: <b>{escape(info['class_names'][h.picture.truth])}</b></li>"
        for h in state.hands
        if h.picture.truth is not None
    )
    return section("Truth", f"<h3>Truth</h3><ul>{rows}</ul>") if rows else ""


# --- progress ---


def view_progress(state: StudyState) -> str:
    """What is running, and how far it is."""
    doing = escape(state.doing)
    if state.progress is None:
        return f"<p class='ra-status' role='status'>{doing}</p>" if doing else ""
    return (
        f"<p class='ra-status' role='status'>{doing} …"
        f" <progress max='1' value='{state.progress:.3f}' aria-label='{doing}'></progress>"
        f" {state.progress:.0%}</p>"
    )


# --- explanations ---


def sites_of(hand: HandState) -> set[str]:
    """Names of the hand's joints; empty if they are neither marked nor located."""
    return set(hand.picture.joints["site"]) if len(hand.picture.joints) else set()


def rank_regions(hand: HandState) -> list[dict[str, Any]]:
    """Regions by the size of their Shapley value, each with its share of the heat map.

    Returns
    -------
    list of dict
        rank, name, value and error (logits), strength (share of the largest value), heat (share of
        the map's heat in [0, 1], or None), index. Empty if there are no values yet.
    """
    shap, regions = hand.shap, hand.regions
    if shap is None or regions is None:
        return []
    most = max(float(np.abs(shap.values).max()), 1e-9)
    heat = None
    if hand.heat is not None and not hand.heat.flat:
        heat = hand.heat.values.astype(float)
    order = np.argsort(-np.abs(shap.values), kind="stable").tolist()
    return [
        {
            "rank": rank,
            "name": shap.names[i],
            "value": float(shap.values[i]),
            "error": float(shap.standard_error[i]),
            "strength": abs(float(shap.values[i])) / most,
            "heat": None if heat is None else float(heat[regions.labels == i].sum() / heat.sum()),
            "index": i,
        }
        for rank, i in enumerate(order, start=1)
    ]


def view_regions(hand: HandState, info: dict[str, Any]) -> str:
    """Regions ranked by their Shapley value, as a table with bars."""
    if hand.shap is None or hand.regions is None:
        return ""
    lines = []
    for r in rank_regions(hand)[:MOST_BARS]:
        side = "for" if r["value"] > 0 else "against"
        cells = (
            f"<td>{r['rank']}</td>",
            row_head(r["name"]),
            number_cell(f"{r['value']:+.2g} ± {r['error']:.1g}"),
            bar_cell(r["strength"], side, f"{side} {positive_name(info)}"),
            number_cell("–" if r["heat"] is None else percent(r["heat"])),
        )
        lines.append(cells)
    heads = ("Rank", "Region", "Shapley value ± SE, logits", "Bar", "Share of the heat map")
    return section(
        "Regions",
        "<h2>Regions that change the logit most</h2>",
        table(heads, lines, "Table of regions"),
        f"<p class='ra-small'>{escape(info['title'])}. Regions are {escape(hand.regions.origin)}."
        f" With every region hidden the logit is {hand.shap.base_value:+.3g}; the values add up to"
        f" {hand.shap.logit:+.3g} (error {hand.shap.additivity_error:.0e}). A value says what the"
        " network used, not what is diseased.</p>",
    )


def colour_regions(hand: HandState) -> tuple[list[list[float]], list[list[Any]]]:
    """Colour of each region for the viewer, and the marks of the strongest ones.

    Returns
    -------
    colours : list
        For each label red, green and blue in 0 to 255 and opacity in [0, 1]; an empty list if the
        region stays clear.
    marks : list of [words, x, y]
        Rank and sign, at the middle of the region.
    """
    rows, sites = rank_regions(hand), sites_of(hand)
    if hand.regions is None or not rows:
        return [], []
    labels = hand.regions.labels
    colours: list[list[float]] = [[] for _ in rows]
    marks: list[list[Any]] = []
    for r in rows:
        if r["strength"] < FAINT:
            continue
        is_for = r["value"] > 0
        colours[r["index"]] = [*(FOR if is_for else AGAINST), round(r["strength"], 3)]
        # where joints are known, only they get a number
        has_mark = r["name"] in sites if sites else r["name"] != "background"
        if has_mark and r["rank"] <= STRONGEST:
            y, x = np.nonzero(labels == r["index"])
            shift = 0.02 * len(labels)
            mark = f"{r['rank']}{'+' if is_for else '−'}"
            marks.append([mark, float(x.mean()) - shift, float(y.mean()) + shift])
    return colours, marks


def view_similar(hand: HandState, info: dict[str, Any]) -> str:
    """The training films nearest to this one in the network's features, with their labels."""
    similar = hand.result.similar if hand.result is not None and hand.answered else ()
    if not similar:
        return ""
    figures = ""
    for film in similar:
        name = info["class_names"][film.label]
        alt, caption = f"Training film labelled {name}", f"{name}, distance {film.distance:.2g}"
        figures += picture_html(grey_png(film.thumbnail), alt, caption, "110px")
    same = sum(film.label == 1 for film in similar)
    return section(
        "Similar training films",
        "<h2>Similar training films</h2>",
        f"<p>Of the {len(similar)} nearest, {same} have the label"
        f" {escape(positive_name(info))}.</p>",
        f"<div class='ra-row'>{figures}</div>",
        f"<p class='ra-small'>{escape(info['title'])}. Near means similar to the network, not to"
        " the eye.</p>",
    )


def view_hands(state: StudyState, info: dict[str, Any]) -> str:
    """All hands of the study side by side, and how much left and right differ."""
    if len(state.hands) < 2:
        return ""
    cards = ""
    for hand in state.hands:
        if hand.picture.refusal:
            words = "no answer"
        elif hand.unlike:
            words = "no answer: unlike the training films"
        elif hand.answered:
            words = f"{positive_name(info)} {percent(hand.probability)}"
        else:
            words = "reading …"
        side = hand.picture.laterality
        name = f"{hand.picture.name}, {SIDES[side] if side else 'side not known'}"
        alt, caption = f"{name}, as the network sees it", f"{name}: {words}"
        cards += picture_html(grey_png(hand.picture.image), alt, caption, "200px")
    mirrored = " Right hands are mirrored." if info["mirror_right"] else ""
    return section(
        "All hands",
        f"<h2>Side by side</h2><div class='ra-row'>{cards}</div>",
        f"<p class='ra-small'>As the network sees them.{mirrored}</p>",
        view_asymmetry(state, info),
    )


def pair_of(state: StudyState) -> tuple[HandState, HandState] | None:
    """The first left and the first right hand with an answer; None if one is missing."""
    read = [h for h in state.hands if h.answered]
    left = next((h for h in read if h.picture.laterality == "L"), None)
    right = next((h for h in read if h.picture.laterality == "R"), None)
    return (left, right) if left and right else None


def compare_sites(left: HandState, right: HandState) -> list[tuple[str, float, float]]:
    """Shapley values of the sites known on both hands, the largest difference first."""
    one, other = ({r["name"]: r["value"] for r in rank_regions(hand)} for hand in (left, right))
    both = sites_of(left) & sites_of(right) & set(one) & set(other)
    rows = [(name, one[name], other[name]) for name in one if name in both]
    return sorted(rows, key=lambda r: -abs(r[1] - r[2]))


def view_asymmetry(state: StudyState, info: dict[str, Any]) -> str:
    """Left against right: probabilities, and the sites whose values differ most."""
    pair = pair_of(state)
    if pair is None:
        return ""
    left, right = pair
    gap = right.logit - left.logit
    words = (
        f"<p>Left {percent(left.probability)}, right {percent(right.probability)}: the logit of the"
        f" {'right' if gap > 0 else 'left'} hand is higher by {abs(gap):.2f}. RA often affects"
        " both hands, but not always.</p>"
    )
    lines = [
        (
            row_head(name),
            number_cell(f"{a:+.2g}"),
            number_cell(f"{b:+.2g}"),
            number_cell(f"{b - a:+.2g}"),
        )
        for name, a, b in compare_sites(left, right)[:MOST_SITES]
    ]
    if not lines:
        return words
    heads = ("Site", "Left", "Right", "Right − left")
    return (
        f"{words}<h3>Sites that differ most, Shapley values in logits</h3>"
        f"{table(heads, lines, 'Table of sites')}"
    )


# --- the model ---


def view_model(info: dict[str, Any], performance: dict[str, Any]) -> str:
    """What the model is, from its bundle."""
    training, point, name = info["training"], info["operating_point"], positive_name(info)
    size = f"{info['image_size']} × {info['image_size']} pixels"
    where = performance["where"]
    rows = [
        ("Task", info["title"]),
        ("Network", f"{info['architecture']}, {training['parameters']:,} weights, {size}"),
        (
            "Trained on",
            f"{training['films']} films of {training['patients']} patients;"
            f" {training['positive_films']} films are {name}",
        ),
        (
            "Operating point",
            f"{percent(point['probability'])}, rule {point['rule']}, chosen on"
            f" {point['films_positive']} positive and {point['films_negative']} negative"
            f" {point['chosen_on']} films",
        ),
        ("Sensitivity", f"{percent_interval(performance['sensitivity'])}, {where}"),
        ("Specificity", f"{percent_interval(performance['specificity'])}, {where}"),
        ("Versions", ", ".join(f"{k} {v}" for k, v in info["versions"].items())),
    ]
    few = say_few_validation(info["validation"])
    warning = f"<p><b>Warning: {escape(few)}.</b></p>" if few else ""
    phantom = ""
    if info["source"] == "phantom":
        phantom = "<p><b>It was trained on drawn hands. It knows nothing about patients.</b></p>"
    return section(
        "The model",
        f"<h2>The model</h2>{phantom}{warning}",
        f"<p><b>Warning: {escape(few)}.</b></p>"
        if (few := say_few_validation(info["validation"]))
        else "",
        facts(rows),
        "<p>It was trained on one cohort. On another scanner, in another hospital or for another"
        " disease it may be wrong and still sound certain.</p>",
    )
