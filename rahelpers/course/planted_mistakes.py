"""The exercise of notebook 01: mistakes planted in a few films, which the student finds.

The films are those of the run's own source; where these are too few, or unlike hands, they are
drawn, and the title says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import pandas as pd

from rahelpers.core.config import RunConfig, make_config
from rahelpers.curation.duplicates import (
    SAME_HAND,
    count_shared_details,
    find_same_hands,
    fingerprint_of,
)
from rahelpers.data.sources.registry import list_films
from rahelpers.films.normalisation import NetworkInput, to_network_input
from rahelpers.films.quality import check_film
from rahelpers.films.radiograph import Radiograph

FILMS = 10
TRIES = 60  # at most this many films are examined
SIDE = 96  # pixels: enough to find a hand
CUT = 0.04  # share that is cropped from each side of the copy
GAMMA = np.float32(1.3)  # of the copy's exposure
HINTS = {
    "inverted": "look for the film on which bone is darker than soft tissue, or use check_film",
    "duplicate": (
        "look for one hand under two patients' names, mirrored or not, or use compare_films"
    ),
    "leak": "look for a patient who appears in two splits, or use find_leaks",
}


@dataclass(frozen=True)
class Planted:
    """A small cohort with three mistakes in it.

    Attributes
    ----------
    films : dict
        Name -> Radiograph.
    manifest : DataFrame
        image_id, patient_id, split, sha256 of each film, as written by a careless colleague.
    solution : dict
        Mistake -> the right answers: 'inverted' and 'duplicate' name films (for the duplicate
        either of the two is right), 'leak' names a patient.
    title : str
        Task and source of the films.

    Examples
    --------
    >>> planted = Planted({}, pd.DataFrame(), {"inverted": ("film C",), "leak": ("03",)}, "drawn")
    >>> print(planted.mark({"inverted": "film C", "leak": []}))
    inverted: right
    leak: name a patient
    """

    films: dict[str, Radiograph]
    manifest: pd.DataFrame
    solution: dict[str, tuple[str, ...]]
    title: str

    def mark(self, answer: Mapping[str, str | Iterable[str]]) -> str:
        """Reply to an answer: mistake -> film or patient; of several, the first counts."""
        lines = []
        for mistake, right in self.solution.items():
            said = answer.get(mistake, "")
            given = str(said if isinstance(said, str) else next(iter(said), "")).strip()
            if not given:
                verdict = "name a patient" if mistake == "leak" else "name a film"
            else:
                verdict = "right" if given in right else f"not {given}: {HINTS[mistake]}"
            lines.append(f"{mistake}: {verdict}")
        return "\n".join(lines)


def plant_mistakes(config: RunConfig) -> Planted:
    """Plant a duplicate, a leak and an inverted film among ten good films of different patients.

    The duplicate is mirrored, cropped and brightened or darkened, under another patient's name. The
    leak is a patient with one film in train and one in test. Where the source has too few films on
    which the tools find such mistakes (wrists, for example), the films are drawn.

    Examples
    --------
    It reads some twenty films, which takes a few seconds:

    >>> from rahelpers import course
    >>> planted = course.plant_mistakes(run.config)  # doctest: +SKIP
    >>> len(planted.films), sorted(planted.solution)  # doctest: +SKIP
    (10, ['duplicate', 'inverted', 'leak'])
    """
    # which film gets which mistake
    rng = np.random.default_rng(config.seed)
    good, title = _good_films(config), config.title
    if len(good) < FILMS:
        drawn = make_config(seed=config.seed)
        print(
            f"Only {len(good)} of the first {TRIES} films of this source suit the exercise, which"
            f" needs {FILMS} of different patients: its films are drawn."
        )
        good, title = _good_films(drawn), drawn.title
    names = [f"film {chr(ord('A') + i)}" for i in range(FILMS)]
    inverted, original, copy, leak, twin = rng.choice(FILMS, 5, replace=False)

    # the duplicate and the inverted film
    images = list(good)
    images[inverted] = replace(good[inverted], image=1 - good[inverted].image)
    images[copy] = _altered_copy(good[original])

    # the leak: one patient in train and in test
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
    return Planted(dict(zip(names, images, strict=True)), manifest, solution, title)


def _good_films(config: RunConfig) -> list[Radiograph]:
    """Films of different patients, on which the tools find a planted mistake; at most `FILMS`.

    The tools find nine of ten inverted films; the exercise must use one of those.
    """
    found: list[Radiograph] = []
    patients: set[str] = set()
    for film in list_films(config)[:TRIES]:
        item = film.read()
        if item.radiograph is None or item.row["patient_id"] in patients:
            continue
        bare = replace(item.radiograph, laterality="")
        negative = replace(bare, image=1 - bare.image)
        seen, inverted = (to_network_input(one, SIDE) for one in (bare, negative))
        if inverted.inverted and not seen.inverted and _copy_is_found(bare, seen):
            found.append(bare)
            patients.add(item.row["patient_id"])
        if len(found) == FILMS:
            return found
    return found


def _copy_is_found(film: Radiograph, seen: NetworkInput) -> bool:
    copy = _altered_copy(film)
    prints = fingerprint_of(film, seen), fingerprint_of(copy, to_network_input(copy, SIDE))
    return count_shared_details(*prints, mirrored=True) >= SAME_HAND


def _altered_copy(film: Radiograph) -> Radiograph:
    rows, columns = (slice(int(CUT * n), int((1 - CUT) * n)) for n in film.image.shape)
    mirrored = film.image[rows, columns][:, ::-1]
    return replace(film, image=np.ascontiguousarray(mirrored**GAMMA))


def compare_films(films: Mapping[str, Radiograph], manifest: pd.DataFrame) -> pd.DataFrame:
    """Find pairs of films of different patients that show, or may show, the same hand.

    Like `rahelpers.curation.find_same_hands`, but for films whose fingerprints are not known yet.

    Parameters
    ----------
    films : mapping
        Name -> Radiograph.
    manifest : DataFrame
        image_id (the names) and patient_id.

    Returns
    -------
    DataFrame
        See `rahelpers.curation.find_same_hands`.

    Examples
    --------
    >>> import pandas as pd
    >>> from rahelpers import Radiograph, course, phantom
    >>> film = phantom.render(phantom.make_patient(7, 0), "L", 128).image
    >>> films = {"A": Radiograph(film), "B": Radiograph(film[:, ::-1].copy())}  # B is mirrored
    >>> manifest = pd.DataFrame({"image_id": ["A", "B"], "patient_id": ["1", "2"]})
    >>> course.compare_films(films, manifest)[["image_a", "image_b", "verdict"]].to_dict("records")
    [{'image_a': 'A', 'image_b': 'B', 'verdict': 'same hand'}]
    """
    listed = [films[name] for name in manifest["image_id"]]
    prints = [fingerprint_of(film, to_network_input(film, SIDE)) for film in listed]
    return find_same_hands(manifest, prints)


def describe_findings(films: Mapping[str, Radiograph]) -> pd.DataFrame:
    """List what quality control says about some films: one row per finding.

    Parameters
    ----------
    films : mapping
        Name -> Radiograph.

    Returns
    -------
    DataFrame
        image_id, check, action, words.

    Examples
    --------
    >>> from rahelpers import Radiograph, course, phantom
    >>> film = phantom.render(phantom.make_patient(7, 0), "L", 128).image
    >>> films = {"A": Radiograph(film), "B": Radiograph(1 - film)}
    >>> course.describe_findings(films)[["image_id", "check"]].to_dict("records")
    [{'image_id': 'B', 'check': 'inverted'}]
    """
    found = chain.from_iterable(
        ((name, f) for f in check_film(film, to_network_input(film, SIDE)))
        for name, film in films.items()
    )
    return pd.DataFrame(
        [(name, f.check, f.action, f.words) for name, f in found],
        columns=["image_id", "check", "action", "words"],
    )
