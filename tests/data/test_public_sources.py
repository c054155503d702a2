"""Public datasets as tiny replicas of their layouts; tables and folders that could mislead the
folder source.
"""

import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image
from pycocotools import mask as coco

from rahelpers.cli.data import check_dataset
from rahelpers.cli.main import main
from rahelpers.core.config import make_config
from rahelpers.core.store import Run
from rahelpers.curation.manifest_check import explain_faults
from rahelpers.curation.step import curate
from rahelpers.data.records import DATASETS, find_record
from rahelpers.data.sources import ram_h1200, ram_w600, rsna_bone_age
from rahelpers.data.sources.coco import CocoFilm, to_run_lengths
from rahelpers.data.sources.film import decode_masks
from rahelpers.data.sources.folder import read_film_table
from rahelpers.data.sources.public import audit_official_split, side_of
from rahelpers.data.sources.registry import list_films, source_fingerprint
from rahelpers.data.sources.walk import find_files
from rahelpers.data.sources.words import read_ages, read_sex, read_side
from rahelpers.films.sites import EROSION_SITES, JSN_SITES

HEIGHT, WIDTH = 90, 80
N = 30


def film(path: Path, seed: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, size, dtype=np.uint8)).save(path)


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def edit(path: Path, change) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def square(y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    mask[y0:y1, x0:x1] = 1
    return mask


def compressed(mask: np.ndarray) -> dict:
    runs = coco.encode(np.asfortranarray(mask))
    return {"size": runs["size"], "counts": runs["counts"].decode()}


def uncompressed(mask: np.ndarray) -> dict:
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff([0, *changes, flat.size]).tolist()
    return {"size": list(mask.shape), "counts": lengths if flat[0] == 0 else [0, *lengths]}


# ------------------------------------------------------------------ RAM-H1200

H_SPLITS = ["train"] * 20 + ["val"] * 4 + ["test"] * 6
BONES = sorted(ram_h1200.BONES)
BONE_NAMES = ["bone-6U7D-RuyD", *BONES, "Ring", "SoftTissue"]
# x, y, width, height
FINGER_BOXES = {
    "MC2": (30, 40, 8, 20),
    "PP2": (30, 22, 8, 16),
    "MP2": (31, 10, 6, 10),
    "Lunate": (36, 70, 8, 6),
}


def h_stem(i: int) -> str:
    """Fifteen patients, both hands; patient 14 is a second visit of patient 0 in another split."""
    centre = "SCGH" if i % 8 < 4 else "HMCRD"
    return f"JP_{centre}_P{i // 2:04d}_20121201_{5800 + i // 2}_{'LR'[i % 2]}"


def make_h1200(root: Path) -> Path:
    """30 films: odd pairs are erosive; film 5 has no scores, film 7 an impossible score; patient 0
    is in train and test.
    """
    annotations = {
        s: {
            "images": [],
            "annotations": [],
            "categories": [{"id": i, "name": n} for i, n in enumerate(BONE_NAMES)],
        }
        for s in set(H_SPLITS)
    }
    lesions = {
        s: {
            "images": [],
            "annotations": [],
            "categories": [
                {"id": i, "name": n}
                for i, n in enumerate(["SvdH-BE-90", "SvdH-BE-50", "Non-SvdH-BE"])
            ],
        }
        for s in set(H_SPLITS)
    }
    scores = {s: {"BE": {}, "JSN": {}} for s in set(H_SPLITS)}
    kinds = (
        lambda m: compressed(m),
        lambda m: uncompressed(m),
        lambda m: [[10, 10, 19, 10, 19, 19, 10, 19]],
    )
    for i, split in enumerate(H_SPLITS):
        stem = h_stem(i)
        film(root / "Segmentation" / split / f"{stem}.bmp", i)
        picture = {"id": i, "file_name": f"{stem}.bmp", "height": HEIGHT, "width": WIDTH}
        annotations[split]["images"].append(picture)
        for bone, (x, y, w, h) in FINGER_BOXES.items():
            one = {
                "image_id": i,
                "bbox": [x, y, w, h],
                "category_id": BONE_NAMES.index(bone),
                "segmentation": compressed(square(y, y + h, x, x + w)),
            }
            annotations[split]["annotations"].append(
                one | {"id": len(annotations[split]["annotations"])}
            )
        lesions[split]["images"].append(picture)
        if i // 2 % 2:
            lesions[split]["annotations"] += [
                {
                    "id": 2 * i,
                    "image_id": i,
                    "category_id": i % 2,
                    "segmentation": kinds[i % 3](square(10, 20, 10, 20)),
                },
                {
                    "id": 2 * i + 1,
                    "image_id": i,
                    "category_id": 2,
                    "segmentation": compressed(square(60, 80, 60, 70)),
                },
            ]
        if i != 5:
            scores[split]["BE"][f"{stem}.bmp"] = {
                f"BE_{s}": int(i // 2 % 2 and s == "MCP-I") for s in ram_h1200.EROSION_NAMES
            }
            scores[split]["JSN"][f"{stem}.bmp"] = {
                f"JSN_{s}": int(s == "MCP-I") * 2 for s in ram_h1200.JSN_NAMES
            }
    scores["train"]["BE"][f"{h_stem(7)}.bmp"]["BE_U"] = 9
    for split in set(H_SPLITS):
        write(root / "Segmentation" / split / "_annotations_bone_rle.coco.json", annotations[split])
        write(root / "Segmentation" / split / "_annotations_be_rle.coco.json", lesions[split])
        for kind in ("BE", "JSN"):
            write(
                root
                / "SvdH_Scoring"
                / f"SvdH_{kind}_Scoring"
                / split
                / f"_annotation_{kind.lower()}_scores.json",
                scores[split][kind],
            )
    pd.DataFrame(
        {
            "Mapped Image Stem": [h_stem(2 * p)[:-2] for p in range(15)],
            "Normalized PatientID": [f"P{0 if p == 14 else p}" for p in range(15)],
            "isRA": [int(p % 5 != 0) for p in range(15)],
            "Sex": ["F", "M", "O"] * 5,
            "PatientAge": ["063Y", "55", ""] * 5,
        }
    ).to_excel(root / "Metadata.xlsx", index=False)
    return root


@pytest.fixture
def h1200(tmp_path):
    return make_h1200(tmp_path / "ram-h1200")


def h_config(root: Path, **more):
    return make_config(
        **{
            "source": "ram-h1200",
            "images": str(root),
            "image_size": 32,
            "run_dir": str(root.parent / "run"),
        }
        | more
    )


def test_sites_are_those_of_the_phantom():
    assert set(ram_h1200.EROSION_NAMES.values()) == set(EROSION_SITES) and set(
        ram_h1200.JSN_NAMES.values()
    ) == set(JSN_SITES)
    assert len(ram_h1200.EROSION_NAMES) == 16 and len(ram_h1200.JSN_NAMES) == 15
    assert set(ram_w600.SITES) <= set(EROSION_SITES) and set(ram_h1200.SITE_BONES) == set(
        EROSION_SITES
    ) | set(JSN_SITES)


def test_h1200_films_labels_and_faults(h1200):
    films = list_films(h_config(h1200))
    faults = {f.row["image_id"]: f.fault for f in films if f.fault}
    assert len(films) == N and faults == {
        h_stem(5): "no erosion (BE) scores",
        h_stem(7): "BE_U is 9: expected a whole number from 0 to 5",
    }
    by_name = {f.row["image_id"]: f for f in films}
    first, third = by_name[h_stem(0)], by_name[h_stem(2)]
    assert (
        first.row["label"],
        third.row["label"],
        third.row["damage"],
        third.row["erosion_sum"],
        third.row["jsn_sum"],
    ) == (0, 1, 3, 1, 2)
    assert (
        first.row["centre"],
        first.row["patient_id"],
        first.row["age"],
        first.row["sex"],
        first.laterality,
    ) == ("SCGH", "P0", 63, "F", "L")
    assert by_name[h_stem(4)].row["sex"] == "" and by_name[h_stem(3)].laterality == "R"
    assert third.row["file"] == f"Segmentation/train/{h_stem(2)}.bmp"


def test_h1200_joints_hold_scores_and_boxes(h1200):
    joints = {f.row["image_id"]: f.joints for f in list_films(h_config(h1200))}[
        h_stem(2)
    ].set_index("site")
    # only sites whose bones are annotated have a box; every other score is in the sums
    assert set(joints.index) == {"MCP2", "PIP2", "Lunate"}
    assert (
        joints.at["MCP2", "erosion"] == 1
        and joints.at["MCP2", "jsn"] == 2
        and np.isnan(joints.at["Lunate", "jsn"])
    )
    box = joints.loc["MCP2", ["x0", "y0", "x1", "y1"]].to_numpy(float) * [
        WIDTH,
        HEIGHT,
        WIDTH,
        HEIGHT,
    ]
    assert np.allclose([box[0] + box[2], box[1] + box[3]], [68, 78]) and np.allclose(
        [box[2] - box[0], box[3] - box[1]], 1.3 * 8
    )
    assert np.allclose(
        joints.loc["Lunate", ["x0", "y0"]].to_numpy(float), [36 / WIDTH, 70 / HEIGHT]
    )


def test_h1200_lesions_of_all_three_encodings_are_svdh_erosions_only(h1200):
    masks = {}
    for f in list_films(h_config(h1200)):
        if not f.fault:
            masks[f.row["image_id"]] = f.read().lesion
    assert masks[h_stem(0)].shape == (HEIGHT, WIDTH) and not masks[h_stem(0)].any()
    # a polygon, compressed and plain run lengths; the square at 60, 60 is an erosion elsewhere
    for i in (2, 3, 10):
        mask = masks[h_stem(i)]
        assert mask[11:18, 11:18].all() and mask.sum() <= 100 and not mask[60:].any(), i


POLYGON = [10, 10, 20, 10, 20, 20, 10, 20]


@pytest.mark.parametrize("make", [compressed, uncompressed, lambda _: [POLYGON]])
def test_masks_decode_from_every_encoding(make):
    mask = square(10, 20, 10, 20)
    runs = to_run_lengths({"segmentation": make(mask)}, CocoFilm(WIDTH, HEIGHT))
    assert np.array_equal(decode_masks(runs, mask.shape), mask.astype(bool))


def test_a_mask_of_another_size_is_a_fault(h1200):
    edit(
        h1200 / "Segmentation/train/_annotations_be_rle.coco.json",
        lambda c: [
            a.update(segmentation=compressed(np.ones((5, 4), np.uint8)))
            for a in c["annotations"]
            if a["image_id"] == 2
        ],
    )
    assert (
        "a mask is 4 x 5 pixels"
        in next(f for f in list_films(h_config(h1200)) if f.row["image_id"] == h_stem(2))
        .read()
        .fault
    )


@pytest.mark.slow
def test_h1200_curates_with_patients_together(h1200):
    cohort = curate(Run(h_config(h1200)))
    reasons = cohort.excluded.set_index("image_id")["reason"]
    assert len(cohort.manifest) + len(cohort.excluded) == N and {h_stem(5), h_stem(7)} <= set(
        reasons.index
    )
    assert (cohort.manifest.groupby("patient_id")["split"].nunique() == 1).all() and set(
        cohort.manifest["label"]
    ) == {0, 1}
    assert cohort.lesions is not None and set(cohort.joints["site"]) == {"MCP2", "PIP2", "Lunate"}


def test_titles_tell_the_label(h1200):
    assert h_config(h1200).title == "erosive hand (RAM-H1200)" and h_config(h1200).class_names == (
        "hand without erosions",
        "erosive hand",
    )
    assert make_config(source="ram-w600").title == "erosive wrist (RAM-W600)"
    bone_age = make_config(source="rsna-bone-age")
    assert (
        bone_age.title == "bone age of 120 months or more (RSNA Bone Age)"
        and bone_age.class_names[0] == "bone age under 120 months"
    )
    damage = h_config(h1200, label_column="damage", positive=">=10")
    assert damage.title == "damage >=10 (RAM-H1200)" and damage.class_names == (
        "not damage >=10",
        "damage >=10",
    )
    assert (
        make_config(source="rsna-bone-age", label_column="sex", positive="M").title
        == "sex = M (RSNA Bone Age)"
    )
    assert make_config(source="ram-w600", task="erosions").title == "erosions (RAM-W600)"


def test_another_label_needs_a_rule_and_a_column(h1200):
    with pytest.raises(ValueError, match="label_column='damage' needs positive"):
        h_config(h1200, label_column="damage")
    with pytest.raises(ValueError, match="did you mean 'damage'"):
        list_films(h_config(h1200, label_column="damages", positive="1"))
    films = list_films(h_config(h1200, label_column="is_ra", positive="1"))
    unscored = next(f for f in films if f.row["image_id"] == h_stem(5))
    assert unscored.row["label"] == 1, "its diagnosis is known"
    assert len(list_films(h_config(h1200, max_films=10))) == 10


def test_default_folder_is_the_variable_or_the_project(tmp_path, monkeypatch):
    monkeypatch.setenv("RAHELPERS_DATA", str(tmp_path))
    make_h1200(tmp_path / "ram-h1200")
    assert len(list_films(make_config(source="ram-h1200"))) == N
    with pytest.raises(ValueError, match="no folder .*ram-w600.*rahelpers data fetch ram-w600"):
        list_films(make_config(source="ram-w600"))


def test_audit_names_patients_in_two_official_splits_and_counts(h1200):
    table = ram_h1200.read_dataset(h1200).table
    patients, counts = audit_official_split(table, "is_ra")
    assert patients.to_numpy().tolist() == [["P0", "test, train"]]
    assert counts.loc["test"].to_dict() == {"0": 0, "1": 6} and counts.to_numpy().sum() == N
    assert "not known" in audit_official_split(table, "erosive")[1].columns


def test_a_film_without_metadata_keeps_its_patient(h1200):
    """The patient in its name, or the metadata's patient of a film with that name: one person never
    becomes two patients.
    """
    other_visit = h_stem(0).replace("5800", "5999")
    film(h1200 / "Segmentation/train" / f"{other_visit}.bmp", 99)
    film(h1200 / "Segmentation/train" / "JP_NEW_P0001_20200101_1_L.bmp", 98)
    film(h1200 / "Segmentation/train" / "odd name.bmp", 97)
    by_name = {f.row["image_id"]: f for f in list_films(h_config(h1200))}
    assert (
        by_name[other_visit].row["patient_id"] == "P0"
        and by_name["JP_NEW_P0001_20200101_1_L"].row["patient_id"] == "JP_NEW_P0001"
    )
    assert "no patient is known" in by_name["odd name"].fault


def test_a_reading_with_gaps_is_not_a_negative(h1200):
    file = h1200 / "SvdH_Scoring/SvdH_BE_Scoring/train/_annotation_be_scores.json"
    edit(file, lambda s: [s[f"{h_stem(i)}.bmp"].pop("BE_U") for i in (0, 2)])
    by_name = {f.row["image_id"]: f for f in list_films(h_config(h1200))}
    assert (
        "15 of 16" in by_name[h_stem(0)].fault
        and by_name[h_stem(2)].row["label"] == 1
        and np.isnan(by_name[h_stem(2)].row["damage"])
    )


def test_check_lists_each_fault_of_h1200(h1200):
    (h1200 / "Segmentation/val" / f"{h_stem(20)}.bmp").unlink()
    (h1200 / "Segmentation/test/_annotations_be_rle.coco.json").unlink()
    (h1200 / "SvdH_Scoring/SvdH_JSN_Scoring/test/_annotation_jsn_scores.json").unlink()
    film(h1200 / "Segmentation/test" / f"{h_stem(0)}.bmp", 0)
    faults, notes = check_dataset(find_record("ram-h1200"), h1200)
    text = "\n".join(faults)
    for part in (
        f"{h_stem(20)}: scored, but there is no film",
        "test/_annotations_be_rle.coco.json: is missing",
        "test/_annotation_jsn_scores.json: is missing",
        f"{h_stem(0)}: is in train and in test",
        "BE_U is 9",
        f"{h_stem(20)}: erosions are annotated, but there is no film",
    ):
        assert part in text, part
    text = "\n".join(notes)
    for part in (
        "placed by hand",
        f"{h_stem(5)}: no erosion",
        "patients are in more than one official split",
        "official split test: is_ra",
    ):
        assert part in text, part


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (
            lambda r: (
                pd.read_excel(r / "Metadata.xlsx")
                .rename(columns={"isRA": "Diagnosis"})
                .to_excel(r / "Metadata.xlsx", index=False)
            ),
            "expected a column 'isRA'; found .*Diagnosis",
        ),
        (
            lambda r: (
                pd.read_excel(r / "Metadata.xlsx")
                .assign(isRA="maybe")
                .to_excel(r / "Metadata.xlsx", index=False)
            ),
            "'maybe'; expected 0 or 1",
        ),
        (lambda r: (r / "Metadata.xlsx").write_bytes(b"PK broken"), "not a readable .xlsx"),
        (lambda r: (r / "Metadata.xlsx").unlink(), "lacks Metadata.xlsx; expected .*found"),
        (
            lambda r: edit(
                r / "SvdH_Scoring/SvdH_BE_Scoring/val/_annotation_be_scores.json",
                lambda s: s[f"{h_stem(20)}.bmp"].update({"BE_X": 1}),
            ),
            "unknown key 'BE_X'; expected BE_MCP-T",
        ),
        (
            lambda r: (
                r / "SvdH_Scoring/SvdH_BE_Scoring/val/_annotation_be_scores.json"
            ).write_text("{"),
            "not a JSON file",
        ),
        (
            lambda r: write(r / "SvdH_Scoring/SvdH_BE_Scoring/val/_annotation_be_scores.json", []),
            "expected an object",
        ),
        (
            lambda r: edit(
                r / "Segmentation/val/_annotations_be_rle.coco.json",
                lambda c: c["categories"][0].update(name="Erosion"),
            ),
            "lacks the categories SvdH-BE-90; found Erosion",
        ),
        (
            lambda r: edit(
                r / "Segmentation/val/_annotations_bone_rle.coco.json", lambda c: c.pop("images")
            ),
            "lacks images",
        ),
        (
            lambda r: edit(
                r / "Segmentation/val/_annotations_be_rle.coco.json", lambda c: c["images"].clear()
            ),
            "an entry is incomplete, or refers to something",
        ),
    ],
)
def test_what_is_not_as_expected_is_named(h1200, break_it, message):
    break_it(h1200)
    with pytest.raises(ValueError, match=message):
        list_films(h_config(h1200))
    assert check_dataset(find_record("ram-h1200"), h1200)[0]


