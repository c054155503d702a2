"""A reader study: read films alone, then with the model's answer, and see what the answer did. Pure
functions; `reader` puts them on the page.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import numpy as np

from rahelpers.panel.view import percent, positive_name
from rahelpers.scores.intervals import wilson_interval


@dataclass(frozen=True)
class Reading:
    """One film of the study.

    Attributes
    ----------
    row : int
        In the cohort.
    truth : bool
    alone, after : bool or None
        What the reader said before and after seeing the model's answer; None: not yet.
    model : bool or None
        The model's call.
    probability : float or None
    """

    row: int
    truth: bool
    alone: bool | None = None
    after: bool | None = None
    model: bool | None = None
    probability: float | None = None


@dataclass(frozen=True)
class Study:
    """A reader study under way.

    Attributes
    ----------
    readings : tuple of Reading
    at : int
        The film being read; the number of readings at the end.
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
    """One film a patient, so that readings are independent; half of them positive where there are
    enough.

    Parameters
    ----------
    labels, patients : array (n,)
        Of the whole cohort.
    rows : int array
        Rows that may be drawn.
    films : int
    rng : Generator
    """
    shuffled = rng.permutation(rows)
    _, first = np.unique(patients[shuffled], return_index=True)
    one_each = shuffled[np.sort(first)]
    positive, negative = (one_each[labels[one_each] == value] for value in (1, 0))
    wanted = min(films, len(one_each))
    n = min(len(positive), max(wanted // 2, wanted - len(negative)))
    chosen = rng.permutation(np.concatenate([positive[:n], negative[: wanted - n]]))
    return Study(tuple(Reading(int(row), bool(labels[row])) for row in chosen))


def read_alone(study: Study, positive: bool, model: bool, probability: float) -> Study:
    """The reader's own answer; the model's is kept beside it, and may now be shown."""
    return _change(study, replace(study.now, alone=positive, model=model, probability=probability))


def read_again(study: Study, positive: bool) -> Study:
    """The reader's answer after the model's; the next film follows.

    Raises
    ------
    ValueError
        If the film was not read alone before: the effect of the answer could not be told.
    """
    if study.now.alone is None:
        raise ValueError("the film was not read alone yet")
    return replace(_change(study, replace(study.now, after=positive)), at=study.at + 1)


def _change(study: Study, reading: Reading) -> Study:
    readings = list(study.readings)
    readings[study.at] = reading
    return replace(study, readings=tuple(readings))


def score_study(study: Study) -> dict[str, Any]:
    """Sensitivity and specificity alone, after and of the model, and what the model's answer did.

    Returns
    -------
    dict
        sensitivity, specificity: each {films, alone, after, model, effect}, every one {value, low,
        high} (95 %), None where there is no such film; helped, harmed: films changed to the right
        and to the wrong answer.
    """
    done = [r for r in study.readings if r.after is not None]
    scores: dict[str, Any] = {}
    for name, truth in (("sensitivity", True), ("specificity", False)):
        films = [r for r in done if r.truth == truth]
        right = {
            who: np.array([getattr(r, who) == truth for r in films], bool)
            for who in ("alone", "after", "model")
        }
        found: dict[str, Any] = {"films": len(films)}
        for who, hits in right.items():
            found[who] = _share(hits) if len(films) else None
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
        Whether each film was read right.

    Returns
    -------
    dict
        value, low, high in [-1, 1].

    References
    ----------
    Newcombe, Stat Med 1998;17:2635, method 10 without continuity correction: it keeps its width
    where nothing differs.
    """
    n = len(one)
    both, only_one, only_other, neither = (
        int(x.sum()) for x in (one & other, one & ~other, ~one & other, ~one & ~other)
    )
    p, q = float(one.mean()), float(other.mean())
    (p_low, p_high), (q_low, q_high) = wilson_interval(p, n), wilson_interval(q, n)
    margins = (
        (both + only_one) * (only_other + neither) * (both + only_other) * (only_one + neither)
    )
    product = both * neither - only_one * only_other
    if product > n / 2:
        product -= n / 2
    elif product >= 0:
        product = 0
    phi = product / np.sqrt(margins) if margins else 0.0
    below, above = (p - p_low, q_high - q), (p_high - p, q - q_low)
    low = p - q - np.sqrt(below[0] ** 2 - 2 * phi * below[0] * below[1] + below[1] ** 2)
    high = p - q + np.sqrt(above[0] ** 2 - 2 * phi * above[0] * above[1] + above[1] ** 2)
    return {"value": p - q, "low": float(max(low, -1.0)), "high": float(min(high, 1.0))}


def view_scores(study: Study, info: dict[str, Any]) -> str:
    """The study's result."""
    scores = score_study(study)
    rows = []
    for name in ("sensitivity", "specificity"):
        found = scores[name]
        cells = "".join(f"<td>{_interval(found[who])}</td>" for who in ("alone", "after", "model"))
        effect = found["effect"]
        words = (
            "–"
            if effect is None
            else (
                f"{100 * effect['value']:+.0f} points ({100 * effect['low']:+.0f} to"
                f" {100 * effect['high']:+.0f})"
            )
        )
        rows.append(
            f"<tr><th scope='row'>{name} ({found['films']}"
            f" film{'' if found['films'] == 1 else 's'})</th>{cells}<td>{words}</td></tr>"
        )
    return (
        f"<section aria-label='Result of the study'><h2>Your study: {len(study.readings)}"
        " films</h2><div class='ra-scroll' tabindex='0' role='region' aria-label='Table of"
        " scores'><table><thead><tr><th scope='col'>Score</th><th scope='col'>You alone</th><th"
        " scope='col'>You after the answer</th><th scope='col'>The model</th><th"
        " scope='col'>Effect of the"
        f" answer</th></tr></thead><tbody>{''.join(rows)}</tbody></table></div><p>The model's"
        f" answer moved you to the right answer {scores['helped']} times, and to the wrong one"
        f" {scores['harmed']} times.</p><p class='ra-small'>{escape(info['title'])}. One film a"
        " patient; intervals 95 %. An interval that holds 0 leaves open whether there is an"
        f" effect. You knew that half of the films may be {escape(positive_name(info))}; in a"
        " clinic they are not.</p></section>"
    )


def _interval(found: dict[str, float] | None) -> str:
    return (
        "–"
        if found is None
        else f"{percent(found['value'])} ({percent(found['low'])} to {percent(found['high'])})"
    )


def write_readings(study: Study, info: dict[str, Any]) -> bytes:
    """The study as CSV, UTF-8: one film a row."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["film", "truth", "alone", "after", "model", "probability"])
    name = info["class_names"]
    for number, r in enumerate(study.readings, start=1):
        said = ["" if value is None else name[value] for value in (r.alone, r.after, r.model)]
        writer.writerow(
            [number, name[r.truth], *said, "" if r.probability is None else f"{r.probability:.4f}"]
        )
    return text.getvalue().encode("utf-8")
