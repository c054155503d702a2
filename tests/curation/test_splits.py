"""Splits never share a patient."""

import numpy as np
import pandas as pd
import pytest

from rahelpers.curation.splits import find_leaks, split_by_patient


def test_split_keeps_patients_together_and_balanced():
    rng = np.random.default_rng(0)
    patients = pd.Series(np.repeat([f"p{i}" for i in range(200)], 3))
    labels = pd.Series(np.repeat(rng.integers(0, 2, 200), 3))
    split = split_by_patient(patients, labels, 0.25, 0.2, 7)
    frame = pd.DataFrame(
        {
            "patient_id": patients,
            "split": split,
            "sha256": [str(i) for i in range(600)],
            "label": labels,
        }
    )
    assert find_leaks(frame) == []
    assert frame.groupby("split")["patient_id"].nunique().to_dict() == {
        "test": 50,
        "train": 110,
        "validation": 40,
    }
    share = frame.groupby("split")["label"].mean()
    assert np.ptp(share) < 0.05


def test_leaks_are_named_and_too_few_patients_refused():
    frame = pd.DataFrame(
        {"patient_id": ["a", "a"], "split": ["train", "test"], "sha256": ["x", "y"]}
    )
    assert find_leaks(frame) == ["patient a is in test and train"]
    with pytest.raises(ValueError, match="1 positive patients"):
        split_by_patient(pd.Series(list("abcdefg")), pd.Series([1, 0, 0, 0, 0, 0, 0]), 0.25, 0.2, 0)
