"""Which films are unlike the training films: distances worked out by hand, and pictures that are
not hand films.
"""

import json
import shutil

import numpy as np
import pytest

from rahelpers.core.store import DamagedArtefactError
from rahelpers.curation.cohort import load_cohort
from rahelpers.evaluation.strange_films import make_strange
from rahelpers.network import familiarity
from rahelpers.network.bundle import FAMILIARITY_FILE, load_bundle, predict_logits
from rahelpers.scores.conformal import rank_threshold
from rahelpers.scores.metrics import compute_auc
from rahelpers.training.step import load_outputs


@pytest.fixture(scope="module")
def bundle(tiny_run):
    return load_bundle(tiny_run.file("train", "bundle/bundle.json").parent)


@pytest.fixture(scope="module")
def known(bundle):
    return familiarity.load_familiarity(bundle)


@pytest.fixture(scope="module")
def features(tiny_run):
    return load_outputs(tiny_run)[1]


def features_of(known, image) -> np.ndarray:
    return familiarity.extract_features(known.model, np.asarray(image)[None])[1][0]


def test_distance_is_mahalanobis_if_there_are_many_films():
    """With a thousand times more films than features there is no shrinkage: it is scipy's distance,
    divided by the root of the number of features.
    """
    from scipy.spatial.distance import mahalanobis

    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(3, 3))
    films = rng.normal(size=(3000, 3)) @ mixing + [5, -1, 2]
    found = familiarity.Gaussian(films).distance(films[:5])
    inverse = np.linalg.inv(np.cov(films.T))
    expected = [mahalanobis(f, films.mean(0), inverse) / np.sqrt(3) for f in films[:5]]
    assert found == pytest.approx(expected, rel=0.01)


def test_distance_with_fewer_films_than_features_and_a_feature_that_never_changed():
    rng = np.random.default_rng(0)
    films = rng.normal(size=(20, 200))
    films[:, 7] = 3.0
    gaussian, new = familiarity.Gaussian(films), rng.normal(size=(5, 200))
    new[:, 7] = 3.0
    assert np.isfinite(gaussian.distance(new)).all()
    assert (gaussian.distance(new + 5) > gaussian.distance(new)).all()


def test_threshold_by_hand():
    # 19 patients with one film each: the 19th of 20 places at 5 %; with 18, no film is far enough
    assert rank_threshold(np.arange(19.0), np.arange(19), 0.05) == 18
    assert rank_threshold(np.arange(18.0), np.arange(18), 0.05) == np.inf
    # with two films per patient, each counts half
    assert rank_threshold(np.arange(38.0), np.repeat(np.arange(19), 2), 0.05) == 37


def test_logits_and_features_come_from_one_pass(bundle, tiny_run):
    images = np.asarray(load_cohort(tiny_run).images[:20])
    logits, features = familiarity.extract_features(bundle.model, images)
    assert logits == pytest.approx(predict_logits(bundle.model, images), abs=1e-5)
    weights, bias = bundle.model.get_layer("logit").get_weights()
    assert features @ weights.ravel() + bias == pytest.approx(logits, abs=1e-4), (
        "the features are what the last layer reads"
    )
    kept_logits, kept_features = load_outputs(tiny_run)
    assert len(kept_logits) == len(load_cohort(tiny_run).images)
    assert kept_logits[:20] == pytest.approx(logits, abs=1e-5)
    assert kept_features[:20] == pytest.approx(features, abs=1e-5)


def test_a_training_film_is_its_own_neighbour(known, tiny_run):
    cohort = load_cohort(tiny_run)
    row = int(cohort.split("train")[3])
    near = known.neighbours(features_of(known, cohort.images[row]), 3)
    assert near[0].image_id == cohort.manifest["image_id"].iloc[row]
    assert near[0].label == cohort.manifest["label"].iloc[row]
    assert near[0].distance == pytest.approx(0, abs=1e-6)
    assert near[0].thumbnail.shape == (64, 64) and near[0].thumbnail.max() > 100
    assert [f.distance for f in near] == sorted(f.distance for f in near)
    of_test = cohort.manifest["image_id"].iloc[cohort.split("test")]
    assert not set(known.fitted["image_id"]) & set(of_test)


