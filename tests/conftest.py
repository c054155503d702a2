"""Fixtures: the real films, and one tiny finished run that several tests read."""

import os
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]


def _shared(name: str) -> Path:
    path = Path(os.environ.get("RAHELPERS_SHARED", PROJECT.parent / "shared")) / "data" / name
    if not path.exists():
        message = f"{name} is not on this machine (a public clone has no shared data)"
        (pytest.fail if os.environ.get("RAHELPERS_REQUIRE_DATA") == "1" else pytest.skip)(message)
    return path


@pytest.fixture
def real_films() -> Path:
    """Folder of the real RSNA hands; the test skips where they are absent, and fails where CI demands them."""
    return _shared("rsna_hands")


@pytest.fixture
def vgg16_weights() -> Path:
    return _shared("vgg16_notop.weights.h5")


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """Steps 01 and 02 on 24 phantom patients, one epoch, 48 px: a few seconds."""
    from rahelpers.artifacts import Run
    from rahelpers.config import make_config
    from rahelpers.curation import curate
    from rahelpers.training import train

    folder = tmp_path_factory.mktemp("runs") / "tiny"
    run = Run(make_config(n_patients=40, image_size=48, epochs=1, n_bootstrap=50, n_explain=4, shap_evaluations=64, run_dir=str(folder)))
    curate(run)
    train(run)
    return run
