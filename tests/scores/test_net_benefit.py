"""Net benefit by hand."""

import numpy as np
import pytest

from rahelpers.scores.metrics import (
    ScoredFilms,
)
from rahelpers.scores.net_benefit import compute_net_benefit


def test_net_benefit_by_hand():
    """Vickers & Elkin 2006: TP / n - FP / n x t / (1 - t), here with n = 6 films.

    At t = 0.5 there are two true and one false positive: 2/6 - 1/6.
    """
    labels, probability = np.array([0, 0, 0, 1, 1, 1]), np.array([0.1, 0.2, 0.6, 0.4, 0.7, 0.9])
    films = ScoredFilms(labels, probability)
    found = compute_net_benefit(films, thresholds=np.array([0.05, 0.3, 0.5, 0.95]))
    assert found["network"].tolist() == pytest.approx(
        [3 / 6 - 3 / 6 / 19, 3 / 6 - 1 / 6 * 3 / 7, 2 / 6 - 1 / 6, 0]
    )
    assert found["treat_all"].tolist() == pytest.approx(
        [0.5 - 0.5 / 19, 0.5 - 0.5 * 3 / 7, 0, 0.5 - 0.5 * 19]
    )
    assert (found["treat_none"] == 0).all() and (found["low"] <= found["network"]).all()
    rare = compute_net_benefit(films, prevalence=0.1, thresholds=np.array([0.5]))
    assert rare["network"].iloc[0] == pytest.approx(2 / 3 * 0.1 - 1 / 3 * 0.9)
    with pytest.raises(ValueError, match="less than 1"):
        compute_net_benefit(films, thresholds=np.array([1.0]))
