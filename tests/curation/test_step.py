"""Curation from end to end.

Nothing disappears, what was done once is not done again, and it does not matter where it is done.
"""

import base64
import json
import os
import re
import signal
import time

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from rahelpers.core.config import make_config
from rahelpers.core.store import Run
from rahelpers.curation import step as curation
from rahelpers.curation.cache import ArrayFile
from rahelpers.curation.datasheet import describe_values
from rahelpers.curation.duplicates import PAIR_COLUMNS
from rahelpers.curation.film import curate_film, pack_hands, unpack_hands
from rahelpers.curation.leak_report import describe_leaks
from rahelpers.curation.splits import split_by_patient, warn_about_splits
from rahelpers.curation.step import curate
from rahelpers.data.sources.film import SourceItem
from rahelpers.data.sources.registry import check_source, list_films
from rahelpers.films.radiograph import Radiograph
from rahelpers.phantom import make_patient, render

LABELS = [i % 2 for i in range(30)]


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Thirty phantom patients as files in a folder, with planted mistakes; made once."""
    folder = tmp_path_factory.mktemp("planted")
    (folder / "films").mkdir()
    images = [
        np.rint(render(make_patient(51, i), "L", 256).image * 255).astype(np.uint8)
        for i in range(30)
    ]
    # the hand of patient 3 again, mirrored and cropped; and one film with bone stored dark
    images[20] = images[3][:, ::-1][6:-6, 4:-10]
    images[21] = 255 - images[21]
    for i, image in enumerate(images):
        Image.fromarray(np.ascontiguousarray(image)).save(folder / "films" / f"{i}.png")
    (folder / "films" / "22.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    # the file of patient 7, with the other label
    (folder / "films" / "24.png").write_bytes((folder / "films" / "7.png").read_bytes())
    table = pd.DataFrame(
        {
            "image_id": range(30),
            "who": [f"p{i:02d}" for i in range(30)],
            "grade": LABELS,
            "site": ["A", "B", "C"] * 10,
        }
    )
    table.to_csv(folder / "t.csv", index=False)
    return folder


def run_of(films, tmp_path, name="run", **more):
    settings = {
        "source": "folder",
        "images": str(films / "films"),
        "table": str(films / "t.csv"),
        "patient_column": "who",
        "label_column": "grade",
        "positive": "1",
        "centre_column": "site",
        "image_size": 48,
        "run_dir": str(tmp_path / name),
    }
    return Run(make_config(**settings | more))


@pytest.fixture(scope="module")
def planted(films, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return curate(run_of(films, folder)), folder


def test_planted_mistakes_are_found_and_explained(planted):
    cohort, _ = planted
    rows = cohort.manifest.set_index("image_id")
    reasons = cohort.excluded.set_index("image_id")["reason"].to_dict()
    assert reasons.keys() == {"22", "24"} and "22.png" in reasons["22"]
    assert reasons["24"] == "same content as 7 of patient p07, whose label is 1 and not 0"
    assert rows.loc["21", "action"] == "fix" and "inverted" in rows.loc["21", "reason"]
    assert cohort.pairs[["image_a", "image_b", "verdict"]].to_numpy().tolist() == [
        ["7", "24", "same file"],
        ["3", "20", "same hand"],
    ]
    # both films count as one patient's, are in one split, and say why
    assert (
        rows.loc["3", "patient_id"] == rows.loc["20", "patient_id"] == "p03"
        and rows.loc["3", "split"] == rows.loc["20", "split"]
    )
    assert (
        "same hand as 3 of patient p03" in rows.loc["20", "reason"]
        and "its label is 1, here 0" in rows.loc["20", "reason"]
    )


def test_the_leak_report_shows_both_films_and_what_was_done(films, planted):
    cohort, folder = planted
    page = (folder / "run" / "01_curate" / "leaks.html").read_text()
    pictures = [
        cv2.imdecode(np.frombuffer(base64.b64decode(found), np.uint8), 0)
        for found in re.findall(r"data:image/png;base64,([^\"]+)", page)
    ]
    names = cohort.manifest["image_id"].tolist()
    assert len(pictures) == 3, "a file that was left out has no picture of its own"
    for picture, name in zip(pictures, ("7", "3", "20"), strict=True):
        np.testing.assert_array_equal(picture, cohort.images[names.index(name)])
    said = (
        "same file 1, same hand 1, look 0",
        "24, patient p24. Left out: it is the same file.",
        "shared details",
        "3, patient p03. Split",
        "one file was kept, and both patients count as one",
        "both films are in",
        "The two labels differ",
        "in two splits: 0",
    )
    for part in said:
        assert part in page
    assert "src=" not in page.replace('src="data:', "") and "href" not in page, (
        "it needs no other file"
    )


def test_a_pair_to_look_at_says_where_it_leaks_and_names_cannot_break_the_page(planted):
    cohort, folder = planted
    manifest = cohort.manifest.assign(
        patient_id=cohort.manifest["patient_id"].replace("p01", "<script>")
    )
    manifest["split"] = np.where(manifest.index == 1, "test", "train")
    pairs = pd.DataFrame(
        [("0", "p00", "1", "<script>", 44, 30, "look"), ("0", "p00", "2", "p02", 41, 30, "look")],
        columns=PAIR_COLUMNS,
    )
    config = run_of(folder, folder, task="<b> & more").config
    page = describe_leaks(config, manifest, pairs, cohort.images)
    assert (
        "The films are in train and test" in page
        and "both films are in one split" in page
        and page.count('class="across"') == 1
    )
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert "<b>" not in page and page.count("&lt;b&gt; &amp; more") == 2, "heading and title"


def test_the_datasheet_says_what_the_label_is_made_from(planted, films, tmp_path):
    _, folder = planted
    sheet = (folder / "run" / "01_curate" / "datasheet.md").read_text()
    # films 22 and 24 are left out, both of label 0
    assert (
        "label is made from: column `grade`, rule `= 1`" in sheet
        and "values that it was made from, and their films: 1 15, 0 13" in sheet
    )
    values = pd.Series([float(i) for i in range(20)] + [None])
    assert describe_values(values) == "20 values, 0 to 19, median 9.5"
    assert describe_values(pd.Series(["RA", "OA", "RA"])) == "'RA' 2, 'OA' 1"
    assert describe_values(pd.Series([None])) == "the label itself"


def test_two_patients_who_share_a_file_are_one_in_every_split_and_every_film_of_theirs_says_so(
    films, tmp_path
):
    """An exact copy is left out; its owner's other films share a split with the original."""
    table = pd.read_csv(films / "t.csv")
    table.loc[table["image_id"] == 25, "who"] = "p24"  # the owner of the copy has another film
    table.to_csv(tmp_path / "t.csv", index=False)
    rows = curate(run_of(films, tmp_path, table=str(tmp_path / "t.csv"))).manifest.set_index(
        "image_id"
    )
    assert (
        rows.loc["25", "patient_id"] == rows.loc["7", "patient_id"] == "p07"
        and rows.loc["25", "split"] == rows.loc["7", "split"]
    )
    assert (
        rows.loc["25", "action"] == "fix"
        and "patient p24 counts as p07" in rows.loc["25", "reason"]
    )


