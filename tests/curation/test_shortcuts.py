"""Facts that give a label away are found, each with its AUC; other facts are not accused."""

import numpy as np
import pandas as pd

from rahelpers.curation.shortcuts import compute_shortcuts


def cohort(n=80):
    """Positive films are wider; age is known for one class only."""
    rng = np.random.default_rng(0)
    label = np.arange(n) % 2
    manifest = pd.DataFrame(
        {
            "patient_id": [f"p{i}" for i in range(n)],
            "label": label,
            "width": 500 + 100 * label,
            "height": 700,
            "spacing_mm": np.nan,
            "bits_stored": 8,
            "stored_colour": "",
            "marker": rng.uniform(size=n),
            "border": 0.1,
            "laterality": "",
            "age": np.where(label == 1, 60.0, np.nan),
            "sex": np.where(np.arange(n) // 2 % 2, "M", "F"),
            "centre": np.where(np.arange(n) < 40, "A", "B"),
            "file_format": "PNG",
        }
    )
    return manifest, rng.integers(0, 255, (n, 16, 16), dtype=np.uint8)


def test_a_fact_that_is_the_label_and_facts_that_say_nothing():
    found = compute_shortcuts(*cohort())
    # 40 patients of each class, all pairs right: 0.025 ** (1 / 40)
    assert (
        found.loc["film width", "AUC"] == "1.00 (0.91 to 1.00)"
        and found.loc["film width", "interval contains 0.5"] == "NO"
    )
    # sex and hospital are spread evenly over the labels: their AUC is exactly one half
    for fact in ("male", "hospital is A", "hospital is B"):
        assert (
            found.loc[fact, "AUC"].startswith("0.50")
            and found.loc[fact, "interval contains 0.5"] == "yes"
            and found.loc[fact, "films"] == 80
        )
    # the same in every film, or known for one class only: the question cannot be asked
    assert not {
        "film height",
        "bits stored",
        "stored in colour",
        "pixel spacing",
        "age",
        "right hand",
        "format is PNG",
    } & set(found.index)


def test_one_patient_of_a_class_accuses_nobody():
    manifest, images = cohort()
    manifest.loc[manifest["label"] == 1, "patient_id"] = "p1"
    found = compute_shortcuts(manifest, images)
    assert (
        "NO" not in set(found["interval contains 0.5"])
        and found.loc["film width", "AUC"] == "1.00 (interval not known)"
    )
    assert (
        found.loc["male", "AUC"] == "0.50 (interval not known)"
        and found.loc["male", "interval contains 0.5"] == "not known"
    )
