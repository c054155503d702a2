"""A reader study: read films alone, then with the model's answer, and see what the answer changed.

Pure functions; `reader` puts them on the page.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import numpy as np

from rahelpers.panel.markup import percent_interval, row_head, section, table
from rahelpers.panel.view import positive_name
from rahelpers.scores.intervals import wilson_interval


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One film of the study.

    Attributes
    ----------
    row : int
        Row of the film in the cohort.
    truth : bool
    alone, after : bool or None
        What the reader said before and after seeing the model's answer; None means not yet.
    model : bool or None
        The model's class at the operating point.
    probability : float or None
        The model's probability of the positive class.
    """

    row: int
    truth: bool
    alone: bool | None = None
    after: bool | None = None
    model: bool | None = None
    probability: float | None = None


@dataclass(frozen=True)
class Study:
    """A reader study in progress.

    Attributes
    ----------
    readings : tuple of Reading
    at : int
        Index of the film being read; the number of readings at the end.
    """

    readings: tuple[Reading, ...] = ()
    at: int = 0

    @property
    def now(self) -> Reading | None:
        """The film being read; None at the end, or before the start."""
        return self.readings[self.at] if self.at < len(self.readings) else None

    @property
    def is_done(self) -> bool:
        """Every film was read twice."""
        return bool(self.readings) and self.at == len(self.readings)