@pytest.mark.parametrize(
    ("column", "row", "value", "words"),
    [
        ("who", 4, "P03", "differ only in upper and lower case"),
        ("site", 0, "A", "external_centre='Oslo' has no film; hospitals of this source: A, B, C"),
    ],
)
def test_what_a_table_shows_is_refused_before_a_film_is_read(
    films, tmp_path, column, row, value, words
):
    table = pd.read_csv(films / "t.csv")
    table.loc[row, column] = value
    table.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(ValueError, match=words):
        check_source(
            run_of(
                films,
                tmp_path,
                table=str(tmp_path / "t.csv"),
                external_centre="Oslo" if column == "site" else "",
            ).config
        )


def test_blanks_are_not_a_label_and_spaces_not_another_patient(films, tmp_path):
    table = pd.read_csv(films / "t.csv").assign(grade=["yes" if g else "no" for g in LABELS])
    table.loc[0, "grade"] = "  "
    table.loc[1, "who"] = " p01 "
    table.to_csv(tmp_path / "t.csv", index=False)
    found = list_films(
        run_of(films, tmp_path, table=str(tmp_path / "t.csv"), positive="yes").config
    )
    assert (
        found[0].fault == "no value in grade"
        and found[1].row["patient_id"] == "p01"
        and found[1].row["condition"] == "yes"
    )


