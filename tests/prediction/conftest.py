"""Fixtures: films in a folder, and what the tiny run's network answers about them."""

import io

import numpy as np
import pytest
import skimage.data
from PIL import Image

from rahelpers.network.bundle import load_bundle
from rahelpers.phantom import make_dicom, make_patient, render
from rahelpers.prediction.film import find_film_files, predict_films


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.rint(image * 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="package")
def bundle(tiny_run):
    return load_bundle(tiny_run.file("train", "bundle/bundle.json").parent)


@pytest.fixture(scope="package")
def hands():
    """The two hands of one patient of another cohort."""
    patient = make_patient(3, 1)
    return patient, [render(patient, side, size=400) for side in "LR"]


@pytest.fixture(scope="package")
def folder(hands, tmp_path_factory):
    path = tmp_path_factory.mktemp("films")
    patient, (left, right) = hands
    (path / "study").mkdir()
    (path / "study" / "left.dcm").write_bytes(make_dicom(left, patient, "MONOCHROME1"))
    (path / "left.png").write_bytes(png(left.image))
    (path / "both.png").write_bytes(png(np.concatenate([left.image, right.image], axis=1)))
    (path / "photo.png").write_bytes(png(skimage.data.camera() / 255))
    (path / "blank.png").write_bytes(png(np.full((200, 200), 0.3)))
    (path / "small.png").write_bytes(png(left.image[::8, ::8]))
    (path / "notes.txt").write_text("not a film")
    (path / ".hidden.png").write_bytes(b"")
    return path


@pytest.fixture(scope="package")
def results(bundle, folder):
    return {
        r.name: r for r in predict_films(bundle, find_film_files(folder), folder, heatmaps=True)
    }