def test_fingerprint_follows_scores_films_and_metadata(h1200):
    config = h_config(h1200)
    seen = {source_fingerprint(config)["images"]}
    for path in (
        h1200 / "Metadata.xlsx",
        h1200 / "SvdH_Scoring/SvdH_BE_Scoring/val/_annotation_be_scores.json",
        h1200 / "Segmentation/train" / f"{h_stem(1)}.bmp",
    ):
        os.utime(path, (1, 1))
        seen.add(source_fingerprint(config)["images"])
    assert len(seen) == 4


# ------------------------------------------------------------------ RAM-W600


def w_stem(i: int) -> str:
    return f"{i // 2:04d}_0001_{'LR'[i % 2]}"


def make_w600(root: Path) -> Path:
    """30 wrists: 0 to 25 scored in the JSON, 26 only in the metadata, 27 to 29 not at all; bones
    are misspelled as in the dataset.
    """
    crops = list(ram_w600.CROPS)
    joints, pictures, boxes = [], [], []
    for i in range(N):
        folder = "JointLocationDetection" if i < 26 else "BoneSegmentation"
        film(root / folder / "images" / f"{w_stem(i)}.bmp", i)
        pictures.append(
            {"id": i, "file_name": f"{w_stem(i)}.bmp", "height": HEIGHT, "width": WIDTH}
        )
        if i < 26:
            joints.append(
                {
                    "identifier": w_stem(i),
                    "joints": {c: int(i // 2 % 2) * 2 * (c == "Trapzium") for c in crops},
                }
            )
            split = "train" if i < 20 else "val" if i < 23 else "test"
            for crop in crops:
                film(root / ram_w600.SCORING / split / w_stem(i) / f"{crop}.bmp", i, (12, 12))
            boxes += [
                {
                    "id": 6 * i + k,
                    "image_id": i,
                    "category_id": k + 1,
                    "bbox": [5 + 10 * k, 40, 8, 9],
                }
                for k in range(6)
            ]
    masks = np.zeros((14, HEIGHT, WIDTH), np.uint8)
    for k in range(14):
        masks[k, 5 * k : 5 * k + 4, 10:20] = 1
    (root / "BoneSegmentation/masks/train").mkdir(parents=True)
    np.save(root / "BoneSegmentation/masks/train" / f"{w_stem(26)}.npy", masks)
    categories = [{"id": k, "name": c} for k, c in enumerate(["joints", *crops])]
    write(
        root / "JointLocationDetection/Joints.coco.json",
        {"images": pictures, "annotations": boxes, "categories": categories},
    )
    write(root / ram_w600.SCORING / "JointBE_SvdH_GT.json", joints)
    table = {
        "Mapped Image Stem": [f"{p:04d}_0001" for p in range(15)],
        "NormalizedPatientID": list(range(100, 115)),
        "NormalizedStudyID": 1,
        "InstitutionName": ["A", "B", "A"] * 5,
        "IsRA": [p % 3 != 0 for p in range(15)],
        "PatientAge": "061Y",
        "PatientSex": ["F", "O", "M"] * 5,
    }
    scores = {
        f"{short}_{side}": [1 if p == 13 and side == "L" else None for p in range(15)]
        for _, short, _ in ram_w600.SITES.values()
        for side in "LR"
    }
    pd.DataFrame(table | scores).to_excel(root / "Metadata.xlsx", index=False)
    return root


@pytest.fixture
def w600(tmp_path):
    return make_w600(tmp_path / "ram-w600")


def w_config(root: Path, **more):
    return make_config(
        **{
            "source": "ram-w600",
            "images": str(root),
            "image_size": 32,
            "run_dir": str(root.parent / "run"),
        }
        | more
    )


def test_w600_films_labels_boxes(w600):
    by_name = {f.row["image_id"]: f for f in list_films(w_config(w600))}
    assert len(by_name) == N and {n for n, f in by_name.items() if f.fault} == {
        w_stem(i) for i in (27, 28, 29)
    }
    second = by_name[w_stem(2)]
    assert (
        second.row
        | {
            "centre": "B",
            "patient_id": "101",
            "label": 1,
            "erosion_sum": 2,
            "age": 61,
            "sex": "",
        }
        == second.row
    )
    joints = second.joints.set_index("site")
    assert (
        joints.at["Trapezium", "erosion"] == 2
        and len(joints) == 6
        and np.isclose(joints.at["Trapezium", "x0"], 15 / WIDTH)
    )
    # scored only in the metadata, boxes from the masks
    of_masks = by_name[w_stem(26)].joints.set_index("site")
    assert (
        by_name[w_stem(26)].row["label"] == 1
        and np.isclose(of_masks.at["Radius", "y0"], 5 / HEIGHT)
        and np.isclose(of_masks.at["Radius", "x1"], 20 / WIDTH)
    )


def test_left_is_left_by_the_stem(w600):
    """The authors' `filename[-4] == "L"` looks at the dot: in their loaders no hand is left."""
    sides = [f.laterality for f in list_films(w_config(w600))]
    assert sides.count("L") == sides.count("R") == N // 2
    assert [side_of(n) for n in ("0001_0001_L", "a_l", "L", "x_L.bmp", "x_R1")] == [
        "L",
        "L",
        "",
        "",
        "",
    ]


def test_w600_curates(w600):
    cohort = curate(Run(w_config(w600)))
    assert (
        len(cohort.manifest) >= 24
        and (cohort.manifest.groupby("patient_id")["split"].nunique() == 1).all()
        and len(cohort.joints)
    )


def test_check_lists_each_fault_of_w600(w600):
    (w600 / "JointLocationDetection/images" / f"{w_stem(3)}.bmp").unlink()
    (w600 / ram_w600.SCORING / "train" / w_stem(0) / "Trapzium.bmp").unlink()
    np.save(w600 / "BoneSegmentation/masks/train" / f"{w_stem(27)}.npy", np.zeros((13, 5, 5)))
    edit(
        w600 / ram_w600.SCORING / "JointBE_SvdH_GT.json", lambda s: s[4]["joints"].update(Lunate=7)
    )
    faults, notes = check_dataset(find_record("ram-w600"), w600)
    text = "\n".join(faults)
    for part in (
        f"{w_stem(3)}: scored, but there is no film",
        f"train/{w_stem(0)}: lacks Trapzium",
        "is (13, 5, 5); expected (14, height, width)",
        f"{w_stem(4)}: Lunate is 7",
    ):
        assert part in text, part
    assert any("no usable scores" in n for n in notes)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (
            lambda r: edit(
                r / ram_w600.SCORING / "JointBE_SvdH_GT.json",
                lambda s: s[0]["joints"].update(Trapezium=1),
            ),
            "unknown joint 'Trapezium'; expected .*Trapzium",
        ),
        (
            lambda r: edit(
                r / ram_w600.SCORING / "JointBE_SvdH_GT.json", lambda s: s[0].pop("joints")
            ),
            "expected a list of",
        ),
        (
            lambda r: edit(
                r / "JointLocationDetection/Joints.coco.json",
                lambda c: c["categories"][1].update(name="thumb"),
            ),
            "expected the categories .*found .*thumb",
        ),
        (
            lambda r: (
                pd.read_excel(r / "Metadata.xlsx")
                .drop(columns="PatientAge")
                .to_excel(r / "Metadata.xlsx", index=False)
            ),
            "expected a column 'PatientAge'",
        ),
    ],
)
def test_what_is_not_as_expected_in_w600_is_named(w600, break_it, message):
    break_it(w600)
    with pytest.raises(ValueError, match=message):
        list_films(w_config(w600))


