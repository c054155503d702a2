"""Step 01, curation: any source becomes a manifest, network inputs, a joint table and splits.

The way of a film: `_read_films` curates it (`film.py`) or finds it in the cache (`cache.py`), and
`_CohortBuilder` keeps it or lists why it cannot be used. `_find_pairs` looks for the same hand
under another patient's name (`duplicates.py`), and `_split` puts its patient into a split
(`splits.py`). `_curate` calls them in this order and writes everything down.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from rahelpers.core.config import RunConfig
from rahelpers.core.progress import show_progress
from rahelpers.core.store import Run, Step, write_text
from rahelpers.core.workers import map_in_order, run_job
from rahelpers.curation.cache import (
    FILM_MODULES,
    ArrayFile,
    FilmCache,
    PairJob,
    read_sealed,
    write_sealed,
)
from rahelpers.curation.cohort import (
    MANIFEST_SCHEMA,
    QUALITY_COLUMNS,
    Cohort,
    check_manifest,
    load_cohort,
)
from rahelpers.curation.datasheet import describe_cohort
from rahelpers.curation.duplicates import (
    PAIR_COLUMNS,
    SAME_HAND,
    FingerprintIndex,
    Pair,
    join_patients,
    judge_pairs,
    read_pairs,
)
from rahelpers.curation.film import THUMBNAIL, CuratedHand, FilmJob, curate_film
from rahelpers.curation.leak_report import describe_leaks
from rahelpers.curation.splits import split_by_patient
from rahelpers.data.sources.film import JOINT_COLUMNS
from rahelpers.data.sources.registry import (
    SourceFilm,
    describe_source,
    list_films,
    source_fingerprint,
)

CURATE_KEYS = (  # the settings that shape a cohort
    *("source", "seed", "n_patients", "spectrum", "image_size", "task"),
    *("test_fraction", "validation_fraction", "images", "table", "id_column", "file_column"),
    *("patient_column", "label_column", "positive", "laterality_column", "age_column"),
    *("sex_column", "centre_column", "external_centre", "stratify_centre", "boxes", "max_films"),
)
PORTION = 128  # films that are looked up in the cache at a time
GALLERY = 240  # at most this many thumbnails of films with a finding


def curate(run: Run) -> Cohort:
    """Step 01: turn the configured source into a cohort.

    Reads every film, fits every hand into the network's square, finds duplicates, splits by patient
    and writes everything down. Films that were curated before, from the same content at the same
    size, come out of a cache next to the runs. Memory does not grow with the number of pixels read,
    because images go to disk one by one.

    Parameters
    ----------
    run : Run

    Returns
    -------
    Cohort

    Raises
    ------
    ValueError
        If too few patients of a class remain, or anything is in two splits.

    Examples
    --------
    The second time, nothing has changed and nothing is done:

    >>> from rahelpers import curate
    >>> cohort = curate(run)
    01_curate: reused, its inputs have not changed.
    >>> len(cohort.manifest), cohort.images.shape[1:]
    (80, (48, 48))
    """
    config = run.config
    run.save_config()
    step = run.step("curate", config.subset(*CURATE_KEYS), source_fingerprint(config))
    if not step.is_done():
        _curate(run, step)
    return load_cohort(run)


def _curate(run: Run, step: Step) -> None:
    config = run.config

    # 1. Read the films. Every phantom patient is a new hand, and hands drawn from one template are
    # more similar than those of people: for the phantom there is no search for pairs.
    cache = FilmCache(
        run.folder.parent / ".cache" / "films",
        config.image_size,
        with_fingerprint=config.source != "phantom",
    )
    films = list_films(config)
    notes = describe_source(config)
    for note in notes:
        print(note)
    read = _read_films(films, cache, config.dask)
    cohort = _CohortBuilder(step.partial(), config.source)
    for key, hands in show_progress(read, "reading films", len(films)):
        for hand in hands:
            cohort.add(hand, key)
    if not cohort.rows:
        raise ValueError(
            "no film could be used; the first reason:"
            f" {cohort.excluded[0]['reason'] if cohort.excluded else 'the source is empty'}"
        )

    # 2. Look for one hand under two patients' names: these patients count as one from here on.
    manifest = pd.DataFrame(cohort.rows)
    pairs = _find_pairs(cache, manifest, cohort)
    manifest, findings = _join_patients(manifest, pairs)

    # 3. Split by patient.
    manifest["split"] = _split(config, manifest, cohort.excluded)

    # 4. Write the tables, the images, and what a person should read.
    tables = {
        "manifest": check_manifest(manifest[list(MANIFEST_SCHEMA.columns)]),
        "joints": pd.concat(cohort.joints or [pd.DataFrame(columns=JOINT_COLUMNS)]),
        "quality": pd.DataFrame([*cohort.quality, *findings], columns=QUALITY_COLUMNS),
        "pairs": pairs,
        "excluded": pd.DataFrame(cohort.excluded, columns=["image_id", "reason"]),
    }
    for name, table in tables.items():
        step.write(f"{name}.csv", partial(table.to_csv, index=False))
    cohort.write_images(step)
    values = pd.Series([row.get("label_value") for row in cohort.rows], dtype=object)
    write_text(step.folder / "datasheet.md", describe_cohort(config, tables, values, notes))
    images = np.load(step.folder / "images.npy", mmap_mode="r")
    leaks = describe_leaks(config, tables["manifest"], pairs, images)
    write_text(step.folder / "leaks.html", leaks)
    step.finish()


# --- 1. reading ---


def _read_films(
    films: Sequence[SourceFilm], cache: FilmCache, dask: str
) -> Iterator[tuple[str, list[CuratedHand]]]:
    """Every film's key in the cache and its hands, in order.

    Of each portion, workers curate the films that the cache lacks; then all films are taken from
    the cache.
    """
    for start in range(0, len(films), PORTION):
        portion = films[start : start + PORTION]
        keys = [cache.key(film) for film in portion]
        missing = [i for i, key in enumerate(keys) if key and not cache.has(key)]
        jobs = [FilmJob(portion[i], cache.size, cache.with_fingerprint) for i in missing]
        for i, packed in zip(missing, map_in_order(run_job, jobs, dask, FILM_MODULES), strict=True):
            cache.put(keys[i], packed)
        for film, key in zip(portion, keys, strict=True):
            # a film without a key is a file that is missing: reading it gives the reason
            hands = cache.get(key) if key else curate_film(film, cache.size, cache.with_fingerprint)
            yield key, [_as_listed(hand, film) for hand in hands]


def _as_listed(hand: CuratedHand, film: SourceFilm) -> CuratedHand:
    """A hand with what the source's table says of its film today.

    The cache may hold the same pixels under another name or label.
    """
    part = hand.row.get("part")
    name = f"{film.row['image_id']}_{part}" if part else film.row["image_id"]
    return replace(hand, row=hand.row | film.row | {"image_id": name})


class _CohortBuilder:
    """Collects curated hands: those in use become rows and images, the others get a reason.

    Parameters
    ----------
    folder : Path
        For images while they are being written.
    source : str
    """

    def __init__(self, folder: Path, source: str) -> None:
        self.source = source
        # of the hands in use, in their order
        self.rows: list[dict] = []
        self.keys: list[str] = []  # of their films in the cache
        self.joints: list[pd.DataFrame] = []
        self.index = FingerprintIndex()
        self.images = {
            name: ArrayFile(folder / f"{name}.npy") for name in ("images", "lesions", "signs")
        }
        # of all hands
        self.excluded: list[dict] = []
        self.quality: list[dict] = []
        self.thumbnails: list[np.ndarray] = []
        # the first hand with each content, and copies of it that another patient has
        self.first: dict[tuple[str, str], dict] = {}
        self.copies: list[tuple] = []  # rows of PAIR_COLUMNS

    def add(self, hand: CuratedHand, key: str) -> None:
        """Add one hand of the film with this key in the cache."""
        name = hand.row["image_id"]
        for finding in hand.findings:
            picture = {"picture": self._keep_thumbnail(hand.thumbnail)}
            self.quality.append({"image_id": name} | dataclasses.asdict(finding) | picture)
        reason = hand.reason or self._find_copy(hand.row)
        if reason:
            self.excluded.append({"image_id": name, "reason": reason})
            return

        # the hand is used
        self.first[hand.row["sha256"], hand.row["part"]] = hand.row
        self.keys.append(key)
        for field, file in (("image", "images"), ("lesions", "lesions"), ("signs", "signs")):
            array = getattr(hand, field)
            if array is not None:
                self.images[file].append(array)
        if hand.joints is not None:
            self.joints.append(hand.joints.assign(image_id=name)[JOINT_COLUMNS])
        if hand.fingerprint is not None:
            self.index.add(hand.fingerprint)
        action = hand.findings[0].action if hand.findings else "keep"
        words = "; ".join(finding.words for finding in hand.findings)
        self.rows.append(hand.row | {"source": self.source, "action": action, "reason": words})

    def _find_copy(self, row: dict) -> str:
        """The reason to leave out a hand if an earlier file has the same content; else ''."""
        first = self.first.get((row["sha256"], row.get("part", "")))
        if first is None:
            return ""
        reason = f"same content as {first['image_id']}"
        if row["patient_id"] != first["patient_id"]:
            names = [film[key] for film in (first, row) for key in ("image_id", "patient_id")]
            self.copies.append((*names, 0, 0, "same file"))
            reason += f" of patient {first['patient_id']}"
        if row["label"] != first["label"]:
            reason += f", whose label is {first['label']} and not {row['label']}"
        return reason

    def _keep_thumbnail(self, thumbnail: np.ndarray | None) -> int:
        """Number of the thumbnail in the gallery; -1 where the gallery is full."""
        if thumbnail is None or len(self.thumbnails) >= GALLERY:
            return -1
        self.thumbnails.append(thumbnail)
        return len(self.thumbnails) - 1

    def write_images(self, step: Step) -> None:
        """Put the arrays into the step's folder; masks only if every hand has one."""
        for name, file in self.images.items():
            file.close()
            if len(file) == len(self.rows):
                os.replace(file.path, step.folder / f"{name}.npy")
        gallery = np.array(self.thumbnails, np.uint8).reshape(-1, THUMBNAIL, THUMBNAIL)
        step.write("gallery.npy", lambda p: np.save(p, gallery))


