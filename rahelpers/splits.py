"""Splits by patient: no patient ever stands in two of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

SPLITS = ("train", "validation", "test")


def split_by_patient(patients: pd.Series, labels: pd.Series, test: float, validation: float, seed: int) -> np.ndarray:
    """Assign every film to train, validation or test; all films of a patient go together.

    Patients are stratified by label (a patient is positive where any film is).

    Parameters
    ----------
    patients, labels : Series, length n
        Patient of each film, and its label 0 or 1.
    test, validation : float
        Shares of the patients.
    seed : int

    Returns
    -------
    array of str, length n

    Raises
    ------
    ValueError
        If a class has too few patients to stand in all three splits.
    """
    per_patient = labels.groupby(patients.to_numpy()).max().sort_index()
    counts = per_patient.value_counts()
    n_negative, n_positive = int(counts.get(0, 0)), int(counts.get(1, 0))
    needed = int(np.ceil(1 / min(test, validation)))
    if min(n_negative, n_positive) < needed:
        raise ValueError(
            f"{n_negative} negative and {n_positive} positive patients: expected at least {needed} of each, so that every split holds both classes"
        )
    rest, test_patients = train_test_split(per_patient, test_size=test, stratify=per_patient, random_state=seed)
    _, validation_patients = train_test_split(rest, test_size=validation / (1 - test), stratify=rest, random_state=seed)
    split = pd.Series("train", index=per_patient.index)
    split[test_patients.index] = "test"
    split[validation_patients.index] = "validation"
    return patients.map(split).to_numpy()


def find_leaks(manifest: pd.DataFrame) -> list[str]:
    """What stands in more than one split: patients, and files with the same content.

    Parameters
    ----------
    manifest : DataFrame
        With columns patient_id, sha256, split.

    Returns
    -------
    list of str
        One sentence a leak; empty where there is none.
    """
    leaks = []
    for column, what in (("patient_id", "patient"), ("sha256", "file content")):
        splits = manifest.groupby(column)["split"].agg(lambda s: sorted(set(s)))
        leaks += [f"{what} {key} stands in {' and '.join(found)}" for key, found in splits[splits.str.len() > 1].items()]
    return leaks
