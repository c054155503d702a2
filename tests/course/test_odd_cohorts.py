"""No lesson stops a researcher's run: every cell of every notebook runs on an odd small cohort."""

from pathlib import Path

import imageio.v3 as iio
import nbformat
import numpy as np
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell

from rahelpers import phantom
from rahelpers.display.figures import plot_films
from rahelpers.evaluation.figures import plot_probes
from rahelpers.evaluation.tables import find_worst_errors
from rahelpers.explanation.figures import plot_cascade, plot_gallery_of_maps
from rahelpers.explanation.sanity import CASCADE_COLUMNS

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
SMALL = {
    "IMAGE_SIZE": 48,
    "EPOCHS": 1,
    "N_BOOTSTRAP": 50,
    "N_EXPLAIN": 2,
    "SHAP_EVALUATIONS": 64,
    "FOLDS": 0,
    "SEEDS": 1,
    "LEARNING_CURVE": "",
    "RESOLUTIONS": "",
    "SHUFFLED_LABELS": False,
}


def draw(patient: int, height: int = 160) -> np.ndarray:
    """A phantom hand, uint8 (H, W); every second patient has RA."""
    film = phantom.render(phantom.make_patient(5, patient), "L", height).image
    return np.rint(255 * film).astype(np.uint8)


def wrists(folder: Path) -> pd.DataFrame:
    """Twelve films of twelve people, cut below the knuckles: no joint, no age, no sex, no side."""
    rows = []
    for patient in range(12):
        film = draw(patient, 256)
        iio.imwrite(folder / f"{patient}.png", film[round(0.62 * len(film)) :])
        rows.append((f"{patient}.png", patient, patient % 2))
    return pd.DataFrame(rows, columns=["image_id", "patient_id", "label"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_every_cell_runs_on_twelve_wrists(tmp_path):
    films = tmp_path / "films"
    films.mkdir()
    table = wrists(films)
    table.to_csv(tmp_path / "table.csv", index=False)
    given = SMALL | {
        "PROFILE": "smoke",
        "SOURCE": "folder",
        "SEED": 7,
        "RUN_DIR": str(tmp_path / "runs" / "odd"),
        "IMAGES": str(films),
        "TABLE": str(tmp_path / "table.csv"),
        "ID_COLUMN": "image_id",
        "PATIENT_COLUMN": "patient_id",
        "LABEL_COLUMN": "label",
        "POSITIVE": "1",
    }
    for notebook in NOTEBOOKS:
        shell = InteractiveShell()
        for number, cell in enumerate(nbformat.read(notebook, as_version=4).cells):
            if cell.cell_type != "code":
                continue
            done = shell.run_cell(cell.source, silent=True)
            if "parameters" in cell.metadata.get("tags", []):
                shell.user_ns.update(given)
            assert done.success, f"{notebook.stem}, cell {number}: {done.error_in_exec!r}"


def test_where_nothing_was_found_a_sentence_takes_the_place_of_the_figure():
    """Nobody is mistaken, no film is of the positive class, nothing was tested."""
    predictions = pd.DataFrame(
        {
            "split": "test",
            "label": [0, 1],
            "probability": [0.1, 0.9],
            "image_id": ["a", "b"],
            "condition": "",
        }
    )
    assert find_worst_errors(predictions, 0.5).empty
    none = np.zeros((0, 8, 8), np.uint8)
    empty = pd.DataFrame(columns=CASCADE_COLUMNS)
    for figure in (
        plot_films(none, [], "title"),
        plot_gallery_of_maps(none, none, [], "title"),
        plot_cascade(empty, ["gradcam"], "title"),
        plot_probes(pd.DataFrame(), "title"),
    ):
        assert figure.texts and not figure.axes
