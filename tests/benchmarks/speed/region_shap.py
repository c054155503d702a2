"""Region SHAP: how long it takes, and how much longer the library shap takes.

For the same error, on the same game.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from rahelpers.core.config import RunConfig
from rahelpers.core.store import open_run
from rahelpers.curation.cohort import load_cohort
from rahelpers.explanation.baselines import make_baseline
from rahelpers.explanation.region_game import RegionGame, RegionMasker
from rahelpers.explanation.regions import Regions, make_regions
from rahelpers.explanation.shap_step import compute_region_shap
from rahelpers.explanation.shapley import Game, estimate_values, explain_with_shap
from rahelpers.network.backend import keras
from rahelpers.network.bundle import load_bundle, predict_logits
from rahelpers.network.vgg import build_network, change_precision
from rahelpers.phantom import iter_cohort
from rahelpers.training.fitting import fit_network
from tests.benchmarks.speed.fits import DRAWN, SEED, find_films
from tests.benchmarks.speed.suite import Sizes, as_row, as_table, time_in_turn

OURS, THEIRS = 128, (256, 512, 1024)  # evaluations
DRAWS = 3  # of each estimator
FASTER = 4.0
MOST_SECONDS = {"vgg_small": 3.0, "vgg16": 30.0}


def measure_shap(sizes: Sizes) -> pd.DataFrame:
    """Measure errors against a long run without bias, then seconds per film.

    The network is that of a run, or one that is trained on phantom films.
    """
    if sizes.run:
        model, image, regions = _load_network(sizes.run)
    else:
        model, (image, regions) = _train_small(sizes), _phantom_hand(sizes.training_pixels)
    masker = RegionMasker(regions, make_baseline(image, "blur"))
    fast = change_precision(model, "auto")
    naive = _play_naively(model, image, masker)
    truth, doubt = _long_run(RegionGame(model, image, masker), sizes.orders)

    def error_of(estimate: Callable[[int], np.ndarray]) -> float:
        """Root mean square over regions and draws, minus what the long run's own error adds."""
        square = np.mean([(estimate(seed) - truth) ** 2 for seed in range(DRAWS)])
        return float(np.sqrt(max(square - doubt**2, doubt**2 / 4)))

    def ours(seed: int) -> np.ndarray:
        game = RegionGame(model, image, masker, fast=fast)
        return estimate_values(game, regions.tree, OURS, np.random.default_rng(seed)).shapley

    what = f"region SHAP of {model.name}, {len(image)} px, {len(regions.names)} regions"
    spread = f"{what}: root mean square of the values (long run's error: {doubt:.2g})"
    reached = error_of(ours)
    rows = [
        as_row(spread, float(np.sqrt(np.mean(truth**2))), "logits"),
        as_row(f"{what}: error of ours, {OURS} evaluations", reached, "logits"),
    ]

    # errors of shap, and how many evaluations it would need for our error
    works: dict[str, Callable[[], np.ndarray]] = {"ours": lambda: ours(0)}
    needed = {}
    for name, method in (("KernelExplainer", "kernel"), ("PermutationExplainer", "permutation")):
        errors = [
            error_of(partial(explain_with_shap, naive, regions.tree, method, n)) for n in THEIRS
        ]
        rows += [
            as_row(f"{what}: error of shap's {name}, {n} evaluations", error, "logits")
            for n, error in zip(THEIRS, errors, strict=True)
        ]
        slope, start = np.polyfit(np.log(errors), np.log(THEIRS), 1)
        needed[name] = float(np.exp(start + slope * np.log(reached)))
        works[name] = partial(explain_with_shap, naive, regions.tree, method, THEIRS[-1], 0)

    # seconds
    seconds = time_in_turn(works, min(sizes.rounds, 3))
    rows.append(as_row(f"{what}: ours, {OURS} evaluations", seconds["ours"], "s"))
    for name, evaluations in needed.items():
        fewer = f"{what}: fewer evaluations than {name} for the same error"
        faster = f"{what}: faster than {name} at the same error"
        same = seconds[name] * evaluations / THEIRS[-1]
        rows += [
            as_row(f"{what}: shap's {name}, {THEIRS[-1]} evaluations", seconds[name], "s"),
            as_row(fewer, evaluations / OURS, "times"),
            as_row(faster, same / seconds["ours"], "times", FASTER),
        ]
    rows += [_time_film("vgg_small", sizes.small_pixels), _time_film("vgg16", sizes.pixels)]
    return as_table(rows)


def _load_network(folder: Path) -> tuple[keras.Model, np.ndarray, Regions]:
    """Load a run's network, and its first test film of the positive class."""
    run = open_run(folder)
    cohort, bundle = load_cohort(run), load_bundle(run.file("train", "bundle/bundle.json").parent)
    row = next(row for row in cohort.split("test") if cohort.manifest["label"].iloc[row] == 1)
    image = np.asarray(cohort.images[row])
    return bundle.model, image, make_regions(image, cohort.joints_of(row))


def _train_small(sizes: Sizes) -> keras.Model:
    """Train a network on an easy task, with more patients and epochs than elsewhere.

    If it had learned nothing, there would be nothing to explain.
    """
    films = find_films(None, 2 * sizes.patients, sizes.training_pixels, "healthy")
    config = RunConfig(epochs=2 * sizes.epochs, patience=2 * sizes.epochs, precision="auto")
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()):
        folders = Path(folder) / "fit", Path(folder) / "cache"
        rows = films.train, films.validation
        return fit_network(films.images, films.labels, *rows, config, SEED, *folders).model


def _phantom_hand(pixels: int) -> tuple[np.ndarray, Regions]:
    """Draw a left hand with RA that no network has seen, and its regions: every SvdH site."""
    hand = next(
        film
        for patient, film in iter_cohort(SEED + 1, 16, DRAWN)
        if patient.label and film.laterality == "L"
    )
    image = cv2.resize(np.uint8(255 * hand.image), (pixels, pixels), interpolation=cv2.INTER_AREA)
    return image, make_regions(image, hand.joints)


def _play_naively(model: keras.Model, image: np.ndarray, masker: RegionMasker) -> Game:
    """Play as in shap's documentation: each coalition becomes a film that the network reads."""
    return lambda coalitions: predict_logits(model, masker.compose(coalitions, image))


def _long_run(game: RegionGame, orders: int) -> tuple[np.ndarray, float]:
    """Estimate Shapley values without bias, float (p,), and their standard error over all players.

    They are means over random orders, each of which is also read backwards.
    """
    rng, found = np.random.default_rng(SEED), np.zeros((orders, game.players))
    for k in range(orders):
        order = rng.permutation(game.players)
        rank = np.argsort(order)
        shown = rank < np.arange(game.players + 1)[:, None]
        worth, opposite = np.split(game(np.concatenate([shown, ~shown])), 2)
        found[k, order] = (np.diff(worth) - np.diff(opposite)) / 2
    return found.mean(axis=0), float(np.sqrt(np.mean(found.var(axis=0, ddof=1) / orders)))


def _time_film(architecture: str, pixels: int) -> dict[str, object]:
    model = build_network(architecture, pixels)
    fast = change_precision(model, "auto")
    image, regions = _phantom_hand(pixels)
    compute_region_shap(model, image, regions, evaluations=16, fast=fast)  # traces
    begun = time.perf_counter()
    compute_region_shap(model, image, regions, evaluations=OURS, fast=fast)
    what = (
        f"region SHAP of {architecture}, {pixels} px, {len(regions.names)} regions, {OURS}"
        " evaluations"
    )
    return as_row(what, time.perf_counter() - begun, "s", MOST_SECONDS[architecture], True)
