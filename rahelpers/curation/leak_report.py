"""The leak report: pairs of films that show, or may show, one hand under two patients' names.

The films of a pair are side by side, with what was done about it. The words are in
`display/templates/leak_report.html.j2`.
"""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np
import pandas as pd

from rahelpers.core.config import RunConfig
from rahelpers.curation.duplicates import LOOK_AT, SAME_HAND
from rahelpers.curation.splits import find_leaks
from rahelpers.display.pages import render_page

MOST_PAIRS = 200  # that are shown; the surest come first
VERDICTS = ("same file", "same hand", "look")


def describe_leaks(
    config: RunConfig, manifest: pd.DataFrame, pairs: pd.DataFrame, images: np.ndarray
) -> str:
    """Write the leak report as one HTML page that needs no other file.

    Parameters
    ----------
    config : RunConfig
    manifest : DataFrame, n rows
    pairs : DataFrame
        As step 01 writes it: columns `duplicates.PAIR_COLUMNS`, the surest first.
    images : uint8 array (n, S, S)
        Network inputs in the order of the manifest.
    """
    counts = pairs["verdict"].value_counts()
    films = {
        row["image_id"]: {"split": row["split"], "label": row["label"], "number": number}
        for number, row in enumerate(manifest.to_dict("records"))
    }
    return render_page(
        "leak_report.html.j2",
        title=config.title,
        films=len(manifest),
        patients=manifest["patient_id"].nunique(),
        leaks=len(find_leaks(manifest)),
        searched=config.source != "phantom",
        same=SAME_HAND,
        look=LOOK_AT,
        hidden=max(0, len(pairs) - MOST_PAIRS),
        counts=", ".join(f"{verdict} {counts.get(verdict, 0)}" for verdict in VERDICTS),
        pairs=[_describe_pair(p, films, images) for p in pairs.head(MOST_PAIRS).to_dict("records")],
    )


def _describe_pair(
    pair: dict[str, Any], films: dict[str, dict[str, Any]], images: np.ndarray
) -> dict[str, Any]:
    """The pair, with its films; one that was left out has no split, label or picture."""
    shown = []
    for side in ("a", "b"):
        film = {"name": pair[f"image_{side}"], "patient": pair[f"patient_{side}"]}
        known = films.get(film["name"])
        if known:
            film |= known | {"picture": _as_png(images[known["number"]])}
        shown.append(film)
    kept = [film for film in shown if "split" in film]
    return pair | {
        "films": shown,
        "splits": list(dict.fromkeys(film["split"] for film in kept)),
        "labels_differ": len({film["label"] for film in kept}) > 1,
    }


def _as_png(image: np.ndarray) -> str:
    """An image as the text of a PNG file in base64."""
    return base64.b64encode(cv2.imencode(".png", np.ascontiguousarray(image))[1].tobytes()).decode()
