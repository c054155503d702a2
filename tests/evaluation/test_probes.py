"""Shortcut probes against networks whose shortcut is known, because it was planted."""

import numpy as np
import pytest

from rahelpers.core.config import make_config
from rahelpers.core.store import Run
from rahelpers.curation.step import curate
from rahelpers.evaluation.probes import EDITS, compute_probes, edit_films, take_apart
from rahelpers.scores.intervals import Resampling


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """24 phantom patients at 96 px; every positive film has a bright plate in the upper right."""
    folder = tmp_path_factory.mktemp("runs") / "probes"
    cohort = curate(Run(make_config(n_patients=24, image_size=96, run_dir=str(folder))))
    images, labels = np.array(cohort.images), cohort.manifest["label"].to_numpy()
    images[labels == 1, 6:14, 74:84] = 250
    return images, labels, cohort.manifest["patient_id"].to_numpy()


def probe(films, predict):
    images, labels, patients = films
    return compute_probes(predict, images, labels, patients, 0.5, Resampling(100, 0)).set_index(
        ["part", "done"]
    )


def test_a_network_that_reads_the_plate_is_found_out(films):
    # the noise hides that the fill is the air of each film, not a constant
    noise = np.random.default_rng(0).normal(0, 0.1, 1000)

    def read_plate(images):
        return np.clip(images[:, 8:12, 76:82].mean(axis=(1, 2)) / 255 + noise[: len(images)], -1, 2)

    found = probe(films, read_plate)
    hidden, swapped = found.loc[("markers", "hidden")], found.loc[("markers", "swapped")]
    assert hidden["auc"] < 0.75 and hidden["low"] > 0.2
    assert swapped["auc"] < 0.1, "the plate now favours the other class"
    background = found.loc[("background", "swapped")]
    assert background["auc"] < 0.1 and background["changed"] == 1
    assert found.loc[("hand", "hidden"), "auc"] > 0.95, "it does not need the hand"
    assert found.loc[("exposure", "swapped"), "less"] == pytest.approx(0, abs=0.02)


def test_a_network_that_reads_the_hand_is_not_affected(films):
    """Its answer is a grey value inside the hand, which only edits of exposure and hand change."""
    images, labels, patients = films
    hand = np.all([p.hand for p in map(take_apart, images)], axis=0)
    assert hand.sum() > 200
    found = probe((images, labels, patients), lambda x: x[:, hand].mean(axis=1) / 255)
    kept = [name for name in EDITS if name[0] not in ("exposure", "hand")]
    assert (found.loc[kept, ["less", "changed"]] == 0).all(axis=None)
    assert found.loc[kept, "low"].isna().all()  # resamples that all agree show no spread
    hidden = found.loc[("exposure", "hidden")]
    assert hidden["auc"] < 1 and np.isfinite(hidden["less"])


def test_edits_change_only_what_they_name(films):
    images, labels, _ = films
    rows, edited = edit_films(images[:6], labels[:6], 0)
    for i, row in enumerate(rows):
        own = take_apart(images[row])
        unchanged = np.rint(own.film * 255).astype(np.uint8)
        for name in (
            ("markers", "hidden"),
            ("border", "swapped"),
            ("background", "hidden"),
            ("background", "swapped"),
        ):
            assert np.array_equal(edited[name][i][own.hand], unchanged[own.hand]), name
        assert np.array_equal(edited["border", "hidden"][i][20:70, 40:60], unchanged[20:70, 40:60])
        assert len(np.unique(edited["hand", "hidden"][i][own.hand])) == 1
    levels = [
        take_apart(f).film[take_apart(images[r]).hand].mean()
        for f, r in zip(edited["exposure", "hidden"], rows, strict=True)
    ]
    assert np.ptp(levels) < 0.5 * np.ptp([take_apart(images[r]).level for r in rows]), (
        "hands are at one level"
    )


def test_few_films_have_no_auc_and_without_a_hand_there_is_no_probe(films):
    images, labels, patients = films
    few = compute_probes(
        lambda x: np.full(len(x), 0.5),
        images[:12],
        labels[:12],
        patients[:12],
        0.5,
        Resampling(50, 0),
    )
    assert few["few"].str.contains("films").all()
    assert few["auc"].isna().all() and (few["changed"] == 0).all()
    black, patients = np.zeros((30, 96, 96), np.uint8), np.arange(30)
    assert take_apart(black[0]) is None
    none = compute_probes(
        lambda x: np.full(len(x), 0.5), black, patients % 2, patients, 0.5, Resampling(50, 0)
    )
    assert none.empty and "less" in none.columns
