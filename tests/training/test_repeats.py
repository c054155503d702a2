"""Training again: patients are never divided, shares are nested, every film is held out once; a
lost worker loses nothing, and a cluster gives the results of this machine.
"""

import dataclasses
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pandas as pd
import pytest

from rahelpers.core.config import make_config
from rahelpers.core.store import STEPS, Run
from rahelpers.core.workers import map_in_order
from rahelpers.curation.cohort import load_cohort
from rahelpers.curation.step import curate
from rahelpers.network.bundle import predict_logits
from rahelpers.scores.metrics import compute_auc
from rahelpers.training.folds import score_folds
from rahelpers.training.repeats import (
    RepeatJob,
    choose_rows,
    do_job,
    list_jobs,
    load_networks,
    repeat,
    shuffle_labels,
)
from rahelpers.training.step import train


def test_a_configuration_lists_its_jobs():
    config = make_config(
        folds=2, seeds=3, learning_curve="0.5, 0.25", resolutions="64", shuffled_labels=True
    )
    assert list_jobs(config) == [
        RepeatJob("fold", 1),
        RepeatJob("fold", 2),
        RepeatJob("seed", 2),
        RepeatJob("seed", 3),
        RepeatJob("share", 0.25),
        RepeatJob("share", 0.5),
        RepeatJob("resolution", 64),
        RepeatJob("shuffled", 0),
    ]
    assert not list_jobs(make_config(profile="quick"))
    assert not [job for job in list_jobs(make_config(image_size=48)) if job.kind == "resolution"], (
        "only smaller ones count"
    )


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"learning_curve": "half"}, "expected numbers"),
        ({"learning_curve": "2"}, "0.01 to 1"),
        ({"resolutions": "600"}, "32 to 512"),
        ({"folds": 1}, "holds no patient out"),
    ],
)
def test_an_impossible_request_is_refused(values, words):
    with pytest.raises(ValueError, match=words):
        make_config(**values)


def test_folds_hold_every_patient_out_once(tiny_run):
    cohort, config = load_cohort(tiny_run), tiny_run.config.replace(folds=4)
    patients = cohort.manifest["patient_id"].to_numpy()
    held = []
    for k in range(1, 5):
        parts = choose_rows(cohort, RepeatJob("fold", k), config)
        names = [set(patients[rows]) for rows in parts]
        assert not (names[0] & names[1] or names[0] & names[2] or names[1] & names[2])
        assert sum(map(len, parts)) == len(patients)
        assert all(len(np.unique(cohort.manifest["label"].to_numpy()[rows])) == 2 for rows in parts)
        held += list(parts[2])
    assert sorted(held) == list(range(len(patients)))
    with pytest.raises(ValueError, match="expected at least 80, two per fold"):
        choose_rows(cohort, RepeatJob("fold", 1), config.replace(folds=40))


def test_folds_of_few_patients_train_and_validate_on_both_classes(tiny_run):
    """Five patients per class and two folds: a fold leaves two or three patients of a class, one of
    them for validation.
    """
    cohort, config = load_cohort(tiny_run), tiny_run.config.replace(folds=2)
    labels, patients = (cohort.manifest[c].to_numpy() for c in ("label", "patient_id"))
    some = np.flatnonzero(
        np.isin(patients, [p for c in (0, 1) for p in pd.unique(patients[labels == c])[:5]])
    )
    for seed in range(20):
        few = dataclasses.replace(
            cohort,
            manifest=cohort.manifest.assign(
                split=np.where(np.isin(np.arange(len(labels)), some), "train", "external")
            ),
        )
        for fold in (1, 2):
            for rows in choose_rows(few, RepeatJob("fold", fold), config.replace(seed=seed)):
                assert set(labels[rows]) == {0, 1} and set(rows) <= set(some)


def test_a_smaller_share_is_part_of_a_larger_one(tiny_run):
    cohort, config = load_cohort(tiny_run), tiny_run.config
    labels, patients = cohort.manifest["label"].to_numpy(), cohort.manifest["patient_id"].to_numpy()
    half, most, whole = (
        choose_rows(cohort, RepeatJob("share", s), config)[0] for s in (0.5, 0.75, 1.0)
    )
    assert set(half) < set(most) < set(whole) and set(whole) == set(cohort.split("train"))
    assert set(patients[half]).isdisjoint(patients[np.setdiff1d(whole, half)]), (
        "patients are not divided"
    )
    assert abs(labels[half].mean() - labels[whole].mean()) < 0.1
    with pytest.raises(ValueError, match="leaves no patient"):
        choose_rows(cohort, RepeatJob("share", 0.01), config)


