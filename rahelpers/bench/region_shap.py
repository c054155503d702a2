"""Region SHAP: how long it takes, and how much longer the library shap takes for the same error on the same game."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from rahelpers.bench import Sizes, as_row, as_table, time_in_turn
from rahelpers.bench.fits import DRAWN, SEED, find_films
from rahelpers.config import RunConfig
from rahelpers.fitting import fit_network
from rahelpers.inference import predict_logits
from rahelpers.phantom import iter_cohort
from rahelpers.region_game import RegionGame, RegionMasker, Regions, make_baseline, make_regions
from rahelpers.shap_estimators import Game, estimate_values, explain_with_shap
from rahelpers.shap_regions import compute_region_shap
from rahelpers.tensorflow_quiet import keras
from rahelpers.vgg import build_network, change_precision

OURS, THEIRS = 128, 1024  # evaluations; errors of shap's estimators fall with the root of theirs
DRAWS = 3  # of each estimator
FASTER = 4.0
MOST_SECONDS = {"vgg_small": 3.0, "vgg16": 30.0}


def measure_shap(sizes: Sizes) -> pd.DataFrame:
    """Errors of a network trained on phantom films, against a long run of an unbiased estimate; then seconds for a film of the sizes that people use."""
    model = _train_small(sizes)
    image, regions = _phantom_hand(sizes.training_pixels)
    masker, fast = RegionMasker(regions, make_baseline(image, "blur")), change_precision(model, "auto")
    naive = _play_naively(model, image, masker)
    truth, doubt = _long_run(RegionGame(model, image, masker), sizes.orders)
    works: dict[str, Callable[[int], np.ndarray]] = {
        "ours": lambda seed: estimate_values(RegionGame(model, image, masker, fast=fast), regions.tree, OURS, np.random.default_rng(seed)).shapley,
        "shap's KernelExplainer": lambda seed: explain_with_shap(naive, regions.tree, "kernel", THEIRS, seed),
        "shap's PermutationExplainer": lambda seed: explain_with_shap(naive, regions.tree, "permutation", THEIRS, seed),
    }
    # the long run has an error of its own, independent of theirs
    error = {name: np.sqrt(max(np.mean([(work(seed) - truth) ** 2 for seed in range(DRAWS)]) - doubt**2, doubt**2 / 4)) for name, work in works.items()}
    seconds = time_in_turn({name: (lambda work=work: work(0)) for name, work in works.items()}, min(sizes.rounds, 3))
    what = f"region SHAP of vgg_small, {sizes.training_pixels} px, {len(regions.names)} regions"
    rows = [as_row(f"{what}: root mean square of the values (long run: {doubt:.3f})", float(np.sqrt(np.mean(truth**2))), "logits")]
    for name in works:
        evaluations = OURS if name == "ours" else THEIRS
        rows.append(as_row(f"{what}: error of {name} with {evaluations} evaluations", error[name], "logits"))
        rows.append(as_row(f"{what}: {name} with {evaluations} evaluations", seconds[name], "s"))
    for name in [n for n in works if n != "ours"]:
        more = (error[name] / error["ours"]) ** 2 * THEIRS / OURS
        rows.append(as_row(f"{what}: fewer evaluations than {name} for the same error", more, "times"))
        needed = seconds[name] * more * OURS / THEIRS
        rows.append(as_row(f"{what}: faster than {name} at the same error", needed / seconds["ours"], "times", FASTER))
    return as_table(rows + [_time_film(name, pixels) for name, pixels in (("vgg_small", sizes.small_pixels), ("vgg16", sizes.pixels))])


def _train_small(sizes: Sizes) -> keras.Model:
    films = find_films(None, sizes.patients, sizes.training_pixels)
    config = RunConfig(epochs=sizes.epochs, patience=sizes.epochs, precision="auto")
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()):
        place = Path(folder)
        return fit_network(films.images, films.labels, films.train, films.validation, config, SEED, place / "fit", place / "cache").model


def _phantom_hand(pixels: int) -> tuple[np.ndarray, Regions]:
    """A left hand with RA that no network has seen, and its regions: every SvdH site."""
    hand = next(film for patient, film in iter_cohort(SEED + 1, 16, DRAWN) if patient.label and film.laterality == "L")
    image = cv2.resize(np.uint8(255 * hand.image), (pixels, pixels), interpolation=cv2.INTER_AREA)
    return image, make_regions(image, hand.joints)


def _play_naively(model: keras.Model, image: np.ndarray, masker: RegionMasker) -> Game:
    """As shap's documentation has it: every coalition that is asked for becomes a film, and every film goes through the network."""
    return lambda coalitions: predict_logits(model, masker.compose(coalitions, image))


def _long_run(game: RegionGame, orders: int) -> tuple[np.ndarray, float]:
    """Shapley values without bias, float (p,): means over random orders, each also read backwards; and their standard error, over all players."""
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
    what = f"region SHAP of {architecture}, {pixels} px, {len(regions.names)} regions, {OURS} evaluations"
    return as_row(what, time.perf_counter() - begun, "s", MOST_SECONDS[architecture], True)
