"""RAM-H1200: whole hands with SvdH scores, bone masks and erosion masks (arXiv 2605.05616).

File names, score keys and category names are those that the authors' benchmark code reads
(github.com/YSongxiao/RAM-H1200). Headers of `Metadata.xlsx` beyond the four that public code reads
were not seen: they are looked for by several names, and never guessed.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from rahelpers.core.config import RunConfig, dataset_folder
from rahelpers.data.sources.coco import CocoFilm, box_of, read_coco, read_json, to_run_lengths
from rahelpers.data.sources.film import FilmFile
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
from rahelpers.films.sites import EROSION_SITES, JSN_SITES, SITES

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

# Their site -> ours (those of rahelpers/phantom/disease.py). Fingers by letter: thumb, index,
# middle, ring, small.
# their name of a site -> ours
_LETTERS = {1: "T", 2: "I", 3: "M", 4: "R", 5: "S"}
_THEIRS = {site: f"{site[:-1]}-{_LETTERS[int(site[-1])]}" for site in SITES if site[-1].isdigit()}
_THEIRS |= {
    "IP1": "IP",
    "Trapezium": "Tm",
    "Scaphoid": "S",
    "Lunate": "L",
    "Radius": "R",
    "Ulna": "U",
}
EROSION_NAMES = {_THEIRS.get(site, site): site for site in EROSION_SITES}
JSN_NAMES = {_THEIRS.get(site, site): site for site in JSN_SITES}
SCORES = {  # column: folder, file, prefix of the keys, sites, highest grade
    "erosion": ("SvdH_BE_Scoring", "_annotation_be_scores.json", "BE_", EROSION_NAMES, 5),
    "jsn": ("SvdH_JSN_Scoring", "_annotation_jsn_scores.json", "JSN_", JSN_NAMES, 4),
}

# The bones between which a joint lies, or the one bone that a site is; several bones are taken as
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
# Erosions at SvdH sites alone: the label is made from SvdH scores, so an erosion elsewhere
# (Non-SvdH-BE) is not what makes a film erosive.
# Both 90 and 50 are taken: the authors train on both; what the numbers stand for was not seen.
LESION_CLASSES = ("SvdH-BE-90", "SvdH-BE-50")
# side of a joint's box against the narrower bone: holds the joint space and both bone ends.
# Assumption
BOX_SCALE = 1.3


def list_films(config: RunConfig) -> list[FilmFile]:
    """One film for each picture under `Segmentation/`, and for each scored hand without one."""
    folder = dataset_folder(config)
    return make_films(read_dataset(folder), folder, config)


def fingerprint(config: RunConfig) -> dict[str, str]:
    """Hash of names, sizes and times of films and tables; the crops of single joints are not read
    and not counted.
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
    """Metadata, scores and annotations, joined by the film's stem.

    The authors' split is read for `official_split` alone: patients stand in two parts of it.

    Label columns: `erosive` (1 where any erosion score is above 0), `erosion_sum`, `jsn_sum`,
    `damage` (both sums), `is_ra`.

    Raises
    ------
    ValueError
        If a file is missing that nothing goes without, or a header, key or category is not known:
        says what was expected and what was found.
    """
    require_folder(folder, NAME, LAYOUT)
    root = folder.resolve()
    metadata = read_metadata(root / "Metadata.xlsx", REQUIRED, OPTIONAL)
    faults: list[str] = []
    films = _find_films(root, faults)
    scores, bad = _read_scores(root, faults)
    boxes = _read_boxes(root, faults)
    lesions = _read_lesions(root, faults)
    faults += [f"{name}: {why}" for name, why in bad.items()]
    patients = _patients_by_name(films, metadata)
    rows, joints = [], {}
    for name in sorted(films | scores.keys()):
        path, split = films.get(name, (None, ""))
        if path is None:
            faults.append(f"{name}: scored, but no film of that name under Segmentation/")
        given = scores.get(name, {"erosion": {}, "jsn": {}})
        rows.append(
            _row(name, path, split, given, metadata, patients)
            | ({"why": bad[name], "erosive": np.nan} if name in bad else {})
        )
        joints[name] = _joint_rows(given, boxes.get(name, {}))
    table = pd.DataFrame(rows)
    faults += [
        f"{name}: annotated erosions, but no film of that name"
        for name in sorted(lesions.keys() - films.keys())
    ]
    return Dataset(table, joint_tables(joints), lesions, faults, _notes(table, metadata, joints))