def draw_study(
    labels: np.ndarray, patients: np.ndarray, rows: np.ndarray, films: int, rng: np.random.Generator
) -> Study:
    """Draw one film per patient, half of them positive if possible.

    One per patient keeps the readings independent.

    Parameters
    ----------
    labels, patients : array (n,)
        Of the whole cohort.
    rows : int array
        Rows that may be drawn.
    films : int
        Number of films; fewer if there are fewer patients.
    rng : Generator
    """
    # the first film of each patient in a random order
    shuffled = rng.permutation(rows)
    _, first = np.unique(patients[shuffled], return_index=True)
    one_each = shuffled[np.sort(first)]

    # half of each class, or more of one where the other has too few
    positive, negative = (one_each[labels[one_each] == value] for value in (1, 0))
    wanted = min(films, len(one_each))
    n = min(len(positive), max(wanted // 2, wanted - len(negative)))
    chosen = rng.permutation(np.concatenate([positive[:n], negative[: wanted - n]]))
    return Study(tuple(Reading(row=int(row), truth=bool(labels[row])) for row in chosen))


def read_alone(study: Study, positive: bool, model: bool, probability: float) -> Study:
    """Keep the reader's own answer and the model's, which may now be shown."""
    return _change(study, alone=positive, model=model, probability=probability)


def read_again(study: Study, positive: bool) -> Study:
    """Keep the reader's answer after the model's; the next film follows.

    Raises
    ------
    ValueError
        If the film was not read alone before: then the effect of the answer cannot be measured.
    """
    if study.now is None or study.now.alone is None:
        raise ValueError("the film has not been read alone yet: call read_alone first")
    return replace(_change(study, after=positive), at=study.at + 1)


def _change(study: Study, **changes: Any) -> Study:
    readings = list(study.readings)
    readings[study.at] = replace(readings[study.at], **changes)
    return replace(study, readings=tuple(readings))


def score_study(study: Study) -> dict[str, Any]:
    """Sensitivity and specificity of reader and model, and what the model's answer changed.

    Returns
    -------
    dict
        sensitivity, specificity: each {films, alone, after, model, effect}, every one of the last
        four {value, low, high} (95 %), or None if there is no such film; helped, harmed: number of
        films changed to the right and to the wrong answer.
    """
    done = [r for r in study.readings if r.after is not None]
    scores: dict[str, Any] = {}
    for name, truth in (("sensitivity", True), ("specificity", False)):
        films = [r for r in done if r.truth == truth]
        found: dict[str, Any] = {"films": len(films)}
        right = {
            who: np.array([getattr(r, who) == truth for r in films], bool)
            for who in ("alone", "after", "model")
        }
        for who, hits in right.items():
            found[who] = _share(hits) if films else None
        found["effect"] = paired_difference(right["after"], right["alone"]) if films else None
        scores[name] = found
    scores["helped"] = sum(r.alone != r.truth and r.after == r.truth for r in done)
    scores["harmed"] = sum(r.alone == r.truth and r.after != r.truth for r in done)
    return scores


def _share(hits: np.ndarray) -> dict[str, float]:
    low, high = wilson_interval(float(hits.mean()), len(hits))
    return {"value": float(hits.mean()), "low": low, "high": high}


def paired_difference(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Difference of two shares of the same films, and its 95 % interval.

    Parameters
    ----------
    one, other : bool array (n,)
        Whether each film was read correctly.

    Returns
    -------
    dict
        value, low, high in [-1, 1].

    References
    ----------
    Newcombe, Stat Med 1998;17:2635, method 10 without continuity correction: it keeps its width
    if nothing differs.
    """
    # the 2 × 2 table of pairs, and the two shares with their Wilson intervals
    n = len(one)
    both, only_one, only_other, neither = (
        int(x.sum()) for x in (one & other, one & ~other, ~one & other, ~one & ~other)
    )
    p, q = float(one.mean()), float(other.mean())
    (p_low, p_high), (q_low, q_high) = wilson_interval(p, n), wilson_interval(q, n)

    # the correlation of the pairs; a positive one is corrected towards 0
    margins = (
        (both + only_one) * (only_other + neither) * (both + only_other) * (only_one + neither)
    )
    product = float(both * neither - only_one * only_other)
    if product > n / 2:
        product -= n / 2
    elif product >= 0:
        product = 0.0
    phi = product / np.sqrt(margins) if margins else 0.0

    # correlated errors cancel in part
    below, above = (p - p_low, q_high - q), (p_high - p, q - q_low)
    low = p - q - np.sqrt(below[0] ** 2 - 2 * phi * below[0] * below[1] + below[1] ** 2)
    high = p - q + np.sqrt(above[0] ** 2 - 2 * phi * above[0] * above[1] + above[1] ** 2)
    return {"value": p - q, "low": float(max(low, -1.0)), "high": float(min(high, 1.0))}


def view_scores(study: Study, info: dict[str, Any]) -> str:
    """The study's result, as HTML."""
    scores = score_study(study)
    rows = []
    for name in ("sensitivity", "specificity"):
        found = scores[name]
        shares = [found[who] for who in ("alone", "after", "model")]
        cells = ["–" if share is None else percent_interval(share) for share in shares]
        cells.append("–" if found["effect"] is None else _points(found["effect"]))
        films = f"{found['films']} film{'' if found['films'] == 1 else 's'}"
        rows.append([row_head(f"{name} ({films})"), *(f"<td>{cell}</td>" for cell in cells)])
    heads = ("Score", "You alone", "You after the answer", "The model", "Effect of the answer")
    return section(
        "Result of the study",
        f"<h2>Your study: {len(study.readings)} films</h2>",
        table(heads, rows, "Table of scores"),
        f"<p>The model's answer led you to the right answer {scores['helped']} times, and to the"
        f" wrong one {scores['harmed']} times.</p>",
        f"<p class='ra-small'>{escape(info['title'])}. One film per patient; 95 % intervals. An"
        " interval that contains 0 leaves open whether there is an effect. You knew that about half"
        f" of the films may be {escape(positive_name(info))}; in a clinic that is not so.</p>",
    )


def _points(effect: dict[str, float]) -> str:
    value, low, high = (f"{100 * effect[k]:+.0f}" for k in ("value", "low", "high"))
    return f"{value} points ({low} to {high})"


def write_readings(study: Study, info: dict[str, Any]) -> bytes:
    """The study as CSV, UTF-8: one row per film."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["film", "truth", "alone", "after", "model", "probability"])
    name = info["class_names"]
    for number, r in enumerate(study.readings, start=1):
        said = ["" if value is None else name[value] for value in (r.alone, r.after, r.model)]
        probability = "" if r.probability is None else f"{r.probability:.4f}"
        writer.writerow([number, name[r.truth], *said, probability])
    return text.getvalue().encode("utf-8")