def test_a_film_of_that_name_in_another_folder_is_not_used(films, tmp_path):
    table = pd.read_csv(films / "t.csv").assign(file=lambda t: t["image_id"].astype(str) + ".png")
    table.loc[0, "file"], table.loc[1, "file"] = "wardB/0.png", "films/1.png"
    table.to_csv(tmp_path / "t.csv", index=False)
    found = list_films(
        run_of(films, tmp_path, table=str(tmp_path / "t.csv"), file_column="file").config
    )
    assert (
        "'wardB/0.png': no file of that name" in found[0].fault and found[1].row["file"] == "1.png"
    )


def test_no_film_disappears(planted):
    cohort, _ = planted
    assert set(cohort.manifest["image_id"]) | set(cohort.excluded["image_id"]) == {
        str(i) for i in range(30)
    }
    assert len(cohort.images) == len(cohort.manifest)


def test_every_finding_has_its_picture(planted):
    cohort, _ = planted
    inverted = cohort.quality[cohort.quality["check"] == "inverted"].iloc[0]
    assert cohort.gallery[inverted["picture"]].std() > 10


def test_a_second_run_reads_no_film_again_and_gives_the_same_bytes(
    films, planted, tmp_path, monkeypatch
):
    _, folder = planted

    def refuse(*_):
        raise AssertionError("a film was curated again")

    monkeypatch.setattr(
        curation, "map_in_order", lambda function, jobs, *_: [function(j) for j in jobs]
    )
    monkeypatch.setattr("rahelpers.curation.film.cut_hands", refuse)
    curate(run_of(films, folder, "again", seed=7))
    for name in ("manifest.csv", "images.npy", "quality.csv", "pairs.csv", "joints.csv"):
        assert (folder / "again" / "01_curate" / name).read_bytes() == (
            folder / "run" / "01_curate" / name
        ).read_bytes(), name


def test_a_changed_label_is_taken_from_the_table_and_not_from_the_cache(films, planted, tmp_path):
    _, folder = planted
    other = tmp_path / "other.csv"
    pd.read_csv(films / "t.csv").assign(grade=[1 - g for g in LABELS]).to_csv(other, index=False)
    cohort = curate(run_of(films, folder, "turned", table=str(other)))
    assert cohort.manifest.set_index("image_id").loc["0", "label"] == 1


def test_the_datasheet_is_filled_from_the_data_and_open_where_it_cannot_be(planted):
    _, folder = planted
    text = (folder / "run" / "01_curate" / "datasheet.md").read_text()
    assert "- films: 28" in text and "- hospital: C 10, A 9, B 9" in text
    assert text.count("TO BE WRITTEN BY A PERSON") >= 8 and "same content as 7" in text
    assert "under the names of two patients: 2. Pairs that a\nperson must look at: 0" in text


def test_a_growing_array_file_is_an_ordinary_npy_file(tmp_path):
    pieces = np.random.default_rng(0).integers(0, 255, (1000, 5, 7), dtype=np.uint8)
    file = ArrayFile(tmp_path / "a.npy")
    for piece in pieces:
        file.append(piece)
    file.close()
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy", mmap_mode="r"), pieces)


def cohort_table(n: int, centres: str = "ABC"):
    rng = np.random.default_rng(3)
    patients = pd.Series(np.repeat([f"p{i}" for i in range(n)], 2))
    return (
        patients,
        pd.Series(np.repeat(rng.integers(0, 2, n), 2)),
        pd.Series(np.repeat([centres[i % len(centres)] for i in range(n)], 2)),
    )


def test_the_external_hospital_is_only_in_its_own_split():
    patients, labels, centres = cohort_table(90)
    centres[0] = "B"  # one patient was seen in two hospitals
    split = split_by_patient(patients, labels, 0.25, 0.2, 7, centres, "B")
    assert (
        set(split[centres == "B"]) == {"external"}
        and split[1] == "external"
        and (split == "external").sum() == 62
    )
    with pytest.raises(ValueError, match="hospitals of this source: A, B, C"):
        split_by_patient(patients, labels, 0.25, 0.2, 7, centres, "D")