def test_neighbours_have_the_smallest_angles(known, features):
    """Against cosines worked out here; more neighbours than training films are all of them."""
    own, film = known.fitted["features"].astype(float), features[-1].astype(float)
    distance = 1 - own @ film / np.linalg.norm(own, axis=1) / np.linalg.norm(film)
    near = known.neighbours(film)
    assert [f.image_id for f in near] == known.fitted["image_id"][np.argsort(distance)[:5]].tolist()
    assert [f.distance for f in near] == pytest.approx(np.sort(distance)[:5], abs=1e-12)
    assert known.neighbour_distance(film[None], 3) == pytest.approx(np.sort(distance)[2], abs=1e-12)
    assert len(known.neighbours(film, 1000)) == len(own)


def test_strange_pictures_are_unlike_and_test_films_are_not(known, tiny_run):
    cohort = load_cohort(tiny_run)
    films = np.asarray(cohort.images[cohort.split("test")])
    own = known.gaussian.distance(familiarity.extract_features(known.model, films)[1])
    strange = make_strange(films, 0)
    assert all(s.dtype == np.uint8 and s.shape[1:] == films.shape[1:] for s in strange.values())
    for kind in ("photographs", "noise", "chest drawings", "inverted"):
        other = known.gaussian.distance(familiarity.extract_features(known.model, strange[kind])[1])
        labels = np.repeat([0, 1], [len(own), len(other)])
        assert compute_auc(labels, np.concatenate([own, other])) > 0.95, kind
    noise = known.judge(features_of(known, strange["noise"][0]))
    assert noise.unlike and noise.score > noise.threshold
    assert noise.words.startswith("unlike") and "0 of" in noise.words
    usual = known.judge(features_of(known, films[int(np.argmin(own))]))
    assert not usual.unlike and usual.score == pytest.approx(own.min(), rel=1e-4)


def test_with_few_validation_patients_the_false_alarm_rate_is_higher(known, tiny_run):
    cohort = load_cohort(tiny_run)
    patients = cohort.manifest["patient_id"].iloc[cohort.split("validation")].nunique()
    assert patients < 19 and known.false_alarm == pytest.approx(1 / (patients + 1))
    assert known.threshold == known.fitted["held_out"].max()


def test_training_films_set_no_threshold(features, tiny_run):
    cohort = load_cohort(tiny_run)
    train = cohort.split("train")
    message = f"{len(train)} of {len(train)} held-out films are training films"
    with pytest.raises(ValueError, match=message):
        familiarity.fit_familiarity(
            features, cohort.images, cohort.manifest, train, train, "phantom", 0
        )


def test_file_names_of_a_private_source_are_not_in_the_bundle(features, tiny_run):
    cohort = load_cohort(tiny_run)
    train, validation = cohort.split("train"), cohort.split("validation")
    fitted = familiarity.fit_familiarity(
        features, cohort.images, cohort.manifest, train, validation, "folder", 0
    )
    assert set(fitted["image_id"]) == {f"film {row}" for row in cohort.split("train")}


def test_a_damaged_or_missing_file_is_named(bundle, tiny_run, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(bundle.folder, folder)
    info = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(
        json.dumps(info | {"files": {"model.keras": info["files"]["model.keras"]}})
    )
    with pytest.raises(DamagedArtefactError, match="files is missing or invalid"):
        load_bundle(folder)
    (folder / "bundle.json").write_text(json.dumps(info))
    (folder / FAMILIARITY_FILE).write_bytes(b"junk")
    with pytest.raises(DamagedArtefactError, match=FAMILIARITY_FILE):
        load_bundle(folder)