def test_shuffled_labels_go_to_patients():
    table = pd.DataFrame(
        {
            "patient_id": np.repeat([f"p{i}" for i in range(100)], 2),
            "label": np.repeat(np.arange(100) % 2, 2),
        }
    )
    shuffled = shuffle_labels(table, 3)
    assert shuffled.groupby("patient_id")["label"].nunique().eq(1).all()
    assert shuffled["label"].sum() == 100
    assert 0.3 < (shuffled["label"] == table["label"]).mean() < 0.7


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run small enough to be trained several times: 32 px, one epoch."""
    values = {
        "n_patients": 60,
        "image_size": 32,
        "epochs": 1,
        "n_bootstrap": 50,
        "deterministic": True,
        "folds": 2,
        "seeds": 2,
        "learning_curve": "0.5",
        "resolutions": "",
    }
    run = Run(
        make_config(
            **values, shuffled_labels=True, run_dir=str(tmp_path_factory.mktemp("runs") / "again")
        )
    )
    curate(run)
    train(run)
    return run


@pytest.mark.slow
def test_scores_of_all_jobs(whole):
    scores, held_out = repeat(whole)
    assert scores["kind"].tolist() == ["run", "fold", "fold", "seed", "share", "shuffled"]
    assert sorted(held_out["image_id"]) == sorted(load_cohort(whole).manifest["image_id"])
    found = score_folds(held_out)
    pooled = compute_auc(held_out["label"].to_numpy(), held_out["probability"].to_numpy())
    assert found["auc"]["value"] == pytest.approx(pooled) and len(found["folds"]) == 2
    assert found["auc"]["low"] <= found["auc"]["value"] <= found["auc"]["high"]
    test = scores.iloc[0]
    assert test["films_positive"] + test["films_negative"] == len(load_cohort(whole).split("test"))
    assert scores.set_index("kind").loc["share", "patients"] < scores.iloc[0]["patients"]


@pytest.mark.slow
def test_networks_of_other_seeds_and_of_shuffled_labels_are_kept(whole):
    """Their logits are those that were scored, and of shuffled labels the epoch is kept that knows
    its own films best.
    """
    scores, _ = repeat(whole)
    networks, cohort = load_networks(whole), load_cohort(whole)
    assert list(networks) == [RepeatJob("seed", 2), RepeatJob("shuffled", 0)]
    shuffled = shuffle_labels(cohort.manifest, whole.config.seed)["label"].to_numpy()
    for job, labels in zip(networks, (cohort.manifest["label"].to_numpy(), shuffled), strict=True):
        row = scores.set_index("kind").loc[job.kind]
        for split in ("train", "test"):
            films = cohort.split(split)
            logits = predict_logits(networks[job], cohort.images[films])
            auc = compute_auc(labels[films], logits)
            assert auc == pytest.approx(row[f"{split}_auc"], abs=1e-6)
    assert np.isnan(scores.set_index("kind").loc["shuffled", "validation_auc"]), (
        "its own films are not a validation"
    )


@pytest.mark.slow
def test_shuffled_labels_are_memorised_as_far_as_possible(whole, tmp_path):
    """The epoch is kept that scores best on the training films, not on others."""
    config, cohort = whole.config.replace(epochs=4), load_cohort(whole)
    found = do_job(RepeatJob("shuffled", 0), config, tmp_path)
    history = pd.read_csv(tmp_path / "shuffled-0" / "history.csv")
    n = found["trained"]
    assert found["rows"][:n] == cohort.split("train").tolist()
    shuffled = shuffle_labels(cohort.manifest, config.seed)["label"]
    assert found["labels"][:n] == shuffled.iloc[cohort.split("train")].tolist()
    auc = compute_auc(np.array(found["labels"][:n]), np.array(found["logits"][:n]))
    assert auc == pytest.approx(history["validation_auc"].max(), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "chooses"), [("shuffled", True), ("seed", False)])
def test_few_patients_choose_an_epoch_only_for_memorising(
    kind, chooses, tiny_run, tmp_path, monkeypatch
):
    """The films that a network shall memorise judge it, however few they are."""

    class AskedError(Exception):
        pass

    def fit(*_, choose, **__):
        raise AskedError(choose)

    monkeypatch.setattr("rahelpers.training.repeats.fit_network", fit)
    with pytest.raises(AskedError) as asked:
        do_job(RepeatJob(kind, 2), tiny_run.config, tmp_path)
    assert asked.value.args == (chooses,)


def test_a_cluster_that_loses_a_worker_gives_the_results_of_this_machine(whole, cluster, tmp_path):
    """Two workers over loopback; one is killed while it trains."""
    address, workers = cluster
    jobs = [RepeatJob("fold", 1), RepeatJob("fold", 2)]
    here = {job: do_job(job, whole.config, tmp_path / "here") for job in jobs}
    function = partial(do_job, config=whole.config, folder=tmp_path / "there")
    with ThreadPoolExecutor(1) as background:
        results = background.submit(
            lambda: list(map_in_order(function, jobs, address, STEPS["repeat"].packages))
        )
        while not list((tmp_path / "there").glob("*/history.csv")) and not results.done():
            time.sleep(0.05)
        assert not results.done()
        os.killpg(workers[0].pid, signal.SIGKILL)
        there = dict(zip(jobs, results.result(timeout=240), strict=True))
    assert workers[0].wait(10) is not None
    for job in jobs:
        assert there[job]["rows"] == here[job]["rows"]
        np.testing.assert_array_equal(there[job]["logits"], here[job]["logits"])