def test_every_hospital_is_split_evenly_if_asked():
    patients, labels, centres = cohort_table(300)
    split = split_by_patient(patients, labels, 0.25, 0.2, 7, centres, by_centre=True)
    share = pd.crosstab(centres, split, normalize="index")
    assert share["test"].between(0.22, 0.28).all() and np.ptp(share["test"]) < 0.03
    # hospitals that are too small for that do not stop the split
    patients, labels, centres = cohort_table(60, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert set(split_by_patient(patients, labels, 0.25, 0.2, 7, centres, by_centre=True)) == {
        "train",
        "validation",
        "test",
    }


def test_warnings_are_those_of_a_reviewer():
    table = pd.DataFrame(
        {
            "patient_id": [f"p{i}" for i in range(200)],
            "label": [1] * 150 + [0] * 50,
            "centre": ["X"] * 150 + ["Y"] * 50,
            "split": (
                (["train"] * 100 + ["test"] * 48 + ["validation"] * 2)
                + ["train"] * 40
                + ["test"] * 2
                + ["validation"] * 8
            ),
        }
    )
    words = "\n".join(warn_about_splits(table))
    assert "2 negative films in test: no AUC will mean anything" in words
    assert "96% positive films in test, 71% in train" in words
    assert "all 150 films of X are positive: the hospital gives the label away" in words
    good = pd.DataFrame(
        {
            "patient_id": range(400),
            "label": [0, 1] * 200,
            "centre": "",
            "split": ["train"] * 200 + ["test"] * 100 + ["validation"] * 100,
        }
    )
    assert warn_about_splits(good) == []


# --- a Dask cluster: a real scheduler and workers over loopback ---


@pytest.mark.slow
def test_a_cluster_gives_the_same_bytes_and_survives_the_loss_of_a_worker(
    films, planted, cluster, tmp_path, monkeypatch
):
    _, folder = planted
    address, workers = cluster
    monkeypatch.setattr(curation, "PORTION", 16)
    killed = []

    def with_a_loss(function, jobs, dask="", modules=()):
        from rahelpers.core.workers import map_in_order

        for done, result in enumerate(map_in_order(function, jobs, dask, modules)):
            if dask and done == 3 and not killed:
                os.killpg(workers[0].pid, signal.SIGKILL)
                killed.append(time.monotonic())
            yield result

    monkeypatch.setattr(curation, "map_in_order", with_a_loss)
    curate(run_of(films, tmp_path, "cluster", dask=address))
    assert killed and workers[0].wait(10) is not None
    for name in (
        "manifest.csv",
        "images.npy",
        "quality.csv",
        "pairs.csv",
        "joints.csv",
        "datasheet.md",
    ):
        assert (tmp_path / "cluster" / "01_curate" / name).read_bytes() == (
            folder / "run" / "01_curate" / name
        ).read_bytes(), name
    record = json.loads((tmp_path / "cluster" / "01_curate" / "record.json").read_text())
    assert (
        record["key"]
        == json.loads((folder / "run" / "01_curate" / "record.json").read_text())["key"]
    ), "where it was done does not key the step"


@pytest.mark.slow
def test_a_cluster_that_does_not_answer_is_explained(films, tmp_path, free_address):
    with pytest.raises(
        ValueError, match=r"dask=tcp://127.0.0.1:\d+: no Dask scheduler answers there"
    ):
        curate(run_of(films, tmp_path, dask=free_address))


@pytest.mark.parametrize("shape", [(32, 32), (33, 700), (700, 33), (65, 64), (90, 400)])
@pytest.mark.parametrize("kind", ["noise", "ramp", "steps", "spot"])
def test_no_picture_that_can_be_read_breaks_curation(shape, kind):
    """Whatever a reader accepts becomes a row or a reason."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 1, shape[0] * shape[1], dtype=np.float32).reshape(shape)
    spot = np.zeros(shape, np.float32)
    spot[3:9, 4:12] = 1
    image = {
        "noise": rng.random(shape, np.float32),
        "ramp": ramp,
        "steps": ramp.round(1),
        "spot": spot,
    }[kind]

    class Film:
        row = {"image_id": "x", "patient_id": "p", "label": 1, "sha256": "0" * 64, "file": "x.png"}

        def read(self):
            return SourceItem(row=self.row, radiograph=Radiograph(image))

    for hand in unpack_hands(pack_hands(curate_film(Film(), 48))):
        assert hand.reason or hand.image.shape == (48, 48)
