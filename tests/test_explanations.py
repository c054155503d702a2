"""The steps of the explanations."""

import numpy as np
import pandas as pd

from rahelpers.explain import BASELINES, explain_gradcam, load_maps, load_tables
from rahelpers.repeats import repeat
from rahelpers.scoreboard import choose_films
from rahelpers.shap_regions import explain_shap


def test_chosen_films_are_test_films_of_both_classes():
    manifest = pd.DataFrame({"split": ["test"] * 8 + ["train"] * 4, "label": [0, 0, 1, 1, 0, 0, 1, 1] + [0, 1] * 2,
                             "patient_id": list("aabbccdd") + list("eeff")})  # fmt: skip
    rows = choose_films(manifest, 4, 0)
    assert (rows < 8).all() and manifest["label"].iloc[rows].sum() == 2 and manifest["patient_id"].iloc[rows].nunique() == 4


def test_explaining_resumes_and_is_additive(tiny_run, capsys):
    record = tiny_run.folder / "05_shap" / "record.json"
    assert explain_shap(tiny_run)["largest_additivity_error"] < 1e-4
    kept = pd.read_csv(tiny_run.file("shap", "values.csv"))
    record.unlink()
    explain_shap(tiny_run)
    pd.testing.assert_frame_equal(kept, pd.read_csv(tiny_run.file("shap", "values.csv")))


def test_step_04_scores_every_method_beside_every_baseline(tiny_run):
    repeat(tiny_run)
    scores = explain_gradcam(tiny_run)
    assert scores["films"] == 8 and scores["lesions"]["films"] >= 1
    assert 0 < scores["lesions"]["chance"]["value"] < scores["signs"]["chance"]["value"] < 1
    tables, maps = load_tables(tiny_run), load_maps(tiny_run)
    board = tables["board"]
    assert set(board["method"]) == set(maps) and set(board.loc[board["is_baseline"], "method"]) == set(BASELINES)
    assert set(board["target"]) == {"network", "hand", "lesions", "signs"}
    assert (board["films"] <= 4).all() and len(tables["films"]) == 8 and (tables["films"]["label"] == 1).sum() == 4
    assert {m.shape for m in maps.values()} == {(8, 48, 48)} and all(np.isfinite(m).all() and m.min() >= 0 for m in maps.values())
    assert {"random network", "shuffled labels", "another seed", "small changes", "lesion removed"} == set(tables["sanity"]["test"])
    edges = tables["sanity"].set_index(["method", "test"]).loc["edges"]
    assert edges.loc[["random network", "shuffled labels", "another seed"], "value"].tolist() == [1, 1, 1]
    assert edges.loc["shuffled labels", "verdict"] in ("fails", "too few patients")
    assert {"MCP", "PIP"} & {site[:3] for site in tables["film_ranks"]["site"]} and "wrist" in set(tables["lesion_ranks"]["group"])
    assert np.isfinite(tables["fall"]["value"].iloc[0]) and tables["fall"]["films"].iloc[0] >= 1


def test_step_04_on_films_without_masks(tiny_run):
    """A folder of real films knows no lesions: the network's own scores and the sanity tests that need no mask are left, and nothing is invented."""
    import dataclasses

    from rahelpers import explain
    from rahelpers.artifacts import Run
    from rahelpers.curation import load_cohort
    from rahelpers.inference import load_bundle

    repeat(tiny_run)
    cohort = dataclasses.replace(load_cohort(tiny_run), lesions=None, signs=None)
    folder = {"source": "folder", "images": "x", "table": "x", "patient_column": "p", "label_column": "l", "positive": "1"}
    run = Run(dataclasses.replace(tiny_run.config, **folder))
    bundle = load_bundle(tiny_run.file("train", "bundle/bundle.json").parent)
    rows = choose_films(cohort.manifest, 4, 0)
    explainers = {"edges": lambda _, images: np.ones(images.shape, np.float32)}
    heat = [{"edges": np.ones((48, 48), np.float32)} for _ in rows]
    tables = explain._score_films(run, cohort, bundle, rows, heat)
    assert set(tables["maps"]["target"]) == {"network", "hand"} and tables["ranks"].empty
    checks = explain._check_sanity(run, cohort, bundle, rows, explainers)
    assert set(checks["sanity"]["test"]) == {"random network", "shuffled labels", "another seed", "small changes"} and checks["fall"].empty
    assert explain.summarise_ranks(tables["ranks"], 50, 0).empty
