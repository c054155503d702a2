"""Scores of step 03 against numbers worked out by hand and against scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from rahelpers.curation.cohort import load_cohort
from rahelpers.evaluation.figures import plot_forest
from rahelpers.evaluation.split_scores import compute_scores, describe_run
from rahelpers.evaluation.step import evaluate
from rahelpers.evaluation.strange_films import compute_strange, make_strange
from rahelpers.evaluation.subgroups import compute_subgroups
from rahelpers.evaluation.tables import (
    compare_networks,
    find_worst_errors,
    load_predictions,
    load_table,
    metrics_table,
    show_score,
)
from rahelpers.network import familiarity
from rahelpers.network.bundle import load_bundle
from rahelpers.scores.intervals import Resampling
from rahelpers.scores.metrics import FEW_FILMS, ScoredFilms, compute_auc

LABELS = np.array([0, 0, 0, 1, 1, 1])
SCORES = np.array([0.1, 0.2, 0.6, 0.4, 0.7, 0.9])


def test_scores_by_hand():
    found = compute_scores(ScoredFilms(LABELS, SCORES), 0.5, Resampling(100, 0))
    # 9 pairs, one of them (0.4 against 0.6) in the wrong order
    assert found["auc"]["value"] == pytest.approx(8 / 9)
    assert found["confusion"] == {"tn": 2, "fp": 1, "fn": 1, "tp": 2}
    assert found["sensitivity"]["value"] == pytest.approx(2 / 3)
    assert found["specificity"]["value"] == pytest.approx(2 / 3)
    assert found["counts"] == {
        "films_positive": 3,
        "films_negative": 3,
        "patients": 6,
        "patients_positive": 3,
        "patients_negative": 3,
    }
    assert found["auc"]["low"] <= 8 / 9 <= found["auc"]["high"]
    # at prevalence 0.1: true alarms 2/3 x 0.1, false alarms 1/3 x 0.9
    assert found["ppv"]["value"] == pytest.approx(0.2 / 1.1)
    assert found["ppv"]["low"] <= 0.2 / 1.1 <= found["ppv"]["high"]
    assert found["few"] == "3 positive films and 3 negative films"


def predictions(n=60, seed=0, **columns):
    """`n` patients with two test films each; probabilities that know something."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(n) % 2, 2)
    table = {
        "image_id": [f"f{i}" for i in range(2 * n)],
        "patient_id": np.repeat([f"p{i}" for i in range(n)], 2),
        "label": labels,
        "split": "test",
        "condition": np.where(
            labels == 1, "RA", np.repeat(np.where(np.arange(n) % 4, "healthy", "osteoarthritis"), 2)
        ),
        "age": np.repeat(np.linspace(20, 80, n), 2),
        "sex": np.repeat(np.where(np.arange(n) % 3, "F", "M"), 2),
        "laterality": ["L", "R"] * n,
        "centre": "",
        "probability": np.clip(0.3 * labels + 0.7 * rng.random(2 * n), 0, 1),
        "unlike": False,
    }
    return pd.DataFrame(table | columns)


FIFTY = Resampling(50, 0)
INFO = {
    "class_names": ["no", "yes"],
    "operating_point": {"probability": 0.5},
    "validation": {"patients_negative": 9, "patients_positive": 25, "fewest": 20, "epoch": 3},
    "temperature": 1.0,
    "offset": 0.0,
    "conformal": {"alpha": 0.1, "threshold_negative": 0.7, "threshold_positive": 0.7},
}


def test_counts_replace_an_auc_that_would_mean_nothing():
    table = predictions(60)
    table.loc[:35, "split"] = "train"
    negative = table.index[(table["split"] == "test") & (table["label"] == 0)]
    few = table.drop(negative[FEW_FILMS - 1 :])
    metrics = describe_run("RA (x)", "x", INFO, few, FIFTY, 0.1)
    shown = metrics_table(metrics)
    for score in ("AUC", "average precision"):
        assert shown.loc[score, "test"] == "not shown: 9 negative films"
    assert " to " in shown.loc["AUC", "train"] and " to " in shown.loc["specificity", "test"]
    assert metrics["gap"]["few"] == "9 negative films in test" and shown.columns.name == "RA (x)"
    assert describe_run("RA (x)", "x", INFO, table, FIFTY, 0.1)["gap"]["few"] == ""


