"""State to what is seen: pure functions that give HTML. No widget, no network, no file."""

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
from rahelpers.panel.state import METHOD_NAMES, SIDES, HandState, Picture, StudyState
from rahelpers.scores.calibration import adjust_prevalence
from rahelpers.scores.conformal import predict_sets
from rahelpers.scores.metrics import predictive_values

STRONGEST = 5  # regions that get a number on the film
MOST_BARS = 12
THIRDS = (
    ("upper left", "upper middle", "upper right"),
    ("middle left", "middle", "middle right"),
    ("lower left", "lower middle", "lower right"),
)


# --- small pieces ---


def percent(value: float) -> str:
    """0.8125 -> '81 %', with a decimal near the ends, where it matters."""
    return (
        f"{value:.1%}".replace("%", " %")
        if value < 0.1 or value > 0.9
        else f"{value:.0%}".replace("%", " %")
    )


def grey_png(image: np.ndarray) -> bytes:
    """A grey picture, uint8 (h, w), as PNG."""
    return cv2.imencode(".png", image)[1].tobytes()


def positive_name(info: dict[str, Any]) -> str:
    """Name of the positive class."""
    return info["class_names"][1]


def describe_place(x: float, y: float, size: float, hand: HandState) -> str:
    """Where a point of the network's square lies: at which joint where joints are known, else in
    which ninth of the picture.
    """
    joints = hand.picture.joints
    if len(joints):
        site, inside = find_joint(x / size, y / size, joints)
        return f"{'at' if inside else 'near'} {site}"
    row, column = min(int(3 * y / size), 2), min(int(3 * x / size), 2)
    return f"in the {THIRDS[row][column]} of the picture"


# --- the film ---


def view_alt(hand: HandState) -> str:
    """A text summary of the film and of what lies over it."""
    picture = hand.picture
    side = {"L": "left", "R": "right", "": ""}[picture.laterality]
    words = [
        f"Radiograph of {f'a {side} hand' if side else 'one hand'}, {picture.width} by"
        f" {picture.height} pixels"
    ]
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
        return "The heat map is flat: no place speaks for the positive class"
    y, x = np.unravel_index(int(np.argmax(heat.values)), heat.values.shape)
    covered = float((heat.values >= 128).mean())
    return (
        f"The heat map is warmest {describe_place(x, y, len(heat.values), hand)}; half of its peak"
        f" or more covers {percent(covered)} of the picture"
    )


def view_caption(hand: HandState, title: str) -> str:
    """What the film shows and where the map comes from, in one line."""
    words = [f"{hand.picture.name}. {title}"]
    if hand.heat is not None:
        words.append(
            f"{METHOD_NAMES[hand.heat.method]} at layer {hand.heat.layer}. Where the network looks,"
            " not where disease is"
        )
    return ". ".join(words) + "."