# ------------------------------------------------------------------ RSNA bone age


def make_rsna(root: Path, table: str = "train.csv") -> Path:
    for i in range(N):
        film(
            root
            / (
                "boneage-training-dataset"
                if i < 24
                else "Bone Age Validation Set/boneage-validation-dataset-1"
            )
            / f"{1377 + i}.png",
            i,
        )
    ids = [1377 + i for i in range(N)]
    ages = [60 + 120 * (i % 2) for i in range(N)]
    pd.DataFrame({"id": ids, "boneage": ages, "male": [i % 3 == 0 for i in range(N)]})[:24].to_csv(
        root / table, index=False
    )
    pd.DataFrame(
        {"Image ID": ids, "male": [i % 3 == 0 for i in range(N)], "Bone Age (months)": ages}
    )[24:].to_csv(root / "Bone Age Validation Set/Validation Dataset.csv", index=False)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("table", ["train.csv", "boneage-training-dataset.csv"])
def test_rsna_reads_both_tables_and_curates(tmp_path, table):
    root = make_rsna(tmp_path / "rsna-bone-age", table)
    config = make_config(
        source="rsna-bone-age", images=str(root), image_size=32, run_dir=str(tmp_path / "run")
    )
    films = list_films(config)
    assert (
        [f.row["label"] for f in films[:2]] == [0, 1]
        and films[0].row["sex"] == "M"
        and films[0].laterality == "L"
        and np.isnan(films[0].row["age"])
    )
    cohort = curate(Run(config))
    assert len(cohort.manifest) >= 24 and "RA" not in config.title.replace("RSNA", "")


