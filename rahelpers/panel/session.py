"""One user's panel: the run, its bundle, and the thread that uses them.

Nothing is shared between users.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rahelpers.core.store import MissingArtefactError, Run
from rahelpers.curation.cohort import Cohort, load_cohort
from rahelpers.panel.work import Worker
from rahelpers.scores.intervals import wilson_interval

if TYPE_CHECKING:  # these modules start TensorFlow; the panel's page must not
    from rahelpers.network.bundle import Bundle
    from rahelpers.network.familiarity import Familiarity


@dataclass(frozen=True)
class Loaded:
    """What the worker has read: the cohort, the bundle, and what it knows of its training films.

    `performance` is described in `read_performance`.
    """

    cohort: Cohort
    bundle: Bundle
    known: Familiarity
    performance: dict[str, Any]


class Session:
    """What the parts of a panel share.

    Parameters
    ----------
    run : Run
    tell : callable
        Shows a message to the person.

    Attributes
    ----------
    lock : threading.RLock
        Held while state changes and is shown, so that callbacks and worker take turns.
    worker : Worker
    """

    def __init__(self, run: Run, tell: Callable[[str], None]) -> None:
        self.run = run
        self.lock = threading.RLock()
        self.worker = Worker(lambda error: tell(f"{type(error).__name__}: {error}"))
        self._loaded: Loaded | None = None

    def load(self, ready: Callable[[], None]) -> None:
        """Load cohort and network in the worker and call `ready`; then trace the explanations."""

        def job(_: Any) -> None:
            from rahelpers.panel import reading

            cohort = load_cohort(self.run)
            bundle, known = reading.load_model(self.run)
            performance = read_performance(self.run, bundle.info)
            self._loaded = Loaded(cohort, bundle, known, performance)
            with self.lock:
                ready()
            reading.warm_up(bundle)

        self.worker.first(job)

    @property
    def is_loaded(self) -> bool:
        """Cohort and network have been loaded."""
        return self._loaded is not None

    @property
    def loaded(self) -> Loaded:
        """What the worker has read.

        Raises
        ------
        ValueError
            If it could not be read; the page already says why.
        """
        if self._loaded is None:
            raise ValueError(
                "the network is not loaded; the message at the top of the page says why"
            )
        return self._loaded

    @property
    def info(self) -> dict[str, Any]:
        """The content of the bundle's `bundle.json`."""
        return self.loaded.bundle.info


def read_performance(run: Run, info: dict[str, Any]) -> dict[str, Any]:
    """Sensitivity and specificity at the operating point, from the best split available.

    That is the test split if it was scored, otherwise the validation split.

    Returns
    -------
    dict
        sensitivity and specificity, each {value, low, high}; films_positive, films_negative; where.
    """
    try:
        metrics = json.loads(run.file("evaluate", "metrics.json").read_text(encoding="utf-8"))
    except MissingArtefactError:
        return _validation_performance(info["operating_point"])
    test = metrics["splits"]["test"]
    return {
        "sensitivity": test["sensitivity"],
        "specificity": test["specificity"],
        "films_positive": test["counts"]["films_positive"],
        "films_negative": test["counts"]["films_negative"],
        "where": "on the test split",
    }


def _validation_performance(point: dict[str, Any]) -> dict[str, Any]:
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
