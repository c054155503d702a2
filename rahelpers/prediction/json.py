"""A result as JSON, for researchers."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from rahelpers.prediction.facts import make_notice
from rahelpers.prediction.film import FilmResult, HandFilm, to_row


def write_json(result: FilmResult) -> bytes:
    """Write every number and word of a result, also if the film could not be read.

    There is no picture and no DICOM identifier in it.

    Examples
    --------
    >>> import json
    >>> from rahelpers import load_bundle
    >>> from rahelpers.prediction import FilmResult, write_json
    >>> info = load_bundle(run.file("train", "bundle")).info
    >>> result = FilmResult(file="notes.txt", status="unreadable", info=info, reasons=("text",))
    >>> json.loads(write_json(result))["status"]
    'unreadable'
    """
    hand, distribution = result.hand, result.distribution
    content = to_row(result) | {
        "reasons": list(result.reasons),
        "checks": _list_checks(hand) if hand else [],
        "notes": list(hand.notes) if hand else [],
        "film": _describe_film(hand) if hand else None,
        "distribution": asdict(distribution) if distribution else None,
        "similar": [
            {"image_id": f.image_id, "label": f.label, "distance": f.distance}
            for f in result.similar
        ],
        "heatmap": result.heatmap_name or None,
        "heatmap_flat": result.flat if result.heatmap is not None else None,
        "regions": _describe_regions(result) if result.shap else None,
        "class_names": result.info["class_names"],
        "source_of_training": result.info["source"],
        "notice": make_notice(result.info),
    }
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode("utf-8")


def _list_checks(hand: HandFilm) -> list[dict[str, Any]]:
    return [
        {
            "check": finding.check,
            "action": finding.action,
            "value": float(finding.value),
            "limit": float(finding.limit),
            "words": finding.words,
        }
        for finding in hand.findings
    ]


def _describe_film(hand: HandFilm) -> dict[str, Any]:
    return {
        "width": hand.film.image.shape[1],
        "height": hand.film.image.shape[0],
        "format": hand.film.provenance.format,
        "bits_stored": hand.film.provenance.bits_stored,
        "inverted": bool(hand.seen.inverted),
        "quarter_turns": int(hand.seen.placement.quarter_turns),
        "mirrored": bool(hand.seen.placement.mirror),
    }


def _describe_regions(result: FilmResult) -> dict[str, Any]:
    regions, shap = result.require_regions()
    rows = zip(shap.names, shap.values, shap.standard_error, shap.owen, strict=True)
    return {
        "origin": regions.origin,
        "base_value": shap.base_value,
        "logit": shap.logit,
        "additivity_error": shap.additivity_error,
        "evaluations": shap.evaluations,
        "values": [
            {
                "region": name,
                "shapley": float(value),
                "standard_error": float(error),
                "owen": float(owen),
            }
            for name, value, error, owen in rows
        ],
    }