# --- 2. one hand under two names ---


def _find_pairs(cache: FilmCache, manifest: pd.DataFrame, cohort: _CohortBuilder) -> pd.DataFrame:
    """Pairs of films that are one file, or (may) show one hand, under two patients' names.

    The result for a cohort whose films and patients have not changed comes out of the cache.
    """
    copies = pd.DataFrame(cohort.copies, columns=PAIR_COLUMNS)
    if not cache.with_fingerprint:
        return copies
    parts = manifest["part"].tolist()
    names = manifest[["image_id", "patient_id"]].to_numpy().tolist()
    searched = json.dumps([cohort.keys, parts, names])
    file = cache.folder / "pairs" / f"{hashlib.sha256(searched.encode()).hexdigest()}.csv"

    def count(pairs: list[Pair]) -> Iterator[int]:
        jobs = [
            PairJob(cache, (cohort.keys[a], parts[a]), (cohort.keys[b], parts[b]), mirrored)
            for a, b, mirrored in pairs
        ]
        return map_in_order(run_job, jobs)

    text = read_sealed(file)
    if text is None:
        text = judge_pairs(manifest, cohort.index, count).to_csv(index=False).encode()
        write_sealed(file, text)
    pairs = read_pairs(io.BytesIO(text))
    return pd.concat([copies, pairs], ignore_index=True) if len(copies) else pairs


