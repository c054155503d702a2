"""The folder source: labels from rules, words in cells, files, boxes."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from rahelpers.core.config import make_config
from rahelpers.core.store import Run
from rahelpers.curation.step import curate
from rahelpers.data.sources.folder import make_labels, read_boxes, read_film_table
from rahelpers.data.sources.registry import check_source


@pytest.mark.parametrize(
    ("values", "rule", "expected"),
    [
        ([100, 120, 130], ">=120", [0, 1, 1]),
        (["M", "F", "M"], "M", [1, 0, 1]),
        ([0, 1, 1], "1", [0, 1, 1]),
        ([1.5, 2.5], "<2", [1, 0]),
    ],
)
def test_label_rules(values, rule, expected):
    assert make_labels(pd.Series(values), rule).tolist() == expected


@pytest.mark.parametrize(
    ("values", "rule"), [(["M", "F"], ">=3"), (["M", "F"], "X"), ([1, 2], ">=many"), ([1, 2], ">=")]
)
def test_impossible_rules_are_refused(values, rule):
    with pytest.raises(ValueError, match="positive"):
        make_labels(pd.Series(values), rule)


def test_missing_labels_stay_missing():
    assert make_labels(pd.Series([100, None, 130]), ">=120").isna().tolist() == [False, True, False]


@pytest.fixture
def folder(tmp_path):
    """30 patients with one film of noise each: one is damaged, one missing, one a copy."""
    images = tmp_path / "films"
    images.mkdir()
    rng = np.random.default_rng(1)
    for i in range(30):
        Image.fromarray(rng.integers(0, 255, (90, 80), dtype=np.uint8)).save(images / f"{i}.png")
    (images / "3.png").write_bytes(b"broken")
    (images / "4.png").unlink()
    (images / "5.png").write_bytes((images / "6.png").read_bytes())
    pd.DataFrame(
        {
            "image_id": range(30),
            "who": [f"p{i}" for i in range(30)],
            "grade": [i % 2 for i in range(30)],
        }
    ).to_csv(tmp_path / "t.csv", index=False)
    return tmp_path


def settings(folder, **more):
    return {
        "source": "folder",
        "images": str(folder / "films"),
        "table": str(folder / "t.csv"),
        "patient_column": "who",
        "label_column": "grade",
        "positive": "1",
        "image_size": 32,
        "run_dir": str(folder / "run"),
    } | more


def test_bad_films_are_listed_and_good_ones_kept(folder):
    cohort = curate(Run(make_config(**settings(folder))))
    reasons = cohort.excluded.set_index("image_id")["reason"]
    assert len(cohort.manifest) == 27 and set(reasons.index) == {"3", "4", "6"}
    assert "same content as 5" in reasons["6"]
    assert "RA" not in cohort.manifest.to_csv()


@pytest.mark.parametrize(
    ("column", "cells", "option", "match"),
    [
        (
            "age",
            {20: "600", 21: "old"},
            {},
            r"column age: row 22 has '?600'?, row 23 has 'old'; expected years from 0 to 120",
        ),
        (
            "Sex",
            {i: "1" for i in range(30)},
            {},
            (
                r"column Sex: row 2 has 1, row 3 has 1, row 4 has 1, and 27 more rows are like"
                r" that; expected F, M"
            ),
        ),
        (
            "Geschlecht",
            {4: "Tier"},
            {"sex_column": "Geschlecht"},
            r"column Geschlecht: row 6 has 'Tier'",
        ),
        (
            "Seite",
            {9: "Rücken"},
            {"laterality_column": "Seite"},
            r"column Seite: row 11 has 'Rücken'; expected L, R",
        ),
    ],
)
def test_a_cell_that_is_not_understood_names_its_row(folder, column, cells, option, match):
    table = pd.read_csv(folder / "t.csv")
    table.assign(**{column: [cells.get(i, "") for i in range(30)]}).to_csv(
        folder / "t.csv", index=False
    )
    with pytest.raises(ValueError, match=match):
        check_source(make_config(**settings(folder, **option)))


@pytest.mark.parametrize(
    ("column", "cells", "option", "match"),
    [
        ("who", {3: "   "}, {}, "who is empty in row 5"),
        (
            "grade",
            {3: "9" * 400},
            {"positive": ">=1"},
            "needs numbers, but the label column holds 999",
        ),
        ("grade", {3: "inf"}, {"positive": ">=1"}, "needs numbers, but the label column holds inf"),
        (
            "place",
            dict.fromkeys(range(30), "Oslo") | {7: "oslo "},
            {"centre_column": "place"},
            r"hospitals 'Oslo' \(row 2\) and 'oslo' \(row 9\)",
        ),
        (
            "file",
            dict.fromkeys(range(30), "1.png"),
            {"file_column": "file"},
            "expected at least 5 of each.*; 29 films were left out, .*same content as 0",
        ),
    ],
)
def test_nasty_cells_are_refused_in_words(folder, column, cells, option, match):
    table = pd.read_csv(folder / "t.csv", dtype=str)
    before = table.get(column, [""] * 30)
    table.assign(**{column: [cells.get(i, old) for i, old in enumerate(before)]}).to_csv(
        folder / "t.csv", index=False
    )
    with pytest.raises(ValueError, match=match):
        curate(Run(make_config(**settings(folder, **option))))


def test_age_sex_and_side_in_other_words_reach_the_manifest(folder):
    table = pd.read_csv(folder / "t.csv")
    words = {
        "AGE": ["63,5", "018M", ""],
        "Geschlecht": ["weiblich", "Mann", "k. A."],
        "Seite": ["links", "re.", "beide"],
    }
    table.assign(**{name: [said[i % 3] for i in range(30)] for name, said in words.items()}).to_csv(
        folder / "t.csv", index=False
    )
    config = make_config(**settings(folder, sex_column="Geschlecht", laterality_column="Seite"))
    rows = curate(Run(config)).manifest.set_index("image_id")
    assert rows.loc[["0", "1", "2"], ["sex", "laterality"]].to_numpy().tolist() == [
        ["F", "L"],
        ["M", "R"],
        ["", ""],
    ]
    assert rows.loc[["0", "1"], "age"].tolist() == [63.5, 1.5] and np.isnan(rows.loc["2", "age"])


def test_names_that_look_like_no_value_stay_names_on_disk(folder, capsys):
    names = ["NA", "None", "nan", "007", "1e5", "TRUE", "null", "é"]
    table = pd.read_csv(folder / "t.csv", dtype=str)
    table["who"] = [*names, *table["who"][len(names) :]]
    table.assign(place="NA").to_csv(folder / "t.csv", index=False)
    run = Run(make_config(**settings(folder, centre_column="place")))
    cohort = curate(run)
    patients = cohort.manifest.set_index("image_id")["patient_id"]
    assert patients[["0", "1", "2", "5", "7"]].tolist() == ["NA", "None", "nan", "TRUE", "é"]
    assert set(cohort.manifest["centre"]) == {"NA"} and len(patients) == 27
    said = capsys.readouterr().out
    assert "column who: words for 'not known' are used as names ('NA' (1), 'None' (1)" in said
    sheet = (run.folder / "01_curate" / "datasheet.md").read_text(encoding="utf-8")
    assert all(line in sheet for line in said.splitlines() if line.startswith("column"))


def test_titles_never_say_ra_for_another_task(folder):
    config = make_config(**settings(folder))
    assert config.title.startswith("grade = 1") and "RA" not in config.title


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("label_column", "grad", "did you mean 'grade'"),
        ("images", "/nowhere", "no such folder"),
        ("table", "/nowhere.csv", "no such file"),
    ],
)
def test_wrong_options_are_explained(folder, key, value, match):
    with pytest.raises(ValueError, match=match):
        read_film_table(make_config(**settings(folder, **{key: value})))


def test_duplicate_ids_are_refused(folder):
    table = pd.read_csv(folder / "t.csv")
    pd.concat([table, table.head(1)]).to_csv(folder / "t.csv", index=False)
    with pytest.raises(ValueError, match="must be unique"):
        read_film_table(make_config(**settings(folder)))


def test_two_films_of_one_name_are_not_guessed(folder):
    (folder / "films" / "again").mkdir()
    (folder / "films" / "again" / "7.png").write_bytes((folder / "films" / "7.png").read_bytes())
    with pytest.raises(ValueError, match=r"'7' could be 7.png and again/7.png; .*--file-column"):
        read_film_table(make_config(**settings(folder)))
    table = pd.read_csv(folder / "t.csv").assign(
        where=lambda t: [f"again/{i}.png" if i == 7 else f"{i}.png" for i in t["image_id"]]
    )
    table.to_csv(folder / "t.csv", index=False)
    found = read_film_table(make_config(**settings(folder, file_column="where"))).set_index(
        "image_id"
    )["path"]
    assert found["7"].parent.name == "again" and found["8"].parent.name == "films"


@pytest.mark.parametrize(
    ("box", "match"),
    [
        ((10, 10, 40, 50), "row 2, column x0: 10.*fractions"),
        ((0.5, 0.1, 0.4, 0.3), "row 2 has no area"),
        (("a", 0, 1, 1), "x0"),
    ],
)
def test_impossible_boxes_are_explained(folder, box, match):
    pd.DataFrame(
        [("1", "MCP", *box)], columns=["image_id", "joint", "x0", "y0", "x1", "y1"]
    ).to_csv(folder / "boxes.csv", index=False)
    with pytest.raises(ValueError, match=match):
        read_boxes(make_config(**settings(folder, boxes=str(folder / "boxes.csv"))))


def test_joints_of_one_name_are_numbered_from_the_left(folder):
    rows = [
        ("1", "PIP", 0.6, 0.1, 0.7, 0.2),
        ("1", "PIP", 0.1, 0.1, 0.2, 0.2),
        ("2", "PIP", 0.3, 0.1, 0.4, 0.2),
    ]
    pd.DataFrame(rows, columns=["image_id", "joint", "x0", "y0", "x1", "y1"]).to_csv(
        folder / "boxes.csv", index=False
    )
    boxes = read_boxes(make_config(**settings(folder, boxes=str(folder / "boxes.csv"))))
    assert boxes[["image_id", "site", "x0"]].to_numpy().tolist() == [
        ["1", "PIP 1", 0.1],
        ["1", "PIP 2", 0.6],
        ["2", "PIP", 0.3],
    ]


def test_real_films_curate(real_films, tmp_path):
    config = make_config(
        source="folder",
        images=str(real_films / "images"),
        table=str(real_films / "manifest.csv"),
        patient_column="image_id",
        label_column="bone_age_months",
        positive=">=120",
        boxes=str(real_films / "joint_boxes.csv"),
        max_films=120,
        image_size=64,
        run_dir=str(tmp_path / "r"),
    )
    cohort = curate(Run(config))
    assert len(cohort.manifest) == 120 and len(cohort.excluded) == 0
    assert cohort.joints[["x0", "y0", "x1", "y1"]].to_numpy().max() <= 1
