"""Which films are explained, and how a run that was stopped resumes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rahelpers.core.progress import show_progress
from rahelpers.core.store import read_arrays, write_atomically


def choose_films(manifest: pd.DataFrame, n: int, seed: int) -> np.ndarray:
    """Choose test films to explain, from both classes in turn.

    Every patient has a first film among them before any has a second.

    Parameters
    ----------
    manifest : DataFrame
    n : int
    seed : int

    Returns
    -------
    int array
        Row numbers, at most n.

    Examples
    --------
    >>> from rahelpers import load_cohort
    >>> from rahelpers.explanation import choose_films
    >>> manifest = load_cohort(run).manifest
    >>> chosen = manifest.loc[choose_films(manifest, 4, seed=7)]
    >>> chosen["label"].tolist(), set(chosen["split"])
    ([1, 0, 1, 0], {'test'})
    """
    # in random order, the first film of each patient before any second one
    test = manifest[manifest["split"] == "test"].sample(frac=1, random_state=seed)
    order = test.assign(again=test.groupby("patient_id").cumcount())
    order = order.sort_values("again", kind="stable")

    # the first positive film, the first negative one, the second positive one, ...
    order = order.assign(turn=order.groupby("label").cumcount())
    order = order.sort_values(["turn", "label"], ascending=[True, False], kind="stable")
    return order.index.to_numpy()[:n]


def explain_each(
    rows: np.ndarray, folder: Path, explain: Callable[[int], dict[str, Any]]
) -> list[dict[str, np.ndarray]]:
    """Explain films one by one, and keep each result: a killed run resumes where it stopped.

    Parameters
    ----------
    rows : int array (m,)
        Films, by their rows in the manifest.
    folder : Path
        Where the results are kept.
    explain : callable
        Row -> arrays, numbers or lists by name.

    Returns
    -------
    list of dict, length m
        What `explain` returned, as arrays.
    """
    results: list[dict[str, Any]] = []
    reused = 0
    for row in show_progress(rows, "explaining films"):
        file = folder / f"{row}.npz"
        result: dict[str, Any] | None = read_arrays(file)
        if result is not None:
            reused += 1
        else:
            result = {name: np.asarray(value) for name, value in explain(int(row)).items()}
            write_atomically(file, partial(np.savez, **result))
        results.append(result)
    if reused:
        print(f"{reused} of {len(rows)} films are reused from the run that was stopped")
    return results
