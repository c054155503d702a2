"""The films of the run's test split, by patient."""

from __future__ import annotations

from rahelpers.curation import Cohort


def list_patients(cohort: Cohort) -> list[tuple[str, tuple[int, ...]]]:
    """Patients of the test split with the rows of their films, in manifest order."""
    rows = cohort.split("test")
    patients = cohort.manifest["patient_id"].iloc[rows].to_numpy()
    return [(str(name), tuple(int(r) for r in rows[patients == name])) for name in dict.fromkeys(patients)]