def view_facts(picture: Picture, info: dict[str, Any]) -> str:
    """The film as read: pixels, spacing, side, and what is odd about it."""
    spacing = (
        f"{picture.spacing_mm:.3g} mm a pixel"
        if picture.spacing_mm
        else "not known: nothing can be measured in mm"
    )
    field = (
        f" ({picture.width * picture.spacing_mm:.0f} ×"
        f" {picture.height * picture.spacing_mm:.0f} mm)"
        if picture.spacing_mm
        else ""
    )
    side = SIDES[picture.laterality] + (f", says {picture.side_from}" if picture.side_from else "")
    rows = [
        ("Film", f"{picture.width} × {picture.height} pixels{field}"),
        ("Spacing", spacing),
        ("Hand", side),
        ("The network reads it at", f"{info['image_size']} × {info['image_size']} pixels"),
    ]
    listed = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in rows)
    notes = "".join(
        f"<li>{escape(note[:1].upper() + note[1:])}.</li>" for note in picture.hand.notes
    )
    noted = (
        f"<h3>Look at this film</h3><ul class='ra-notes'>{notes}</ul>"
        if notes
        else "<p>Quality control found nothing odd.</p>"
    )
    return (
        "<section aria-label='The film as read'><h2>The film</h2><dl"
        f" class='ra-facts'>{listed}</dl>{noted}</section>"
    )


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
    picture, size = hand.picture, hand.picture.image.shape[0]
    (a, c, e), (b, d, f) = picture.matrix.tolist()
    colours, marks = colour_regions(hand) if hand.shap is not None else ([], [])
    return {
        "pixels": picture.shown.astype("<u2").tobytes(),
        "height": picture.shown.shape[0],
        "width": picture.shown.shape[1],
        "spacing_mm": picture.shown_spacing_mm or 0.0,
        "side": size,
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
    """The answer of one film, to be read in ten seconds."""
    if hand.picture.refusal:
        return view_refusal(hand.picture.refusal)
    if not hand.answered:
        return (
            "<section class='ra-answer' aria-label='Result'><p class='ra-verdict'>Reading"
            " …</p></section>"
        )
    if hand.unlike:
        numbers = (
            "<details><summary>Show the number all the"
            f" same</summary>{_probability(hand, info)}</details>"
        )
        words = escape(
            hand.result.distribution.words[:1].upper() + hand.result.distribution.words[1:]
        ).rstrip(".")
        return (
            "<section class='ra-answer ra-abstains' aria-label='Result'><p class='ra-verdict'>No"
            f" answer: unlike the training films</p><p>{words}. What the network says of such a"
            " film has never been tested.</p><p><b>What to do:</b> check that this is a plain PA"
            " film of a hand. If it is, the network does not know films like"
            f" yours.</p>{numbers}</section>"
        )
    verdict, why = conclude(hand, info)
    return (
        "<section class='ra-answer' aria-label='Result'><p"
        f" class='ra-verdict'>{escape(verdict)}</p>{_probability(hand, info)}"
        f"<p>{escape(why)}</p>{view_values(hand, info, performance, prevalence)}</section>"
    )


def view_answer_short(hand: HandState, info: dict[str, Any]) -> str:
    """Probability and call alone; why there is none where there is none."""
    if hand.picture.refusal:
        return view_refusal(hand.picture.refusal)
    warning = (
        f"<p>Unlike the training films: {escape(hand.result.distribution.words)}.</p>"
        if hand.unlike
        else ""
    )
    return (
        "<section class='ra-answer'"
        f" aria-label='Result'>{_probability(hand, info)}{warning}</section>"
    )


def _probability(hand: HandState, info: dict[str, Any]) -> str:
    answer, point, name = (
        hand.result,
        info["operating_point"]["probability"],
        escape(positive_name(info)),
    )
    side, called = (
        ("at or above", info["class_names"][1])
        if answer.positive
        else ("below", info["class_names"][0])
    )
    words = (
        f"Probability of {positive_name(info)} {percent(answer.probability)}; the operating point"
        f" is {percent(point)}"
    )
    return (
        f"<p class='ra-number'>Probability of {name}:"
        f" <strong>{percent(answer.probability)}</strong></p><div class='ra-meter' role='img'"
        f" aria-label='{escape(words, quote=True)}'><span"
        f" style='width:{100 * answer.probability:.1f}%'></span><i"
        f" style='left:{100 * point:.1f}%'></i></div><p>This is {side} the operating point of"
        f" {percent(point)} (the mark), where the model calls a film <b>{escape(called)}</b>.</p>"
    )


def conclude(hand: HandState, info: dict[str, Any]) -> tuple[str, str]:
    """The conformal answer and its reason, in words."""
    conformal, (negative, positive) = info["conformal"], info["class_names"]
    promise = (
        f"Among films like those of the validation, at most {percent(conformal['alpha'])} of each"
        " class are answered wrongly"
    )
    people = (
        f"judged by validation films of {conformal['patients_negative']} {negative} and"
        f" {conformal['patients_positive']} {positive} patients"
    )
    match predict_sets(np.array([hand.result.probability]), conformal)[0].tolist():
        case [True, True]:
            return (
                "The model does not know",
                f"The film fits {negative} as well as {positive}, {people}.",
            )
        case [False, False]:
            return (
                "The model does not know",
                (
                    f"The film fits neither {negative} nor {positive}: it is strange to the model,"
                    f" {people}."
                ),
            )
        case [False, True]:
            return positive, f"The film does not fit {negative}. {promise}, {people}."
        case _:
            return negative, f"The film does not fit {positive}. {promise}, {people}."


def view_values(
    hand: HandState, info: dict[str, Any], performance: dict[str, Any], prevalence: float
) -> str:
    """What a call means where so many people have the disease."""
    name, (sens, spec) = (
        positive_name(info),
        (
            performance["sensitivity"],
            performance["specificity"],
        ),
    )
    low, value, high = (
        predictive_values(sens[k], spec[k], prevalence) for k in ("low", "value", "high")
    )
    which = 0 if hand.result.positive else 1
    called = f"calls {name}" if hand.result.positive else f"does not call {name}"
    right = f"have {name}" if hand.result.positive else f"do not have {name}"
    point = info["operating_point"]
    share = point["films_positive"] / (point["films_positive"] + point["films_negative"])
    moved = float(adjust_prevalence(np.array([hand.result.probability]), share, prevalence)[0])
    if value[which] != value[which]:
        means = f"At its operating point the model never {called} here."
    else:
        means = (
            f"Of 100 people whom the model {called}, about <b>{100 * value[which]:.0f}</b> {right}"
            f" ({'PPV' if which == 0 else 'NPV'} {percent(value[which])}, {percent(low[which])} to"
            f" {percent(high[which])})."
        )
    return (
        f"<p>Where <b>{percent(prevalence)}</b> of people have {escape(name)}: {means} This film's"
        f" probability becomes <b>{percent(moved)}</b>.</p><p class='ra-small'>Sensitivity"
        f" {percent(sens['value'])} ({percent(sens['low'])} to {percent(sens['high'])},"
        f" {performance['films_positive']} films) and specificity {percent(spec['value'])}"
        f" ({percent(spec['low'])} to {percent(spec['high'])}, {performance['films_negative']}"
        f" films), {performance['where']}; intervals 95 %.</p>"
    )


def view_refusal(refusal: Refusal) -> str:
    """Why there is no answer, and what to do."""
    return (
        "<section class='ra-answer ra-abstains' role='alert' aria-label='No answer'><p"
        f" class='ra-verdict'>No answer</p><p><b>{escape(refusal.name)}</b>:"
        f" {escape(refusal.reason).rstrip('.')}.</p><p><b>What to do:</b>"
        f" {escape(refusal.advice)}</p></section>"
    )


def view_refused(refused: Iterable[Refusal]) -> str:
    """Every file that could not be read."""
    return "".join(view_refusal(refusal) for refusal in refused)


def view_truth(state: StudyState, info: dict[str, Any]) -> str:
    """The labels of the samples on show, where asked for."""
    if not state.revealed:
        return ""
    rows = "".join(
        f"<li>{escape(h.picture.name)}: <b>{escape(info['class_names'][h.picture.truth])}</b></li>"
        for h in state.hands
        if h.picture.truth is not None
    )
    return f"<section aria-label='Truth'><h3>Truth</h3><ul>{rows}</ul></section>" if rows else ""


# --- progress ---


def view_progress(state: StudyState) -> str:
    """What is going on."""
    if state.progress is None:
        return (
            f"<p class='ra-status' role='status'>{escape(state.doing)}</p>" if state.doing else ""
        )
    return (
        f"<p class='ra-status' role='status'>{escape(state.doing)} … <progress max='1'"
        f" value='{state.progress:.3f}' aria-label='{escape(state.doing, quote=True)}'></progress>"
        f" {state.progress:.0%}</p>"
    )


# --- explanations ---


def sites_of(hand: HandState) -> set[str]:
    """Names of the hand's joints; empty where they are neither marked nor located."""
    return set(hand.picture.joints["site"]) if len(hand.picture.joints) else set()


def rank_regions(hand: HandState) -> list[dict[str, Any]]:
    """Regions by the size of their Shapley value, each with its share of the heat map.

    Returns
    -------
    list of dict
        rank, name, value and error (logits), heat (share of the map's warmth in [0, 1], or None),
        index.
    """
    shap, regions = hand.shap, hand.regions
    warmth = (
        hand.heat.values.astype(float) if hand.heat is not None and not hand.heat.flat else None
    )
    rows = []
    for rank, i in enumerate(np.argsort(-np.abs(shap.values), kind="stable"), start=1):
        heat = (
            float(warmth[regions.labels == i].sum() / warmth.sum()) if warmth is not None else None
        )
        rows.append(
            {
                "rank": rank,
                "name": shap.names[i],
                "value": float(shap.values[i]),
                "error": float(shap.standard_error[i]),
                "heat": heat,
                "index": int(i),
            }
        )
    return rows


def view_regions(hand: HandState, info: dict[str, Any]) -> str:
    """Regions ranked by their Shapley value, as a table with bars."""
    if hand.shap is None:
        return ""
    rows, name = rank_regions(hand), positive_name(info)
    most = max(max(abs(r["value"]) for r in rows), 1e-9)
    lines = []
    for r in rows[:MOST_BARS]:
        side = "for" if r["value"] > 0 else "against"
        bar = (
            f"<span class='ra-bar ra-{side}'"
            f" style='width:{100 * abs(r['value']) / most:.0f}%'></span>"
        )
        heat = "–" if r["heat"] is None else percent(r["heat"])
        lines.append(
            f"<tr><td>{r['rank']}</td><th scope='row'>{escape(r['name'])}</th><td"
            f" class='ra-num'>{r['value']:+.2g} ± {r['error']:.1g}</td><td"
            f" class='ra-bars'>{bar}<span>{side} {escape(name)}</span></td><td"
            f" class='ra-num'>{heat}</td></tr>"
        )
    return (
        "<section aria-label='Regions'><h2>Which regions move the answer</h2><div"
        " class='ra-scroll' tabindex='0' role='region' aria-label='Table of"
        " regions'><table><thead><tr><th scope='col'>Rank</th><th scope='col'>Region</th><th"
        " scope='col'>Shapley value ± SE, logits</th><th scope='col'>Bar</th><th scope='col'>Share"
        f" of the heat map</th></tr></thead><tbody>{''.join(lines)}</tbody></table></div><p"
        f" class='ra-small'>{escape(info['title'])}. Regions are {escape(hand.regions.origin)}."
        f" With every region hidden the logit is {hand.shap.base_value:+.3g}; the values add up to"
        f" {hand.shap.logit:+.3g} (error {hand.shap.additivity_error:.0e}). A value says what the"
        " network used, not what is ill.</p></section>"
    )


def colour_regions(hand: HandState) -> tuple[list[list[float]], list[list[Any]]]:
    """Colour of each region for the viewer, and the marks of the strongest ones.

    Returns
    -------
    colours : list
        For each label red, green, blue in 0 to 255 and opacity in [0, 1]; an empty list where the
        region is left clear.
    marks : list of [words, x, y]
        Rank and sign, at the middle of the region.
    """
    rows, size, sites = rank_regions(hand), hand.regions.labels.shape[0], sites_of(hand)
    most = max(max(abs(r["value"]) for r in rows), 1e-9)
    colours: list[list[float]] = [[] for _ in rows]
    marks: list[list[Any]] = []
    for r in rows:
        strength = abs(r["value"]) / most
        if strength < 0.03:
            continue
        colours[r["index"]] = [*(FOR if r["value"] > 0 else AGAINST), round(strength, 3)]
        if r["rank"] <= STRONGEST and (
            r["name"] in sites or not sites and r["name"] != "background"
        ):
            y, x = np.nonzero(hand.regions.labels == r["index"])
            marks.append(
                [
                    f"{r['rank']}{'+' if r['value'] > 0 else '−'}",
                    float(x.mean()) - 0.02 * size,
                    float(y.mean()) + 0.02 * size,
                ]
            )
    return colours, marks


def view_similar(hand: HandState, info: dict[str, Any]) -> str:
    """The training films nearest to this one in the network's features, with their labels."""
    if not hand.answered or not hand.result.similar:
        return ""
    figures = "".join(
        picture_html(
            grey_png(s.thumbnail),
            f"Training film with the label {name}",
            f"{name}, distance {s.distance:.2g}",
            "110px",
        )
        for s, name in ((s, info["class_names"][s.label]) for s in hand.result.similar)
    )
    same = sum(s.label == 1 for s in hand.result.similar)
    return (
        "<section aria-label='Similar training films'><h2>Similar training films</h2><p>Of the"
        f" {len(hand.result.similar)} nearest, {same} have the label"
        f" {escape(positive_name(info))}.</p><div class='ra-row'>{figures}</div><p"
        f" class='ra-small'>{escape(info['title'])}. Near means: alike to the network, not to an"
        " eye.</p></section>"
    )


def view_hands(state: StudyState, info: dict[str, Any]) -> str:
    """All hands of the study side by side, and how far left and right differ."""
    if len(state.hands) < 2:
        return ""
    cards = []
    for hand in state.hands:
        if hand.picture.refusal:
            words = "no answer"
        elif hand.unlike:
            words = "no answer: unlike the training films"
        else:
            words = (
                f"{positive_name(info)} {percent(hand.result.probability)}"
                if hand.answered
                else "reading …"
            )
        name = (
            f"{hand.picture.name}, {SIDES[hand.picture.laterality]}"
            if hand.picture.laterality
            else f"{hand.picture.name}, side not known"
        )
        cards.append(
            picture_html(
                grey_png(hand.picture.image),
                f"{name}, as the network sees it",
                f"{name}: {words}",
                "200px",
            )
        )
    mirrored = " Right hands are mirrored." if info["mirror_right"] else ""
    return (
        "<section aria-label='All hands'><h2>Side by side</h2><div"
        f" class='ra-row'>{''.join(cards)}</div><p class='ra-small'>As the network sees"
        f" them.{mirrored}</p>{view_asymmetry(state, info)}</section>"
    )


def pair_of(state: StudyState) -> tuple[HandState, HandState] | None:
    """The first left and the first right hand that have an answer; None where one is missing."""
    read = [h for h in state.hands if h.answered]
    left = next((h for h in read if h.picture.laterality == "L"), None)
    right = next((h for h in read if h.picture.laterality == "R"), None)
    return (left, right) if left and right else None


def compare_sites(left: HandState, right: HandState) -> list[tuple[str, float, float]]:
    """Sites that both hands know, with the Shapley value of each, the largest difference first."""
    if (
        left.shap is None
        or right.shap is None
        or not len(left.picture.joints)
        or not len(right.picture.joints)
    ):
        return []
    one, other = (dict(zip(h.shap.names, h.shap.values, strict=True)) for h in (left, right))
    rows = [
        (name, float(one[name]), float(other[name]))
        for name in one
        if name in other and name in sites_of(left)
    ]
    return sorted(rows, key=lambda r: -abs(r[1] - r[2]))


def view_asymmetry(state: StudyState, info: dict[str, Any]) -> str:
    """Left against right: probabilities, and the sites whose values differ most."""
    pair = pair_of(state)
    if pair is None:
        return ""
    left, right = pair
    gap = right.result.logit - left.result.logit
    sides = "the right" if gap > 0 else "the left"
    words = (
        f"<p>Left {percent(left.result.probability)}, right {percent(right.result.probability)}:"
        f" the logit of {sides} hand is higher by {abs(gap):.2f}. RA is often, not always, on both"
        " sides.</p>"
    )
    rows = compare_sites(left, right)[:6]
    if not rows:
        return words
    lines = "".join(
        f"<tr><th scope='row'>{escape(n)}</th><td class='ra-num'>{a:+.2g}</td><td"
        f" class='ra-num'>{b:+.2g}</td><td class='ra-num'>{b - a:+.2g}</td></tr>"
        for n, a, b in rows
    )
    return (
        f"{words}<table><caption>Sites that differ most, Shapley values in"
        " logits</caption><thead><tr><th scope='col'>Site</th><th scope='col'>Left</th><th"
        " scope='col'>Right</th><th scope='col'>Right −"
        f" left</th></tr></thead><tbody>{lines}</tbody></table>"
    )


# --- the model ---


def view_model(info: dict[str, Any], performance: dict[str, Any]) -> str:
    """What the model is, from its bundle."""
    training, point = info["training"], info["operating_point"]

    def score(name: str) -> str:
        found = performance[name]
        return (
            f"{percent(found['value'])} ({percent(found['low'])} to {percent(found['high'])}),"
            f" {performance['where']}"
        )

    rows = [
        ("Task", info["title"]),
        (
            "Network",
            (
                f"{info['architecture']}, {training['parameters']:,} weights, {info['image_size']}"
                f" × {info['image_size']} pixels"
            ),
        ),
        (
            "Trained on",
            (
                f"{training['films']} films of {training['patients']} patients,"
                f" {training['positive_films']} films {positive_name(info)}"
            ),
        ),
        (
            "Operating point",
            (
                f"{percent(point['probability'])}, rule {point['rule']}, chosen on "
                f"{point['films_positive']} + {point['films_negative']} {point['chosen_on']} films"
            ),
        ),
        ("Sensitivity", score("sensitivity")),
        ("Specificity", score("specificity")),
        ("Versions", ", ".join(f"{k} {v}" for k, v in info["versions"].items())),
    ]
    listed = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in rows)
    phantom = (
        "<p><b>It was trained on drawn hands. It knows nothing of patients.</b></p>"
        if info["source"] == "phantom"
        else ""
    )
    return (
        f"<section aria-label='The model'><h2>The model</h2>{phantom}<dl"
        f" class='ra-facts'>{listed}</dl><p>It was trained on one cohort. On another scanner, in"
        " another hospital or for another disease it may be wrong and sure of"
        " itself.</p></section>"
    )