def _find_films(root: Path, faults: list[str]) -> dict[str, tuple[Path, str]]:
    """Stem -> film and official split; a stem in two splits keeps its first film, and both names of
    splits.
    """
    films: dict[str, tuple[Path, str]] = {}
    for split in OFFICIAL_SPLITS:
        if not (root / "Segmentation" / split).is_dir():
            if split != "validation":  # some copies call `val` so
                faults.append(f"Segmentation/{split}: there is no such folder")
            continue
        found, unreadable = find_files(root / "Segmentation" / split, (".bmp",))
        faults += [f"{where}: cannot be read" for where in unreadable]
        for path in found:
            if path.stem in films:
                faults.append(
                    f"{path.stem}: stands in {films[path.stem][1]} and {split}; the first is used"
                )
                films[path.stem] = (films[path.stem][0], f"{films[path.stem][1]}+{split}")
            else:
                films[path.stem] = (path, split)
    if not films:
        raise ValueError(
            f"{NAME}: {root}/Segmentation holds no film; expected {{train,val,test}}/*.bmp"
        )
    if (
        "Segmentation/val: there is no such folder" in faults
        and (root / "Segmentation" / "validation").is_dir()
    ):
        faults.remove("Segmentation/val: there is no such folder")
    return films


def _read_scores(
    root: Path, faults: list[str]
) -> tuple[dict[str, dict[str, dict[str, float]]], dict[str, str]]:
    """Stem -> column -> our site -> grade, over all official splits; and stem -> what is wrong with
    its scores.
    """
    scores: dict[str, dict[str, dict[str, float]]] = {}
    bad: dict[str, str] = {}
    for column, (folder, file_name, prefix, sites, highest) in SCORES.items():
        files = [
            p
            for split in OFFICIAL_SPLITS
            if (p := root / "SvdH_Scoring" / folder / split / file_name).is_file()
        ]
        if column == "erosion" and not files:
            raise ValueError(
                f"{NAME}: expected SvdH_Scoring/{folder}/{{train,val,test}}/{file_name} under"
                f" {root}; found none"
            )
        faults += [
            f"SvdH_Scoring/{folder}/{split}/{file_name}: is missing"
            for split in ("train", "test")
            if root / "SvdH_Scoring" / folder / split / file_name not in files
        ]
        for file in files:
            for case, given in read_json(
                file, dict, 'an object {"<case>.bmp": {"' + prefix + 'R": grade, ...}}'
            ).items():
                name = re.sub(r"\.bmp$", "", case, flags=re.IGNORECASE)
                read, why = _read_grades(file, case, given, prefix, sites, highest)
                one = scores.setdefault(name, {"erosion": {}, "jsn": {}})
                if one[column] and one[column] != read:
                    why = f"two official splits give it different {prefix[:-1]} scores"
                one[column] = read
                if why:
                    bad[name] = why
    return scores, bad