def test_a_split_with_one_class_has_counts_and_rates_but_no_auc():
    table = predictions(20)
    table.loc[:9, "split"] = "train"
    outside = predictions(10, split="external")
    positive = pd.concat([table, outside[outside["label"] == 1]])
    metrics = describe_run("t", "x", INFO, positive, FIFTY, 0.1)
    external = metrics["splits"]["external"]
    assert external["auc"] is None and external["specificity"] is None and external["ppv"] is None
    assert external["sensitivity"]["value"] > 0 and external["counts"]["films_negative"] == 0
    assert metrics_table(metrics).loc["specificity", "external"] == "not known"
    # as external_centre makes it
    both = pd.concat([table, predictions(20, split="external")])
    metrics = describe_run("t", "x", INFO, both, FIFTY, 0.1)
    assert metrics["splits"]["external"]["auc"]["value"] > 0.5
    assert set(metrics["conformal"]["splits"]) == {"test", "external"}
    with pytest.raises(ValueError, match="at least one"):
        compute_scores(ScoredFilms([], []), 0.5, FIFTY)


def test_subgroups_warn_and_conditions_are_scored_against_the_other_class():
    found = compute_subgroups(predictions(), 0.5).set_index("value")
    assert found.loc["all", "films_positive"] == found.loc["all", "films_negative"] == 60
    assert found.loc["women", "films_positive"] + found.loc["men", "films_positive"] == 60
    # osteoarthritis is never positive: its films are scored against all positive ones
    assert found.loc["osteoarthritis", "films_positive"] == 60
    assert found.loc["osteoarthritis", "films_negative"] == 30
    assert "RA" not in found.index and "left" in found.index and not found["warning"].any()
    small = compute_subgroups(predictions(16), 0.5).set_index("value")
    assert small.loc["men", "warning"].startswith("few: ") and np.isnan(small.loc["men", "auc"])
    assert small.loc["all", "auc"] > 0.5
    unknown = predictions(sex="", age=np.nan, laterality="", condition="")
    assert compute_subgroups(unknown, 0.5)["value"].tolist() == ["all"]


def test_two_networks_on_the_same_films():
    one = predictions()
    one["logit"] = one["probability"]
    other = one.assign(logit=one["probability"] + np.random.default_rng(1).normal(0, 1, len(one)))
    found = compare_networks(one, other.sample(frac=1, random_state=0))
    assert found["auc"][0] == pytest.approx(compute_auc(one["label"], one["logit"]))
    assert found["value"] == pytest.approx(found["auc"][0] - found["auc"][1])
    assert found["low"] > 0 and found["p"] < 0.05
    assert found["counts"]["patients"] == 60 and found["few"] == ""
    assert compare_networks(one, one)["p"] == 1
    with pytest.raises(ValueError, match="no film of split test"):
        compare_networks(one, one.assign(split="train"))
    with pytest.raises(ValueError, match="another in the other"):
        compare_networks(one, one.assign(label=1 - one["label"]))


def test_worst_errors_are_the_most_certain():
    table = predictions()
    found = find_worst_errors(table, 0.5, most=3)
    assert found["error"].tolist() == ["false positive"] * 3 + ["false negative"] * 3
    wrong = table[(table["label"] == 0) & (table["probability"] >= 0.5)]
    assert found["probability"].iloc[0] == wrong["probability"].max()
    assert found["probability"].iloc[:3].is_monotonic_decreasing
    assert found["probability"].iloc[3] == table.loc[table["label"] == 1, "probability"].min()
    assert find_worst_errors(table.assign(probability=table["label"].astype(float)), 0.5).empty