def _join_patients(manifest: pd.DataFrame, pairs: pd.DataFrame) -> tuple[pd.DataFrame, list[dict]]:
    """Patients who share a file or a hand become one, and every film of theirs says so.

    Returns
    -------
    manifest : DataFrame
        With the joined patients, and what was done in `action` and `reason`.
    findings : list of dict
        The same as rows of the quality table.
    """
    joined = join_patients(manifest["patient_id"], pairs)
    words: dict[str, list[str]] = {name: [] for name in manifest["image_id"]}

    # the two films of a pair name each other
    rows = {row.image_id: row for row in manifest.itertuples()}
    for pair in pairs[pairs["verdict"] == "same hand"].itertuples():
        for name, other in ((pair.image_a, pair.image_b), (pair.image_b, pair.image_a)):
            one, two = rows[name], rows[other]
            differing = f"; its label is {two.label}, here {one.label}"
            palm = "" if pair.details >= SAME_HAND else ", nearly the same palm"
            words[name].append(
                f"shows the same hand as {other} of patient {two.patient_id}"
                f" ({pair.details} shared details{palm})"
                f"{differing if one.label != two.label else ''}"
            )

    # all films of a patient with a new name say whose name it is
    for row, new in zip(manifest.itertuples(), joined, strict=True):
        if new != row.patient_id:
            words[row.image_id].append(
                f"patient {row.patient_id} counts as {new}, because they share a film or a hand"
            )

    finding = {"check": "same hand", "action": "fix", "value": 1, "limit": 1, "picture": -1}
    findings = [
        {"image_id": name, "words": one} | finding for name, found in words.items() for one in found
    ]
    said = manifest["image_id"].map(lambda name: "; ".join(words[name]))
    reasons = zip(manifest["reason"], said, strict=True)
    manifest = manifest.assign(
        patient_id=joined,
        action=manifest["action"].where(said == "", "fix"),
        reason=["; ".join(filter(None, both)) for both in reasons],
    )
    return manifest, findings


# --- 3. splits ---


def _split(config: RunConfig, manifest: pd.DataFrame, excluded: list[dict]) -> np.ndarray:
    """The split of every film; an error says how many films were left out before."""
    try:
        return split_by_patient(
            manifest["patient_id"],
            manifest["label"],
            config.test_fraction,
            config.validation_fraction,
            config.seed,
            centres=manifest["centre"],
            external=config.external_centre,
            by_centre=config.stratify_centre,
        )
    except ValueError as error:
        if not excluded:
            raise
        raise ValueError(
            f"{error}; {len(excluded)} films were left out, the first because:"
            f" {excluded[0]['reason']}"
        ) from None
