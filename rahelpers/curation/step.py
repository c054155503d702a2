"""Curation: any source becomes a manifest, network inputs, a joint table and patient-grouped
splits.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from rahelpers.core.progress import show_progress
from rahelpers.core.store import Run, Step, write_atomically
from rahelpers.core.workers import map_in_order, run_job
from rahelpers.curation.cache import FILM_MODULES, ArrayFile, FilmCache, PairJob
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
    Index,
    Pair,
    find_same_hands,
    join_patients,
    read_pairs,
)
from rahelpers.curation.film import THUMBNAIL, CuratedHand, FilmJob, curate_film
from rahelpers.curation.leak_report import describe_leaks
from rahelpers.curation.splits import split_by_patient
from rahelpers.data.sources.film import JOINT_COLUMNS
from rahelpers.data.sources.registry import SourceFilm, list_films, source_fingerprint

CURATE_KEYS = (
    "source",
    "seed",
    "n_patients",
    "spectrum",
    "image_size",
    "task",
    "test_fraction",
    "validation_fraction",
    "images",
    "table",
    "id_column",
    "file_column",
    "patient_column",
    "label_column",
    "positive",
    "laterality_column",
    "age_column",
    "sex_column",
    "centre_column",
    "external_centre",
    "stratify_centre",
    "boxes",
    "max_films",
)
PORTION = 128  # films between two looks at the cache
GALLERY = 240  # thumbnails of films with a finding


def curate(run: Run) -> Cohort:
    """Step 01: read the source, fit every hand into the network's square, find duplicates, split by
    patient, write everything down.

    Films that were curated before, from the same content at the same size, come out of a cache
    beside the runs. Memory does not grow with the number of pixels read: pictures go to disk as
    they come.

    Raises
    ------
    ValueError
        If too few patients of a class remain, or anything stands in two splits.
    """
    config = run.config
    run.save_config()
    step = run.step("curate", config.subset(*CURATE_KEYS), source_fingerprint(config))
    if not step.is_done():
        _curate(run, step)
    return load_cohort(run)


def _curate(run: Run, step: Step) -> None:
    config = run.config
    films = list_films(config)
    # every phantom patient is drawn anew: nobody stands there under two names, and hands from one
    # template are more alike than people's
    cache = FilmCache(
        run.folder.parent / ".cache" / "films",
        config.image_size,
        with_fingerprint=config.source != "phantom",
    )
    desk = _Desk(step.partial())
    for key, hands in show_progress(
        _read_films(films, cache, config.dask), "reading films", len(films)
    ):
        for hand in hands:
            desk.take(hand, key, config.source)
    if not desk.rows:
        raise ValueError(
            "no film could be used; the first reason:"
            f" {desk.excluded[0]['reason'] if desk.excluded else 'the source is empty'}"
        )
    manifest = pd.DataFrame(desk.rows)
    pairs = (
        _find_pairs(cache, manifest, desk)
        if cache.with_fingerprint
        else pd.DataFrame(columns=PAIR_COLUMNS)
    )
    copies = pd.DataFrame(desk.copies, columns=PAIR_COLUMNS)
    pairs = pd.concat([copies, pairs], ignore_index=True) if len(copies) else pairs
    manifest = _join_patients(manifest, pairs, desk)
    try:
        manifest["split"] = split_by_patient(
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
        lost = (
            f"; {len(desk.excluded)} films were left out, the first because:"
            f" {desk.excluded[0]['reason']}"
            if desk.excluded
            else ""
        )
        raise ValueError(f"{error}{lost}") from None
    manifest = check_manifest(manifest[list(MANIFEST_SCHEMA.columns)])
    tables = {
        "manifest": manifest,
        "joints": (
            pd.concat(desk.joints, ignore_index=True)
            if desk.joints
            else pd.DataFrame(columns=JOINT_COLUMNS)
        ),
        "quality": pd.DataFrame(desk.quality, columns=QUALITY_COLUMNS),
        "pairs": pairs,
        "excluded": pd.DataFrame(desk.excluded, columns=["image_id", "reason"]),
    }
    for name, table in tables.items():
        step.write(f"{name}.csv", lambda p, t=table: t.to_csv(p, index=False))
    step.write(
        "gallery.npy",
        lambda p: np.save(
            p,
            (
                np.stack(desk.thumbnails)
                if desk.thumbnails
                else np.zeros((0, THUMBNAIL, THUMBNAIL), np.uint8)
            ),
        ),
    )
    desk.move_pictures(step.folder)
    values = pd.Series([row.get("label_value") for row in desk.rows], dtype=object)
    step.write(
        "datasheet.md",
        lambda p: p.write_text(describe_cohort(config, tables, values), encoding="utf-8"),
    )
    images = np.load(step.folder / "images.npy", mmap_mode="r")
    step.write(
        "leaks.html",
        lambda p: p.write_text(describe_leaks(config, manifest, pairs, images), encoding="utf-8"),
    )
    step.finish()


def _read_films(
    films: Sequence[SourceFilm], cache: FilmCache, dask: str
) -> Iterator[tuple[str, list[CuratedHand]]]:
    """Every film's key in the cache, and its hands, in order. Of each portion, workers do what the
    cache lacks; then all is read from the cache.
    """
    for start in range(0, len(films), PORTION):
        portion = films[start : start + PORTION]
        keys = [cache.key(film) for film in portion]
        missing = [i for i, key in enumerate(keys) if key and not cache.has(key)]
        jobs = [FilmJob(portion[i], cache.size, cache.with_fingerprint) for i in missing]
        for i, packed in zip(missing, map_in_order(run_job, jobs, dask, FILM_MODULES), strict=True):
            cache.put(keys[i], packed)
        for film, key in zip(portion, keys, strict=True):
            hands = cache.get(key) if key else curate_film(film, cache.size, cache.with_fingerprint)
            yield key, [replace(hand, row=hand.row | _own(film.row, hand.row)) for hand in hands]


def _own(row: dict, read: dict) -> dict:
    """What the table says of a film today: the cache may know the same pixels under another name. A
    hand keeps its part's name.
    """
    part = f"_{read['part']}" if read.get("part") else ""
    return row | {"image_id": f"{row['image_id']}{part}"}


def _find_pairs(cache: FilmCache, manifest: pd.DataFrame, desk: _Desk) -> pd.DataFrame:
    """Films that show one hand; a cohort whose films and patients have not changed was looked
    through before.
    """
    parts = manifest["part"].tolist()
    described = json.dumps(
        [desk.keys, parts, manifest[["image_id", "patient_id"]].to_numpy().tolist()]
    )
    file = cache.folder / "pairs" / f"{hashlib.sha256(described.encode()).hexdigest()}.csv"

    def count(pairs: list[Pair]) -> Iterator[int]:
        jobs = [
            PairJob(cache, (desk.keys[a], parts[a]), (desk.keys[b], parts[b]), mirrored)
            for a, b, mirrored in pairs
        ]
        return map_in_order(run_job, jobs)

    if not file.exists():
        found = find_same_hands(manifest, desk.index, count)
        write_atomically(file, lambda path: found.to_csv(path, index=False))
    return read_pairs(file)


class _Desk:
    """Where curated hands are sorted: used ones into rows and pictures on disk, others into the
    list of the excluded.
    """

    def __init__(self, folder: Path) -> None:
        self.rows: list[dict] = []
        self.keys: list[str] = []
        self.joints: list[pd.DataFrame] = []
        self.excluded: list[dict] = []
        self.quality: list[dict] = []
        self.thumbnails: list[np.ndarray] = []
        self.index = Index([], [], [], [])
        self.seen: dict[tuple[str, str], dict] = {}
        self.copies: list[
            tuple
        ] = []  # of one file under two patients' names, as rows of PAIR_COLUMNS
        self.pictures = {
            name: ArrayFile(folder / f"{name}.npy") for name in ("images", "lesions", "signs")
        }

    def take(self, hand: CuratedHand, key: str, source: str) -> None:
        """Sort one hand."""
        name, reason = hand.row["image_id"], hand.reason
        first = self.seen.get((hand.row["sha256"], hand.row.get("part", "")))
        if not reason and first is not None:
            reason = _same_content(hand.row, first)
            if hand.row["patient_id"] != first["patient_id"]:
                self.copies.append(
                    (
                        first["image_id"],
                        first["patient_id"],
                        name,
                        hand.row["patient_id"],
                        0,
                        0,
                        "same file",
                    )
                )
        for finding in hand.findings:
            self.quality.append(
                {"image_id": name}
                | dataclasses.asdict(finding)
                | {"picture": self._keep(hand.thumbnail)}
            )
        if reason:
            self.excluded.append({"image_id": name, "reason": reason})
            return
        self.seen[hand.row["sha256"], hand.row["part"]] = hand.row
        self.keys.append(key)
        self.pictures["images"].append(hand.image)
        for mask in ("lesions", "signs"):
            if getattr(hand, mask) is not None:
                self.pictures[mask].append(getattr(hand, mask))
        if hand.joints is not None:
            self.joints.append(hand.joints.assign(image_id=name)[JOINT_COLUMNS])
        if hand.fingerprint is not None:
            self.index.add(hand.fingerprint)
        self.rows.append(
            hand.row
            | {
                "source": source,
                "action": hand.findings[0].action if hand.findings else "keep",
                "reason": "; ".join(f.words for f in hand.findings),
            }
        )

    def _keep(self, thumbnail: np.ndarray | None) -> int:
        """Number of the thumbnail in the gallery; -1 beyond its size."""
        if thumbnail is None or len(self.thumbnails) >= GALLERY:
            return -1
        self.thumbnails.append(thumbnail)
        return len(self.thumbnails) - 1

    def move_pictures(self, folder: Path) -> None:
        """Put the finished arrays into the step's folder; masks only where every film has one."""
        for name, file in self.pictures.items():
            file.close()
            if len(file) == len(self.rows):
                os.replace(file.path, folder / f"{name}.npy")