def test_rsna_faults_and_headers(tmp_path):
    root = make_rsna(tmp_path / "rsna-bone-age")
    (root / "boneage-training-dataset/1380.png").unlink()
    film(root / "boneage-training-dataset/99999.png", 1)
    faults, notes = check_dataset(find_record("rsna-bone-age"), root)
    assert faults == [
        "1380: in the table, but there is no film 1380.png"
    ] and "99999.png" in "\n".join(notes)
    pd.read_csv(root / "train.csv").rename(columns={"boneage": "months"}).to_csv(
        root / "train.csv", index=False
    )
    with pytest.raises(
        ValueError, match="expected a column 'boneage' or .*; found id, months, male"
    ):
        rsna_bone_age.read_dataset(root)


@pytest.mark.parametrize(
    ("value", "age"),
    [
        ("063Y", 63),
        ("63", 63),
        (63.0, 63),
        (" 63,5 ", 63.5),
        ("018M", 1.5),
        ("0", 0),
        (None, None),
        ("n/a", None),
        ("k. A.", None),
    ],
)
def test_ages(value, age):
    reading = read_ages(pd.Series([value], dtype=object))
    assert reading.unread.empty and (
        reading.values.iloc[0] == age if age is not None else reading.values.isna().all()
    )


@pytest.mark.parametrize(
    "value", ["old", "200", "-5", "1961", ">90", "63 J", "12.03.1961", True, "٦٣", "1e1", "inf"]
)
def test_what_is_not_an_age_is_named_with_its_row(value):
    reading = read_ages(pd.Series([50, value, None], dtype=object))
    assert reading.values.tolist()[0] == 50 and reading.values.isna().tolist() == [
        False,
        True,
        True,
    ]
    assert (
        reading.faults("age")[0].startswith("row 3, column age: ")
        and len(reading.faults("age")) == 1
    )
    with pytest.raises(ValueError, match="column age: row 3 has .*; expected years from 0 to 120"):
        reading.checked("age")


