"""RAM-W600: wrists with SvdH erosion scores of six bones, and masks of 14 bones (arXiv 2507.05193).

Layout and names are those that the authors' benchmark code (github.com/YSongxiao/RAM-W600) and
other public code read.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from rahelpers.core.config import RunConfig, dataset_folder
from rahelpers.data.sources.coco import Box, box_of, read_coco, read_json
from rahelpers.data.sources.film import CORNERS, FilmFile
from rahelpers.data.sources.public import (
    OFFICIAL_SPLITS,
    Dataset,
    bare_stem,
    joint_tables,
    make_films,
    plain,
    read_metadata,
    require_folder,
    side_of,
    split_notes,
    sum_of_scores,
    unread_notes,
)
from rahelpers.data.sources.walk import find_files, listing_hash

NAME = "ram-w600"
SCORING = "SvdHBEScoreClassification"
LAYOUT = ("Metadata.xlsx", f"{SCORING}/JointBE_SvdH_GT.json")
# a wrist may be in both; the film in the first is the scored one
FILM_FOLDERS = ("JointLocationDetection/images", "BoneSegmentation/images")
REQUIRED = {
    "stem": ("Mapped Image Stem",),
    "patient_id": ("NormalizedPatientID",),
    "is_ra": ("IsRA",),
    "sex": ("PatientSex",),
    "age": ("PatientAge",),
}
OPTIONAL = {"centre": ("InstitutionName",)}
# Our site -> their name of the crop and of the key ('Trapzium' is their spelling), their column in
# the metadata, the number of its mask among the 14
SITES = {
    "CMC1": ("Metacarpal1st", "1st MC", 9),
    "Trapezium": ("Trapzium", "Trapz", 7),
    "Scaphoid": ("Scaphoid", "Sc", 6),
    "Lunate": ("Lunate", "Lu", 4),
    "Radius": ("DistalRadius", "DR", 1),
    "Ulna": ("DistalUlna", "DU", 2),
}
N_BONES = 14
HIGHEST = 5
CROPS = tuple(crop for crop, _, _ in SITES.values())
# other spellings of their categories, the correct one included
OTHER_NAMES = {
    "trapezium": "Trapzium",
    "mc1": "Metacarpal1st",
    "radius": "DistalRadius",
    "ulna": "DistalUlna",
}


def list_films(config: RunConfig) -> list[FilmFile]:
    """One film per wrist; a wrist without scores carries that as its fault."""
    folder = dataset_folder(config)
    return make_films(read_dataset(folder), folder, config)


def fingerprint(config: RunConfig) -> dict[str, str]:
    """Hash of names, sizes and times of films, masks and tables.

    The crops of single bones are not read, so they do not count.
    """
    folder = dataset_folder(config)
    require_folder(folder, NAME, LAYOUT)
    root = folder.resolve()
    films = [p for part in FILM_FOLDERS for p in find_files(root / part, (".bmp",))[0]]
    tables = [
        p
        for part in ("JointLocationDetection", SCORING)
        for p in find_files(root / part, (".json",))[0]
    ]
    masks = find_files(root / "BoneSegmentation/masks", (".npy",))[0]
    return {"images": listing_hash([*films, *masks, *tables, root / "Metadata.xlsx"], root)}


def read_dataset(folder: Path) -> Dataset:
    """Read metadata, scores and joint boxes, and join them by the film's stem.

    Label columns: `erosive` (1 where any of the six scores is above 0), `erosion_sum`, `is_ra`.

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
    scores, bad = _read_scores(root)
    faults += [f"{name}: {why}" for name, why in bad.items()]
    boxes = _read_boxes(root, faults)
    splits = _read_splits(root, faults)
    masks = {p.stem: p for p in find_files(root / "BoneSegmentation/masks", (".npy",))[0]}

    # one row per wrist; a wrist with a fault in its scores has no label
    rows, joints = [], {}
    for name in sorted(films.keys() | scores.keys()):
        path = films.get(name)
        if path is None:
            places = " or ".join(FILM_FOLDERS)
            faults.append(f"{name}: scored, but there is no film of that name under {places}")
        given = scores.get(name) or _scores_of_metadata(name, metadata)
        unusable = {"why": bad[name], "erosive": np.nan} if name in bad else {}
        rows.append(_row(name, path, splits.get(name, ""), given, metadata) | unusable)
        if given:
            known = boxes.get(name) or _boxes_of_masks(path, masks.get(name))
            joints[name] = [
                {"site": s, "erosion": given[s]} | dict(zip(CORNERS, known[s], strict=True))
                for s in given
                if s in known
            ]
    table = pd.DataFrame(rows)

    # masks that belong to no film, or are not as expected
    faults += [
        f"BoneSegmentation/masks: {name}.npy has no film"
        for name in sorted(masks.keys() - films.keys())
    ]
    faults += [fault for name, path in sorted(masks.items()) if (fault := _fault_of_mask(path))]
    return Dataset(table, joint_tables(joints), {}, faults, _notes(table, metadata))


