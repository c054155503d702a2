"""What the panel asks the network.

This is the only module of the panel that starts TensorFlow; only the worker's thread imports it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rahelpers.core.store import Run
from rahelpers.explanation.baselines import choose_baseline, make_baseline
from rahelpers.explanation.gradcam import compute_gradcam
from rahelpers.explanation.regions import Regions, make_regions
from rahelpers.explanation.shap_step import RegionShap, compute_region_shap
from rahelpers.network.bundle import Bundle, load_bundle
from rahelpers.network.familiarity import Familiarity, extract_features, load_familiarity
from rahelpers.network.graph import list_map_layers
from rahelpers.panel.state import Heat, Picture

MOST_LAYERS = 8  # offered for heat maps


def load_model(run: Run) -> tuple[Bundle, Familiarity]:
    """The run's bundle, its hashes checked, and what it knows of its training films.

    The network is called once, so that the first film does not wait for compilation.

    Raises
    ------
    MissingArtefactError, DamagedArtefactError
    """
    bundle = load_bundle(run.file("train", "bundle/bundle.json").parent)
    size = bundle.info["image_size"]
    extract_features(bundle.model, np.zeros((1, size, size), np.uint8))
    return bundle, load_familiarity(bundle)


def warm_up(bundle: Bundle) -> None:
    """Trace what explanations call, while the person is still looking for a film."""
    size = bundle.info["image_size"]
    blank = np.zeros((size, size), np.uint8)
    compute_gradcam(bundle.model, blank[None], bundle.info["gradcam_layer"])
    halves = Regions(["left", "right"], np.repeat(np.arange(size)[None] * 2 // size, size, axis=0))
    compute_region_shap(bundle.model, blank, halves, "black", evaluations=4, fast=bundle.fast)


def map_heat(bundle: Bundle, image: np.ndarray, layer: str, method: str) -> Heat:
    """Heat map of the positive class for one film, uint8 (S, S)."""
    cam = compute_gradcam(bundle.model, image[None], layer, method=method)
    return Heat(np.rint(cam.maps[0] * 255).astype(np.uint8), bool(cam.flat[0]), method, layer)


def layers_of(bundle: Bundle) -> list[str]:
    """Layers for a heat map: the bundle's own first, then from the last to the first."""
    own = bundle.info["gradcam_layer"]
    last = [name for name in list_map_layers(bundle.model) if "relu" in name or "conv" in name]
    return [own, *[name for name in reversed(last) if name != own]][:MOST_LAYERS]


def weigh_regions(
    bundle: Bundle,
    picture: Picture,
    baseline: str,
    evaluations: int,
    progress: Callable[[float], None] = lambda share: None,
) -> tuple[Regions, RegionShap]:
    """Regions of a film and their Shapley values.

    Parameters
    ----------
    progress : callable
        Gets the finished share before each batch; an error that it raises stops the work.
    """
    joints = picture.joints if picture.marked else picture.joints.iloc[:0]
    regions = make_regions(picture.image, joints)
    patches = bundle.healthy_patches
    kind = choose_baseline(baseline, joints, patches)
    done = 0

    def on_batch(films: int) -> None:
        nonlocal done
        progress(min(done / evaluations, 1.0))
        done += films

    shap = compute_region_shap(
        bundle.model,
        picture.image,
        regions,
        make_baseline(picture.image, kind, regions, joints, patches),
        evaluations,
        fast=bundle.fast,
        on_batch=on_batch,
    )
    return regions, shap
