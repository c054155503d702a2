"""Splits by patient: no patient is ever in two of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from rahelpers.core.config import RunConfig
from rahelpers.data.sources.registry import list_films
from rahelpers.scores.metrics import FEW_FILMS

SPLITS = ("train", "validation", "test", "external")
# Patients of a class in a split. With fewer, the 95 % interval of an AUC of 0.8 is wider than 0.2
# (Hanley and McNeil, Radiology 1982;143:29).
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
    """Assign every film to train, validation or test; all films of a patient stay together.

    Patients are stratified by label; a patient is positive if any film is.

    Parameters
    ----------
    patients, labels : Series, length n
        Patient of each film, and its label 0 or 1.
    test, validation : float
        Shares of the patients.
    seed : int
        Of the random draw.
    centres : Series, length n, optional
        Hospital of each film; '' where not known.
    external : str
        A hospital: patients with a film from there form the split `external`, and are in no other.
    by_centre : bool
        Stratify by hospital too. Groups of hospital and label that are too small for that are
        stratified by label only.

    Returns
    -------
    array of str, length n

    Raises
    ------
    ValueError
        If a class has too few patients for all three splits, or the external hospital is not known.

    Examples
    --------
    Ten patients with two films each:

    >>> import numpy as np
    >>> import pandas as pd
    >>> from rahelpers.curation import split_by_patient
    >>> patients = pd.Series(np.repeat([f"p{number}" for number in range(10)], 2))
    >>> labels = pd.Series(np.repeat([0, 1], 10))
    >>> splits = split_by_patient(patients, labels, test=0.2, validation=0.2, seed=7)
    >>> int(pd.Series(splits).groupby(patients).nunique().max())
    1
    >>> pd.crosstab(splits, labels).to_numpy().tolist()
    [[2, 2], [6, 6], [2, 2]]
    """
    table = pd.DataFrame(
        {
            "patient": patients.to_numpy(),
            "label": labels.to_numpy(),
            "centre": "" if centres is None else centres.to_numpy(),
        }
    )
    split = pd.Series("train", index=sorted(table["patient"].unique()))

    # take out the external hospital
    if external:
        if external not in set(table["centre"]):
            known = ", ".join(sorted(set(table["centre"]) - {""})) or "none is known"
            raise ValueError(
                f"external_centre={external!r} has no film; hospitals of this source: {known}"
            )
        outside = table.loc[table["centre"] == external, "patient"].unique()
        split[outside] = "external"
        table = table[~table["patient"].isin(outside)]

    # one row per patient, and enough of each class
    per_patient = table.groupby("patient").agg(label=("label", "max"), centre=("centre", "min"))
    counts = per_patient["label"].value_counts()
    n_negative, n_positive = int(counts.get(0, 0)), int(counts.get(1, 0))
    needed = int(np.ceil(1 / min(test, validation)))
    if min(n_negative, n_positive) < needed:
        raise ValueError(
            f"{n_negative} negative and {n_positive} positive patients: expected at least {needed}"
            " of each, so that every split has both classes"
        )

    # the groups to share evenly
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

    # draw the test patients, then the validation patients from the rest
    rest, test_patients = train_test_split(
        strata, test_size=test, stratify=strata, random_state=seed
    )
    _, validation_patients = train_test_split(
        rest, test_size=validation / (1 - test), stratify=rest, random_state=seed
    )
    split[test_patients.index] = "test"
    split[validation_patients.index] = "validation"
    return patients.map(split).to_numpy()


def check_plan(config: RunConfig) -> None:
    """Refuse, before a film is read, what needs more patients than the source lists.

    These are the splits, the folds of the cross-validation, and small shares of the patients of
    train. What is found later may leave fewer: films that cannot be used, one hand under two names.

    Raises
    ------
    ValueError
        Says how many patients there are, and how many are expected.

    Examples
    --------
    >>> from rahelpers import make_config
    >>> from rahelpers.curation.splits import check_plan
    >>> check_plan(make_config(n_patients=40, folds=10))
    Traceback (most recent call last):
        ...
    ValueError: folds=10: the rarer class has ... patients; expected at least 20, two per fold
    """
    rows = pd.DataFrame([film.row for film in list_films(config)])
    rows = rows.reindex(columns=["patient_id", "label", "centre"]).fillna({"centre": ""})
    rows = rows.dropna(subset=["patient_id", "label"])
    rows = rows[rows["patient_id"] != ""].reset_index(drop=True)
    split = split_by_patient(
        rows["patient_id"],
        rows["label"].astype(int),
        config.test_fraction,
        config.validation_fraction,
        config.seed,
        rows["centre"],
        config.external_centre,
        config.stratify_centre,
    )
    check_folds(rows[split != "external"], config.folds)
    learning = rows[split == "train"].groupby("patient_id")["label"].max()
    for share in config.number_list("learning_curve", float, 0.01, 1.0):
        for label, n in learning.value_counts().items():
            check_share(share, label, n)


def check_folds(films: pd.DataFrame, folds: int) -> None:
    """Refuse a cross-validation with fewer than two patients of a class per fold.

    Parameters
    ----------
    films : DataFrame
        With columns patient_id and label.
    folds : int
    """
    rarest = min(films.loc[films["label"] == c, "patient_id"].nunique() for c in (0, 1))
    if rarest < 2 * folds:
        raise ValueError(
            f"folds={folds}: the rarer class has {rarest} patients; expected at least"
            f" {2 * folds}, two per fold"
        )


def check_share(share: float, label: int, patients: int) -> int:
    """The number of patients that a share of those of one class is.

    Raises
    ------
    ValueError
        If it is none.
    """
    n = round(share * patients)
    if not n:
        raise ValueError(
            f"learning_curve: a share of {share:g} of {patients} patients with label {label:g}"
            " leaves no patient; choose larger shares"
        )
    return n


def splits_of(manifest: pd.DataFrame) -> list[str]:
    """The splits that a manifest has, in the usual order."""
    return [split for split in SPLITS if split in set(manifest["split"])]


def warn_about_splits(manifest: pd.DataFrame) -> list[str]:
    """List what a reviewer would say about the splits.

    Parameters
    ----------
    manifest : DataFrame
        With columns patient_id, label, split, centre.

    Returns
    -------
    list of str
        One sentence per warning; empty where there is nothing to say.

    Examples
    --------
    >>> import pandas as pd
    >>> from rahelpers.curation import warn_about_splits
    >>> manifest = pd.DataFrame({"patient_id": range(400), "label": [0, 1] * 200, "centre": "",
    ...                          "split": ["train"] * 320 + ["test"] * 40 + ["validation"] * 40})
    >>> warn_about_splits(manifest)[0]
    '20 negative patients in validation: the interval of an AUC will be wider than 0.2; expected at
    least 30'
    """
    warnings = []
    shares = manifest.groupby("split")["label"].mean()
    for split in splits_of(manifest):
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
                " the splits are not similar"
            )
    both = int((manifest.groupby("patient_id")["label"].nunique() > 1).sum())
    if both:
        warnings.append(
            f"patients with films of both classes: {both}. Is only one hand ill, or is a label"
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
            f" {large.idxmin()}: the hospital says much about the label"
        )
    if "external" not in set(manifest["split"]):
        for centre, splits in known.groupby("centre")["split"]:
            if set(splits) == {"test"}:
                warnings.append(
                    f"{centre} is only in test: its films measure the step to another hospital,"
                    " not to another patient"
                )
    return warnings


def find_leaks(manifest: pd.DataFrame) -> list[str]:
    """Find what is in more than one split: patients, and files with the same content.

    Parameters
    ----------
    manifest : DataFrame
        With columns patient_id, sha256, split.

    Returns
    -------
    list of str
        One sentence per leak; empty where there is none.

    Examples
    --------
    >>> import pandas as pd
    >>> from rahelpers.curation import find_leaks
    >>> find_leaks(pd.DataFrame({"patient_id": ["a", "a", "b"], "sha256": ["x", "y", "z"],
    ...                          "split": ["train", "test", "test"]}))
    ['patient a is in test and train']
    """
    leaks: list[str] = []
    for column, what in (("patient_id", "patient"), ("sha256", "file content")):
        splits = manifest.groupby(column)["split"].agg(lambda s: sorted(set(s)))
        leaks += [
            f"{what} {key} is in {' and '.join(found)}"
            for key, found in splits[splits.str.len() > 1].items()
        ]
    return leaks