WRITTEN = {
    "F": ("F", "w", "Weiblich", "weibl.", " FEMALE ", "Frau", "Mädchen", "femme"),
    "M": ("m", "Mann", "männlich", "MÄNNLICH", "male", "homme"),
    "": ("", None, "?", "unbekannt", "k. A.", "divers", "O"),
}
SIDES = {
    "L": ("l", "LEFT", "links", "li.", "linke Hand", "left_hand", "gauche"),
    "R": ("R", "right", "re", "Rechte Hand", "droite"),
    "": ("both", "bds.", None, "-"),
}


@pytest.mark.parametrize(("reader", "said"), [(read_sex, WRITTEN), (read_side, SIDES)])
def test_words_of_sex_and_side(reader, said):
    for code, words in said.items():
        reading = reader(pd.Series(words, dtype=object))
        assert set(reading.values) == {code} and reading.unread.empty


@pytest.mark.parametrize("reader", [read_sex, read_side])
@pytest.mark.parametrize(
    "values", [[1, 2], [1.0, None, 2.0], ["Rücken", "wer"], [True, False], ["FM", "L/R"]]
)
def test_codes_and_other_words_are_not_guessed(reader, values):
    """'Rücken' (back) starts with R, and once counted as a right hand; 1 and 2 are men and women in
    ISO 5218, and the other way round elsewhere.
    """
    reading = reader(pd.Series(values, dtype=object))
    assert set(reading.values) == {""} and len(reading.unread) == 2
    with pytest.raises(ValueError, match="column c: row 2 has .*, row [34] has .*; expected"):
        reading.checked("c")