def test_step_03_writes_what_a_reader_needs(tiny_run):
    metrics = evaluate(tiny_run)
    assert set(metrics["splits"]) == {"train", "validation", "test"}
    assert metrics["source"] == "phantom" and "phantom" in metrics["title"]
    for scores in metrics["splits"].values():
        for name in ("auc", "average_precision", "sensitivity", "specificity", "brier", "ece"):
            score = scores[name]
            if np.isnan(score["low"]):  # a bootstrap of too few patients
                assert name in ("average_precision", "brier", "ece") and np.isnan(score["high"])
            else:
                assert score["low"] - 1e-9 <= score["value"] <= score["high"] + 1e-9
    assert metrics["gap"]["low"] <= metrics["gap"]["value"] <= metrics["gap"]["high"]
    conformal = metrics["conformal"]["splits"]["test"]
    assert sum(conformal["sets"].values()) == conformal["films"]
    for name in (
        "subgroups",
        "calibration",
        "calibrators",
        "net_benefit",
        "abstention",
        "shortcuts_probes",
        "strange",
    ):
        assert len(load_table(tiny_run, name))
    assert list(load_predictions(tiny_run).columns)[-4:] == [
        "logit",
        "probability",
        "distance",
        "unlike",
    ]
    card, checklist = (
        tiny_run.file("evaluate", name).read_text() for name in ("model_card.md", "checklist.md")
    )
    for text in (card, checklist):
        assert "drawn films (the phantom)" in text and "TO BE WRITTEN BY A PERSON" in text
        assert "nan" not in text and "\n\n\n" not in text and text.endswith("\n")
    test = metrics["splits"]["test"]
    assert test["few"] in card and f"| {show_score(test['sensitivity'])} |" in card
    assert f"Brier score {show_score(test['brier'])}" in checklist
    answered, waiting = checklist.count("- [x]"), checklist.count("- [ ]")
    assert answered and waiting
    assert f"answers {answered} of\n{answered + waiting} items; {waiting} need" in checklist


def test_strange_pictures_are_scored_as_scikit_learn_does(tiny_run):
    bundle = load_bundle(tiny_run.file("train", "bundle/bundle.json").parent)
    known, cohort = familiarity.load_familiarity(bundle), load_cohort(tiny_run)
    rows = cohort.split("test")
    films = np.asarray(cohort.images[rows])
    patients = cohort.manifest["patient_id"].to_numpy()[rows]
    logits, features = familiarity.extract_features(bundle.model, films)
    found = compute_strange(known, films, features, logits, patients, 3).set_index(
        ["kind", "score"]
    )
    for kind, pictures in make_strange(films, 3).items():
        other_logits, other = familiarity.extract_features(bundle.model, pictures)
        truth = np.repeat([0, 1], [len(films), len(pictures)])
        distance = known.gaussian.distance(np.concatenate([features, other]))
        uncertain = -np.abs(np.concatenate([logits, other_logits]))
        warned = np.mean(distance[len(films) :] > known.threshold)
        by_distance, by_certainty = found.loc[(kind, "distance")], found.loc[(kind, "certainty")]
        assert by_distance["auc"] == pytest.approx(roc_auc_score(truth, distance), abs=1e-6), kind
        assert by_certainty["auc"] == pytest.approx(roc_auc_score(truth, uncertain), abs=1e-6)
        assert by_distance["warned"] == pytest.approx(warned) and np.isnan(by_certainty["warned"])
        assert by_distance["pictures"] == len(pictures)


def test_a_subgroup_whose_score_has_no_interval_is_drawn(tiny_run, tmp_path, monkeypatch):
    """Of two or three patients there is a value and no interval: the smallest cohort has many."""
    evaluate(tiny_run)
    file = tmp_path / "subgroups.csv"
    table = load_table(tiny_run, "subgroups").astype({"value": str})
    table[["sensitivity_low", "sensitivity_high", "specificity_high"]] = np.nan
    table.to_csv(file, index=False)
    monkeypatch.setattr("rahelpers.core.store.Run.file", lambda *_: file)
    read = load_table(tiny_run, "subgroups")
    for score in ("sensitivity", "specificity", "auc"):
        assert read[f"{score}_low"].dtype.kind == "f"
        assert len(plot_forest(read, "title", score).axes) == 1
