"""No lesson stops a researcher's run: every cell of every notebook runs on odd small cohorts."""

from pathlib import Path

import imageio.v3 as iio
import nbformat
import numpy as np
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell

from rahelpers import phantom

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


def draw(patient: int, side: str = "L", height: int = 160) -> np.ndarray:
    """A phantom hand, uint8 (H, W); every second patient has RA."""
    film = phantom.render(phantom.make_patient(5, patient), side, height).image
    return np.rint(255 * film).astype(np.uint8)


def wrists(folder: Path) -> pd.DataFrame:
    """Forty films of twenty patients, cut below the knuckles: no joint, no age, no side."""
    rows = []
    for patient in range(20):
        for side in "LR":
            film, name = draw(patient, side, 256), f"{patient}{side}.png"
            iio.imwrite(folder / name, film[round(0.62 * len(film)) :])
            rows.append((name, patient, patient % 2))
    return pd.DataFrame(rows, columns=["image_id", "patient_id", "label"])


def twelve_films(folder: Path) -> pd.DataFrame:
    """One film of each of twelve people, who have nothing but a label."""
    for patient in range(12):
        iio.imwrite(folder / f"{patient}.png", draw(patient))
    return pd.DataFrame(
        {
            "image_id": [f"{p}.png" for p in range(12)],
            "patient_id": range(12),
            "label": [p % 2 for p in range(12)],
        }
    )


def never_mistaken(folder: Path) -> pd.DataFrame:
    """Hands with and without a huge white square: nobody is mistaken, or nobody of one class."""
    rows = []
    for patient in range(24):
        film = draw(patient)
        if patient % 2:
            middle = len(film) // 2
            film[middle - 25 : middle + 25, 30:-30] = 255
        iio.imwrite(folder / f"{patient}.png", film)
        rows.append((f"{patient}.png", patient, patient % 2, "L", 50 + patient, "F"))
    columns = ["image_id", "patient_id", "label", "laterality", "age", "sex"]
    return pd.DataFrame(rows, columns=columns)


@pytest.mark.slow
@pytest.mark.parametrize("make", [wrists, twelve_films, never_mistaken])
@pytest.mark.filterwarnings("ignore")
def test_every_cell_runs(make, tmp_path, monkeypatch, capsys):
    films = tmp_path / "films"
    films.mkdir()
    table = make(films)
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
    known = ("laterality", "age", "sex")
    given |= {f"{name.upper()}_COLUMN": name for name in known if name in table}
    for notebook in NOTEBOOKS:
        shell = InteractiveShell()
        for number, cell in enumerate(nbformat.read(notebook, as_version=4).cells):
            if cell.cell_type != "code":
                continue
            done = shell.run_cell(cell.source, silent=True)
            if "parameters" in cell.metadata.get("tags", []):
                shell.user_ns.update(given)
            assert done.success, f"{notebook.stem}, cell {number}: {done.error_in_exec!r}"