# ------------------------------------------------------------------ records and the command


def test_every_source_has_a_record_and_the_command_prints_it(monkeypatch, tmp_path):
    monkeypatch.setenv("RAHELPERS_DATA", str(tmp_path))
    listed = CliRunner().invoke(main, ["data", "list"])
    assert (
        listed.exit_code == 0
        and len(listed.output.splitlines()) == len(DATASETS) == 5
        and listed.output.count("not here") == 3
    )
    for name, record in DATASETS.items():
        assert record.licence and record.citation and record.can and record.cannot
        told = CliRunner().invoke(main, ["data", "info", name])
        assert (
            told.exit_code == 0 and record.licence in told.output and "cannot answer" in told.output
        )
        readme = (Path(__file__).parents[2] / "data" / "README.md").read_text()
        assert name in readme
    wrong = CliRunner().invoke(main, ["data", "info", "ram-h120"])
    assert wrong.exit_code == 2 and "did you mean 'ram-h1200'" in wrong.output


def test_check_command_counts_faults_and_exits_1(h1200, monkeypatch):
    monkeypatch.setenv("RAHELPERS_DATA", str(h1200.parent))
    result = CliRunner().invoke(main, ["data", "check", "ram-h1200"])
    assert (
        result.exit_code == 1
        and "fault: " in result.output
        and "note: " in result.output
        and "ram-h1200: 1 fault" in result.output
    )
    assert CliRunner().invoke(main, ["data", "check", "rsna-bone-age"]).exit_code == 1
    assert CliRunner().invoke(main, ["data", "check", "phantom"]).exit_code == 2


