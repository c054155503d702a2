"""Steps 04 and 05, and the report of a run that has them: it says what the tables say."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest

from rahelpers.core.store import Run
from rahelpers.course.report import show_strange, show_trainings, write_report
from rahelpers.evaluation.step import evaluate
from rahelpers.explanation.films import choose_films
from rahelpers.explanation.gradcam_step import (
    BASELINE_MAPS,
    explain_gradcam,
)
from rahelpers.explanation.shap_step import explain_shap
from rahelpers.explanation.tables import load_maps, load_tables, load_values
from rahelpers.scores.intervals import interval_text
from rahelpers.training.repeats import repeat


def test_chosen_films_are_test_films_of_both_classes():
    manifest = pd.DataFrame(
        {
            "split": ["test"] * 8 + ["train"] * 4,
            "label": [0, 0, 1, 1, 0, 0, 1, 1] + [0, 1] * 2,
            "patient_id": list("aabbccdd") + list("eeff"),
        }
    )
    rows = choose_films(manifest, 4, 0)
    assert (rows < 8).all()
    assert manifest["label"].iloc[rows].sum() == 2
    assert manifest["patient_id"].iloc[rows].nunique() == 4


def test_explaining_resumes_and_is_additive(tiny_run, capsys):
    record = tiny_run.folder / "05_shap" / "record.json"
    assert explain_shap(tiny_run)["largest_additivity_error"] < 1e-4
    kept = load_values(tiny_run)
    record.unlink()
    explain_shap(tiny_run)
    for before, after in zip(kept, load_values(tiny_run), strict=True):
        pd.testing.assert_frame_equal(before, after)


def test_names_that_look_like_numbers_stay_names(tiny_run, tmp_path):
    """The RSNA films have names such as 1377; those of a hospital may begin with a zero."""
    explain_shap(tiny_run)
    copy = Run(tiny_run.config.replace(run_dir=str(tmp_path / "run")))
    shutil.copytree(tiny_run.folder, copy.folder)
    names = {name: f"{k:04d}" for k, name in enumerate(load_values(tiny_run)[0]["image_id"])}
    for name in ("films", "values"):
        table = pd.read_csv(copy.folder / "05_shap" / f"{name}.csv")
        table.assign(image_id=table["image_id"].map(names)).to_csv(
            copy.folder / "05_shap" / f"{name}.csv", index=False
        )
    films, values = load_values(copy)
    assert set(films["image_id"]) == set(values["image_id"]) == set(names.values())


@pytest.mark.slow
def test_step_04_scores_every_method_next_to_every_baseline(tiny_run):
    repeat(tiny_run)
    scores = explain_gradcam(tiny_run)
    assert scores["films"] == 8 and scores["lesions"]["films"] >= 1
    assert 0 < scores["lesions"]["chance"]["value"] < scores["signs"]["chance"]["value"] < 1
    tables, maps = load_tables(tiny_run), load_maps(tiny_run)
    board = tables["board"]
    assert set(board["method"]) == set(maps)
    assert set(board.loc[board["is_baseline"], "method"]) == set(BASELINE_MAPS)
    assert set(board["target"]) == {"network", "hand", "lesions", "signs"}
    assert (board["films"] <= 4).all()
    assert len(tables["films"]) == 8
    assert (tables["films"]["label"] == 1).sum() == 4
    assert {m.shape for m in maps.values()} == {(8, 48, 48)}
    assert all(np.isfinite(m).all() and m.min() >= 0 for m in maps.values())
    assert {
        "random network",
        "shuffled labels",
        "another seed",
        "small changes",
        "lesion removed",
    } == set(tables["sanity"]["test"])
    edges = tables["sanity"].set_index(["method", "test"]).loc["edges"]
    assert edges.loc[["random network", "shuffled labels", "another seed"], "value"].tolist() == [
        1,
        1,
        1,
    ]
    assert edges.loc["shuffled labels", "verdict"] in ("fails", "too few patients")
    assert {"MCP", "PIP"} & {site[:3] for site in tables["film_ranks"]["site"]}
    assert "wrist" in set(tables["lesion_ranks"]["group"])
    assert np.isfinite(tables["fall"]["value"].iloc[0]) and tables["fall"]["films"].iloc[0] >= 1


@pytest.mark.slow
def test_step_04_on_films_without_masks(tiny_run):
    """A folder of real films knows no lesions, and nothing is invented.

    Scores of the network itself and the sanity tests that need no mask are left.
    """

    from rahelpers.core.store import Run
    from rahelpers.curation.cohort import load_cohort
    from rahelpers.explanation import gradcam_step as explain
    from rahelpers.network.bundle import load_bundle

    repeat(tiny_run)
    cohort = dataclasses.replace(load_cohort(tiny_run), lesions=None, signs=None)
    folder = {
        "source": "folder",
        "images": "x",
        "table": "x",
        "patient_column": "p",
        "label_column": "l",
        "positive": "1",
    }
    run = Run(tiny_run.config.replace(**folder))
    bundle = load_bundle(tiny_run.file("train", "bundle/bundle.json").parent)
    rows = choose_films(cohort.manifest, 4, 0)
    explainers = {"edges": lambda _, images: np.ones(images.shape, np.float32)}
    heat = [{"edges": np.ones((48, 48), np.float32)} for _ in rows]
    tables = explain.score_films(run, cohort, bundle, rows, heat)
    assert set(tables["maps"]["target"]) == {"network", "hand"} and tables["ranks"].empty
    checks = explain.check_sanity(run, cohort, bundle, rows, explainers)
    assert set(checks["sanity"]["test"]) == {
        "random network",
        "shuffled labels",
        "another seed",
        "small changes",
    }
    assert checks["fall"].empty
    assert explain.summarise_ranks(tables["ranks"]).empty


@pytest.fixture(scope="module")
def page(tiny_run):
    for step in (repeat, evaluate, explain_gradcam, explain_shap):
        step(tiny_run)
    return write_report(tiny_run).read_text(encoding="utf-8")


@pytest.mark.slow
def test_every_entry_of_the_contents_leads_somewhere(page):
    targets = re.findall(r'href="#([^"]+)"', page)
    assert len(targets) >= 8 and all(page.count(f'id="{target}"') == 1 for target in targets)
    assert "phantom" in page and "Education and research only" in page
    assert not re.search(r'(src|href)="https?:', page), "it needs nothing else"


@pytest.mark.slow
def test_the_report_says_what_the_tables_say(page, tiny_run):
    def table(name):
        return pd.read_csv(tiny_run.folder / name)

    for row in table("03_evaluate/strange.csv").query("score == 'distance'").itertuples():
        assert row.kind in page and f"{row.auc:.2f} ({row.low:.2f} to {row.high:.2f})" in page
    for row in table("03_evaluate/calibrators.csv").itertuples():
        assert interval_text(row._asdict(), "brier_") in page
    for part in table("03_evaluate/shortcuts_probes.csv")["part"].unique():
        assert f"<td>{part}, " in page
    board, sanity = table("04_gradcam/board.csv"), table("04_gradcam/sanity.csv")
    assert all(method in page for method in {*board["method"], *sanity["method"]})
    assert all(test in page for test in sanity["test"].unique())
    metrics = json.loads((tiny_run.folder / "03_evaluate" / "metrics.json").read_text())
    assert f"{metrics['operating_point']['probability']:.3f}" in page


@pytest.mark.slow
def test_every_training_is_in_the_autopsy(page, tiny_run):
    scores = pd.read_csv(tiny_run.folder / "02_repeat" / "scores.csv")
    words = show_trainings(scores)
    assert len(words) == len(scores)
    assert all(f"<td>{name}</td>" in page for name in words["training"])
    assert "labels shuffled" in set(words["training"])
    assert "50% of the training patients" in set(words["training"])
    assert "Cross-validated by patient" in page


def test_what_is_missing_is_a_dash_or_a_count():
    row = {
        "kind": "share",
        "value": 0.25,
        "patients": 5,
        "train_auc": None,
        "validation_auc": 0.5,
        "test_auc": None,
        "test_low": None,
        "test_high": None,
        "gap": None,
        "gap_low": None,
        "gap_high": None,
        "films_positive": 3,
        "films_negative": 9,
    }
    found = show_trainings(pd.DataFrame([row])).iloc[0]
    assert found["AUC on held-out films"] == found["train minus held out"] == "–"
    assert found["positive / negative held-out films"] == "3 / 9"
    assert (
        show_trainings(pd.DataFrame([row | {"kind": "shuffled", "validation_auc": None}])).iloc[0][
            "AUC validation"
        ]
        == "–"
    )
    assert show_strange(
        pd.DataFrame(columns=["kind", "score", "auc", "low", "high", "warned", "pictures", "films"])
    ).empty
