"""What a report says: facts about a result and about the model, in words."""

from __future__ import annotations

from typing import Any

import numpy as np

from rahelpers import __version__
from rahelpers.display.pages import BANNER
from rahelpers.prediction.film import FilmResult
from rahelpers.scores.metrics import say_few_validation

MOST_REGIONS = 12  # in a list


def make_notice(info: dict[str, Any]) -> str:
    """Word the notice of every report: the banner, and whether the model knows only drawn films."""
    return f"{BANNER} {source_note(info)}".rstrip()


def source_note(info: dict[str, Any]) -> str:
    """Word where the training films came from, if they were drawn; otherwise ''."""
    if info["source"] != "phantom":
        return ""
    return "The model was trained on drawn films (the phantom): no figure is about patients."


def list_facts(result: FilmResult) -> list[tuple[str, str]]:
    """List the facts of a result: what, and its value in words."""
    info, hand, distribution = result.info, result.hand, result.distribution
    point, task = info["operating_point"], info["class_names"][1]
    facts = [("file", result.name), ("model", info["title"]), ("status", result.status)]
    facts += [("why", reason) for reason in result.reasons]

    # the answer
    if result.probability is not None:
        side = "at or above" if result.positive else "below"
        facts += [
            (f"probability of {task}, calibrated", f"{result.probability:.1%}"),
            ("class at the operating point", f"{result.call}: {side} {point['probability']:.1%}"),
            ("conformal answer", f"{result.answer} (alpha {info['conformal']['alpha']:g})"),
        ]
    if distribution is not None:
        limit = f"{distribution.score:.2f}, limit {distribution.threshold:.2f}"
        facts.append(("distance from the training films", f"{limit}: {distribution.words}"))

    # the film
    if hand is not None:
        height, width = hand.film.image.shape
        spacing = (
            f"{hand.film.spacing_mm:.3g} mm per pixel"
            if hand.film.spacing_mm
            else "pixel size not known"
        )
        file_format = hand.film.provenance.format or "not from a file"
        facts += [
            ("film as read", f"{width} x {height} pixels, {spacing}, {file_format}"),
            ("side", {"L": "left", "R": "right"}.get(hand.film.laterality, "not known")),
        ]
        facts += [("to check", note) for note in hand.notes]
    if result.heatmap is not None:
        flat = "; it is flat: no place holds evidence for the positive class" if result.flat else ""
        facts.append(("heat map", result.heatmap_name + flat))
    return facts


def list_regions(result: FilmResult) -> list[tuple[str, float, float]]:
    """List the regions that change the logit most: name, Shapley value and standard error.

    In logits, the strongest first; empty if the values were not asked for.
    """
    if (shap := result.shap) is None:
        return []
    order = np.argsort(-np.abs(shap.values), kind="stable")[:MOST_REGIONS]
    return [(shap.names[i], float(shap.values[i]), float(shap.standard_error[i])) for i in order]


def explain_regions(result: FilmResult) -> str:
    """Say in words what the Shapley values of the regions are."""
    regions, shap = result.require_regions()
    return (
        f"Shapley values of {len(shap.names)} regions ({regions.origin}), in logits, with standard"
        f" errors. With every region hidden the logit is {shap.base_value:+.3g}; all values"
        f" together lead to {shap.logit:+.3g} (error {shap.additivity_error:.0e}). A value says"
        " what the network used, not what is diseased."
    )


def list_model_facts(info: dict[str, Any]) -> list[tuple[str, str]]:
    """List what a reader must know about the model, from `bundle.json`: a short model card."""
    point, training = info["operating_point"], info["training"]
    conformal, side = info["conformal"], info["image_size"]
    versions = ", ".join(f"{name} {version}" for name, version in sorted(info["versions"].items()))
    return [
        (
            "trained on",
            f"{training['films']} films of {training['patients']} patients,"
            f" {training['positive_films']} positive; source {info['source']}",
        ),
        (
            "network",
            f"{info['architecture']}, {training['parameters']:,} parameters, input {side} x {side}"
            " pixels",
        ),
        ("preprocessing", info["preprocessing"]),
        (
            "operating point",
            f"{point['probability']:.3f}: {point['rule']}, chosen on {point['films_positive']}"
            f" positive and {point['films_negative']} negative {point['chosen_on']} films, with"
            f" sensitivity {point['sensitivity']:.0%} and specificity {point['specificity']:.0%}"
            " there; expect less on new films",
        ),
        *([("warning", few)] if (few := say_few_validation(info["validation"])) else []),
        ("calibration", f"temperature {info['temperature']:.3g}, offset {info['offset']:.3g}"),
        (
            "conformal sets",
            f"alpha {conformal['alpha']:g}, fitted on {conformal['patients_positive']} positive"
            f" and {conformal['patients_negative']} negative patients",
        ),
        ("model.keras, SHA-256", info["files"]["model.keras"]),
        ("versions", f"rahelpers {__version__}; trained with {versions}"),
    ]