# ------------------------------------------------------------------ the folder source


@pytest.fixture
def folder(tmp_path):
    for i in range(8):
        film(tmp_path / "films" / f"{i}.png", i)
    pd.DataFrame(
        {
            "image_id": range(8),
            "who": [f"p{i}" for i in range(8)],
            "grade": [i % 2 for i in range(8)],
        }
    ).to_csv(tmp_path / "t.csv", index=False)
    return tmp_path


def settings(folder, **more):
    return make_config(
        **{
            "source": "folder",
            "images": str(folder / "films"),
            "table": str(folder / "t.csv"),
            "patient_column": "who",
            "label_column": "grade",
            "positive": "1",
        }
        | more
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("image_id,who,grade\n0,Jürgen,1\n".encode("latin-1"), "row 2 holds the byte 0xfc"),
        ("image_id,who,grade\n0,a,1\n".encode("utf-16"), "UTF-16"),
        ("image_id,who,grade\n0,a,1\n".encode("utf-16-le"), "NUL"),
        (b"image_id,who,grade\n0,a\0,1\n", "NUL"),
        (b"image_id,who,grade\n0,a,1,9\n", "row 2 has 4 values, the header 3"),
        (b"image_id,who,grade\n0,a,1\n1,b\n", "row 3 has 2 values, the header 3"),
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"image_id,who,grade\n", "has a header but no rows"),
        (b'image_id,who,grade\n0,"a,1\n', "not a CSV file"),
        (b"image_id,who,who\n0,a,1\n", "two columns are called 'who'"),
        (b"image_id;who;grade\n0;a;1\n", "save it with commas"),
    ],
)
def test_tables_that_would_mislead_are_refused(folder, data, message):
    (folder / "t.csv").write_bytes(data)
    with pytest.raises(ValueError, match=re.escape(message)):
        read_film_table(settings(folder, id_column="image_id"))


def test_links_and_odd_names(folder):
    """A cycle, links to nowhere and to itself, a link out of the folder, a name with a newline,
    bytes that are not UTF-8.
    """
    films = folder / "films"
    secret = folder / "secret.png"
    film(secret, 50)
    (films / "loop").symlink_to(films, target_is_directory=True)
    (films / "dangling.png").symlink_to(folder / "nowhere.png")
    (films / "self.png").symlink_to(films / "self.png")
    (films / "out.png").symlink_to(secret)
    (folder / "others").mkdir()
    film(folder / "others" / "x.png", 51)
    (films / "others").symlink_to(folder / "others", target_is_directory=True)
    film(films / "two\nlines.png", 52)
    with open(os.fsencode(films) + b"/\xff.png", "wb") as file:
        file.write(secret.read_bytes())
    names = {os.fsencode(p.name) for p in find_files(films, (".png",))[0]}
    assert names == {f"{i}.png".encode() for i in range(8)} | {b"two\nlines.png", b"\xff.png"}
    config = settings(folder)
    before = source_fingerprint(config)
    assert all(not f.fault for f in list_films(config)) and source_fingerprint(config) == before
    pd.DataFrame(
        {
            "image_id": range(3),
            "who": list("abc"),
            "grade": [0, 1, 1],
            "file": ["two\nlines.png", "out.png", "others/x.png"],
        }
    ).to_csv(folder / "t.csv", index=False)
    assert [bool(f.fault) for f in list_films(settings(folder, file_column="file"))] == [
        False,
        True,
        True,
    ]


def test_an_unreadable_folder_is_named(folder, monkeypatch):
    (folder / "films" / "closed").mkdir()
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    (folder / "films" / "0.png").unlink()
    films = list_films(settings(folder))
    assert (
        "1 folders could not be read" in films[0].fault
        and "Permission denied" in films[0].fault
        and not films[1].fault
    )


