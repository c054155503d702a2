"""Splits by patient: no patient ever stands in two of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from rahelpers.scores.metrics import FEW_FILMS

SPLITS = ("train", "validation", "test", "external")
# of a class in a split: below it the 95 % interval of an AUC of 0.8 is wider than 0.2 (Hanley and
# McNeil, Radiology 1982;143:29)
FEW_PATIENTS = 30
UNLIKE_CENTRES = 0.3  # how far the share of positives may differ between hospitals
UNLIKE_SHARE = 0.1  # how far the share of positives may differ between train and test


def split_by_patient(
    patients: pd.Series,
    labels: pd.Series,
    test: float,
    validation: float,
    seed: int,
    centres: pd.Series | None = None,
    external: str = "",
    by_centre: bool = False,
) -> np.ndarray:
    """Assign every film to train, validation or test; all films of a patient go together.

    Patients are stratified by label (a patient is positive where any film is).

    Parameters
    ----------
    patients, labels : Series, length n
        Patient of each film, and its label 0 or 1.
    test, validation : float
        Shares of the patients.
    seed : int
    centres : Series, length n, optional
        Hospital of each film; '' where not known.
    external : str
        A hospital: patients with a film from there make the split `external`, and stand in no
        other.
    by_centre : bool
        Share every hospital evenly too. Groups of hospital and label that are too small for that
        are shared by label alone.

    Returns
    -------
    array of str, length n

    Raises
    ------
    ValueError
        If a class has too few patients to stand in all three splits, or the external hospital is
        not known.
    """
    table = pd.DataFrame(
        {
            "patient": patients.to_numpy(),
            "label": labels.to_numpy(),
            "centre": "" if centres is None else centres.to_numpy(),
        }
    )
    split = pd.Series("train", index=sorted(table["patient"].unique()))
    if external:
        if external not in set(table["centre"]):
            known = ", ".join(sorted(set(table["centre"]) - {""})) or "none is known"
            raise ValueError(
                f"external_centre={external!r} has no film; hospitals of this source: {known}"
            )
        outside = table.loc[table["centre"] == external, "patient"].unique()
        split[outside] = "external"
        table = table[~table["patient"].isin(outside)]
    per_patient = (
        table.groupby("patient").agg(label=("label", "max"), centre=("centre", "min")).sort_index()
    )
    counts = per_patient["label"].value_counts()
    n_negative, n_positive = int(counts.get(0, 0)), int(counts.get(1, 0))
    needed = int(np.ceil(1 / min(test, validation)))
    if min(n_negative, n_positive) < needed:
        raise ValueError(
            f"{n_negative} negative and {n_positive} positive patients: expected at least {needed}"
            " of each, so that every split holds both classes"
        )
    strata = per_patient["label"].astype(str)
    if by_centre:
        fine = strata + " " + per_patient["centre"]
        strata = fine.where(fine.map(fine.value_counts()) >= needed, strata)
        strata = strata.where(
            strata.map(strata.value_counts()) >= needed,
            per_patient["label"].map({0: "0 rest", 1: "1 rest"}),
        )
        small = strata.map(strata.value_counts()) < needed
        strata = per_patient["label"].astype(str) if small.any() else strata
    rest, test_patients = train_test_split(
        strata, test_size=test, stratify=strata, random_state=seed
    )
    _, validation_patients = train_test_split(
        rest, test_size=validation / (1 - test), stratify=rest, random_state=seed
    )
    split[test_patients.index] = "test"
    split[validation_patients.index] = "validation"
    return patients.map(split).to_numpy()


def warn_about_splits(manifest: pd.DataFrame) -> list[str]:
    """What a reviewer would say of the splits; empty where there is nothing to say.

    Parameters
    ----------
    manifest : DataFrame
        With columns patient_id, label, split, centre.
    """
    warnings = []
    shares = manifest.groupby("split")["label"].mean()
    for split in [s for s in SPLITS if s in set(manifest["split"])]:
        part = manifest[manifest["split"] == split]
        for label, name in ((0, "negative"), (1, "positive")):
            films = part[part["label"] == label]
            patients = films["patient_id"].nunique()
            if len(films) < FEW_FILMS:
                warnings.append(
                    f"{len(films)} {name} films in {split}: no AUC will mean anything; expected at"
                    f" least {FEW_FILMS}"
                )
            elif split != "train" and patients < FEW_PATIENTS:
                warnings.append(
                    f"{patients} {name} patients in {split}: the interval of an AUC will be wider"
                    f" than 0.2; expected at least {FEW_PATIENTS}"
                )
        if split in ("validation", "test") and abs(shares[split] - shares["train"]) > UNLIKE_SHARE:
            warnings.append(
                f"{shares[split]:.0%} positive films in {split}, {shares['train']:.0%} in train:"
                " the splits are not alike"
            )
    both = int((manifest.groupby("patient_id")["label"].nunique() > 1).sum())
    if both:
        warnings.append(
            f"patients with films of both classes: {both}. True of one hand, or a label that is"
            " wrong?"
        )
    return warnings + _warn_about_centres(manifest)


def _warn_about_centres(manifest: pd.DataFrame) -> list[str]:
    known = manifest[manifest["centre"] != ""]
    if known["centre"].nunique() < 2:
        return []
    warnings = []
    share = known.groupby("centre")["label"].agg(["mean", "size"])
    for centre, row in share.iterrows():
        if row["mean"] in (0, 1) and row["size"] >= FEW_FILMS:
            warnings.append(
                f"all {row['size']:.0f} films of {centre} are"
                f" {'positive' if row['mean'] else 'negative'}: the hospital gives the label away"
            )
    large = share[(share["size"] >= FEW_FILMS) & ~share["mean"].isin([0, 1])]["mean"]
    if len(large) > 1 and large.max() - large.min() > UNLIKE_CENTRES:
        warnings.append(
            f"{large.max():.0%} of the films of {large.idxmax()} are positive, {large.min():.0%} of"
            f" {large.idxmin()}: the hospital tells much of the label"
        )
    if "external" not in set(manifest["split"]):
        for centre, splits in known.groupby("centre")["split"]:
            if set(splits) == {"test"}:
                warnings.append(
                    f"{centre} stands in test alone: its films measure another hospital, not"
                    " another patient"
                )
    return warnings


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
        leaks += [
            f"{what} {key} stands in {' and '.join(found)}"
            for key, found in splits[splits.str.len() > 1].items()
        ]
    return leaks
