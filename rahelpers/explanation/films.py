"""Which films are explained, and how a stopped run resumes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from rahelpers.core.progress import show_progress
from rahelpers.core.store import write_atomically


def choose_films(manifest: pd.DataFrame, n: int, seed: int) -> np.ndarray:
    """Test films to explain: both classes in turn, every patient once before any twice.

    Parameters
    ----------
    manifest : DataFrame
    n, seed : int

    Returns
    -------
    int array, at most n row indices
    """
    test = manifest[manifest["split"] == "test"].sample(frac=1, random_state=seed)
    order = test.assign(again=test.groupby("patient_id").cumcount()).sort_values(
        "again", kind="stable"
    )
    order = order.assign(turn=order.groupby("label").cumcount()).sort_values(
        ["turn", "label"], ascending=[True, False], kind="stable"
    )
    return order.index.to_numpy()[:n]


def explain_each(
    rows: np.ndarray, folder: Path, explain: Callable[[int], dict[str, np.ndarray]]
) -> list[dict[str, np.ndarray]]:
    """Explain films one by one; each result is kept in `folder`, so that a killed run goes on where
    it stopped.
    """
    results, reused = [], 0
    for row in show_progress(rows, "explaining films"):
        file = folder / f"{row}.npz"
        if file.exists():
            reused += 1
        else:
            result = explain(int(row))
            write_atomically(file, lambda p, r=result: np.savez(p, **r))
        with np.load(file) as saved:
            results.append({k: saved[k] for k in saved.files})
    if reused:
        print(f"{reused} of {len(rows)} films reused from the run that was stopped")
    return results