def _find_films(root: Path, faults: list[str]) -> dict[str, Path]:
    films: dict[str, Path] = {}
    for part in FILM_FOLDERS:
        found, unusable = find_files(root / part, (".bmp",))
        faults += [f"{path}: {why}" for path, why in unusable.items()]
        for path in found:
            films.setdefault(path.stem, path)
    if not films:
        raise ValueError(
            f"{NAME}: {root} holds no film; expected"
            f" {' or '.join(f'{part}/*.bmp' for part in FILM_FOLDERS)}"
        )
    return films


def _read_scores(root: Path) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Stem -> our site -> grade; and stem -> what is wrong with its scores."""
    file = root / SCORING / "JointBE_SvdH_GT.json"
    shape = 'a list of {"identifier": "<id>_<L|R>", "joints": {"Lunate": grade, ...}}'
    ours = {crop: site for site, (crop, _, _) in SITES.items()}
    scores, bad = {}, {}
    for entry in read_json(file, list, shape):
        if not (
            isinstance(entry, dict)
            and isinstance(entry.get("joints"), dict)
            and "identifier" in entry
        ):
            raise ValueError(f"{file}: expected {shape}; found {str(entry)[:80]}")
        name = str(entry["identifier"]).removesuffix(".bmp")
        unknown = [key for key in entry["joints"] if key not in ours]
        if unknown:
            raise ValueError(
                f"{file}: {name}: unknown joint {unknown[0]!r}; expected {', '.join(CROPS)}"
            )
        grades = {
            ours[key]: _grade(value) for key, value in entry["joints"].items() if value is not None
        }
        wrong = [site for site, grade in grades.items() if np.isnan(grade)]
        if wrong:
            crop = SITES[wrong[0]][0]
            bad[name] = (
                f"{crop} is {entry['joints'][crop]!r}: expected a whole number from 0 to {HIGHEST}"
            )
        if name in scores:
            bad[name] = "scored twice in JointBE_SvdH_GT.json"
        scores[name] = {site: grade for site, grade in grades.items() if not np.isnan(grade)}
    return scores, bad


def _grade(value: object) -> float:
    grade = pd.to_numeric(value, errors="coerce")
    return float(grade) if 0 <= grade <= HIGHEST and grade == int(grade) else float("nan")


def _scores_of_metadata(name: str, metadata: pd.DataFrame) -> dict[str, float]:
    """Scores from the metadata's columns `1st MC_L` …, for a wrist that the score file omits."""
    stem, side = bare_stem(name), side_of(name)
    if stem not in metadata.index or not side:
        return {}
    columns = {site: f"{short}_{side}" for site, (_, short, _) in SITES.items()}
    grades = {
        site: _grade(metadata.at[stem, column])
        for site, column in columns.items()
        if column in metadata.columns
    }
    return {site: grade for site, grade in grades.items() if not np.isnan(grade)}


def _read_splits(root: Path, faults: list[str]) -> dict[str, str]:
    """Stem -> the official split that holds its folder of crops. Missing crops are faults."""
    splits: dict[str, str] = {}
    for split in OFFICIAL_SPLITS:
        folder = root / SCORING / split
        if not folder.is_dir():
            if split != "validation":
                faults.append(f"{SCORING}/{split}: there is no such folder")
            continue
        for case in sorted(p for p in folder.iterdir() if p.is_dir()):
            splits[case.name] = f"{splits[case.name]}+{split}" if case.name in splits else split
            missing = [crop for crop in CROPS if not (case / f"{crop}.bmp").is_file()]
            if missing:
                faults.append(f"{SCORING}/{split}/{case.name}: lacks {', '.join(missing)}")
    return splits