def test_file_column_never_leads_out_of_the_folder(folder):
    film(folder / "1.png", 60)
    film(folder / "films" / "sub" / "9.png", 61)
    where = [
        "../1.png",
        str(folder / "1.png"),
        "/etc/passwd",
        "sub/../2.png",
        "sub/../../1.png",
        "sub/9.png",
        "5.png",
        "",
    ]
    pd.read_csv(folder / "t.csv").assign(where=where).to_csv(folder / "t.csv", index=False)
    films = list_films(settings(folder, file_column="where"))
    inside = (folder / "films").resolve()
    assert [f.path is not None for f in films] == [
        False,
        False,
        False,
        True,
        False,
        True,
        True,
        False,
    ]
    assert (
        all(f.path.resolve().is_relative_to(inside) for f in films if f.path)
        and "is outside the image folder" in films[0].fault
    )


# ------------------------------------------------------------------ manifests


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    run = Run(
        make_config(n_patients=40, image_size=32, run_dir=str(tmp_path_factory.mktemp("run")))
    )
    curate(run)
    return run.file("curate", "manifest.csv")


def changed(manifest: Path, to: Path, change) -> Path:
    table = pd.read_csv(manifest, dtype=str, keep_default_na=False)
    change(table)
    table.to_csv(to, index=False)
    return to


def test_a_good_manifest_has_no_faults(manifest):
    assert explain_faults(manifest) == []
    assert CliRunner().invoke(main, ["data", "check", str(manifest)]).exit_code == 0


def test_every_fault_is_named_with_row_column_value_and_what_is_expected(manifest, tmp_path):
    def spoil(t):
        t.loc[0, "label"], t.loc[1, "label"], t.loc[2, "label"], t.loc[3, "label"] = (
            "2",
            "yes",
            "",
            "0.5",
        )
        t.loc[4, "age"], t.loc[5, "sex"], t.loc[6, "sha256"], t.loc[7, "split"] = (
            "600",
            "X",
            "abc",
            "exam",
        )
        t.loc[8, "image_id"], t.loc[9, "patient_id"], t.loc[10, "width"] = (
            t.loc[11, "image_id"],
            "",
            "0",
        )
        t.loc[12, "age"], t.loc[13, "sex"] = "old", "weiblich"

    faults = explain_faults(changed(manifest, tmp_path / "m.csv", spoil))
    text = "\n".join(faults)
    for part in (
        "row 2, column label: '2'; expected one of [0, 1]",
        "row 3, column label: 'yes'; expected a whole number",
        "row 4, column label: ''; expected a whole number",
        "row 5, column label: '0.5'; expected a whole number",
        "row 6, column age: '600'; expected a number from 0 to 120",
        "row 7, column sex: 'X'; expected one of",
        "row 8, column sha256: 'abc'; expected 64 characters",
        "row 9, column split: 'exam'; expected one of",
        "column image_id: ",
        "expected a value that no other row has",
        "row 11, column patient_id: ''; expected a value",
        "row 12, column width: '0'; expected a number of at least 1",
        "row 14, column age: 'old'; expected a number",
        "row 15, column sex: 'weiblich'; expected one of ['F', 'M', '']; write F",
    ):
        assert part in text, f"{part} not in\n{text}"


def test_leaks_missing_and_unknown_columns(manifest, tmp_path):
    def leak(t):
        test, train = t.index[t["split"] == "test"][0], t.index[t["split"] == "train"][0]
        t.loc[test, ["patient_id", "sha256"]] = t.loc[train, ["patient_id", "sha256"]].to_numpy()

    text = "\n".join(explain_faults(changed(manifest, tmp_path / "m.csv", leak)))
    assert (
        re.search(r"patient \S+ is in 2 splits: row \d+ is \w+, row \d+ is \w+; expected one", text)
        and "file content" in text
    )
    text = "\n".join(
        explain_faults(
            changed(
                manifest,
                tmp_path / "n.csv",
                lambda t: t.rename(columns={"label": "lable"}, inplace=True),
            )
        )
    )
    assert "row 1: column label is missing; did you mean 'lable'?" in text


def test_a_table_that_is_not_a_manifest_yet_is_checked_as_one_of_own_films(tmp_path):
    (tmp_path / "t.csv").write_text(
        "image_id,Geschlecht,Alter,Seite,ra\na,weiblich,63,links,1\nb,2,1961,hinten,0\n",
        encoding="utf-8",
    )
    result = CliRunner().invoke(main, ["data", "check", str(tmp_path / "t.csv")])
    for part in (
        "row 3, column Geschlecht: '2'",
        "row 3, column Alter: 1961; expected years",
        "row 3, column Seite: 'hinten'; expected L, R",
        "not a manifest",
    ):
        assert part in result.output
    assert result.exit_code == 1 and "row 2" not in result.output


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0", "NUL"),
        (b"", "is empty"),
        (b"image_id,label\n1\n", "row 2 has 1 values"),
        (None, "no such file"),
    ],
)
def test_files_that_are_not_a_manifest(tmp_path, data, part):
    path = tmp_path / "m.csv"
    if data is not None:
        path.write_bytes(data)
    assert part in explain_faults(path)[0]
    assert CliRunner().invoke(main, ["data", "check", str(path)]).exit_code == 1
