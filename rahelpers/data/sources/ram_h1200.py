"""RAM-H1200: whole hands with SvdH scores, bone masks and erosion masks (arXiv 2605.05616).

File names, score keys and category names are those that the authors' benchmark code reads
(github.com/YSongxiao/RAM-H1200). We have not seen the headers of `Metadata.xlsx` beyond the four
that public code reads: they are looked up by several names, and never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from rahelpers.core.config import RunConfig, dataset_folder
from rahelpers.data.sources.coco import (
    Box,
    CocoFilm,
    box_of,
    read_coco,
    read_json,
    to_run_lengths,
)
from rahelpers.data.sources.film import CORNERS, FilmFile
from rahelpers.data.sources.public import (
    OFFICIAL_SPLITS,
    Dataset,
    bare_stem,
    joint_tables,
    make_films,
    read_metadata,
    require_folder,
    side_of,
    split_notes,
    sum_of_scores,
    unread_notes,
)
from rahelpers.data.sources.walk import find_files, listing_hash
from rahelpers.films.sites import EROSION_SITES, JSN_SITES

NAME = "ram-h1200"
LAYOUT = ("Metadata.xlsx", "Segmentation", "SvdH_Scoring/SvdH_BE_Scoring")
REQUIRED = {
    "stem": ("Mapped Image Stem",),
    "patient_id": ("Normalized PatientID",),
    "is_ra": ("isRA",),
    "sex": ("Sex", "PatientSex"),
}
OPTIONAL = {"age": ("Age", "PatientAge"), "centre": ("InstitutionName", "Institution")}
FILM_NAME = re.compile(
    r"(?P<country>[A-Z]{2})_(?P<centre>[^_]+)_(?P<patient>[^_]+)_(?P<date>\d{8})_(?P<study>[^_]+)_[LR]",
    re.IGNORECASE,
)


# --- their names for our sites ---

BONE_NAMES = {"Trapezium": "Tm", "Scaphoid": "S", "Lunate": "L", "Radius": "R", "Ulna": "U"}
FINGER_LETTERS = {"1": "T", "2": "I", "3": "M", "4": "R", "5": "S"}  # thumb, index, … small


def their_name(site: str) -> str:
    """RAM-H1200's name of an SvdH site.

    The ray is a letter (MCP2 -> MCP-I), bones are abbreviated (Lunate -> L), and the other joints
    of the wrist have our names.
    """
    if site == "IP1":  # the thumb's only interphalangeal joint needs no letter
        return "IP"
    if site[-1] in FINGER_LETTERS:
        return f"{site[:-1]}-{FINGER_LETTERS[site[-1]]}"
    return BONE_NAMES.get(site, site)


# their name -> ours
EROSION_NAMES = {their_name(site): site for site in EROSION_SITES}
JSN_NAMES = {their_name(site): site for site in JSN_SITES}


class ScoreFiles(NamedTuple):
    """Where the scores of one kind are, and what they may be."""

    folder: str
    file: str
    prefix: str  # of the keys
    sites: dict[str, str]  # their name -> ours
    highest: int  # grade


SCORES = {
    "erosion": ScoreFiles("SvdH_BE_Scoring", "_annotation_be_scores.json", "BE_", EROSION_NAMES, 5),
    "jsn": ScoreFiles("SvdH_JSN_Scoring", "_annotation_jsn_scores.json", "JSN_", JSN_NAMES, 4),
}

# --- the bones of a site ---

# The two bones that meet in a joint, or the one bone that a site is. Bones joined by '+' count as
# one.
_FINGER_BONES = {f"MCP{n}": (f"MC{n}", f"PP{n}") for n in range(1, 6)} | {
    f"PIP{n}": (f"PP{n}", f"MP{n}") for n in range(2, 6)
}
SITE_BONES: dict[str, tuple[str, ...]] = _FINGER_BONES | {
    "IP1": ("PP1", "DP1"),
    "CMC1": ("MC1", "Trapezium"),
    "CMC3": ("MC3", "Capitate"),
    "CMC4": ("MC4", "Hamate"),
    "CMC5": ("MC5", "Hamate"),
    "STT": ("Scaphoid", "Trapezium+Trapezoid"),
    "SC": ("Scaphoid", "Capitate"),
    "SR": ("Scaphoid", "Radius"),
    "Radius": ("Radius", "Scaphoid+Lunate"),
    "Ulna": ("Ulna", "Pisifrom_Triquetrum"),  # the misspelling is theirs
    "Trapezium": ("Trapezium",),
    "Scaphoid": ("Scaphoid",),
    "Lunate": ("Lunate",),
}
BONES = {bone for bones in SITE_BONES.values() for one in bones for bone in one.split("+")}
# Only erosions at SvdH sites: the label is made from SvdH scores, so an erosion elsewhere
# (Non-SvdH-BE) does not make a film erosive. Both 90 and 50 are used, because the authors train on
# both; we have not seen what the numbers mean.
LESION_CLASSES = ("SvdH-BE-90", "SvdH-BE-50")
# Side of a joint's box in widths of the narrower bone: contains the joint space and both bone ends.
# An assumption.
BOX_SCALE = 1.3


def list_films(config: RunConfig) -> list[FilmFile]:
    """One film per picture under `Segmentation/`, and one per scored hand without a picture."""
    folder = dataset_folder(config)
    return make_films(read_dataset(folder), folder, config)


def fingerprint(config: RunConfig) -> dict[str, str]:
    """Hash of names, sizes and times of films and tables.

    The crops of single joints are not read, so they do not count.
    """
    folder = dataset_folder(config)
    require_folder(folder, NAME, LAYOUT)
    tables = [
        p
        for p in find_files(folder, (".json", ".xlsx"))[0]
        if not p.relative_to(folder.resolve()).parts[0].startswith(".")
    ]
    return {
        "images": listing_hash(
            [*find_files(folder / "Segmentation", (".bmp",))[0], *tables], folder.resolve()
        )
    }


def read_dataset(folder: Path) -> Dataset:
    """Read metadata, scores and annotations, and join them by the film's stem.

    The authors' split only fills the column `official_split`: some patients are in two parts of it.

    Label columns: `erosive` (1 where any erosion score is above 0), `erosion_sum`, `jsn_sum`,
    `damage` (both sums), `is_ra`.

    Raises
    ------
    ValueError
        If a file is missing without which nothing works, or a header, key or category is not known.
        The message says what was expected and what was found.
    """
    require_folder(folder, NAME, LAYOUT)
    root = folder.resolve()
    metadata = read_metadata(root / "Metadata.xlsx", REQUIRED, OPTIONAL)

    # each reader adds what is wrong with its files to the faults, in this order
    faults: list[str] = []
    films = _find_films(root, faults)
    scores, bad = _read_scores(root, faults)
    boxes = _read_boxes(root, faults)
    lesions = _read_lesions(root, faults)
    faults += [f"{name}: {why}" for name, why in bad.items()]

    # one row per film; a film with a fault in its scores has no label
    patients = _patients_by_name(films, metadata)
    rows, joints = [], {}
    for name in sorted(films | scores.keys()):
        path, split = films.get(name, (None, ""))
        if path is None:
            faults.append(f"{name}: scored, but there is no film of that name under Segmentation/")
        given = scores.get(name, {"erosion": {}, "jsn": {}})
        unusable = {"why": bad[name], "erosive": np.nan} if name in bad else {}
        rows.append(_row(name, path, split, given, metadata, patients) | unusable)
        joints[name] = _joint_rows(given, boxes.get(name, {}))
    table = pd.DataFrame(rows)
    faults += [
        f"{name}: erosions are annotated, but there is no film of that name"
        for name in sorted(lesions.keys() - films.keys())
    ]
    return Dataset(table, joint_tables(joints), lesions, faults, _notes(table, metadata, joints))


def _find_films(root: Path, faults: list[str]) -> dict[str, tuple[Path, str]]:
    """Stem -> film and official split.

    A stem in two splits keeps its first film and the names of both splits, joined by '+'.
    """
    films: dict[str, tuple[Path, str]] = {}
    for split in OFFICIAL_SPLITS:
        if not (root / "Segmentation" / split).is_dir():
            if split != "validation":  # what some copies call `val`
                faults.append(f"Segmentation/{split}: there is no such folder")
            continue
        found, unusable = find_files(root / "Segmentation" / split, (".bmp",))
        faults += [f"{path}: {why}" for path, why in unusable.items()]
        for path in found:
            if path.stem in films:
                faults.append(
                    f"{path.stem}: is in {films[path.stem][1]} and in {split}; the first is used"
                )
                films[path.stem] = (films[path.stem][0], f"{films[path.stem][1]}+{split}")
            else:
                films[path.stem] = (path, split)
    if not films:
        raise ValueError(
            f"{NAME}: {root}/Segmentation holds no film; expected {{train,val,test}}/*.bmp"
        )
    no_val = "Segmentation/val: there is no such folder"
    if no_val in faults and (root / "Segmentation" / "validation").is_dir():
        faults.remove(no_val)
    return films


def _read_scores(
    root: Path, faults: list[str]
) -> tuple[dict[str, dict[str, dict[str, float]]], dict[str, str]]:
    """Stem -> column -> our site -> grade, of all official splits; and stem -> what is wrong with
    its scores.
    """
    scores: dict[str, dict[str, dict[str, float]]] = {}
    bad: dict[str, str] = {}
    for column, kind in SCORES.items():
        folder = root / "SvdH_Scoring" / kind.folder
        paths = {split: folder / split / kind.file for split in OFFICIAL_SPLITS}
        files = [path for path in paths.values() if path.is_file()]
        if column == "erosion" and not files:
            raise ValueError(
                f"{NAME}: expected SvdH_Scoring/{kind.folder}/{{train,val,test}}/{kind.file} under"
                f" {root}; found none"
            )
        faults += [
            f"SvdH_Scoring/{kind.folder}/{split}/{kind.file}: is missing"
            for split in ("train", "test")
            if paths[split] not in files
        ]
        shape = f'an object {{"<case>.bmp": {{"{kind.prefix}R": grade, ...}}}}'
        for file in files:
            for case, given in read_json(file, dict, shape).items():
                name = re.sub(r"\.bmp$", "", case, flags=re.IGNORECASE)
                grades, why = _read_grades(file, case, given, kind)
                one = scores.setdefault(name, {"erosion": {}, "jsn": {}})
                if one[column] and one[column] != grades:
                    why = f"two official splits give it different {kind.prefix[:-1]} scores"
                one[column] = grades
                if why:
                    bad[name] = why
    return scores, bad


def _read_grades(
    file: Path, case: str, given: object, kind: ScoreFiles
) -> tuple[dict[str, float], str]:
    """Our site -> grade, of one film; and what is wrong with its grades."""
    if not isinstance(given, dict):
        raise ValueError(
            f"{file}: {case}: expected an object of scores, found a {type(given).__name__}"
        )
    grades, why = {}, ""
    for key, value in given.items():
        site = kind.sites.get(key[len(kind.prefix) :])
        if not key.startswith(kind.prefix) or site is None:
            raise ValueError(
                f"{file}: {case}: unknown key {key!r}; expected"
                f" {', '.join(kind.prefix + name for name in kind.sites)}"
            )
        if value is None:
            continue
        try:
            grade = float(value)
        except (TypeError, ValueError):
            grade = float("nan")
        if 0 <= grade <= kind.highest and grade == int(grade):
            grades[site] = grade
        else:
            why = f"{key} is {value!r}: expected a whole number from 0 to {kind.highest}"
    return grades, why


def _read_annotations(
    root: Path, file_name: str, expected: set[str], faults: list[str]
) -> dict[str, CocoFilm]:
    films: dict[str, CocoFilm] = {}
    for split in OFFICIAL_SPLITS:
        folder = root / "Segmentation" / split
        file = folder / file_name
        if file.is_file():
            found, categories = read_coco(file)
            if not expected <= categories:
                raise ValueError(
                    f"{file}: lacks the categories {', '.join(sorted(expected - categories))};"
                    f" found {', '.join(sorted(categories))}"
                )
            films |= found
        elif folder.is_dir():
            faults.append(f"Segmentation/{split}/{file_name}: is missing")
    return films


def _read_boxes(root: Path, faults: list[str]) -> dict[str, dict[str, Box]]:
    """Stem -> bone -> box as fractions of the film.

    The parts of one bone share a box. 'film' -> 0, 0, width, height in pixels.
    """
    films = _read_annotations(root, "_annotations_bone_rle.coco.json", BONES, faults)
    boxes: dict[str, dict[str, Box]] = {}
    for name, film in films.items():
        bones: dict[str, Box] = {}
        for bone, annotation in film.annotations:
            box = box_of(annotation, film) if bone in BONES else None
            if box:
                bones[bone] = _around([bones[bone], box]) if bone in bones else box
        boxes[name] = {
            bone: (x0 / film.width, y0 / film.height, x1 / film.width, y1 / film.height)
            for bone, (x0, y0, x1, y1) in bones.items()
        }
        boxes[name]["film"] = (0, 0, film.width, film.height)
    return boxes


def _read_lesions(root: Path, faults: list[str]) -> dict[str, tuple[dict, ...]]:
    films = _read_annotations(root, "_annotations_be_rle.coco.json", set(LESION_CLASSES), faults)
    return {
        name: tuple(
            run
            for kind, annotation in film.annotations
            if kind in LESION_CLASSES
            for run in to_run_lengths(annotation, film)
        )
        for name, film in films.items()
    }


def _around(boxes: list[Box]) -> Box:
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1)


def box_of_site(site: str, bones: dict[str, Box]) -> Box | None:
    """Box of an SvdH site from the boxes of its bones; None where a bone was not annotated.

    A carpal bone is its own site. A joint is where two bones meet: in the gap between their boxes,
    or where these overlap. Its box is a square on the film around the middle of that place,
    `BOX_SCALE` times as wide as the narrower bone. The boxes of the masks serve, not their
    outlines: decoding 30 masks on each of 1,200 films takes ten minutes, and the box is generous.

    Parameters
    ----------
    site : str
    bones : dict
        Bone -> box as fractions; 'film' -> 0, 0, width, height in pixels, so that the square is a
        square on the film.
    """
    wanted = [one.split("+") for one in SITE_BONES[site]]
    if any(bone not in bones for group in wanted for bone in group):
        return None
    found = [_around([bones[bone] for bone in group]) for group in wanted]
    if len(found) == 1:
        return found[0]
    width, height = bones["film"][2:]
    a, b = found
    x = (max(a[0], b[0]) + min(a[2], b[2])) / 2
    y = (max(a[1], b[1]) + min(a[3], b[3])) / 2
    narrower = min(min((box[2] - box[0]) * width, (box[3] - box[1]) * height) for box in found)
    half = BOX_SCALE / 2 * narrower
    return x - half / width, y - half / height, x + half / width, y + half / height


def _joint_rows(given: dict[str, dict[str, float]], bones: dict[str, Box]) -> list[dict]:
    """Scored sites with a box.

    The joint table requires boxes. A score without a box still counts in the film's sums.
    """
    rows = []
    for site in dict.fromkeys([*given["erosion"], *given["jsn"]]):
        box = box_of_site(site, bones) if bones else None
        if box:
            scores = {column: given[column].get(site, np.nan) for column in ("erosion", "jsn")}
            rows.append({"site": site} | scores | dict(zip(CORNERS, box, strict=True)))
    return rows


def _patients_by_name(films: dict[str, tuple[Path, str]], metadata: pd.DataFrame) -> dict[str, str]:
    """Patient by file name -> patient in the metadata.

    With it, a film without metadata does not turn one person into a second patient.
    """
    known: dict[str, str] = {}
    for name in films:
        by_name = _patient_of_name(name)
        if by_name and bare_stem(name) in metadata.index:
            known.setdefault(by_name, metadata.at[bare_stem(name), "patient_id"])
    return known


def _patient_of_name(name: str) -> str:
    found = FILM_NAME.fullmatch(name)
    return f"{found['country']}_{found['centre']}_{found['patient']}" if found else ""


def _row(
    name: str,
    path: Path | None,
    split: str,
    given: Mapping[str, dict[str, float]],
    metadata: pd.DataFrame,
    patients: dict[str, str],
) -> dict:
    """One row of the dataset's table."""
    study = metadata.loc[bare_stem(name)].to_dict() if bare_stem(name) in metadata.index else {}
    by_name = _patient_of_name(name)
    parts = FILM_NAME.fullmatch(name)
    patient = study.get("patient_id")
    if not isinstance(patient, str) or not patient:
        patient = patients.get(by_name, by_name)
    erosion_sum, erosive, why = sum_of_scores(given["erosion"], len(EROSION_SITES), "erosion (BE)")
    jsn_sum, _, _ = sum_of_scores(given["jsn"], len(JSN_SITES), "narrowing (JSN)")
    centre = study.get("centre")
    return {
        "image_id": name,
        "patient_id": patient,
        "path": path,
        "laterality": side_of(name),
        "centre": parts["centre"] if parts else centre if isinstance(centre, str) else "",
        "age": study.get("age", np.nan),
        "sex": study.get("sex", ""),
        "official_split": split,
        "why": "no film of that name under Segmentation/" if path is None else why,
        "erosive": erosive,
        "erosion_sum": erosion_sum,
        "jsn_sum": jsn_sum,
        "damage": erosion_sum + jsn_sum,
        "is_ra": study.get("is_ra", np.nan),
    }


def _notes(table: pd.DataFrame, metadata: pd.DataFrame, joints: dict[str, list[dict]]) -> list[str]:
    """What is worth knowing although the files are as published."""
    there = table[table["path"].notna()]
    notes = [f"{row.image_id}: {row.why}" for row in there[there["why"] != ""].itertuples()]
    notes += [
        f"{name}: not in Metadata.xlsx"
        for name in there["image_id"]
        if bare_stem(name) not in metadata.index
    ]
    without = sum(not len(joints[name]) for name in there["image_id"])
    if without:
        notes.append(
            f"{without} films have no joint boxes (no bone masks, or no scores): their scores count"
            " only in the sums"
        )
    return notes + unread_notes(metadata) + split_notes(table, ("erosive", "is_ra"))
