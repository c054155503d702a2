"""Splits never share a patient."""

import numpy as np
import pandas as pd
import pytest

from rahelpers.core.config import make_config
from rahelpers.curation.splits import check_plan, find_leaks, split_by_patient


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


def test_what_needs_more_patients_than_the_source_lists_is_refused_before_a_film_is_read(tmp_path):
    """Otherwise it stops a notebook after minutes of reading films."""
    table = pd.DataFrame({"image_id": range(40), "who": [f"p{i // 2}" for i in range(40)]})
    table = table.assign(ill=[i // 2 % 2 for i in range(40)], site=["A", "B"] * 20)
    table.to_csv(tmp_path / "t.csv", index=False)
    for i in range(40):
        (tmp_path / f"{i}.png").write_bytes(b"never read")
    config = make_config(
        source="folder",
        images=str(tmp_path),
        table=str(tmp_path / "t.csv"),
        patient_column="who",
        label_column="ill",
        positive="1",
        folds=5,
        learning_curve="0.2",
    )
    check_plan(config)  # ten patients of each class, five or six of them in train
    for changes, words in (
        ({"folds": 6}, "folds=6: the rarer class has 10 patients; expected at least 12"),
        ({"learning_curve": "0.05,1"}, "a share of 0.05 of"),
        ({"validation_fraction": 0.05}, "expected at least 20 of each"),
        ({"max_films": 9}, "expected at least 5 of each"),
    ):
        with pytest.raises(ValueError, match=words):
            check_plan(config.replace(**changes))