def _same_content(row: dict, first: dict) -> str:
    differing = (
        f", whose label is {first['label']} and not {row['label']}"
        if row.get("label") != first.get("label")
        else ""
    )
    other = (
        f" of patient {first['patient_id']}"
        if row.get("patient_id") != first.get("patient_id")
        else ""
    )
    return f"same content as {first['image_id']}{other}{differing}"


def _join_patients(manifest: pd.DataFrame, pairs: pd.DataFrame, desk: _Desk) -> pd.DataFrame:
    """Patients who share a file or a hand become one, and every film of theirs says so."""
    joined = join_patients(manifest["patient_id"], pairs)
    rows = {row.image_id: row for row in manifest.itertuples()}
    words: dict[str, list[str]] = {name: [] for name in rows}
    for pair in pairs[pairs["verdict"] == "same hand"].itertuples():
        for name, other in ((pair.image_a, pair.image_b), (pair.image_b, pair.image_a)):
            differing = (
                ""
                if rows[name].label == rows[other].label
                else f"; its label is {rows[other].label}, here {rows[name].label}"
            )
            words[name].append(
                f"shows the same hand as {other} of patient {rows[other].patient_id}"
                f" ({pair.details} details alike){differing}"
            )
    for row, one in zip(manifest.itertuples(), joined, strict=True):
        if one != row.patient_id:
            words[row.image_id].append(
                f"patient {row.patient_id} counts as {one}, because a film of theirs is one hand"
            )
    desk.quality += [
        {
            "image_id": name,
            "check": "same hand",
            "action": "fix",
            "value": 1,
            "limit": 1,
            "words": one,
            "picture": -1,
        }
        for name, found in words.items()
        for one in found
    ]
    said = manifest["image_id"].map(lambda name: "; ".join(words[name]))
    return manifest.assign(
        patient_id=joined,
        action=manifest["action"].where(said == "", "fix"),
        reason=[
            "; ".join(filter(None, both)) for both in zip(manifest["reason"], said, strict=True)
        ],
    )
