"""Step 05: baselines, and what is compared with what."""

import numpy as np
import pandas as pd
import pytest

from rahelpers.curation.cohort import load_cohort
from rahelpers.explanation.baselines import make_baseline
from rahelpers.explanation.shap_step import _score, explain_shap
from rahelpers.explanation.tables import load_values
from rahelpers.network.bundle import load_bundle, predict_logits


def test_sites_are_compared_with_sites():
    """The background has the largest value, but of the two joints the diseased one is stronger."""
    values = pd.DataFrame(
        {
            "image_id": "f1",
            "region": ["MCP2", "PIP2", "background", "rest of hand"],
            "value": [0.3, 0.1, 2.0, 1.0],
        }
    )
    films = pd.DataFrame(
        {
            "image_id": ["f1"],
            "patient_id": ["Ann"],
            "label": [1],
            "logit": [3.0],
            "base": [-0.4],
            "error": [0.0],
            "fit": [0.99],
            "baseline": ["healthy"],
            "base_positive": [False],
        }
    )
    joints = pd.DataFrame(
        {"image_id": "f1", "site": ["MCP2", "PIP2"], "erosion": [2, 0], "jsn": [0, 0]}
    )
    found = _score(values, films, joints)
    assert found["top_site_diseased"]["value"] == 1 and found["chance"] == 0.5
    assert found["baselines"] == {"healthy": 1} and found["positive_baselines"] == 0


def test_each_run_says_what_the_network_makes_of_its_baselines(tiny_run):
    scores = explain_shap(tiny_run)
    films, _ = load_values(tiny_run)
    assert scores["baselines"] == {"healthy": len(films)}
    bundle = load_bundle(tiny_run.file("train", "bundle"))
    cohort = load_cohort(tiny_run)
    hidden = [
        make_baseline(
            np.asarray(cohort.images[row]),
            "healthy",
            joints=cohort.joints_of(row),
            patches=bundle.healthy_patches,
        )
        for row in films["row"]
    ]
    logits = predict_logits(bundle.model, np.stack(hidden))
    assert films["base"].to_numpy() == pytest.approx(logits, abs=1e-3)
    positive = bundle.probability(logits) >= bundle.info["operating_point"]["probability"]
    assert films["base_positive"].tolist() == positive.tolist()
    assert scores["positive_baselines"] == positive.sum()
