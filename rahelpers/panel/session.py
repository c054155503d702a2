"""One user's panel: the run, its bundle, and the thread that uses them. Nothing is shared between
users.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rahelpers.core.store import MissingArtefactError, Run
from rahelpers.curation.cohort import Cohort
from rahelpers.panel.work import Worker

if TYPE_CHECKING:
    from rahelpers.curation.cohort import Cohort
    from rahelpers.network.bundle import Bundle
    from rahelpers.network.familiarity import Familiarity


class Session:
    """What the parts of a panel share.

    Parameters
    ----------
    run : Run
    tell : callable
        Shows a message to the person.

    Attributes
    ----------
    bundle, known, cohort
        Loaded by the worker; None before.
    performance : dict
        See `read_performance`.
    lock : threading.RLock
        Held while state changes and is shown: callbacks and worker take turns.
    """

    def __init__(self, run: Run, tell: Callable[[str], None]) -> None:
        self.run, self.tell = run, tell
        self.lock = threading.RLock()
        self.worker = Worker(lambda error: tell(f"{type(error).__name__}: {error}"))
        self.bundle: Bundle | None = None
        self.known: Familiarity | None = None
        self.cohort: Cohort | None = None
        self.performance: dict[str, Any] = {}

    def load(self, ready: Callable[[], None]) -> None:
        """Load cohort and network in the worker, say when they are there, and trace what
        explanations will call.
        """

        def job(_: Any) -> None:
            from rahelpers.curation.cohort import load_cohort
            from rahelpers.panel import reading

            self.cohort = load_cohort(self.run)
            self.bundle, self.known = reading.load_model(self.run)
            self.performance = read_performance(self.run, self.bundle.info)
            with self.lock:
                ready()
            reading.warm_up(self.bundle)

        self.worker.first(job)

    @property
    def info(self) -> dict[str, Any]:
        """The content of the bundle's `bundle.json`.

        Raises
        ------
        ValueError
            If the bundle could not be loaded; why has been told already.
        """
        if self.bundle is None:
            raise ValueError(
                "the network is not loaded; the message at the top of the page says why"
            )
        return self.bundle.info


def read_performance(run: Run, info: dict[str, Any]) -> dict[str, Any]:
    """Sensitivity and specificity at the operating point, each {value, low, high}: of the test
    split where it was scored, else of validation.

    Returns
    -------
    dict
        sensitivity, specificity, films_positive, films_negative, where.
    """
    import json

    from rahelpers.scores.intervals import wilson_interval

    try:
        test = json.loads(run.file("evaluate", "metrics.json").read_text(encoding="utf-8"))[
            "splits"
        ]["test"]
        return {
            "sensitivity": test["sensitivity"],
            "specificity": test["specificity"],
            "films_positive": test["counts"]["films_positive"],
            "films_negative": test["counts"]["films_negative"],
            "where": "on the test split",
        }
    except MissingArtefactError:
        point = info["operating_point"]
    found = {
        "films_positive": point["films_positive"],
        "films_negative": point["films_negative"],
        "where": "on the validation films that chose the operating point: on new films expect less",
    }
    for score, films in (("sensitivity", "films_positive"), ("specificity", "films_negative")):
        low, high = wilson_interval(point[score], point[films])
        found[score] = {"value": point[score], "low": low, "high": high}
    return found


def list_patients(cohort: Cohort) -> list[tuple[str, tuple[int, ...]]]:
    """Patients of the test split with the rows of their films, in manifest order."""
    rows = cohort.split("test")
    patients = cohort.manifest["patient_id"].iloc[rows].to_numpy()
    return [
        (str(name), tuple(int(r) for r in rows[patients == name]))
        for name in dict.fromkeys(patients)
    ]