def _read_boxes(root: Path, faults: list[str]) -> dict[str, dict[str, Box]]:
    """Stem -> our site -> box as fractions, from the annotations of the joint detection task."""
    file = root / "JointLocationDetection" / "Joints.coco.json"
    if not file.is_file():
        faults.append("JointLocationDetection/Joints.coco.json: is missing")
        return {}
    films, categories = read_coco(file)
    ours = {plain(crop): site for site, (crop, _, _) in SITES.items()}
    ours |= {other: ours[plain(crop)] for other, crop in OTHER_NAMES.items()}
    known = {name: ours[plain(name)] for name in categories if plain(name) in ours}
    if set(known.values()) != set(SITES):
        raise ValueError(
            f"{file}: expected the categories {', '.join(CROPS)}; found"
            f" {', '.join(sorted(categories))}"
        )
    boxes: dict[str, dict[str, Box]] = {}
    for name, film in films.items():
        found = {
            known[kind]: box_of(annotation, film)
            for kind, annotation in film.annotations
            if kind in known
        }
        size = np.array([film.width, film.height, film.width, film.height])
        boxes[name] = {site: tuple(np.array(box) / size) for site, box in found.items() if box}
    return boxes


def _boxes_of_masks(film: Path | None, masks: Path | None) -> dict[str, Box]:
    """Boxes around the masks of the bones, where the masks were drawn on this very film.

    The films of one wrist may differ in size between the two tasks.
    """
    if film is None or masks is None or _fault_of_mask(masks):
        return {}
    stack = np.load(masks, mmap_mode="r", allow_pickle=False)
    with Image.open(film) as picture:
        if picture.size != (stack.shape[2], stack.shape[1]):
            return {}
    boxes = {}
    for site, (_, _, place) in SITES.items():
        rows, columns = (np.any(stack[place], axis=axis).nonzero()[0] for axis in (1, 0))
        if len(rows):
            height, width = stack.shape[1:]
            boxes[site] = (
                columns[0] / width,
                rows[0] / height,
                (columns[-1] + 1) / width,
                (rows[-1] + 1) / height,
            )
    return boxes


def _fault_of_mask(path: Path) -> str:
    """What is wrong with a file of masks, judged by its header; '' where nothing is."""
    try:
        shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
    except (ValueError, OSError, EOFError) as error:
        return f"BoneSegmentation/masks: {path.name} cannot be read ({error})"
    if len(shape) == 3 and shape[0] == N_BONES:
        return ""
    return f"BoneSegmentation/masks: {path.name} is {shape}; expected ({N_BONES}, height, width)"


def _row(
    name: str, path: Path | None, split: str, given: dict[str, float], metadata: pd.DataFrame
) -> dict:
    """One row of the dataset's table."""
    study = metadata.loc[bare_stem(name)].to_dict() if bare_stem(name) in metadata.index else {}
    patient, centre = study.get("patient_id"), study.get("centre")
    total, erosive, why = sum_of_scores(given, len(SITES), "erosion (BE)")
    return {
        "image_id": name,
        # A film without metadata has no patient: nothing in the authors' code shows that the first
        # number of its name is one.
        "patient_id": patient if isinstance(patient, str) else "",
        "path": path,
        "laterality": side_of(name),
        "centre": centre if isinstance(centre, str) else "",
        "age": study.get("age", np.nan),
        "sex": study.get("sex", ""),
        "official_split": split,
        "why": "no film of that name" if path is None else why,
        "erosive": erosive,
        "erosion_sum": total,
        "is_ra": study.get("is_ra", np.nan),
    }


def _notes(table: pd.DataFrame, metadata: pd.DataFrame) -> list[str]:
    """What is worth knowing although the files are as published."""
    there = table[table["path"].notna()]
    notes = []
    unscored = there.loc[there["why"] != "", "image_id"]
    if len(unscored):
        notes.append(f"{len(unscored)} films have no usable scores, such as {unscored.iloc[0]}")
    notes += [
        f"{name}: not in Metadata.xlsx"
        for name in there["image_id"]
        if bare_stem(name) not in metadata.index
    ]
    return notes + unread_notes(metadata) + split_notes(table, ("erosive", "is_ra"))
