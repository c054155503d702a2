"""The leak report: every pair of films that shows one hand, or may, under two patients' names; side
by side, with what was done about it.
"""

from __future__ import annotations

import base64

import cv2
import numpy as np
import pandas as pd
from jinja2 import Environment, select_autoescape

from rahelpers.core.config import RunConfig
from rahelpers.curation.duplicates import LOOK_AT, SAME_HAND
from rahelpers.curation.splits import find_leaks

MOST_PAIRS = 200  # with pictures; the surest first
# The template stands here and not in a file, because the step is made again when its modules
# change.
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Leak report · {{ title }}</title><style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 0 auto; padding: 1rem; color: #1b1b1b; }
section { border-top: 1px solid #ccc; padding: .5rem 0; } figure { display: inline-block; margin: .5rem 1rem .5rem 0; vertical-align: top; }
figcaption { max-width: 20rem; font-size: .9rem; } img { width: 20rem; max-width: 100%; background: #000; } .across { color: #8a1c00; font-weight: bold; }
</style></head><body>
<h1>Leak report</h1><p>{{ title }}. {{ films }} films of {{ patients }} patients. Patients or file contents in two splits: {{ leaks }}.</p>
{% if not searched %}<p>Films of one hand under two names were not looked for: every phantom patient is drawn anew.</p>
{% else %}<p>{{ counts }}. From {{ same }} shared details on, two films count as one hand and their patients as one;
from {{ look }} on, or where whole films are unusually alike, a person must look. Pictures are as the network sees them.
{% if hidden %}The {{ hidden }} least sure pairs stand in pairs.csv alone.{% endif %}</p>
{% for pair in pairs %}<section><h2>{{ pair.heading }}</h2>
{% for film in pair.films %}<figure>
{% if film.picture %}<img alt="Film {{ film.name }}" src="data:image/png;base64,{{ film.picture }}">{% endif %}
<figcaption>{{ film.words }}</figcaption></figure>{% endfor %}
<p{% if pair.across %} class="across"{% endif %}>{{ pair.done }}</p></section>{% endfor %}{% endif %}
</body></html>
"""


def describe_leaks(
    config: RunConfig, manifest: pd.DataFrame, pairs: pd.DataFrame, images: np.ndarray
) -> str:
    """The leak report as one HTML page that needs no other file.

    Parameters
    ----------
    config : RunConfig
    manifest : DataFrame, n rows
    pairs : DataFrame
        As step 01 writes it: columns `duplicates.PAIR_COLUMNS`, the surest first.
    images : uint8 array (n, S, S)
        Network inputs in manifest order.
    """
    rows = {row.image_id: (number, row) for number, row in enumerate(manifest.itertuples())}
    counts = pairs["verdict"].value_counts()
    environment = Environment(autoescape=select_autoescape(default=True, default_for_string=True))
    return environment.from_string(PAGE).render(
        title=config.title,
        films=len(manifest),
        patients=manifest["patient_id"].nunique(),
        leaks=len(find_leaks(manifest)),
        searched=config.source != "phantom",
        same=SAME_HAND,
        look=LOOK_AT,
        hidden=max(0, len(pairs) - MOST_PAIRS),
        counts=", ".join(
            f"{counts.get(verdict, 0)} pairs: {verdict}"
            for verdict in ("same file", "same hand", "look")
        ),
        pairs=[_describe_pair(pair, rows, images) for pair in pairs.head(MOST_PAIRS).itertuples()],
    )


def _describe_pair(pair: tuple, rows: dict[str, tuple[int, tuple]], images: np.ndarray) -> dict:
    films, splits, labels = [], [], []
    for name, patient in ((pair.image_a, pair.patient_a), (pair.image_b, pair.patient_b)):
        if name not in rows:
            films.append(
                {
                    "name": name,
                    "picture": "",
                    "words": f"{name}, patient {patient}. Left out: the very same file.",
                }
            )
            continue
        number, row = rows[name]
        splits.append(row.split)
        labels.append(row.label)
        films.append(
            {
                "name": name,
                "picture": _as_png(images[number]),
                "words": f"{name}, patient {patient}. Split {row.split}, label {row.label}.",
            }
        )
    alike = (
        ""
        if pair.verdict == "same file"
        else (
            f": {pair.details} details alike, {pair.bits_apart} of 143 bits of the whole films"
            " differ"
        )
    )
    across = len(set(splits)) > 1
    return {
        "heading": f"{pair.verdict}{alike}",
        "films": films,
        "across": across,
        "done": _done(pair.verdict, splits, labels, across),
    }


def _done(verdict: str, splits: list[str], labels: list[int], across: bool) -> str:
    disagree = (
        " The two labels differ: one is wrong, or the disease has changed between the films."
        if len(set(labels)) > 1
        else ""
    )
    if verdict == "same file":
        return "Done: one file was kept; both patients count as one." + disagree
    if verdict == "same hand":
        return f"Done: both patients count as one, so both films stand in {splits[0]}." + disagree
    if across:
        return (
            f"Nothing was done. The films stand in {' and '.join(splits)}: if you see one hand,"
            " give both the same patient in your table." + disagree
        )
    return (
        "Nothing was done; both films stand in one split. Look whether it is one hand." + disagree
    )


def _as_png(image: np.ndarray) -> str:
    return base64.b64encode(cv2.imencode(".png", np.ascontiguousarray(image))[1].tobytes()).decode()
