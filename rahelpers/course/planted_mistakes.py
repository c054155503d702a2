"""The exercise of notebook 01: mistakes planted into a few films of the run's own source, to be
found with the tools.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import pandas as pd

from rahelpers.core.config import RunConfig
from rahelpers.curation.duplicates import (
    SAME_HAND,
    Index,
    count_shared_details,
    find_same_hands,
    fingerprint_of,
)
from rahelpers.data.sources.registry import list_films
from rahelpers.films.normalisation import to_network_input
from rahelpers.films.quality import check_film
from rahelpers.films.radiograph import Radiograph

FILMS = 10
TRIES = 60  # films that are looked at, at most
SIDE = 96  # pixels: enough to find a hand
CUT = 0.04  # of each side, taken off the copy


@dataclass(frozen=True)
class Planted:
    """A small cohort with three mistakes in it.

    Attributes
    ----------
    films : dict
        Name -> Radiograph.
    manifest : DataFrame
        image_id, patient_id, split, sha256 of each film, as a careless colleague wrote them.
    solution : dict
        Mistake -> what is right: 'inverted' and 'duplicate' name a film each (the duplicate either
        of the two), 'leak' names a patient.
    """

    films: dict[str, Radiograph]
    manifest: pd.DataFrame
    solution: dict[str, tuple[str, ...]]

    def mark(self, answer: Mapping[str, str]) -> str:
        """The reply to an answer: mistake -> film or patient."""
        lines = []
        for mistake, right in self.solution.items():
            given = str(answer.get(mistake, "")).strip()
            what = "patient" if mistake == "leak" else "film"
            verdict = (
                "right"
                if given in right
                else f"not {given}: {HINTS[mistake]}"
                if given
                else f"name a {what}"
            )
            lines.append(f"{mistake}: {verdict}")
        return "\n".join(lines)


HINTS = {
    "inverted": "look for the film on which bone is darker than the flesh, or ask check_film",
    "duplicate": (
        "look for one hand under two patients' names, mirrored or not, or ask compare_films"
    ),
    "leak": "look for a patient who stands in two splits, or ask find_leaks",
}


def plant_mistakes(config: RunConfig) -> Planted:
    """Take ten good films of different patients, and plant a duplicate, a leak and an inverted
    film.

    The duplicate is mirrored, cropped and exposed anew, under another patient's name. The leak is a
    patient with a film in train and one in test.

    Raises
    ------
    ValueError
        If the source has too few good films.
    """
    rng = np.random.default_rng(config.seed)
    good = _good_films(config)
    names = [f"film {chr(ord('A') + i)}" for i in range(FILMS)]
    inverted, original, copy, leak, twin = rng.choice(FILMS, 5, replace=False)
    images = list(good)
    images[inverted] = replace(good[inverted], image=1 - good[inverted].image)
    images[copy] = _spoilt_copy(good[original])
    patients = [f"{i + 1:02d}" for i in range(FILMS)]
    patients[twin] = patients[leak]
    splits = rng.permutation(["train"] * 6 + ["validation"] * 2 + ["test"] * 2)
    splits[[leak, twin]] = "train", "test"
    manifest = pd.DataFrame(
        {
            "image_id": names,
            "patient_id": patients,
            "split": splits,
            "sha256": [hashlib.sha256(film.image.tobytes()).hexdigest() for film in images],
        }
    )
    solution = {
        "inverted": (names[inverted],),
        "duplicate": (names[original], names[copy]),
        "leak": (patients[leak],),
    }
    return Planted(dict(zip(names, images, strict=True)), manifest, solution)


def _good_films(config: RunConfig) -> list[Radiograph]:
    """Films of different patients whose mistakes the tools can find: nine of ten inverted films are
    found, and an exercise needs one of them.
    """
    found: list[Radiograph] = []
    seen: set[str] = set()
    for film in list_films(config)[:TRIES]:
        item = film.read()
        if item.radiograph is None or item.row["patient_id"] in seen:
            continue
        bare = replace(item.radiograph, laterality="")
        again = to_network_input(replace(bare, image=1 - bare.image), SIDE)
        one, copy = (
            fingerprint_of(f, to_network_input(f, SIDE)) for f in (bare, _spoilt_copy(bare))
        )
        if (
            not to_network_input(bare, SIDE).inverted
            and again.inverted
            and count_shared_details(one, copy, mirrored=True) >= SAME_HAND
        ):
            found.append(bare)
            seen.add(item.row["patient_id"])
        if len(found) == FILMS:
            return found
    raise ValueError(
        f"only {len(found)} good films of different patients among the first {TRIES}; the exercise"
        f" needs {FILMS}"
    )


def _spoilt_copy(film: Radiograph) -> Radiograph:
    height, width = film.image.shape
    inside = film.image[
        int(CUT * height) : int((1 - CUT) * height), int(CUT * width) : int((1 - CUT) * width)
    ]
    return replace(film, image=np.ascontiguousarray(inside[:, ::-1] ** np.float32(1.3)))


def compare_films(films: Mapping[str, Radiograph], manifest: pd.DataFrame) -> pd.DataFrame:
    """Pairs of films of different patients that show, or may show, one hand: as `find_same_hands`,
    on films in memory.

    Parameters
    ----------
    films : mapping
        Name -> Radiograph.
    manifest : DataFrame
        image_id (the names) and patient_id.
    """
    prints = [
        fingerprint_of(film, to_network_input(film, SIDE))
        for film in (films[name] for name in manifest["image_id"])
    ]
    index = Index([], [], [], [])
    for one in prints:
        index.add(one)
    return find_same_hands(
        manifest,
        index,
        lambda pairs: [
            count_shared_details(prints[a], prints[b], mirrored) for a, b, mirrored in pairs
        ],
    )


def describe_findings(films: Mapping[str, Radiograph]) -> pd.DataFrame:
    """What quality control says of each film: one finding a row."""
    found = chain.from_iterable(
        ((name, f) for f in check_film(film, to_network_input(film, SIDE)))
        for name, film in films.items()
    )
    return pd.DataFrame(
        [(name, f.check, f.action, f.words) for name, f in found],
        columns=["image_id", "check", "action", "words"],
    )
