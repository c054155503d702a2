"""Calibration and operating points against numbers worked out by hand and against scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import brier_score_loss

from rahelpers.scores.calibration import (
    adjust_prevalence,
    calibrate_each,
    choose_operating_point,
    compare_calibrators,
    compute_calibration,
    fit_calibration,
)
from rahelpers.scores.intervals import (
    Resampling,
)
from rahelpers.scores.metrics import (
    ScoredFilms,
)

LABELS = np.array([0, 0, 0, 1, 1, 1])
SCORES = np.array([0.1, 0.2, 0.6, 0.4, 0.7, 0.9])


def test_operating_points_by_hand():
    # Youden: at 0.7 sensitivity 2/3, specificity 1; at 0.4 sensitivity 1, specificity 2/3: a tie,
    # the higher threshold wins
    point = choose_operating_point(LABELS, SCORES, "youden", 0.9)
    assert 0.6 < point["probability"] < 0.7 and point["specificity"] == 1
    point = choose_operating_point(LABELS, SCORES, "sensitivity", 1.0)
    assert 0.2 < point["probability"] < 0.4 and point["sensitivity"] == 1
    # a missed positive costs as much as one false alarm, half are ill: 1 miss (0.7) or 1 false
    # alarm (0.4), 1/6 each: the higher threshold wins
    assert 0.6 < choose_operating_point(LABELS, SCORES, "cost", 0.9, 1.0, 0.5)["probability"] < 0.7
    # ten times the cost: none may be missed; a rare disease reverses it
    point = choose_operating_point(LABELS, SCORES, "cost", 0.9, 10.0, 0.5)
    assert 0.2 < point["probability"] < 0.4 and "10 false alarms" in point["rule"]
    assert choose_operating_point(LABELS, SCORES, "cost", 0.9, 10.0, 0.01)["specificity"] == 1
    with pytest.raises(ValueError, match="youden, sensitivity or cost"):
        choose_operating_point(LABELS, SCORES, "best", 0.9)
    with pytest.raises(ValueError, match="both classes"):
        choose_operating_point(np.ones(3), np.ones(3), "youden", 0.9)
    with pytest.raises(ValueError, match="target_sensitivity=90"):
        choose_operating_point(LABELS, SCORES, "sensitivity", 90)
    with pytest.raises(ValueError, match="from -7 to 9: expected 0 to 1"):
        choose_operating_point([0, 1], [-7, 9], "youden", 0.9)


def test_temperature_is_recovered():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 20000)
    labels = (rng.random(20000) < 1 / (1 + np.exp(-logits))).astype(int)
    temperature, offset = fit_calibration(3 * logits, labels)
    assert temperature == pytest.approx(3, rel=0.05) and offset == pytest.approx(0, abs=0.05)


def test_calibration_restores_how_common_the_classes_are():
    """Class weights shift every logit as if half the films were positive.

    With a tenth of them positive, the offset is log(1 / 9).
    """
    rng = np.random.default_rng(1)
    labels = (rng.random(40000) < 0.1).astype(int)
    evidence = rng.normal(np.where(labels == 1, 1.0, -1.0), 1.0)
    # the log likelihood ratio of two normals with means 1 and -1 is 2 x
    temperature, offset = fit_calibration(2 * evidence, labels)
    assert temperature == pytest.approx(1, rel=0.05)
    assert offset == pytest.approx(np.log(1 / 9), abs=0.1)


def test_a_network_worse_than_chance_is_not_reversed():
    logits = np.linspace(-3, 3, 50)
    temperature, offset = fit_calibration(logits, (logits < 0).astype(int))
    probabilities = 1 / (1 + np.exp(-(logits / temperature + offset)))
    assert (np.diff(probabilities) >= 0).all()
    assert probabilities == pytest.approx(np.full(50, 0.5), abs=0.01)


@pytest.mark.parametrize("scale", [1e-3, 1, 100, 1e5])
def test_temperature_follows_the_scale_of_the_logits(scale):
    """The same films in another unit of the logit are as well calibrated as before."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 2000)
    labels = (rng.random(2000) < 1 / (1 + np.exp(-logits))).astype(int)
    temperature, offset = fit_calibration(scale * logits, labels)
    assert temperature == pytest.approx(scale, rel=0.15)
    assert offset == pytest.approx(0, abs=0.15)


def test_calibrators_by_hand():
    """Isotonic regression of 0, 1, 0, 1 pools the two in the middle."""
    held_out = pd.DataFrame({"logit": [-2.0, -1.0, 1.0, 2.0], "label": [0, 1, 0, 1]})
    test = pd.DataFrame({"logit": [-3.0, 0.0, 3.0, 0.5], "probability": [0.1, 0.5, 0.9, 0.6]})
    labels, patients = np.array([0, 1, 1, 0]), np.arange(4)
    calibrated = calibrate_each(test, held_out)
    assert calibrated["isotonic"] == pytest.approx([0.0, 0.5, 1.0, 0.5])
    table = compare_calibrators(
        calibrated, labels, patients, len(held_out), Resampling(100, 0)
    ).set_index("calibrator")
    assert table.loc["isotonic", "brier"] == pytest.approx((0 + 0.25 + 0 + 0.25) / 4)
    by_hand = (0.01 + 0.25 + 0.01 + 0.36) / 4
    assert table.loc["temperature and offset", "brier"] == pytest.approx(by_hand)
    raw, uncalibrated = table.iloc[0], 1 / (1 + np.exp(-test["logit"]))
    assert raw["brier"] == pytest.approx(brier_score_loss(labels, uncalibrated))
    assert raw["fitted_films"] == 0
    assert table["fitted_films"].tolist()[1:] == [4, 4] and (table["films"] == 4).all()
    assert table["brier_low"].isna().all()  # two patients of each class show no spread
    thrice = test.loc[np.repeat(test.index, 3)]
    wide = compare_calibrators(
        calibrate_each(thrice, held_out),
        np.repeat(labels, 3),
        np.arange(12),
        len(held_out),
        Resampling(100, 0),
    )
    assert ((wide["brier_low"] < wide["brier"]) & (wide["brier"] < wide["brier_high"])).all()


def test_probabilities_for_another_prevalence():
    """Odds of 1 at a share of one half are a likelihood ratio of 1, which is 0.1 at prevalence 0.1.

    Odds of 9 become 9 x 1/9 = 1.
    """
    assert adjust_prevalence(np.array([0.0, 0.5, 0.9, 1.0]), 0.5, 0.1) == pytest.approx(
        [0, 0.1, 0.5, 1]
    )
    same = np.array([0.2, 0.7])
    assert adjust_prevalence(adjust_prevalence(same, 0.4, 0.05), 0.05, 0.4) == pytest.approx(same)
    with pytest.raises(ValueError, match="share=0"):
        adjust_prevalence(same, 0, 0.1)


def test_reliability_counts_and_widths():
    labels, probability = np.tile([0, 1], 30), np.linspace(0, 1, 60)
    found = compute_calibration(ScoredFilms(labels, probability), 6)
    assert found["films"].sum() == 60
    assert (found["low"] <= found["observed"]).all() and (found["observed"] <= found["high"]).all()
    pairs = compute_calibration(ScoredFilms(labels, probability, np.arange(60) // 2), 6)
    # half as many patients
    assert (pairs["high"] - pairs["low"] > found["high"] - found["low"]).all()
    assert len(compute_calibration(ScoredFilms(labels, np.full(60, 0.5)))) == 1