def _read_grades(
    file: Path, case: str, given: object, prefix: str, sites: dict[str, str], highest: int
) -> tuple[dict[str, float], str]:
    if not isinstance(given, dict):
        raise ValueError(
            f"{file}: {case}: expected an object of scores, found a {type(given).__name__}"
        )
    grades, why = {}, ""
    for key, value in given.items():
        if not key.startswith(prefix) or key[len(prefix) :] not in sites:
            raise ValueError(
                f"{file}: {case}: unknown key {key!r}; expected"
                f" {', '.join(prefix + site for site in sites)}"
            )
        if value is None:
            continue
        try:
            grade = float(value)
        except (TypeError, ValueError):
            grade = float("nan")
        if not (0 <= grade <= highest and grade == int(grade)):
            why = f"{key} is {value!r}: expected a whole number from 0 to {highest}"
            continue
        grades[sites[key[len(prefix) :]]] = grade
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


def _read_boxes(
    root: Path, faults: list[str]
) -> dict[str, dict[str, tuple[float, float, float, float]]]:
    """Stem -> bone -> box as fractions of the film; the parts of one bone are joined."""
    films = _read_annotations(root, "_annotations_bone_rle.coco.json", BONES, faults)
    boxes: dict[str, dict[str, tuple[float, float, float, float]]] = {}
    for name, film in films.items():
        bones: dict[str, tuple[float, float, float, float]] = {}
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


def _around(boxes: list[tuple[float, float, float, float]]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1)


def box_of_site(
    site: str, bones: dict[str, tuple[float, float, float, float]]
) -> tuple[float, float, float, float] | None:
    """Box of an SvdH site from the boxes of its bones; None where a bone was not annotated.

    A carpal bone is its own site. A joint lies where two bones meet: in the gap between their
    boxes, or where these overlap. Its box is a square on the film around the middle of that,
    `BOX_SCALE` times as wide as the narrower bone. From the masks' boxes, not their outlines:
    decoding 30 masks of 1,200 films takes ten minutes, and the box is generous.

    Parameters
    ----------
    site : str
    bones : dict
        Bone -> box as fractions; 'film' -> 0, 0, width, height in pixels, which makes the square a
        square.
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
    half = (
        BOX_SCALE
        / 2
        * min(min((box[2] - box[0]) * width, (box[3] - box[1]) * height) for box in found)
    )
    return x - half / width, y - half / height, x + half / width, y + half / height


def _joint_rows(
    given: dict[str, dict[str, float]], bones: dict[str, tuple[float, float, float, float]]
) -> list[dict]:
    """Scored sites with a box. A score whose box cannot be known stays in the sums of the row: the
    joint table demands boxes.
    """
    rows = []
    for site in dict.fromkeys([*given["erosion"], *given["jsn"]]):
        box = box_of_site(site, bones) if bones else None
        if box:
            scores = {column: given[column].get(site, np.nan) for column in ("erosion", "jsn")}
            rows.append(
                {"site": site} | scores | dict(zip(("x0", "y0", "x1", "y1"), box, strict=True))
            )
    return rows


def _patients_by_name(films: dict[str, tuple[Path, str]], metadata: pd.DataFrame) -> dict[str, str]:
    """Patient as file names say it -> patient of the metadata: so that one film without metadata
    does not make a second patient of the same person.
    """
    known = {}
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
    given: dict,
    metadata: pd.DataFrame,
    patients: dict[str, str],
) -> dict:
    study = metadata.loc[bare_stem(name)].to_dict() if bare_stem(name) in metadata.index else {}
    by_name = _patient_of_name(name)
    parts = FILM_NAME.fullmatch(name)
    patient = study.get("patient_id")
    erosion_sum, erosive, why = sum_of_scores(given["erosion"], len(EROSION_SITES), "erosion (BE)")
    jsn_sum, _, _ = sum_of_scores(given["jsn"], len(JSN_SITES), "narrowing (JSN)")
    centre = study.get("centre")
    return {
        "image_id": name,
        "patient_id": (
            patient if isinstance(patient, str) and patient else patients.get(by_name, by_name)
        ),
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
            f"{without} films have no joint boxes (no bone masks, or no scores): their scores are"
            " in the sums alone"
        )
    return notes + unread_notes(metadata) + split_notes(table, ("erosive", "is_ra"))
